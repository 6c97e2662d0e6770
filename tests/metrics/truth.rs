//! The numbers of a server are those of its clients.

use crate::exposition::Exposition;
use ringway::{
    CloseCode, Config, Connection, Cores, DriverChoice, Handler, Message, Request, Response, Server, Shards,
};
use ringway::{MetricsReader, StatusCode, Upgrade};
use ringway_testkit::Frame;
use ringway_tests::{RawRequest, WATCHDOG, WirePeer};
use std::time::Instant;

/// Echoes. Rejects a request for `/private`, and closes with 4001 at the message `leave`.
pub(crate) struct Echo;

impl Handler for Echo {
    type State = ();

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        match request.path() {
            "/private" => Upgrade::reject(StatusCode::FORBIDDEN, "members only"),
            _ => Upgrade::accept(()),
        }
    }

    fn request(&mut self, _: &Request<'_>) -> Response {
        Response::text(StatusCode::OK, "a page")
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        match message.as_text() {
            Some("leave") => conn.close(CloseCode::new(4001), "").expect("sendable"),
            _ => conn.reply(message),
        }
    }
}

pub(crate) fn config() -> Config {
    Config::default().cores(Cores::Unpinned).expect("no list").connection_times(true)
}

/// Scrapes until a condition holds: a shard publishes its numbers at the end of a turn, which can be
/// after its answer has arrived.
///
/// # Panics
/// If it does not hold within the watchdog's time.
fn scrape_until(reader: &MetricsReader, holds: impl Fn(&Exposition) -> bool) -> Exposition {
    let start = Instant::now();
    loop {
        let text = reader.openmetrics();
        let scraped = Exposition::parse(&text);
        if holds(&scraped) {
            return scraped;
        }
        assert!(start.elapsed() < WATCHDOG, "the numbers are not as expected:\n{text}");
        std::thread::yield_now();
    }
}

fn counters_are_those_of_the_clients(driver: DriverChoice) {
    let server = Server::bind("127.0.0.1:0").expect("a free port").config(config().driver(driver));
    let running = server.shards(Shards::Count(2)).start(|_| Echo).expect("it starts");
    let address = running.addresses()[0].tcp().expect("TCP");
    let reader = running.metrics_reader();

    // What the clients send and receive.
    let (mut sent, mut received) = (0, 0);
    let upgrade = RawRequest::websocket().bytes();
    let mut open = || {
        let mut peer = WirePeer::connect(address);
        peer.write(&upgrade);
        sent += upgrade.len();
        received += peer.head().len();
        peer
    };
    let mut peers: Vec<WirePeer> = (0..8).map(|_| open()).collect();
    let opened = scrape_until(&reader, |now| now.sum("ringway_connections", &[("state", "open")]) == 8.0);
    assert_eq!(opened.sum("ringway_handshake_duration_seconds_count", &[]), 8.0);

    let mut payload = 0;
    for (at, peer) in peers.iter_mut().enumerate() {
        for size in [3, 100, 2_000, 70_000] {
            let frame = Frame::binary(vec![at as u8; size]).bytes();
            sent += frame.len();
            peer.write(&frame);
            let reply = peer.frame();
            assert_eq!(reply.payload.len(), size);
            // A server's frame has no key.
            received += frame.len() - 4;
            payload += size;
        }
    }
    let exchanged = scrape_until(&reader, |now| now.sum("ringway_sent_bytes_total", &[]) == received as f64);
    assert_eq!(exchanged.sum("ringway_received_bytes_total", &[]), sent as f64);
    for name in ["ringway_messages_received_total", "ringway_messages_sent_total"] {
        assert_eq!(exchanged.sum(name, &[]), 32.0, "{name}");
    }
    for direction in ["received", "sent"] {
        let size = |name: &str, labels: &[(&str, &str)]| {
            let labels: Vec<_> = labels.iter().copied().chain([("direction", direction)]).collect();
            exchanged.sum(&format!("ringway_message_size_bytes_{name}"), &labels)
        };
        assert_eq!((size("count", &[]), size("sum", &[])), (32.0, payload as f64), "{direction}");
        let up_to = ["64.0", "256.0", "4096.0", "65536.0", "262144.0"].map(|bound| size("bucket", &[("le", bound)]));
        assert_eq!(up_to, [8.0, 16.0, 24.0, 24.0, 32.0], "{direction}");
    }
    assert_eq!(exchanged.sum("ringway_queue_bytes", &[]), 0.0);

    // Requests that open nothing.
    let respond = |request: RawRequest, status: u16| {
        let mut peer = WirePeer::connect(address);
        peer.write(request.bytes());
        assert_eq!(peer.response().status, status);
        drop(peer);
    };
    respond(RawRequest::new("GET / HTTP/1.1").with("Host", "server.example"), 200);
    respond(RawRequest::websocket().without("Host"), 400);
    respond(RawRequest::websocket().without("Host"), 400);
    respond(RawRequest::websocket().line("GET /private HTTP/1.1"), 403);
    // One that opens nothing and says nothing.
    drop(WirePeer::connect(address));

    // Ends: by the client, by the server, by a violation, and by a reset.
    let close = |peer: &mut WirePeer, code: u16| {
        peer.send(&Frame::close(code, ""));
        assert_eq!(peer.close_code(), Some(code));
    };
    for peer in &mut peers[..3] {
        close(peer, 1000);
    }
    close(&mut peers[3], 1001);
    peers[4].send(&Frame::text("leave"));
    assert_eq!(peers[4].close_code(), Some(4001));
    peers[4].send(&Frame::close(4001, ""));
    peers[5].send(&Frame::text([0xff]));
    assert_eq!(peers[5].close_code(), Some(1007));
    peers[6].write(Frame::text("unmasked").unmasked().bytes());
    assert_eq!(peers[6].close_code(), Some(1002));
    peers.drain(4..7).for_each(drop);
    peers.pop().expect("the last one").reset();

    let ended = scrape_until(&reader, |now| {
        let open = ["opening", "open", "closing"].map(|state| now.sum("ringway_connections", &[("state", state)]));
        open == [0.0; 3] && now.sum("ringway_connections_accepted_total", &[]) == 13.0
    });
    let closed = |code: &str, by: &str| ended.sum("ringway_connections_closed_total", &[("code", code), ("by", by)]);
    assert_eq!([closed("1000", "peer"), closed("1001", "peer"), closed("1006", "peer")], [3.0, 1.0, 1.0]);
    assert_eq!([closed("4000-4999", "local"), closed("1007", "local"), closed("1002", "local")], [1.0; 3]);
    assert_eq!(ended.sum("ringway_connections_closed_total", &[]), 8.0);
    assert_eq!(ended.sum("ringway_connection_duration_seconds_count", &[]), 8.0);
    let errors = |code: &str| ended.sum("ringway_protocol_errors_total", &[("code", code)]);
    assert_eq!([errors("1002"), errors("1007"), errors("1009")], [1.0, 1.0, 0.0]);
    let handshakes = |result: &str| ended.sum("ringway_handshakes_total", &[("result", result)]);
    assert_eq!(["accepted", "refused", "rejected", "aborted", "timeout"].map(handshakes), [8.0, 2.0, 1.0, 1.0, 0.0]);
    let responses = |code: &str| ended.sum("ringway_http_requests_total", &[("code", code)]);
    assert_eq!(["101", "200", "400", "403"].map(responses), [8.0, 1.0, 2.0, 1.0]);
    assert!(ended.sum("ringway_turns_total", &[]) > 0.0 && ended.sum("ringway_completions_total", &[]) > 0.0);
    let budgets = running.metrics().sum(|shard| shard.budget_bytes);
    assert_eq!(ended.sum("ringway_budget_bytes", &[]), budgets as f64);

    running.stop();
    running.wait().expect("it ends without an error");
    let stopped = Exposition::parse(&reader.openmetrics());
    assert_eq!(stopped.sum("ringway_draining", &[]), 1.0);
}

#[test]
fn counters_are_those_of_the_clients_on_io_uring() {
    counters_are_those_of_the_clients(DriverChoice::Uring);
}

#[test]
fn counters_are_those_of_the_clients_on_epoll() {
    counters_are_those_of_the_clients(DriverChoice::Epoll);
}
