//! Debian's Prometheus scrapes a server. `tests/metrics/run` installs it and runs this test.

use crate::exposition::Exposition;
use crate::truth::config;
use ringway::{
    Connection, Handler, HeaderMap, HeaderName, HeaderValue, Message, MetricsReader, Request, Response, Server, Shards,
    StatusCode, Upgrade,
};
use ringway_testkit::Frame;
use ringway_tests::{RawRequest, Received, ServerProcess, TestDirectory, WATCHDOG, WirePeer};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Answers each request with the metrics of its own server.
struct Exporter(Arc<OnceLock<MetricsReader>>);

impl Handler for Exporter {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn request(&mut self, _: &Request<'_>) -> Response {
        let Some(reader) = self.0.get() else { return Response::text(StatusCode::SERVICE_UNAVAILABLE, "starting") };
        let kind = HeaderValue::from_static(MetricsReader::CONTENT_TYPE);
        let headers = HeaderMap::from_iter([(HeaderName::from_static("content-type"), kind)]);
        Response::new(StatusCode::OK, headers, reader.openmetrics().into_bytes())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

/// A process that ends with the test.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts Prometheus on a port of the system. Returns its address.
fn prometheus(directory: &TestDirectory, target: SocketAddr) -> (Prometheus, SocketAddr) {
    let file = directory.path().join("prometheus.yml");
    let configuration = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: ringway\n  static_configs:\n  - targets: ['{target}']\n"
    );
    fs::write(&file, configuration).expect("a writable directory");
    let mut child = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("prometheus is installed: tests/metrics/run installs it");
    let log = BufReader::new(child.stderr.take().expect("piped"));
    let process = Prometheus(child);
    let mut lines = log.lines().map_while(Result::ok);
    let line = lines.by_ref().find(|line| line.contains("Listening on")).expect("prometheus says where it listens");
    let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    // It blocks if nothing reads its log.
    std::thread::spawn(move || lines.for_each(drop));
    (process, address.parse().unwrap_or_else(|error| panic!("{line}: {error}")))
}

/// The value of a query that has one sample; `None` if it has none.
fn query(prometheus: SocketAddr, query: &str) -> Option<String> {
    let mut stream = TcpStream::connect(prometheus).expect("prometheus listens");
    stream.set_read_timeout(Some(WATCHDOG)).expect("a socket option");
    // Without keep-alive, the answer ends with the connection, and has no chunks.
    write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\nHost: {prometheus}\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    let parsed: serde_json::Value = serde_json::from_str(body).ok()?;
    parsed["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
}

/// Queries until the value is this one: a scrape takes place each second.
///
/// # Panics
/// If it is not within the watchdog's time.
fn expect(prometheus: SocketAddr, what: &str, value: &str) {
    let start = Instant::now();
    loop {
        let found = query(prometheus, what);
        if found.as_deref() == Some(value) {
            return;
        }
        assert!(start.elapsed() < WATCHDOG, "{what} is {found:?}, not {value}");
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "needs Debian's prometheus: tests/metrics/run installs it"]
fn prometheus_scrapes_a_server() {
    let reader = Arc::new(OnceLock::new());
    let of_shards = Arc::clone(&reader);
    let server = Server::bind("127.0.0.1:0").expect("a free port").config(config()).shards(Shards::Count(2));
    let running = server.start(move |_| Exporter(Arc::clone(&of_shards))).expect("it starts");
    reader.set(running.metrics_reader()).expect("set once");
    let address = running.addresses()[0].tcp().expect("TCP");
    let _peers: Vec<WirePeer> = (0..5).map(|_| WirePeer::open(address)).collect();

    let directory = TestDirectory::new("prometheus");
    let (_process, prometheus) = prometheus(&directory, address);
    let expect = |what: &str, value: &str| expect(prometheus, what, value);
    expect("up", "1");
    expect("sum(ringway_connections%7Bstate=%22open%22%7D)", "5");
    expect("sum(ringway_handshakes_total%7Bresult=%22accepted%22%7D)", "5");
    expect("count(ringway_handshake_duration_seconds_bucket%7Ble=%22%2BInf%22%7D)", "2");
    expect("ringway_draining", "0");
    expect("count(process_resident_memory_bytes)", "1");
    running.stop();
    running.wait().expect("it ends without an error");
}

/// Counters that depend on the machine, on time, or on the shards that the connections are on.
const UNPREDICTABLE: [&str; 8] = [
    "process_cpu_seconds",
    "ringway_busy_seconds",
    "ringway_buffers_starved",
    "ringway_completions",
    "ringway_mailbox_received",
    "ringway_stale_completions",
    "ringway_stalls",
    "ringway_turns",
];

/// The metrics on the listener for operators.
fn metrics_of(admin: SocketAddr) -> Exposition {
    let mut peer = WirePeer::connect(admin);
    peer.write(format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"));
    let response = peer.response();
    assert_eq!(response.status, 200);
    Exposition::parse(&response.body)
}

/// What clients did, and the bytes of both directions.
#[derive(Default)]
struct Traffic {
    to_server: usize,
    from_server: usize,
}

impl Traffic {
    fn open(&mut self, server: SocketAddr) -> WirePeer {
        let mut peer = WirePeer::connect(server);
        self.write(&mut peer, RawRequest::websocket().bytes());
        self.from_server += peer.head().len();
        peer
    }

    fn write(&mut self, peer: &mut WirePeer, bytes: Vec<u8>) {
        self.to_server += bytes.len();
        peer.write(bytes);
    }

    /// Reads a frame of up to 125 bytes, which has a header of 2.
    fn read(&mut self, peer: &mut WirePeer) -> Received {
        let frame = peer.frame();
        self.from_server += 2 + frame.payload.len();
        frame
    }

    /// Writes bytes to which the server answers with its last ones.
    fn write_last(&mut self, mut peer: WirePeer, bytes: Vec<u8>) {
        self.write(&mut peer, bytes);
        self.from_server += peer.rest().len();
    }
}

#[test]
#[ignore = "needs Debian's prometheus: tests/metrics/run installs it"]
fn prometheus_scrapes_the_program_and_each_counter_is_that_of_the_clients() {
    let serving = ServerProcess::with(&["--app=topics", "--shards=2", "--admin=127.0.0.1:0", "--drain-delay=1h"]);
    let line = serving.announced.iter().find_map(|line| line.strip_prefix("admin        http://"));
    let admin = line.and_then(|line| line.split(' ').next()).unwrap_or_else(|| panic!("{:?}", serving.announced));
    let admin: SocketAddr = admin.parse().expect("an address");
    let directory = TestDirectory::new("prometheus-program");
    let (_process, prometheus) = prometheus(&directory, admin);

    let mut traffic = Traffic::default();
    let mut peers: Vec<WirePeer> = (0..5).map(|_| traffic.open(serving.address())).collect();
    for peer in &mut peers {
        traffic.write(peer, Frame::text("sub news").bytes());
        assert_eq!(traffic.read(peer), Received::text("ok sub news"));
    }
    for number in 0..10 {
        let at = number % peers.len();
        traffic.write(&mut peers[at], Frame::text(format!("pub news\nmessage {number}")).bytes());
        for peer in &mut peers {
            assert_eq!(traffic.read(peer), Received::text(&format!("msg news\nmessage {number}")));
        }
    }
    traffic.write(&mut peers[0], Frame::text("hello").bytes());
    assert!(traffic.read(&mut peers[0]).payload.starts_with(b"err unknown command"));
    // Requests that open nothing.
    let plain = RawRequest::new("GET /livez HTTP/1.1").with("Host", "server.example").with("Connection", "close");
    traffic.write_last(WirePeer::connect(serving.address()), plain.bytes());
    traffic.write_last(WirePeer::connect(serving.address()), RawRequest::websocket().without("Host").bytes());
    // Ends: two by the client, one by a violation, one by a reset. One connection stays.
    for code in [1000, 1001] {
        let peer = peers.pop().expect("one of five");
        traffic.write_last(peer, Frame::close(code, "").bytes());
    }
    traffic.write_last(peers.pop().expect("one of three"), Frame::text("unmasked").unmasked().bytes());
    peers.pop().expect("one of two").reset();

    let expect = |what: &str, value: usize| expect(prometheus, what, &value.to_string());
    let sum = |name: &str, value: usize| expect(&format!("sum({name})"), value);
    let with = |name: &str, labels: &[(&str, &str)], value: usize| {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=%22{value}%22")).collect();
        sum(&format!("{name}%7B{}%7D", labels.join(",")), value);
    };
    expect("up", 1);
    expect("ringway_draining", 0);
    with("ringway_connections", &[("state", "open")], 1);
    sum("ringway_connections", 1);
    sum("ringway_subscriptions", 1);
    sum("ringway_topics", 1);
    let counters = [
        ("ringway_connections_accepted", 7),
        ("ringway_connections_closed", 4),
        ("ringway_handshakes", 6),
        ("ringway_http_requests", 7),
        ("ringway_messages_received", 16),
        ("ringway_messages_sent", 5 + 50 + 1),
        ("ringway_received_bytes", traffic.to_server),
        ("ringway_sent_bytes", traffic.from_server),
        ("ringway_published", 10),
        ("ringway_deliveries", 50),
        ("ringway_protocol_errors", 1),
    ];
    for (name, value) in counters {
        sum(&format!("{name}_total"), value);
    }
    for (code, by) in [("1000", "peer"), ("1001", "peer"), ("1006", "peer"), ("1002", "local")] {
        with("ringway_connections_closed_total", &[("code", code), ("by", by)], 1);
    }
    for (result, value) in [("accepted", 5), ("refused", 1)] {
        with("ringway_handshakes_total", &[("result", result)], value);
    }
    for (code, value) in [("101", 5), ("200", 1), ("400", 1)] {
        with("ringway_http_requests_total", &[("code", code)], value);
    }
    with("ringway_protocol_errors_total", &[("code", "1002")], 1);
    for histogram in ["ringway_handshake_duration_seconds", "ringway_connection_duration_seconds"] {
        let ended = if histogram.contains("connection") { 4 } else { 5 };
        sum(&format!("{histogram}_count"), ended);
    }

    // All other counters have not moved; one without a series has counted nothing.
    let exposition = metrics_of(admin);
    let names = exposition.families.iter().filter(|(_, kind)| *kind == "counter").map(|(name, _)| name.as_str());
    let others: Vec<&str> = names
        .filter(|name| !UNPREDICTABLE.contains(name) && counters.iter().all(|(counter, _)| counter != name))
        .collect();
    assert!(others.contains(&"ringway_slow_closed") && others.len() > 15, "{others:?}");
    for name in others {
        let value = query(prometheus, &format!("sum({name}_total)"));
        assert!(matches!(value.as_deref(), None | Some("0")), "{name} is {value:?}");
    }

    // The drain is announced for an hour, unless a second signal ends it.
    serving.signal(Signal::TERM);
    expect("ringway_draining", 1);
    serving.signal(Signal::TERM);
}
