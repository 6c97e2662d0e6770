//! Peers that do not read, and tasks that do not take.

use crate::pair::{pair, run};
use futures_util::SinkExt;
use ringway_aio::{CloseCode, Config, Limits, Message, TrySendError};
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

fn limits() -> Limits {
    Limits::default().max_buffered(64 << 10).expect("in range").low_water(Some(16 << 10)).expect("in range")
}

/// Fills the output of a stream whose peer's task takes nothing. Returns the number of messages.
fn fill(client: &mut ringway_aio::WebSocket) -> usize {
    let mut sent = 0;
    loop {
        match client.try_send(vec![0; 16 << 10]) {
            Ok(()) => sent += 1,
            Err(TrySendError::Full(message)) => {
                assert_eq!(message.len(), 16 << 10);
                return sent;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Sends until the queue of the peer, both kernels' buffers and the output are full. The peer's task
/// takes nothing meanwhile. Returns the number of messages.
async fn fill_path(client: &mut ringway_aio::WebSocket) -> usize {
    // More than both queues of 64 KiB: the rest is in the kernel's buffers.
    const MIN_SENT: usize = 3 * (64 << 10) / (16 << 10);
    let (mut sent, mut quiet, mut buffered) = (0, 0, None);
    while quiet < 3 {
        let accepted = fill(client);
        sent += accepted;
        let before = buffered.replace(client.buffered_amount());
        let is_same = accepted == 0 && before == buffered && sent >= MIN_SENT;
        quiet = if is_same { quiet + 1 } else { 0 };
        // Time for the kernel to probe a closed window, and turns for both sides.
        if tokio::time::timeout(Duration::from_millis(300), client.flush()).await.is_ok() {
            quiet = 0;
        }
        for _ in 0..100 {
            tokio_uring::no_op().await.expect("the ring works");
        }
    }
    assert_eq!(fill(client), 0);
    sent
}

#[test]
fn send_waits_for_a_peer_that_does_not_take_and_nothing_is_lost() {
    run(async {
        ringway_aio::configure(Config::default(), limits()).expect("the first");
        let (mut client, mut server) = pair().await;
        let sent = fill_path(&mut client).await;
        assert!(client.buffered_amount() <= 64 << 10, "{}", client.buffered_amount());
        let mut sending = Box::pin(async move {
            client.send("the last one").await.expect("it is open");
            client.flush().await.expect("it is open");
            client.close(CloseCode::NORMAL, "").await.expect("a clean end");
        });
        for _ in 0..100 {
            assert!(poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending())).await, "nothing was taken");
            tokio_uring::no_op().await.expect("the ring works");
        }
        let sending = tokio_uring::spawn(sending);
        let mut got = 0;
        loop {
            let message = server.next().await.expect("not the end").expect("no error");
            if message == Message::from("the last one") {
                break;
            }
            got += 1;
        }
        assert!(got >= sent, "{got} of {sent}");
        assert!(server.next().await.is_none());
        sending.await.expect("no panic");
    });
}

#[test]
fn messages_beyond_the_memory_budget_are_handed_back_and_the_others_arrive() {
    run(async {
        let limits = limits().max_message(64 << 10).expect("in range").max_memory(Some(2 << 20)).expect("in range");
        ringway_aio::configure(Config::default(), limits).expect("the first");
        // 3.8 MiB are offered to tasks that take nothing.
        let mut ends = Vec::new();
        for n in 0..64u8 {
            let (client, server) = pair().await;
            ends.push((client, server, n));
        }
        // What has no room is handed back. The others wait until receiving goes on.
        ends.retain_mut(|(client, _, n)| client.try_send(vec![*n; 60 << 10]).is_ok());
        assert!((16..64).contains(&ends.len()), "{} were taken", ends.len());
        for (client, mut server, n) in ends {
            match server.next().await.expect("not the end") {
                Ok(message) => assert_eq!(message, Message::binary(vec![n; 60 << 10])),
                // One of the largest holders, which was closed to free memory.
                Err(error) => assert_eq!(error.close_code(), Some(CloseCode::TRY_AGAIN), "{error}"),
            }
            drop(client);
        }
    });
}

#[test]
fn a_message_that_the_sink_has_kept_precedes_those_of_try_send() {
    run(async {
        ringway_aio::configure(Config::default(), limits()).expect("the first");
        let (mut client, mut server) = pair().await;
        fill(&mut client);
        client.feed(Message::text(format!("kept {}", "x".repeat(20_000)))).await.expect("it is open");
        let refused = client.try_send("refused").expect_err("the one that is kept has no room");
        assert_eq!(refused.into_message(), Message::from("refused"));
        let reading = tokio_uring::spawn(async move {
            let mut texts = Vec::new();
            while let Some(Ok(message)) = server.next().await {
                texts.extend(message.as_text().and_then(|text| text.split(' ').next()).map(str::to_owned));
            }
            texts
        });
        while client.try_send("later").is_err() {
            // Lets the runtime submit operations.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        client.close(CloseCode::NORMAL, "").await.expect("a clean end");
        assert_eq!(reading.await.expect("no panic"), ["kept", "later"]);
    });
}
