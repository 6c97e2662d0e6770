//! The halves of a stream, `Stream` and `Sink`.

use crate::pair::{frame, pair, plain_client, position, run};
use futures_util::{SinkExt, StreamExt};
use ringway_aio::{CloseCode, Listener, Message, WebSocket};

#[test]
fn the_halves_are_used_by_two_tasks_and_join_again() {
    run(async {
        let (client, mut server) = pair().await;
        let (mut sender, mut receiver) = client.split();
        let sending = tokio_uring::spawn(async move {
            for n in 0..100 {
                sender.send(format!("{n}")).await.expect("it is open");
            }
            sender
        });
        for n in 0..100 {
            let message = server.next().await.expect("a message").expect("no error");
            assert_eq!(message.as_text(), Some(format!("{n}").as_str()));
            server.send(message).await.expect("it is open");
        }
        for n in 0..100 {
            let message = receiver.next().await.expect("a message").expect("no error");
            assert_eq!(message.as_text(), Some(format!("{n}").as_str()));
        }
        let sender = sending.await.expect("no panic");
        let (other, _peer) = pair().await;
        let (others_sender, others_receiver) = other.split();
        assert!(WebSocket::join(others_sender, receiver).is_err());
        drop((sender, others_receiver));
    });
}

#[test]
fn pings_and_a_close_are_answered_with_either_half_dropped() {
    run(async {
        for keeps_sender in [false, true] {
            let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
            // What nobody receives does not stop the ping and the close behind it.
            let mut frames = if keeps_sender { frame(0x82, &[0; 100]).repeat(10_000) } else { Vec::new() };
            frames.extend_from_slice(&frame(0x89, b"ping"));
            frames.extend_from_slice(&frame(0x88, &1000u16.to_be_bytes()));
            let peer = plain_client(&format!("ws://{}/", listener.local_addr()), frames);
            let (sender, receiver) = listener.accept().await.expect("it opens").split();
            let kept = if keeps_sender {
                drop(receiver);
                (Some(sender), None)
            } else {
                drop(sender);
                (None, Some(receiver))
            };
            let got = peer.await.expect("no panic");
            assert!(position(&got, b"\x8a\x04ping") < position(&got, &[0x88, 2, 0x03, 0xe8]), "{got:?}");
            drop(kept);
        }
    });
}

#[test]
fn the_connection_ends_with_the_last_half() {
    run(async {
        let (client, mut server) = pair().await;
        let (sender, receiver) = client.split();
        drop(receiver);
        server.send("nobody reads this").await.expect("it is open");
        server.flush().await.expect("it is open");
        drop(sender);
        let error = server.next().await.expect("an error").expect_err("no close frame");
        assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
    });
}

#[test]
fn stream_and_sink_forward_and_close() {
    run(async {
        let (client, server) = pair().await;
        let echo = tokio_uring::spawn(async move {
            let (sink, stream) = server.split();
            stream.forward(sink).await
        });
        let (mut sink, mut stream) = client.split();
        for n in 0..100 {
            sink.feed(Message::text(format!("{n}"))).await.expect("it is open");
        }
        SinkExt::flush(&mut sink).await.expect("it is open");
        for n in 0..100 {
            let message = StreamExt::next(&mut stream).await.expect("a message").expect("no error");
            assert_eq!(message.as_text(), Some(format!("{n}").as_str()));
        }
        SinkExt::close(&mut sink).await.expect("a clean end");
        assert!(StreamExt::next(&mut stream).await.is_none());
        assert!(StreamExt::next(&mut stream).await.is_none(), "it stays at its end");
        echo.await.expect("no panic").expect("a clean end");
    });
}

#[test]
fn a_sink_keeps_a_large_message_until_it_has_room() {
    run(async {
        let (mut client, mut server) = pair().await;
        let reading = tokio_uring::spawn(async move {
            let mut sum = 0;
            while let Some(Ok(message)) = server.next().await {
                sum += message.len();
            }
            sum
        });
        for _ in 0..10 {
            SinkExt::feed(&mut client, Message::binary(vec![0; 3 << 20])).await.expect("it is open");
        }
        SinkExt::close(&mut client).await.expect("a clean end");
        assert_eq!(reading.await.expect("no panic"), 10 * (3 << 20));
    });
}
