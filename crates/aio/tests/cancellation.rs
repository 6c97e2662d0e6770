//! Futures that are dropped at every await point lose no message and leak nothing.
//!
//! Each operation is polled N times and then dropped, for N from 0 until it completes; between two
//! polls the task is woken as in normal use. One test runs everything in turn, because it counts the
//! descriptors of the process.

use futures_util::SinkExt;
use ringway_aio::{
    Acceptor, ClientTls, CloseCode, Config, Connector, Deflate, Limits, Listener, Message, TlsConfig, WebSocket,
};
use ringway_testkit::certificates::Authority;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Polls a future `polls` times, and drops it if it has not completed by then.
async fn polled<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut done = 0;
    poll_fn(|cx| {
        if done == polls {
            return Poll::Ready(None);
        }
        done += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // The last poll is not followed by a wake.
            Poll::Pending if done == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Lets the runtime sleep once: tokio-uring submits operations before that, and not while tasks yield.
async fn breathe() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

/// How the ends of a connection are made.
#[derive(Clone)]
struct Setup {
    acceptor: Acceptor,
    connector: Connector,
    scheme: &'static str,
}

impl Setup {
    fn plain() -> Self {
        Self { acceptor: Acceptor::new(), connector: Connector::new(), scheme: "ws" }
    }

    fn tls() -> Self {
        let root = Authority::root("Test Root");
        let identity = root.issue(&["127.0.0.1"]);
        let tls = TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a chain and a key");
        let roots = ClientTls::with_ca_pem(root.pem().as_bytes()).expect("a certificate");
        Self { acceptor: Acceptor::new().tls(&tls), connector: Connector::new().tls(&roots), scheme: "wss" }
    }

    fn listener(&self) -> (Listener, String) {
        let listener = Listener::bind("127.0.0.1:0").expect("a port").with(self.acceptor.clone());
        let url = format!("{}://{}/", self.scheme, listener.local_addr());
        (listener, url)
    }

    async fn pair(&self) -> (WebSocket, WebSocket) {
        let (mut listener, url) = self.listener();
        let connector = self.connector.clone();
        let client = tokio_uring::spawn(async move { connector.connect(&url).await });
        let server = listener.accept().await.expect("it opens");
        (client.await.expect("no panic").expect("it opens"), server)
    }
}

fn number(message: Message) -> usize {
    message.as_text().and_then(|text| text.split(' ').next()).expect("text").parse().expect("a number")
}

/// Receiving is cancelled after N polls, for each message; all messages arrive once and in order.
async fn receiving(setup: &Setup) {
    let (mut client, mut server) = setup.pair().await;
    const COUNT: usize = 300;
    let sending = tokio_uring::spawn(async move {
        for n in 0..COUNT {
            server.send(format!("{n} {}", "x".repeat(n * 37 % 5000))).await.expect("it is open");
            if n % 3 == 0 {
                server.flush().await.expect("it is open");
                breathe().await;
            }
        }
        server.close(CloseCode::NORMAL, "").await.expect("a clean end");
    });
    let (mut expected, mut polls) = (0, 0);
    loop {
        match polled(polls % 4, client.next()).await {
            Some(Some(message)) => {
                assert_eq!(number(message.expect("no error")), expected);
                expected += 1;
            }
            Some(None) => break,
            None => breathe().await,
        }
        polls += 1;
    }
    assert_eq!(expected, COUNT);
    sending.await.expect("no panic");
}

/// Sending is cancelled after N polls; what was reported as sent arrives, and nothing else, in order.
async fn sending(setup: &Setup) {
    let (mut client, mut server) = setup.pair().await;
    let reading = tokio_uring::spawn(async move {
        let mut got = Vec::new();
        while let Some(Ok(message)) = server.next().await {
            got.push(number(message));
        }
        got
    });
    let mut sent = Vec::new();
    for n in 0..200 {
        let text = format!("{n} {}", "y".repeat(40_000));
        match polled(n % 3, client.send(text)).await {
            Some(result) => {
                result.expect("it is open");
                sent.push(n);
            }
            None => breathe().await,
        }
        let _ = polled(n % 2, client.flush()).await;
    }
    client.close(CloseCode::NORMAL, "").await.expect("a clean end");
    assert_eq!(reading.await.expect("no panic"), sent);
}

/// The sink and its flush are cancelled; what was fed arrives in order.
async fn sinking(setup: &Setup) {
    let (client, mut server) = setup.pair().await;
    let reading = tokio_uring::spawn(async move {
        let mut got = Vec::new();
        while let Some(Ok(message)) = server.next().await {
            got.push(number(message));
        }
        got
    });
    let (mut sink, stream) = client.split();
    let mut sent = Vec::new();
    for n in 0..200 {
        // Only an accepted `start_send` counts: it follows a ready `poll_ready` at once.
        let ready = poll_fn(|cx| Poll::Ready(SinkExt::<Message>::poll_ready_unpin(&mut sink, cx))).await;
        if let Poll::Ready(result) = ready {
            result.expect("it is open");
            sink.start_send_unpin(Message::text(format!("{n} {}", "z".repeat(40_000)))).expect("it has room");
            sent.push(n);
        } else {
            breathe().await;
        }
        let _ = polled(n % 3, SinkExt::<Message>::flush(&mut sink)).await;
    }
    SinkExt::<Message>::close(&mut sink).await.expect("a clean end");
    assert_eq!(reading.await.expect("no panic"), sent);
    drop(stream);
}

/// Closing is cancelled after N polls: it goes on.
async fn closing(setup: &Setup) {
    for polls in 0..8 {
        let (mut client, mut server) = setup.pair().await;
        let _ = polled(polls, client.close(CloseCode::new(4000), "bye")).await;
        if polls == 0 {
            assert!(client.is_open(), "nothing was polled");
            client.close(CloseCode::new(4000), "bye").await.expect("a clean end");
        }
        assert!(server.next().await.is_none());
        assert_eq!(server.close_reason().expect("it has ended").code.as_u16(), 4000);
    }
}

/// Connecting is cancelled after N polls, until it completes. Every attempt that is dropped leaves no
/// connection behind.
async fn connecting(setup: &Setup) {
    let (mut listener, url) = setup.listener();
    let accepting = tokio_uring::spawn(async move {
        loop {
            let mut ws = listener.accept().await.expect("the listener works");
            tokio_uring::spawn(async move { while let Some(Ok(_)) = ws.next().await {} });
        }
    });
    for polls in 0.. {
        if let Some(result) = polled(polls, setup.connector.connect(&url)).await {
            result.expect("it opens").close(CloseCode::NORMAL, "").await.expect("a clean end");
            break;
        }
    }
    // A name: its look-up is dropped too.
    let _ = polled(1, ringway_aio::connect("ws://localhost:1/")).await;
    accepting.abort();
    assert!(accepting.await.is_err());
}

/// Accepting from a listener is cancelled after N polls: no connection is lost.
async fn accepting(setup: &Setup) {
    const CLIENTS: usize = 20;
    let (mut listener, url) = setup.listener();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (connector, url) = (setup.connector.clone(), url.clone());
            tokio_uring::spawn(async move {
                let mut ws = connector.connect(&url).await.expect("it opens");
                ws.send(format!("{n} ")).await.expect("it is open");
                ws.next().await
            })
        })
        .collect();
    let (mut seen, mut polls) = (Vec::new(), 0);
    while seen.len() < CLIENTS {
        match polled(polls % 4, listener.accept()).await {
            Some(ws) => {
                let mut ws = ws.expect("the listener works");
                seen.push(number(ws.next().await.expect("a message").expect("no error")));
                ws.close(CloseCode::NORMAL, "").await.expect("a clean end");
            }
            None => breathe().await,
        }
        polls += 1;
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..CLIENTS));
    for client in clients {
        assert!(client.await.expect("no panic").is_none());
    }
}

/// Accepting one socket is cancelled after N polls: the socket is closed.
async fn accepting_a_socket(setup: &Setup) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("{}://{}/", setup.scheme, socket.local_addr().expect("bound"));
    for polls in 0.. {
        let (connector, url) = (setup.connector.clone(), url.clone());
        let client = tokio_uring::spawn(async move { connector.connect(&url).await });
        // The client waits for the answer, so the connection is in the queue soon.
        socket.set_nonblocking(true).expect("a socket");
        let accepted = loop {
            match socket.accept() {
                Ok((accepted, _)) => break accepted,
                Err(_) => breathe().await,
            }
        };
        let done = polled(polls, setup.acceptor.accept_socket(accepted)).await;
        let is_open = done.is_some();
        if let Some(ws) = done {
            drop(ws.expect("it opens"));
        }
        // An error if it was cancelled: nothing hangs.
        drop(client.await.expect("no panic"));
        if is_open {
            break;
        }
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

#[test]
fn nothing_is_lost_and_nothing_leaks_at_any_await_point() {
    for deflate in [None, Some(Deflate::takeover())] {
        for setup in [Setup::plain(), Setup::tls()] {
            let before = descriptors();
            tokio_uring::start(async {
                ringway_aio::configure(Config::default().deflate(deflate), Limits::default()).expect("the first");
                let idle = {
                    drop(setup.pair().await);
                    settled(usize::MAX).await
                };
                receiving(&setup).await;
                sending(&setup).await;
                sinking(&setup).await;
                closing(&setup).await;
                connecting(&setup).await;
                accepting(&setup).await;
                accepting_a_socket(&setup).await;
                assert_eq!(settled(idle).await, idle, "descriptors are left over");
            });
            assert_eq!(descriptors(), before, "the runtime has left descriptors");
        }
    }
}

/// The number of descriptors when connections that were dropped are closed: `target`, or what it
/// stays at for a while.
async fn settled(target: usize) -> usize {
    let mut now = descriptors();
    for _ in 0..500 {
        if now == target {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let next = descriptors();
        if target == usize::MAX && next == now {
            break;
        }
        now = next;
    }
    now
}
