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

/// A metric, its labels, and its expected sum over all series with these labels.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// Scrapes until all sums are as expected: a shard publishes its numbers at the end of a turn, which
/// can be after its answer has arrived.
///
/// # Panics
/// If they are not as expected within the watchdog's time.
fn expect(reader: &MetricsReader, expected: &[Expected<'_>]) {
    let start = Instant::now();
    loop {
        let text = reader.openmetrics();
        let scraped = Exposition::parse(&text);
        let wrong = expected.iter().find(|(name, labels, value)| scraped.sum(name, labels) != *value);
        let Some((name, labels, value)) = wrong else { return };
        assert!(start.elapsed() < WATCHDOG, "{name} of {labels:?} is not {value}:\n{text}");
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
    expect(
        &reader,
        &[("ringway_connections", &[("state", "open")], 8.0), ("ringway_handshake_duration_seconds_count", &[], 8.0)],
    );

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
    expect(
        &reader,
        &[
            ("ringway_sent_bytes_total", &[], received as f64),
            ("ringway_received_bytes_total", &[], sent as f64),
            ("ringway_messages_received_total", &[], 32.0),
            ("ringway_messages_sent_total", &[], 32.0),
            ("ringway_queue_bytes", &[], 0.0),
        ],
    );
    for direction in ["received", "sent"] {
        let bucket = |bound| [("direction", direction), ("le", bound)];
        expect(
            &reader,
            &[
                ("ringway_message_size_bytes_count", &[("direction", direction)], 32.0),
                ("ringway_message_size_bytes_sum", &[("direction", direction)], payload as f64),
                ("ringway_message_size_bytes_bucket", &bucket("64.0"), 8.0),
                ("ringway_message_size_bytes_bucket", &bucket("256.0"), 16.0),
                ("ringway_message_size_bytes_bucket", &bucket("4096.0"), 24.0),
                ("ringway_message_size_bytes_bucket", &bucket("65536.0"), 24.0),
                ("ringway_message_size_bytes_bucket", &bucket("262144.0"), 32.0),
            ],
        );
    }

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

    let closes = |code, by| [("code", code), ("by", by)];
    let budgets = running.metrics().sum(|shard| shard.budget_bytes);
    expect(
        &reader,
        &[
            ("ringway_connections", &[], 0.0),
            ("ringway_connections_accepted_total", &[], 13.0),
            ("ringway_connections_closed_total", &[], 8.0),
            ("ringway_connections_closed_total", &closes("1000", "peer"), 3.0),
            ("ringway_connections_closed_total", &closes("1001", "peer"), 1.0),
            ("ringway_connections_closed_total", &closes("1006", "peer"), 1.0),
            ("ringway_connections_closed_total", &closes("4000-4999", "local"), 1.0),
            ("ringway_connections_closed_total", &closes("1007", "local"), 1.0),
            ("ringway_connections_closed_total", &closes("1002", "local"), 1.0),
            ("ringway_connection_duration_seconds_count", &[], 8.0),
            ("ringway_protocol_errors_total", &[], 2.0),
            ("ringway_protocol_errors_total", &[("code", "1002")], 1.0),
            ("ringway_protocol_errors_total", &[("code", "1007")], 1.0),
            ("ringway_handshakes_total", &[], 12.0),
            ("ringway_handshakes_total", &[("result", "accepted")], 8.0),
            ("ringway_handshakes_total", &[("result", "refused")], 2.0),
            ("ringway_handshakes_total", &[("result", "rejected")], 1.0),
            ("ringway_handshakes_total", &[("result", "aborted")], 1.0),
            ("ringway_http_requests_total", &[], 12.0),
            ("ringway_http_requests_total", &[("code", "101")], 8.0),
            ("ringway_http_requests_total", &[("code", "200")], 1.0),
            ("ringway_http_requests_total", &[("code", "400")], 2.0),
            ("ringway_http_requests_total", &[("code", "403")], 1.0),
            ("ringway_budget_bytes", &[], budgets as f64),
            ("ringway_draining", &[], 0.0),
        ],
    );

    running.stop();
    running.wait().expect("it ends without an error");
    expect(&reader, &[("ringway_draining", &[], 1.0)]);
}

#[test]
fn counters_are_those_of_the_clients_on_io_uring() {
    counters_are_those_of_the_clients(DriverChoice::Uring);
}

#[test]
fn counters_are_those_of_the_clients_on_epoll() {
    counters_are_those_of_the_clients(DriverChoice::Epoll);
}
