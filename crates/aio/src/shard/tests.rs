//! A driver that fails: its turns are run in another runtime than that it was made in.

use super::*;
use crate::{Listener, WebSocket};
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

/// Counts wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn runtime() -> tokio_uring::Runtime {
    tokio_uring::Runtime::new(&tokio_uring::builder()).expect("tokio-uring works here")
}

async fn pair() -> (WebSocket, WebSocket) {
    let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr());
    let client = tokio_uring::spawn(async move { crate::connect(&url).await });
    let server = listener.accept().await.expect("it opens");
    (client.await.expect("no panic").expect("it opens"), server)
}

/// A task by hand: a future, and the wakes of its waker.
struct Waiting<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    wakes: Arc<Wakes>,
}

impl<'a, T> Waiting<'a, T> {
    fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    fn poll(&mut self) -> Poll<T> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// The result of a task that was woken.
    fn woken(mut self) -> T {
        assert!(self.wakes.0.load(Ordering::SeqCst) > 0, "nothing has woken it");
        match self.poll() {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("it waits for ever"),
        }
    }
}

fn assert_failed<T>(result: Result<T, Error>) {
    match result {
        Err(error @ Error::Driver(_)) => assert!(error.to_string().contains("another runtime"), "{error}"),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn a_failure_of_the_driver_ends_all_that_waits_with_an_error_that_says_so() {
    let (own, other) = (runtime(), runtime());
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", silent.local_addr().expect("bound"));
    let (mut run, mut client, mut server, connecting, accepting) = own.block_on(async {
        let local = LocalShard::within(Streams::default(), Config::default(), Limits::default(), 1).expect("it works");
        let shard = RuntimeShard::install(Handle::current().id(), local, None);
        let pump = shard.guarded();
        let mut run = Box::pin(async move { pump.run().await });
        let mut both = pin!(pair());
        let (client, server) = poll_fn(|cx| {
            assert!(run.as_mut().poll(cx).is_pending(), "the driver works");
            both.as_mut().poll(cx)
        })
        .await;
        let mut connecting = Waiting::new(async move { crate::connect(&url).await });
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let mut accepting = Waiting::new(async move { listener.accept().await });
        assert!(connecting.poll().is_pending() && accepting.poll().is_pending());
        // The attempt begins, once another thread has passed on its address.
        while !poll_fn(|cx| {
            assert!(run.as_mut().poll(cx).is_pending(), "the driver works");
            assert!(connecting.poll().is_pending(), "the peer is silent");
            let mut count = 0;
            RuntimeShard::current().expect("it runs").with(|_, shard| count = shard.connection_count());
            Poll::Ready(count == 3)
        })
        .await
        {
            tokio_uring::no_op().await.expect("the ring works");
        }
        connecting.wakes.0.store(0, Ordering::SeqCst);
        (run, client, server, connecting, accepting)
    });
    let mut closing = Waiting::new(async move { server.close(ringway::CloseCode::NORMAL, "").await });
    let mut next = Waiting::new(client.next());
    assert!(next.poll().is_pending() && closing.poll().is_pending(), "and a turn is requested");
    other.block_on(run.as_mut());
    assert_failed(next.woken().expect("not the end"));
    assert_failed(closing.woken());
    assert_failed(connecting.woken());
    own.block_on(async { assert_failed(accepting.woken()) });
    assert_failed(client.try_send("late").map_err(|error| match error {
        crate::TrySendError::Failed(_, error) => error,
        full => panic!("{full}"),
    }));
}
