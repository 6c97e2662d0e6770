//! Complete runs against servers in this process, correct ones and faulty ones.

use ringway::{CloseCode, Connection, Handler, Message, MessageKind, Request, StatusCode, Upgrade};
use ringway_loadtest::{Cores, LimitedBy, Mode, Plan, Progress, Report, RunLength, RunPhase, Verify, run};
use ringway_testkit::server::{TestServer, config};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn serve<H: Handler>(make: impl Fn() -> H + Send + Sync + 'static) -> TestServer<H> {
    TestServer::start(config(), ringway::Limits::default(), move |_| make())
}

/// A short run against the server: 400 messages over four connections of two threads.
fn plan<H: Handler>(server: &TestServer<H>) -> Plan {
    Plan {
        connections: 4,
        threads: Some(2),
        cores: Cores::Unpinned,
        length: RunLength::Messages(400),
        warmup: Duration::ZERO,
        verify: Verify::All,
        // On a busy machine an answer can take long.
        drain_timeout: Duration::from_secs(60),
        ..Plan::new(format!("ws://{}/", server.address()))
    }
}

fn load(plan: &Plan) -> Report {
    run(plan, &mut |_| {}).expect("a report")
}

/// A run that is stopped when `enough` returns true; unanswered messages stay unanswered.
fn load_until(plan: &Plan, enough: impl Fn(&Progress) -> bool) -> Report {
    let stop = plan.stop.clone();
    let report = run(plan, &mut |progress| {
        if progress.phase == RunPhase::Measure && enough(progress) {
            stop.now();
        }
    });
    report.expect("a report")
}

/// Runs with increasing windows until one has answers.
fn load_for_a_while(plan: &Plan) -> (Duration, Report) {
    let times = [100, 1_000, 10_000].map(Duration::from_millis);
    let mut runs = times.into_iter().map(|time| (time, load(&Plan { length: RunLength::Time(time), ..plan.clone() })));
    runs.find(|(_, report)| !report.is_void()).expect("a machine that gets something done in ten seconds")
}

/// Calls a function for each message, with the connection's count of messages so far.
struct Script(fn(u64, &mut Connection<'_, Script>, Message<'_>));

impl Handler for Script {
    type State = u64;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<u64> {
        Upgrade::accept(0)
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let number = *conn.state();
        *conn.state() += 1;
        (self.0)(number, conn, message);
    }
}

fn echo() -> TestServer<Script> {
    serve(|| Script(|_, conn, message| conn.reply(message)))
}

fn send(conn: &mut Connection<'_, Script>, kind: MessageKind, bytes: &[u8]) {
    let message = match kind {
        MessageKind::Text => Message::text(std::str::from_utf8(bytes).expect("text")),
        MessageKind::Binary => Message::binary(bytes),
    };
    let _ = conn.send(message);
}

#[test]
fn every_echo_of_a_good_server_is_verified() {
    let server = echo();
    for (binary, pipeline, sizes) in
        [(false, 1, 64..=64), (true, 1, 0..=300), (false, 5, 1..=40), (true, 16, 100_000..=100_000)]
    {
        let plan = Plan { binary, pipeline, sizes, ..plan(&server) };
        let report = load(&plan);
        assert_eq!(report.errors, Default::default());
        assert_eq!((report.connections.established, report.connections.failed), (4, 0));
        let messages = &report.messages;
        assert_eq!((messages.sent, messages.received, messages.missing), (400, 400, 0), "{plan:?}");
        let latency = report.latency_us.response.expect("answers");
        assert_eq!((latency.count, report.opening_us.total.expect("connections").count), (400, 4));
        assert!(latency.p50 > 0.0 && latency.p50 <= latency.p99 && latency.p99 <= latency.max * 1.001);
        assert!(messages.per_second > 0.0 && !report.is_failure() && !report.is_void() && !report.interrupted);
    }
}

#[test]
fn the_number_of_messages_is_exact_however_small() {
    let server = echo();
    for number in [1, 3, 7, 41] {
        let report = load(&Plan { length: RunLength::Messages(number), pipeline: 4, ..plan(&server) });
        assert_eq!((report.messages.sent, report.messages.received), (number, number));
    }
}

#[test]
fn each_sent_message_is_answered_wrong_or_missing_when_time_ends_the_run() {
    let server = echo();
    let (time, report) = load_for_a_while(&Plan { warmup: Duration::from_millis(20), pipeline: 3, ..plan(&server) });
    assert_eq!(report.messages.sent, report.messages.received);
    assert_eq!(report.messages.missing, 0);
    assert_eq!(report.measured, time);
    let latency = report.latency_us.response.expect("answers");
    assert_eq!(latency.count, report.messages.received);
    let within = report.messages.per_second * time.as_secs_f64();
    assert!(
        within.round() as u64 <= report.messages.received,
        "answers after the window do not count towards the rate"
    );
}

#[test]
fn a_wrong_byte_is_found() {
    let server = serve(|| {
        Script(|number, conn, message| {
            let mut bytes = message.payload().to_vec();
            if number == 7 {
                bytes[40] ^= 1;
            }
            send(conn, message.kind(), &bytes);
        })
    });
    let report = load(&Plan { binary: true, ..plan(&server) });
    assert_eq!(report.errors.get("verify_content"), Some(&4));
    assert_eq!(
        (report.messages.received, report.messages.missing),
        (396, 0),
        "a wrong echo does not count as an answer"
    );
    assert!(report.is_failure());
    let sampled = load(&Plan { binary: true, verify: Verify::Sample, ..plan(&server) });
    assert_eq!(sampled.errors, Default::default(), "the eighth message is not in the sample");
}

#[test]
fn a_wrong_length_and_a_wrong_kind_are_found_without_comparing_the_content() {
    let server = serve(|| {
        Script(|number, conn, message| match number {
            5 => send(conn, message.kind(), &message.payload()[1..]),
            6 => send(conn, MessageKind::Binary, message.payload()),
            _ => conn.reply(message),
        })
    });
    let report = load(&Plan { verify: Verify::Sample, ..plan(&server) });
    assert_eq!((report.errors.get("verify_length"), report.errors.get("verify_kind")), (Some(&4), Some(&4)));
    let blind = load(&Plan { verify: Verify::Off, ..plan(&server) });
    assert_eq!((blind.errors.len(), blind.messages.received), (0, 400));
}

/// A handler that answers each pair of messages in the wrong order.
#[derive(Default)]
struct Swap;

impl Handler for Swap {
    type State = Option<Vec<u8>>;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Option<Vec<u8>>> {
        Upgrade::accept(None)
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        match conn.state().take() {
            None => *conn.state() = Some(message.payload().to_vec()),
            Some(first) => {
                conn.reply(message);
                let _ = conn.send(Message::text(std::str::from_utf8(&first).expect("text")));
            }
        }
    }
}

#[test]
fn echoes_out_of_order_are_found() {
    let server = serve(Swap::default);
    let report = load(&Plan { pipeline: 2, ..plan(&server) });
    assert_eq!(report.errors.get("verify_content"), Some(&400));
    assert_eq!(report.messages.received, 0);
}

#[test]
fn messages_that_are_not_answered_are_missing() {
    let server = serve(|| {
        Script(|number, conn, message| {
            if number != 10 {
                conn.reply(message);
            }
        })
    });
    let report = load_until(&plan(&server), |progress| progress.messages == 40);
    // Each of the four connections waits forever with one message unanswered.
    assert_eq!((report.messages.sent, report.messages.received, report.messages.missing), (44, 40, 4));
    assert!(report.is_failure() && !report.is_void());
}

/// A handler that counts messages and answers none.
struct Deaf(Arc<AtomicU64>);

impl Handler for Deaf {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_server_that_never_answers_gives_an_inconclusive_result() {
    let heard = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&heard);
    let server = serve(move || Deaf(Arc::clone(&counting)));
    let report = load_until(&plan(&server), |_| heard.load(Ordering::Relaxed) == 4);
    assert_eq!((report.messages.sent, report.messages.missing), (4, 4));
    assert!(report.is_void() && report.latency_us.response.is_none());
    assert_eq!(report.limited_by(), LimitedBy::Inconclusive);
}

#[test]
fn a_close_is_an_error_and_not_an_answer() {
    let server = serve(|| {
        Script(|number, conn, message| match number {
            5 => conn.close(CloseCode::GOING_AWAY, "enough").expect("sendable"),
            _ => conn.reply(message),
        })
    });
    let report = load(&plan(&server));
    assert_eq!(report.errors.get("closed_early"), Some(&4), "{:?}", report.errors);
    assert!(report.first_errors["closed_early"].contains("enough"));
    assert_eq!((report.messages.sent, report.messages.received, report.messages.missing), (24, 20, 4));
    assert!(report.is_failure());
}

#[test]
fn pings_and_unexpected_messages_are_not_answers() {
    let server = serve(|| {
        Script(|number, conn, message| {
            conn.ping(b"are you there").expect("short");
            if number == 3 {
                send(conn, message.kind(), message.payload());
                conn.ping(b"and now").expect("short");
            }
            conn.reply(message);
        })
    });
    // The duplicate counts as the answer to the next message, so each answer after it is wrong.
    let report = load(&plan(&server));
    assert_eq!(report.messages.received, 16);
    assert_eq!(report.messages.received + report.errors["verify_content"], 400);
    let greeting = serve(|| Greeter);
    let report = load(&plan(&greeting));
    assert_eq!(report.errors.get("unexpected_message"), Some(&4));
    assert_eq!(report.messages.received, 400);
}

/// A handler that sends a message before it receives one.
struct Greeter;

impl Handler for Greeter {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let _ = conn.send(Message::text("welcome"));
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

#[test]
fn a_refused_connection_is_reported_at_once() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let report = load(&Plan { connections: 3, ..Plan::new(format!("ws://{address}/")) });
    let connections = &report.connections;
    assert_eq!((connections.requested, connections.established, connections.failed), (3, 0, 3));
    assert_eq!(report.errors.get("connect_refused"), Some(&3));
    let said = report.connect_failure().expect("none opened");
    assert!(said.contains(&address.to_string()) && said.contains("refused") && !said.contains('\n'), "{said}");
    assert!(report.is_failure() && report.measured.is_zero());
}

/// A handler that accepts three connections and rejects the others.
#[derive(Default)]
struct Three(u32);

impl Handler for Three {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        self.0 += 1;
        if self.0 <= 3 { Upgrade::accept(()) } else { Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "full") }
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

#[test]
fn the_load_continues_with_the_connections_that_open() {
    let server = serve(Three::default);
    let report = load(&Plan { connections: 8, ..plan(&server) });
    assert_eq!((report.connections.requested, report.connections.established, report.connections.failed), (8, 3, 5));
    assert_eq!(report.errors.get("handshake_status_503"), Some(&5));
    assert_eq!(report.messages.received, 400);
    assert!(report.is_failure(), "five connections did not open");
}

#[test]
fn a_server_with_a_wrong_accept_value_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            head.push(byte[0]);
        }
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(answer.as_bytes()).expect("the client reads");
    });
    let plan = Plan { connections: 1, ..Plan::new(format!("ws://{address}/")) };
    let report = load(&plan);
    assert_eq!((report.connections.established, report.errors.get("handshake_accept")), (0, Some(&1)));
    server.join().expect("it ends well");
}

#[test]
fn idle_connections_are_held_without_traffic() {
    let server = serve(|| Script(|_, _, _| unreachable!("nobody speaks")));
    let length = RunLength::Time(Duration::from_millis(50));
    let report = load(&Plan { connections: 40, mode: Mode::Idle, length, ..plan(&server) });
    assert_eq!((report.connections.established, report.messages.sent), (40, 0));
    assert_eq!((report.errors.len(), report.measured), (0, Duration::from_millis(50)));
    assert!(!report.is_failure() && !report.is_void());
}

#[test]
fn messages_without_answers_count_as_sent() {
    let server = serve(|| Script(|_, _, _| {}));
    let report =
        load(&Plan { mode: Mode::Send, length: RunLength::Messages(10_000), sizes: 1..=2000, ..plan(&server) });
    assert_eq!((report.messages.sent, report.messages.received, report.messages.missing), (10_000, 0, 0));
    assert!(report.messages.per_second > 0.0 && report.latency_us.response.is_none() && !report.is_failure());
}

#[test]
fn a_run_that_is_stopped_reports_what_it_has_measured() {
    let server = echo();
    let plan = Plan { length: RunLength::Time(Duration::from_secs(3600)), ..plan(&server) };
    let stop = plan.stop.clone();
    let mut seen = Vec::new();
    let report = run(&plan, &mut |progress| {
        seen.push(progress.phase);
        if progress.phase == RunPhase::Measure && progress.messages > 0 {
            assert_eq!((progress.open, progress.errors), (4, 0));
            stop.now();
        }
    });
    let report = report.expect("a report");
    assert!(report.interrupted && report.messages.received > 0);
    assert!(report.measured < Duration::from_secs(3600) && report.messages.per_second > 0.0);
    assert!(seen.is_sorted());
}

#[test]
fn the_server_is_found_and_the_generator_is_not_taken_for_it() {
    let server = echo();
    let report = load(&Plan { length: RunLength::Messages(20_000), ..plan(&server) });
    let figures = report.server.expect("it is this process");
    assert_eq!(figures.pid, std::process::id());
    assert!(figures.cpu_seconds > 0.0 && figures.rss_bytes > 0 && report.server_cpu_per_message().is_some());
    assert_eq!((report.generator.threads, report.generator.busy_share.len()), (2, 2));
    assert!(report.generator.cpu_seconds > 0.0 && report.generator.busy_share.iter().all(|share| *share <= 1.0));
    let known = load(&Plan { server_pid: Some(std::process::id()), ..plan(&server) });
    assert_eq!(known.server.map(|server| server.pid), Some(std::process::id()));
}

#[test]
fn connecting_keeps_to_its_rate() {
    let server = echo();
    let report = load(&Plan { connections: 21, connect_rate: Some(200.0), ..plan(&server) });
    assert_eq!(report.connections.established, 21);
    // Two threads with 10 and 11 connections open 100 per second each: the last one is due after at
    // least 95 ms.
    assert!(report.connect_time >= Duration::from_millis(90), "{:?}", report.connect_time);
}

#[test]
fn a_run_that_is_stopped_while_it_connects_has_not_failed() {
    let server = echo();
    // The run would take hours.
    let plan = Plan { connections: 1000, connect_rate: Some(0.1), threads: Some(1), ..plan(&server) };
    let stop = plan.stop.clone();
    let report = run(&plan, &mut |progress| {
        if progress.phase == RunPhase::Connect && progress.open + progress.failed > 0 {
            stop.now();
        }
    });
    let report = report.expect("a report");
    let connections = &report.connections;
    assert_eq!((connections.requested, connections.failed), (1000, 0), "{connections:?}");
    assert!((1..1000).contains(&connections.established), "{connections:?}");
    assert!(report.interrupted && !report.is_failure());
    assert_eq!(report.generator.busy_share.len(), report.generator.threads);
    assert!(report.generator.cpu_seconds.is_sign_positive());
}

#[test]
fn connections_that_end_before_they_are_closed_are_a_failure_in_every_mode() {
    for mode in [Mode::Idle, Mode::Send, Mode::Echo] {
        let server = echo();
        let plan = Plan { mode, length: RunLength::Time(Duration::from_secs(3600)), ..plan(&server) };
        let mut server = Some(server);
        // The run ends by itself: no connection is left.
        let report = run(&plan, &mut |progress| {
            if progress.phase == RunPhase::Measure {
                drop(server.take());
            }
        });
        let report = report.expect("a report");
        assert!(report.is_failure() && !report.interrupted, "{mode}: {:?}", report.errors);
        assert_eq!(report.errors.values().sum::<u64>(), 4, "{mode}: {:?}", report.errors);
    }
}
