//! Debian's Prometheus scrapes a server. `tests/metrics/run` installs it and runs this test.

use crate::truth::config;
use ringway::{
    Connection, Handler, HeaderMap, HeaderName, HeaderValue, Message, MetricsReader, Request, Response, Server, Shards,
    StatusCode, Upgrade,
};
use ringway_tests::{TestDirectory, WATCHDOG, WirePeer};
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
    let start = Instant::now();
    let expect = |what: &str, value: &str| {
        while query(prometheus, what).as_deref() != Some(value) {
            assert!(start.elapsed() < WATCHDOG, "{what} is {:?}, not {value}", query(prometheus, what));
            std::thread::yield_now();
        }
    };
    expect("up", "1");
    expect("sum(ringway_connections%7Bstate=%22open%22%7D)", "5");
    expect("sum(ringway_handshakes_total%7Bresult=%22accepted%22%7D)", "5");
    expect("count(ringway_handshake_duration_seconds_bucket%7Ble=%22%2BInf%22%7D)", "2");
    expect("ringway_draining", "0");
    expect("count(process_resident_memory_bytes)", "1");
    running.stop();
    running.wait().expect("it ends without an error");
}
