//! Servers with several runtimes.

use crate::pair::run;
use ringway_aio::{Answer, CloseCode, Config, Message, Running, Server, Shards, StatusCode, WebSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn config() -> Config {
    Config::default().cores(ringway::Cores::Unpinned).expect("any core")
}

async fn echo(mut ws: WebSocket) {
    while let Some(Ok(message)) = ws.next().await {
        assert_ne!(message.as_text(), Some("panic"), "on purpose");
        if ws.send(message).await.is_err() {
            break;
        }
    }
}

fn server() -> Server {
    Server::bind("127.0.0.1:0").expect("a port").config(config())
}

fn url(running: &Running) -> String {
    format!("ws://{}/", running.addresses()[0])
}

async fn round_trip(ws: &mut WebSocket, text: &str) {
    ws.send(text).await.expect("it is open");
    assert_eq!(ws.next().await.expect("an echo").expect("no error"), Message::from(text));
}

#[test]
fn all_runtimes_serve_and_a_stop_closes_all_connections_with_1001() {
    let running = server().shards(Shards::Count(3)).start(echo).expect("it starts");
    let (url, stopper) = (url(&running), running.stopper());
    run(async {
        let mut clients = Vec::new();
        for n in 0..48 {
            let mut ws = ringway_aio::connect(&url).await.expect("it opens");
            round_trip(&mut ws, &format!("hello {n}")).await;
            clients.push(ws);
        }
        assert!(!stopper.is_stopping());
        stopper.stop();
        for mut ws in clients {
            assert!(ws.next().await.is_none());
            assert_eq!(ws.close_reason().expect("it has ended").code, CloseCode::GOING_AWAY);
        }
        assert!(ringway_aio::connect(&url).await.is_err());
    });
    let reports = running.wait().expect("no runtime fails");
    assert_eq!(reports.iter().map(|report| report.counters.handshakes_accepted).sum::<u64>(), 48);
    assert!(reports.iter().filter(|report| report.stats.accepted > 0).count() > 1, "one runtime has all");
}

#[test]
fn a_panic_of_a_task_closes_its_connection_with_1011_and_no_other() {
    let running = server().shards(Shards::Count(1)).start(echo).expect("it starts");
    run(async {
        let mut other = ringway_aio::connect(&url(&running)).await.expect("it opens");
        let mut ws = ringway_aio::connect(&url(&running)).await.expect("it opens");
        ws.send("panic").await.expect("it is open");
        assert!(ws.next().await.is_none());
        assert_eq!(ws.close_reason().expect("it has ended").code, CloseCode::INTERNAL);
        round_trip(&mut other, "still there").await;
    });
    running.stop();
    running.wait().expect("no runtime fails");
}

#[test]
fn requests_are_answered_and_a_panic_of_the_answer_ends_only_its_connection() {
    let answer = |request: &ringway_aio::Request| match request.path() {
        "/chat" => Answer::accept(),
        "/panic" => panic!("on purpose"),
        _ => Answer::reject(StatusCode::NOT_FOUND, "there is only /chat"),
    };
    let running = server().shards(Shards::Count(1)).answer(answer).start(echo).expect("it starts");
    let base = url(&running);
    run(async {
        let mut ws = ringway_aio::connect(&format!("{base}chat")).await.expect("it opens");
        round_trip(&mut ws, "hello").await;
        let error = ringway_aio::connect(&base).await.expect_err("not found");
        assert!(error.to_string().contains("404"), "{error}");
        ringway_aio::connect(&format!("{base}panic")).await.expect_err("its task panics");
        round_trip(&mut ws, "again").await;
    });
    running.stop();
    running.wait().expect("no runtime fails");
}

#[test]
fn connections_that_a_task_opens_are_of_the_same_shard_and_end_with_it() {
    let target = server().shards(Shards::Count(1)).start(echo).expect("it starts");
    let target_url = url(&target);
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ended);
    let bridge = move |mut ws: WebSocket| {
        let (target, ended) = (target_url.clone(), Arc::clone(&counted));
        async move {
            let mut other = ringway_aio::connect(&target).await.expect("it opens");
            while let Some(Ok(message)) = ws.next().await {
                other.send(message).await.expect("it is open");
                let Some(Ok(echo)) = other.next().await else { break };
                ws.send(echo).await.expect("it is open");
            }
            assert!(other.next().await.is_none());
            assert_eq!(other.close_reason().expect("it has ended").code, CloseCode::GOING_AWAY);
            ended.fetch_add(1, Ordering::SeqCst);
        }
    };
    let running = server().shards(Shards::Count(2)).start(bridge).expect("it starts");
    run(async {
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut ws = ringway_aio::connect(&url(&running)).await.expect("it opens");
            round_trip(&mut ws, "through the bridge").await;
            clients.push(ws);
        }
        running.stop();
        for mut ws in clients {
            assert!(ws.next().await.is_none());
        }
    });
    running.wait().expect("no runtime fails");
    assert_eq!(ended.load(Ordering::SeqCst), 8, "each task has seen both ends");
    target.stop();
    target.wait().expect("no runtime fails");
}

#[test]
fn an_option_that_contradicts_the_runtime_is_refused() {
    let config = config().driver(ringway::DriverChoice::Uring);
    let error = server().config(config).start(echo).expect_err("another driver");
    assert!(error.to_string().starts_with("driver is Uring"), "{error}");
}
