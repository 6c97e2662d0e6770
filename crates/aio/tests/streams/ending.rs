//! The end of runtimes, streams and listeners.

use crate::pair::{pair, run};
use ringway_aio::{CloseCode, Error, Listener, TrySendError, WebSocket};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Polls a future once, outside of any runtime.
fn poll_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits, and nothing will wake it"),
    }
}

fn assert_ended(mut ws: WebSocket) {
    assert!(matches!(poll_now(ws.next()), Some(Err(Error::RuntimeEnded))));
    assert!(poll_now(ws.next()).is_none());
    assert!(matches!(poll_now(ws.send("late")), Err(Error::RuntimeEnded)));
    assert!(matches!(ws.try_send("late"), Err(TrySendError::Failed(_, Error::RuntimeEnded))));
    assert!(matches!(poll_now(ws.flush()), Err(Error::RuntimeEnded)));
    assert!(matches!(poll_now(ws.close(CloseCode::NORMAL, "")), Err(Error::RuntimeEnded)));
    assert!(ws.ping(b"").is_err() && !ws.is_open() && ws.buffered_amount() == 0);
}

#[test]
fn streams_that_outlive_their_runtime_end_with_an_error_that_says_so() {
    let (client, server) = run(pair());
    assert_ended(client);
    assert_ended(server);
}

#[test]
fn a_message_that_was_received_before_the_end_of_the_runtime_is_returned_after_it() {
    let (client, mut server) = run(async {
        let (mut client, mut server) = pair().await;
        for text in ["first", "second"] {
            client.send(text).await.expect("it is open");
        }
        assert_eq!(server.next().await.expect("a message").expect("no error").as_text(), Some("first"));
        (client, server)
    });
    drop(client);
    // It has arrived with the first one: both were sent in one turn.
    let message = poll_now(server.next()).expect("not the end").expect("no error");
    assert_eq!(message.as_text(), Some("second"));
    assert!(matches!(poll_now(server.next()), Some(Err(Error::RuntimeEnded))));
    assert!(poll_now(server.next()).is_none());
}

#[test]
fn a_runtime_ends_while_tasks_wait_in_all_operations() {
    run(async {
        let (mut client, mut server) = pair().await;
        tokio_uring::spawn(async move { server.next().await.map(|message| message.map(drop)) });
        tokio_uring::spawn(async move { client.next().await.map(|message| message.map(drop)) });
        let (mut other, _peer) = pair().await;
        tokio_uring::spawn(async move { other.close(CloseCode::NORMAL, "").await });
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("ws://{}/", silent.local_addr().expect("bound"));
        tokio_uring::spawn(async move { listener.accept().await.map(drop) });
        tokio_uring::spawn(async move { ringway_aio::connect(&url).await.map(drop) });
        tokio_uring::spawn(async { ringway_aio::connect("ws://nowhere.invalid/").await.map(drop) });
        tokio::task::yield_now().await;
    });
    // The thread can have another runtime.
    run(async {
        let (mut client, mut server) = pair().await;
        client.send("again").await.expect("it is open");
        assert!(server.next().await.is_some());
    });
}

#[test]
fn a_stream_that_is_dropped_without_a_close_ends_at_once_and_its_peer_sees_it() {
    run(async {
        let (client, mut server) = pair().await;
        drop(client);
        let error = server.next().await.expect("an error").expect_err("no close frame");
        assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
    });
}

#[test]
fn a_close_whose_future_was_dropped_is_completed_in_the_background() {
    run(async {
        let (mut client, mut server) = pair().await;
        {
            let mut close = pin!(client.close(CloseCode::new(4001), "begun"));
            let polled = std::future::poll_fn(|cx| Poll::Ready(close.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
        }
        drop(client);
        assert!(server.next().await.is_none());
        assert_eq!(server.close_reason().expect("it has ended").code.as_u16(), 4001);
    });
}

#[test]
fn a_listener_that_is_dropped_frees_its_port() {
    run(async {
        let listener = Listener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr();
        let error = Listener::bind(address).expect_err("it is in use");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        drop(listener);
        let mut listener = Listener::bind(address).expect("it is free");
        let client = tokio_uring::spawn(async move { ringway_aio::connect(&format!("ws://{address}/")).await });
        drop(listener.accept().await.expect("it opens"));
        drop(client.await.expect("no panic"));
    });
}

#[test]
fn a_task_that_panics_closes_its_stream_with_1011() {
    run(async {
        let (client, mut server) = pair().await;
        let task = tokio_uring::spawn(async move {
            let _client = client;
            panic!("on purpose");
        });
        assert!(task.await.is_err());
        assert!(server.next().await.is_none());
        assert_eq!(server.close_reason().expect("it has ended").code, CloseCode::INTERNAL);
    });
}
