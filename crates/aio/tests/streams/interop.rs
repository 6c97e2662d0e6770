//! Another library at the other end: tungstenite.

use crate::pair::run;
use ringway_aio::{CloseCode, Message};
use std::net::TcpListener;
use std::thread;
use tungstenite::Message as Theirs;

#[test]
fn a_client_of_tungstenite_is_served() {
    let server = ringway_aio::Server::bind("127.0.0.1:0").expect("a port").shards(ringway_aio::Shards::Count(1));
    let running = server.start(|mut ws| async move {
        while let Some(Ok(message)) = ws.next().await {
            ws.send(message).await.expect("it is open");
        }
    });
    let running = running.expect("it starts");
    let url = format!("ws://{}/", running.addresses()[0]);
    let (mut ws, _) = tungstenite::client(&url, connect(&url)).expect("it opens");
    for message in [Theirs::text("grüße"), Theirs::binary(vec![7; 100_000])] {
        ws.send(message.clone()).expect("it is open");
        assert_eq!(ws.read().expect("an echo"), message);
    }
    ws.send(Theirs::Ping(vec![1, 2, 3].into())).expect("it is open");
    assert_eq!(ws.read().expect("a pong"), Theirs::Pong(vec![1, 2, 3].into()));
    ws.close(None).expect("it is open");
    while ws.read().is_ok() {}
    running.stop();
    running.wait().expect("no runtime fails");
}

fn connect(url: &str) -> std::net::TcpStream {
    let address = url.trim_start_matches("ws://").trim_end_matches('/');
    std::net::TcpStream::connect(address).expect("it listens")
}

#[test]
fn a_server_of_tungstenite_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let mut ws = tungstenite::accept(stream).expect("it opens");
        while let Ok(message) = ws.read() {
            if message.is_text() || message.is_binary() {
                ws.send(message).expect("it is open");
            }
        }
    });
    run(async {
        let mut ws = ringway_aio::connect(&url).await.expect("it opens");
        for message in [Message::text("grüße"), Message::binary(vec![7; 100_000])] {
            ws.send(message.clone()).await.expect("it is open");
            assert_eq!(ws.next().await.expect("an echo").expect("no error"), message);
        }
        ws.close(CloseCode::NORMAL, "bye").await.expect("a clean end");
    });
    server.join().expect("no panic");
}
