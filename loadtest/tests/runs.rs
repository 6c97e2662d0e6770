//! Complete runs against servers in this process, correct ones and faulty ones.

use ringway::{CloseCode, Connection, Handler, Message, MessageKind, Request, StatusCode, Upgrade};
use ringway_loadtest::{
    Alphabet, Behaviour, Content, Cores, LimitedBy, Load, Plan, Population, Progress, Report, RunLength, RunPhase,
    Verify, run,
};
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
    let plan = Plan {
        threads: Some(2),
        cores: Cores::Unpinned,
        length: RunLength::Messages(400),
        verify: Verify::All,
        // On a busy machine an answer can take long.
        timeout: Duration::from_secs(60),
        ..Plan::new(format!("ws://{}/", server.address()))
    };
    with(plan, |echo| echo.connections = 4)
}

/// The plan with a changed population.
fn with(mut plan: Plan, change: impl FnOnce(&mut Population)) -> Plan {
    change(&mut plan.populations[0]);
    plan
}

/// A change to random messages of these sizes.
fn content(sizes: &str, binary: bool) -> Content {
    let alphabet = if binary { Alphabet::Binary } else { Alphabet::Ascii };
    Content::Random { sizes: sizes.parse().expect("sizes"), alphabet }
}

fn in_flight(in_flight: u32) -> Load {
    Load::Closed { in_flight }
}

/// The number of errors of a kind.
fn errors(report: &Report, kind: &str) -> u64 {
    report.errors.get(kind).map_or(0, |error| error.count)
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
    for (binary, pipeline, sizes) in [(false, 1, "64"), (true, 1, "0-300"), (false, 5, "1-40"), (true, 16, "100000")] {
        let plan = with(plan(&server), |echo| {
            echo.load = in_flight(pipeline);
            echo.message = content(sizes, binary);
        });
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
        let plan = with(plan(&server), |echo| echo.load = in_flight(4));
        let report = load(&Plan { length: RunLength::Messages(number), ..plan });
        assert_eq!((report.messages.sent, report.messages.received), (number, number));
    }
}

#[test]
fn each_sent_message_is_answered_wrong_or_missing_when_time_ends_the_run() {
    let server = echo();
    let plan = with(plan(&server), |echo| echo.load = in_flight(3));
    let (time, report) = load_for_a_while(&Plan { warmup: Some(Duration::from_millis(20)), ..plan });
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
    let plan = with(plan(&server), |echo| echo.message = content("64", true));
    let report = load(&plan);
    assert_eq!(errors(&report, "verify_content"), 4);
    assert_eq!(
        (report.messages.received, report.messages.missing),
        (396, 0),
        "a wrong echo does not count as an answer"
    );
    assert!(report.is_failure());
    let sampled = load(&Plan { verify: Verify::Sample, ..plan });
    assert_eq!(sampled.errors, Default::default(), "the eighth message is not in the sample");
}

#[test]
fn a_wrong_length_and_a_wrong_kind_are_found_without_comparing_the_content() {
    let server = serve(|| {
        Script(|number, conn, message| match number {
            5 => send(conn, message.kind(), &message.payload()[..message.payload().len() - 1]),
            6 => send(conn, MessageKind::Binary, message.payload()),
            _ => conn.reply(message),
        })
    });
    let report = load(&Plan { verify: Verify::Sample, ..plan(&server) });
    assert_eq!((errors(&report, "verify_length"), errors(&report, "verify_kind")), (4, 4));
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
fn echoes_out_of_order_are_matched_and_counted() {
    let server = serve(Swap::default);
    let report = load(&with(plan(&server), |echo| echo.load = in_flight(2)));
    let messages = &report.messages;
    assert_eq!((messages.received, messages.corrupted, messages.missing), (400, 0, 0));
    assert_eq!(messages.reordered, 200, "one of each pair is overtaken");
    // Messages too short for a mark are matched in order, so that the exchange shows as wrong
    // content.
    let short = with(plan(&server), |echo| {
        echo.load = in_flight(2);
        echo.message = content("6", false);
    });
    let report = load(&short);
    assert_eq!((report.messages.received, report.messages.corrupted, errors(&report, "verify_content")), (0, 400, 400));
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
    let response = report.latency_us.response.as_ref().expect("the times waited");
    assert!(report.is_void() && response.lower_bounds == 4 && response.is_lower_bound(response.p50));
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
    assert_eq!(errors(&report, "closed_early"), 4, "{:?}", report.errors);
    assert!(report.errors["closed_early"].samples[0].contains("enough"));
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
    let report = load(&plan(&server));
    let messages = &report.messages;
    assert_eq!((messages.received, messages.corrupted, messages.duplicated), (400, 0, 4));
    assert_eq!((messages.pings, errors(&report, "duplicate_reply")), (404, 4));
    let greeting = serve(|| Greeter);
    let report = load(&plan(&greeting));
    assert_eq!(errors(&report, "unexpected_message"), 4);
    assert_eq!(report.messages.received, 400);
}

/// A message without a mark is no answer unless it looks like one: it does not take the place of
/// the answer behind it.
#[test]
fn an_unexpected_message_in_front_of_an_answer_is_not_taken_for_it() {
    let server = serve(|| {
        Script(|number, conn, message| {
            match number {
                3 => send(conn, message.kind(), b"an unexpected message"),
                5 => send(conn, message.kind(), b"short"),
                _ => {}
            }
            conn.reply(message);
        })
    });
    let report = load(&with(plan(&server), |echo| echo.load = in_flight(4)));
    let messages = &report.messages;
    assert_eq!((messages.received, messages.unasked, errors(&report, "unexpected_message")), (400, 8, 8));
    assert_eq!((messages.corrupted, messages.duplicated, messages.missing, report.errors.len()), (0, 0, 0, 1));
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
    let report = load(&with(Plan::new(format!("ws://{address}/")), |echo| echo.connections = 3));
    let connections = &report.connections;
    assert_eq!((connections.requested, connections.established, connections.failed), (3, 0, 3));
    assert_eq!(errors(&report, "connect_refused"), 3);
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
    let report = load(&with(plan(&server), |echo| echo.connections = 8));
    assert_eq!((report.connections.requested, report.connections.established, report.connections.failed), (8, 3, 5));
    assert_eq!(errors(&report, "handshake_status_503"), 5);
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
    let report = load(&with(Plan::new(format!("ws://{address}/")), |echo| echo.connections = 1));
    assert_eq!((report.connections.established, errors(&report, "handshake_accept")), (0, 1));
    server.join().expect("it ends well");
}

#[test]
fn idle_connections_are_held_without_traffic() {
    let server = serve(|| Script(|_, _, _| unreachable!("nobody speaks")));
    let length = RunLength::Time(Duration::from_millis(50));
    let idle = with(Plan { length, ..plan(&server) }, |idle| {
        *idle = Population { connections: 40, ..Population::new(Behaviour::Idle { ping: None }) };
    });
    let report = load(&idle);
    assert_eq!((report.connections.established, report.messages.sent), (40, 0));
    assert_eq!((report.errors.len(), report.measured), (0, Duration::from_millis(50)));
    assert!(!report.is_failure() && !report.is_void());
}

#[test]
fn messages_without_answers_count_as_sent() {
    let server = serve(|| Script(|_, _, _| {}));
    let plan = with(Plan { length: RunLength::Messages(10_000), ..plan(&server) }, |send| {
        send.behaviour = Behaviour::Send;
        send.message = content("1-2000", false);
    });
    let report = load(&plan);
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
    let figures = report.server.as_ref().expect("it is this process");
    assert_eq!(figures.pid, std::process::id());
    assert!(figures.cpu_seconds > 0.0 && figures.rss_bytes > 0 && report.server_cpu_per_message().is_some());
    assert_eq!(report.generator.threads.len(), 2);
    assert!(report.generator.cpu_seconds > 0.0 && report.generator.threads.iter().all(|thread| thread.busy <= 1.0));
    let known = load(&Plan { server_pid: Some(std::process::id()), ..plan(&server) });
    assert_eq!(known.server.map(|server| server.pid), Some(std::process::id()));
}

#[test]
fn connecting_keeps_to_its_rate() {
    let server = echo();
    let mut plan = with(plan(&server), |echo| echo.connections = 21);
    plan.connect.rate = Some(200.0);
    let report = load(&plan);
    assert_eq!(report.connections.established, 21);
    // Two threads with 10 and 11 connections open 100 per second each: the last one is due after at
    // least 95 ms.
    // The rate is that of 21 connections in the time up to the last one.
    assert!(report.connections.per_second <= 21.0 / 0.090, "{:?}", report.connections);
}

#[test]
fn a_run_that_is_stopped_while_it_connects_has_not_failed() {
    let server = echo();
    // The run would take hours.
    let mut plan = with(Plan { threads: Some(1), ..plan(&server) }, |echo| echo.connections = 1000);
    plan.connect.rate = Some(0.1);
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
    assert_eq!(report.generator.threads.len(), 1);
    assert!(report.generator.cpu_seconds.is_sign_positive());
}

#[test]
fn connections_that_end_before_they_are_closed_are_a_failure_in_every_mode() {
    for mode in [Behaviour::Idle { ping: None }, Behaviour::Send, Behaviour::Echo] {
        let server = echo();
        let plan = Plan { length: RunLength::Time(Duration::from_secs(3600)), ..plan(&server) };
        let plan = with(plan, |population| population.behaviour = mode.clone());
        let mut server = Some(server);
        // The run ends by itself: no connection is left.
        let report = run(&plan, &mut |progress| {
            if progress.phase == RunPhase::Measure {
                drop(server.take());
            }
        });
        let report = report.expect("a report");
        assert!(report.is_failure() && !report.interrupted, "{mode}: {:?}", report.errors);
        let ends = report.connections.dropped;
        assert_eq!(ends, 4, "{mode}: {:?}", report.errors);
    }
}
