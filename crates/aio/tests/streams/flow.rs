//! Messages, pings and closing handshakes.

use crate::pair::{echo_server, frame, pair, plain_client, position, run};
use ringway_aio::{CloseCode, Config, Error, Limits, Listener, Message, TrySendError};
use ringway_io::BufferConfig;
use std::time::Duration;

#[test]
fn messages_of_all_sizes_are_echoed_in_order() {
    run(async {
        let mut ws = ringway_aio::connect(&echo_server()).await.expect("it opens");
        for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 8 << 20] {
            for message in [Message::binary(vec![7; len]), Message::text("ü".repeat(len / 2))] {
                ws.send(message.clone()).await.expect("it is open");
                assert_eq!(ws.next().await.expect("an echo").expect("no error"), message);
            }
        }
        ws.close(CloseCode::NORMAL, "done").await.expect("a clean end");
        assert!(ws.next().await.is_none());
        let reason = ws.close_reason().expect("it has ended");
        assert_eq!(
            (reason.code, reason.text.as_str(), reason.is_clean, reason.by_peer),
            (CloseCode::NORMAL, "done", true, false)
        );
    });
}

#[test]
fn a_thousand_messages_that_nobody_takes_arrive_in_order_later() {
    run(async {
        let (mut client, mut server) = pair().await;
        let sender = tokio_uring::spawn(async move {
            for n in 0..1000 {
                client.send(format!("message {n}")).await.expect("it is open");
            }
            client.close(CloseCode::NORMAL, "").await
        });
        for n in 0..1000 {
            let message = server.next().await.expect("not the end").expect("no error");
            assert_eq!(message.as_text(), Some(format!("message {n}").as_str()));
        }
        assert!(server.next().await.is_none());
        sender.await.expect("no panic").expect("a clean end");
    });
}

#[test]
fn each_code_that_may_be_sent_arrives_and_others_are_refused() {
    run(async {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999] {
            let (mut client, mut server) = pair().await;
            let code = CloseCode::new(code);
            client.close(code, "why").await.expect("a clean end");
            assert!(server.next().await.is_none());
            let reason = server.close_reason().expect("it has ended");
            assert_eq!((reason.code, reason.text.as_str(), reason.by_peer), (code, "why", true));
        }
        let (mut client, mut server) = pair().await;
        for code in [CloseCode::ABNORMAL, CloseCode::new(1015)] {
            assert!(matches!(client.close(code, "").await, Err(Error::CloseCode(_))), "{code:?}");
            assert!(client.is_open());
        }
        server.close(CloseCode::NO_STATUS, "").await.expect("a clean end");
        assert!(client.next().await.is_none());
        assert_eq!(client.close_reason().expect("it has ended").code, CloseCode::NO_STATUS);
    });
}

#[test]
fn nothing_is_sent_after_a_close_and_what_was_sent_before_arrives() {
    run(async {
        let (mut client, mut server) = pair().await;
        client.send("last").await.expect("it is open");
        client.close(CloseCode::NORMAL, "").await.expect("a clean end");
        assert!(matches!(client.send("late").await, Err(Error::Closed)));
        assert!(matches!(client.try_send("late"), Err(TrySendError::Failed(_, Error::Closed))));
        assert_eq!(server.next().await.expect("a message").expect("no error"), Message::from("last"));
        assert!(server.next().await.is_none());
    });
}

#[test]
fn a_message_beyond_the_limit_ends_both_sides_with_1009() {
    run(async {
        ringway_aio::configure(Config::default(), Limits::default().max_message(1000).expect("in range"))
            .expect("first");
        let (mut client, mut server) = pair().await;
        client.send(vec![0; 1001]).await.expect("it is open");
        let error = server.next().await.expect("an error").expect_err("too large");
        assert_eq!(error.close_code().map(CloseCode::as_u16), Some(1009), "{error}");
        assert!(server.next().await.is_none());
        assert!(client.next().await.is_none(), "the peer has closed");
        assert_eq!(client.close_reason().expect("it has ended").code.as_u16(), 1009);
        assert!(matches!(ringway_aio::configure(Config::default(), Limits::default()), Err(Error::Configured)));
    });
}

#[test]
fn invalid_utf8_ends_with_1007_and_fragments_become_one_message() {
    run(async {
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let url = format!("ws://{}/", listener.local_addr());
        // "Hel" and "lo" with a ping in between, then an invalid byte; masked with zeros.
        let mut frames = vec![0x01, 0x83, 0, 0, 0, 0, b'H', b'e', b'l', 0x89, 0x81, 0, 0, 0, 0, b'p'];
        frames.extend_from_slice(&[0x80, 0x82, 0, 0, 0, 0, b'l', b'o', 0x81, 0x81, 0, 0, 0, 0, 0xff]);
        let peer = plain_client(&url, frames);
        let mut ws = listener.accept().await.expect("it opens");
        assert_eq!(ws.next().await.expect("a message").expect("no error"), Message::from("Hello"));
        let error = ws.next().await.expect("an error").expect_err("invalid");
        assert_eq!(error.close_code().map(CloseCode::as_u16), Some(1007));
        let got = peer.await.expect("no panic");
        let pong = got.windows(3).any(|bytes| bytes == [0x8a, 1, b'p']);
        let close = got.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == 1007u16.to_be_bytes());
        assert!(pong && close, "{got:?}");
    });
}

#[test]
fn a_peer_that_vanishes_is_an_error_with_1006() {
    run(async {
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let peer = plain_client(&format!("ws://{}/", listener.local_addr()), Vec::new());
        let mut ws = listener.accept().await.expect("it opens");
        let error = ws.next().await.expect("an error").expect_err("no close frame");
        assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
        assert!(ws.next().await.is_none());
        peer.await.expect("no panic");
    });
}

#[test]
fn pings_are_answered_while_nobody_polls_the_stream() {
    run(async {
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let close = frame(0x88, &1000u16.to_be_bytes());
        let frames = [frame(0x89, b"are you there"), close].concat();
        let peer = plain_client(&format!("ws://{}/", listener.local_addr()), frames);
        let server = listener.accept().await.expect("it opens");
        let got = peer.await.expect("no panic");
        // The close is answered as well.
        assert!(position(&got, b"\x8a\x0dare you there") < position(&got, &[0x88, 2, 0x03, 0xe8]), "{got:?}");
        drop(server);
    });
}

#[test]
fn a_ping_is_answered_by_the_stream_of_the_peer_and_a_longer_one_is_refused() {
    run(async {
        let (mut client, server) = pair().await;
        client.ping(b"are you there").expect("short");
        assert!(matches!(client.ping(&[0; 126]), Err(Error::Ping(_))));
        client.close(CloseCode::NORMAL, "").await.expect("a clean end");
        drop(server);
    });
}

#[test]
fn a_message_in_front_of_a_violation_is_answered_before_it_ends_the_connection() {
    run(async {
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let url = format!("ws://{}/", listener.local_addr());
        // "hi", and then a frame with a reserved opcode; masked with zeros.
        let frames = vec![0x81, 0x82, 0, 0, 0, 0, b'h', b'i', 0x83, 0x80, 0, 0, 0, 0];
        let peer = plain_client(&url, frames);
        let mut ws = listener.accept().await.expect("it opens");
        let message = ws.next().await.expect("a message").expect("no error");
        ws.send(message).await.expect("it is open until the next message is asked for");
        let error = ws.next().await.expect("an error").expect_err("a violation");
        assert_eq!(error.close_code(), Some(CloseCode::PROTOCOL_ERROR));
        let got = peer.await.expect("no panic");
        let echo = got.windows(4).position(|bytes| bytes == [0x81, 2, b'h', b'i']).expect("the echo");
        assert!(got[echo + 4..].starts_with(&[0x88]), "{got:?}");
    });
}

#[test]
fn all_messages_in_front_of_a_violation_are_answered_before_it_ends_the_connection() {
    run(async {
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let texts = ["one", "two", "three"];
        let mut frames: Vec<u8> = texts.iter().flat_map(|text| frame(0x81, text.as_bytes())).collect();
        frames.extend_from_slice(&frame(0x83, b""));
        let peer = plain_client(&format!("ws://{}/", listener.local_addr()), frames);
        let mut ws = listener.accept().await.expect("it opens");
        for text in texts {
            let message = ws.next().await.expect("a message").expect("no error");
            assert_eq!(message, Message::from(text));
            // The shard has a turn, which does not end the connection.
            ws.ping(b"").expect("short");
            ws.flush().await.expect("it is open");
            ws.send(message).await.expect("it is open until the next message is asked for");
        }
        let error = ws.next().await.expect("an error").expect_err("a violation");
        assert_eq!(error.close_code(), Some(CloseCode::PROTOCOL_ERROR));
        let got = peer.await.expect("no panic");
        assert!(position(&got, b"\x81\x05three") < position(&got, &1002u16.to_be_bytes()), "{got:?}");
    });
}

#[test]
fn a_violation_ends_a_connection_whose_task_asks_for_no_message() {
    run(async {
        let timeout = Duration::from_millis(100);
        let config = Config::default().close_timeout(timeout).expect("in range");
        ringway_aio::configure(config, Limits::default()).expect("the first");
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let frames = [frame(0x81, b"hi"), frame(0x83, b"")].concat();
        let peer = plain_client(&format!("ws://{}/", listener.local_addr()), frames);
        let mut ws = listener.accept().await.expect("it opens");
        let got = peer.await.expect("no panic");
        position(&got, &1002u16.to_be_bytes());
        // What was received before is not lost.
        assert_eq!(ws.next().await.expect("a message").expect("no error"), Message::from("hi"));
        let error = ws.next().await.expect("an error").expect_err("a violation");
        assert_eq!(error.close_code(), Some(CloseCode::PROTOCOL_ERROR));
    });
}

#[test]
fn connections_that_have_waited_for_a_buffer_are_read() {
    run(async {
        let buffers = BufferConfig::new().count(1).expect("in range");
        let config = Config::default().buffers(buffers);
        ringway_aio::configure(config, Limits::default()).expect("the first");
        let mut pairs = Vec::new();
        for _ in 0..8 {
            pairs.push(pair().await);
        }
        for (client, _) in &mut pairs {
            client.send("hello").await.expect("it is open");
        }
        for (_, server) in &mut pairs {
            assert_eq!(server.next().await.expect("a message").expect("no error"), Message::from("hello"));
        }
    });
}

#[test]
fn a_violation_ends_a_connection_whose_receiver_was_dropped() {
    run(async {
        let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
        let url = format!("ws://{}/", listener.local_addr());
        let peer = plain_client(&url, vec![0x81, 0x82, 0, 0, 0, 0, b'h', b'i', 0x83, 0x80, 0, 0, 0, 0]);
        let (mut sender, receiver) = listener.accept().await.expect("it opens").split();
        drop(receiver);
        while sender.flush().await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let got = peer.await.expect("no panic");
        assert!(got.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == 1002u16.to_be_bytes()), "{got:?}");
    });
}
