//! Opening handshakes.

use crate::pair::{REQUEST, frame, pair_with, run};
use ringway_aio::{
    Acceptor, Answer, CloseCode, ConnectError, Connector, Error, HeaderName, HeaderValue, Listener, Message,
    StatusCode, Unopened,
};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::task::Poll;
use std::thread;

/// A server that answers one connection with these bytes.
fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a client");
        let _ = peer.read(&mut [0; 4096]);
        let _ = peer.write_all(bytes);
    });
    url
}

#[test]
fn a_request_is_seen_and_answered_with_subprotocol_and_headers() {
    run(async {
        let answer = |request: &ringway_aio::Request| {
            assert_eq!((request.path(), request.header("x-user")), ("/", Some("ada")));
            assert_eq!(request.subprotocols, ["chat.v2", "chat.v1"]);
            assert!(request.remote_addr.is_some());
            Answer::accept().subprotocol("chat.v1")
        };
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port").with(Acceptor::new().answer(answer));
        let url = format!("ws://{}/", listener.local_addr());
        let connector = Connector::new()
            .subprotocols(["chat.v2", "chat.v1"])
            .header(HeaderName::from_static("x-user"), HeaderValue::from_static("ada"));
        let client = tokio_uring::spawn(async move { connector.connect(&url).await });
        let server = listener.accept().await.expect("it opens");
        let client = client.await.expect("no panic").expect("it opens");
        assert_eq!((server.subprotocol(), client.subprotocol()), (Some("chat.v1".into()), Some("chat.v1".into())));
    });
}

#[test]
fn a_rejection_reaches_the_client_and_ends_accept_with_its_status() {
    run(async {
        let socket = tokio_uring::net::TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let url = format!("ws://{}/", socket.local_addr().expect("bound"));
        let client = tokio_uring::spawn(async move { ringway_aio::connect(&url).await });
        let (stream, _) = socket.accept().await.expect("a client");
        let error = ringway_aio::accept_with(stream, |_| Answer::reject(StatusCode::FORBIDDEN, "not you")).await;
        let error = error.expect_err("it was rejected");
        assert!(matches!(error, Error::Accept(Unopened::Rejected(StatusCode::FORBIDDEN))), "{error}");
        let error = client.await.expect("no panic").expect_err("it was rejected");
        assert!(error.to_string().contains("403"), "{error}");
    });
}

#[test]
fn a_stream_of_tokio_uring_is_accepted() {
    run(async {
        let socket = tokio_uring::net::TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let url = format!("ws://{}/", socket.local_addr().expect("bound"));
        let client = tokio_uring::spawn(async move { ringway_aio::connect(&url).await });
        let (stream, _) = socket.accept().await.expect("a client");
        let mut server = ringway_aio::accept(stream).await.expect("it opens");
        let mut client = client.await.expect("no panic").expect("it opens");
        client.send("hello").await.expect("it is open");
        assert_eq!(server.next().await.expect("a message").expect("no error").as_text(), Some("hello"));
        assert_eq!(server.remote_addr().map(|of| of.ip().is_loopback()), Some(true));
    });
}

#[test]
fn servers_that_are_none_redirect_or_refuse_are_one_clear_line() {
    run(async {
        for (response, part) in [
            (&b"220 mail.example ESMTP\r\n"[..], "HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200"),
            (b"HTTP/1.1 302 Found\r\nLocation: ws://elsewhere.example/\r\nContent-Length: 0\r\n\r\n", "302"),
            (b"", "ended"),
        ] {
            let error = ringway_aio::connect(&answering(response)).await.expect_err("no WebSocket server");
            let text = error.to_string();
            assert!(text.contains(part) && !text.contains('\n'), "{text}");
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let error = ringway_aio::connect(&format!("ws://{free}/")).await.expect_err("nobody listens");
        assert!(matches!(&error, Error::Connect(of) if matches!(**of, ConnectError::Unreachable(_))), "{error}");
        for url in ["http://server.example/", "ws://", "ws://nowhere.invalid/"] {
            assert!(matches!(ringway_aio::connect(url).await, Err(Error::Connect(_))), "{url}");
        }
    });
}

#[test]
fn a_peer_that_sends_no_request_ends_accept_and_delays_no_other() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
        theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is open");
        theirs.shutdown(std::net::Shutdown::Write).expect("it is open");
        let error = Acceptor::new().accept_socket(ours).await.expect_err("no request");
        assert!(matches!(&error, Error::Accept(Unopened::Refused(StatusCode::BAD_REQUEST, _))), "{error}");
        let (ours, theirs) = UnixStream::pair().expect("descriptors");
        drop(theirs);
        let error = Acceptor::new().accept_socket(ours).await.expect_err("no request");
        assert!(matches!(error, Error::Accept(Unopened::Ended)), "{error}");

        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr();
        let _silent: Vec<_> = (0..3).map(|_| TcpStream::connect(address).expect("it listens")).collect();
        let client = tokio_uring::spawn(async move { ringway_aio::connect(&format!("ws://{address}/")).await });
        let server = listener.accept().await.expect("it opens");
        drop((client.await.expect("no panic").expect("it opens"), server));
    });
}

#[test]
fn a_descriptor_that_is_no_connection_is_an_error() {
    run(async {
        let file = std::fs::File::open("/dev/null").expect("it exists");
        let error = Acceptor::new().accept_socket(file).await.expect_err("no socket");
        assert!(matches!(error, Error::Socket(_)), "{error}");
    });
}

#[test]
fn outside_of_a_runtime_everything_is_an_error() {
    assert!(matches!(Listener::bind("127.0.0.1:0"), Err(Error::NoRuntime)));
    let mut connect = std::pin::pin!(ringway_aio::connect("ws://127.0.0.1:1/"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = std::future::Future::poll(connect.as_mut(), &mut cx);
    assert!(matches!(polled, std::task::Poll::Ready(Err(Error::NoRuntime))));
}

#[test]
fn the_config_of_the_runtime_applies_and_options_that_contradict_it_are_refused() {
    run(async {
        let config = ringway_aio::Config::default().driver(ringway::DriverChoice::Epoll);
        let error = ringway_aio::configure(config, ringway_aio::Limits::default()).expect_err("another driver");
        assert!(error.to_string().starts_with("driver is Epoll"), "{error}");
        let fixed = ringway::BusyPoll::Fixed(std::time::Duration::from_millis(1));
        let config = ringway_aio::Config::default().busy_poll(fixed).expect("in range");
        let error = ringway_aio::configure(config, ringway_aio::Limits::default()).expect_err("no polling");
        assert!(error.to_string().starts_with("busy_poll is "), "{error}");
        let config = ringway_aio::Config::default().subprotocols(["chat"]).expect("a token");
        ringway_aio::configure(config, ringway_aio::Limits::default()).expect("the first");
        let (mut client, server) = pair_with(Acceptor::new()).await;
        assert_eq!(server.subprotocol(), None, "the client offers none");
        client.close(CloseCode::NORMAL, "").await.expect("a clean end");
    });
}

#[test]
fn messages_of_a_connection_that_ended_before_it_was_polled_are_received() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
        let acceptor = Acceptor::new();
        let mut accept = std::pin::pin!(acceptor.accept_socket(ours));
        assert!(poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx).is_pending())).await);
        theirs.write_all(REQUEST).expect("it is open");
        theirs.write_all(&frame(0x81, b"hello")).expect("it is open");
        theirs.write_all(&frame(0x88, &1000u16.to_be_bytes())).expect("it is open");
        let end = tokio::task::spawn_blocking(move || theirs.read_to_end(&mut Vec::new()));
        end.await.expect("no panic").expect("an end");
        let mut ws = accept.await.expect("it was open");
        assert_eq!(ws.next().await.expect("a message").expect("no error"), Message::from("hello"));
        assert!(ws.next().await.is_none());
        assert_eq!(ws.close_reason().expect("it has ended").code, CloseCode::NORMAL);
    });
}
