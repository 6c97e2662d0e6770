//! Connections that end and connect again, and servers that end connections.

mod common;

use common::{errors, first, load, load_until, messages, millis, plan, serve, with};
use ringway::{CloseCode, Connection, Handler, Message, Request, StatusCode, TimerId, Upgrade};
use ringway_loadtest::{Behaviour, Plan, Span};
use ringway_testkit::impaired::{ImpairedServer, Impairments};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The times of all attempts to connect.
type Attempts = Arc<Mutex<Vec<Instant>>>;

/// Accepts the first connection and ends it at its first message; refuses the next attempts up to
/// the fifth one, and accepts the others.
struct Refusing(Attempts);

const REFUSED: usize = 4;

impl Handler for Refusing {
    type State = usize;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<usize> {
        let mut attempts = self.0.lock().expect("no test thread panics with it");
        attempts.push(Instant::now());
        match attempts.len() {
            number @ 2.. if number <= 1 + REFUSED => Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "busy"),
            number => Upgrade::accept(number),
        }
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
        if *conn.state() == 1 {
            conn.close(CloseCode::GOING_AWAY, "restart").expect("1001 may be sent");
        }
    }
}

#[test]
fn attempts_back_off_with_the_jitter_of_the_seed() {
    let attempts = Attempts::default();
    let recorded = Arc::clone(&attempts);
    let server = serve(move || Refusing(Arc::clone(&recorded)));
    let behaviour = Behaviour::Churn { lifetime: Span::Fixed(Duration::from_secs(3600)), pause: Span::ZERO };
    let plan = with(plan(server.address(), behaviour, millis(3_600_000)), |churn| churn.connections = 1);
    let report = load_until(&Plan { threads: Some(1), ..plan }, |progress| progress.messages > 5);
    assert_eq!((errors(&report, "closed_early"), errors(&report, "handshake_status_503")), (1, REFUSED as u64));
    let attempts = attempts.lock().expect("the server has stopped recording");
    assert_eq!(attempts.len(), 2 + REFUSED);
    // The first attempt follows the end at once. Each other one follows the refusal of the one
    // before after a wait, which `worker/times.rs` lists for this seed.
    for (pair, wait) in attempts[1..].windows(2).zip([61, 98, 180, 302]) {
        let waited = pair[1] - pair[0];
        assert!(waited >= Duration::from_millis(wait), "{waited:?} for {wait} ms");
    }
}

/// Counts connections, and echoes.
struct Opened(Arc<Mutex<Vec<Instant>>>);

impl Handler for Opened {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        self.0.lock().expect("no test thread panics with it").push(Instant::now());
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

#[test]
fn connections_live_for_their_lifetime_and_pause_before_the_next_one() {
    let opened: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let recorded = Arc::clone(&opened);
    let server = serve(move || Opened(Arc::clone(&recorded)));
    let span = |millis| Span::Fixed(Duration::from_millis(millis));
    let behaviour = Behaviour::Churn { lifetime: span(40), pause: span(20) };
    let plan = with(plan(server.address(), behaviour, millis(700)), |churn| churn.connections = 1);
    let report = load(&Plan { threads: Some(1), ..plan });
    let opened = opened.lock().expect("the server has stopped recording");
    for pair in opened.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(60), "{:?}", pair[1] - pair[0]);
    }
    // 700 ms have room for 11 lives of 60 ms after the first one.
    assert!((2..=13).contains(&opened.len()), "{} connections", opened.len());
    assert_eq!(report.connections.established, opened.len() as u64);
    assert_eq!((report.errors.len(), report.connections.dropped), (0, 0), "{:?}", report.errors);
    let figures = &first(&report).messages;
    assert_eq!((figures.sent, figures.missing), (figures.received, 0));
}

#[test]
fn a_population_that_nobody_accepts_tries_no_more_often_than_its_back_off() {
    // One of four places is accepted, so that the run goes on.
    struct One(Attempts);
    impl Handler for One {
        type State = ();

        fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
            let mut attempts = self.0.lock().expect("no test thread panics with it");
            attempts.push(Instant::now());
            if attempts.len() == 1 { Upgrade::accept(()) } else { Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "") }
        }

        fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
            conn.reply(message);
        }
    }
    let attempts = Attempts::default();
    let recorded = Arc::clone(&attempts);
    let server = serve(move || One(Arc::clone(&recorded)));
    let behaviour = Behaviour::Churn { lifetime: Span::Fixed(Duration::from_secs(3600)), pause: Span::ZERO };
    let report = load(&Plan { threads: Some(1), ..plan(server.address(), behaviour, millis(1_000)) });
    let attempts = attempts.lock().expect("the server has stopped recording").len() as u64;
    assert_eq!(errors(&report, "handshake_status_503"), attempts - 1);
    // Four attempts before messages are sent. Three places then wait for 50, 100, 200, 400 ms and
    // so on in the mean: a place without back-off would try thousands of times in this second.
    assert!((4..60).contains(&attempts), "{attempts} attempts");
    drop(server);
}

/// Ends each connection after a time.
struct Impatient;

impl Handler for Impatient {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        conn.set_timer(Duration::from_millis(1_500));
    }

    fn timer(&mut self, conn: &mut Connection<'_, Self>, _: TimerId) {
        conn.close(CloseCode::GOING_AWAY, "idle for too long").expect("1001 may be sent");
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

/// The time that a report writes as `1.50 s` or `999 ms`.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, seconds) = match text.split_once(' ')? {
        (number, "s") => (number, 1.0),
        (number, "ms") => (number, 1e-3),
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[test]
fn a_server_that_drops_idle_connections_is_reported_with_the_reason_and_the_age() {
    let server = serve(|| Impatient);
    let idle = plan(server.address(), Behaviour::Idle { ping: Some(Duration::from_millis(100)) }, millis(3_600_000));
    // The run ends when no connection is left.
    let started = Instant::now();
    let report = load(&idle);
    assert_eq!((errors(&report, "closed_early"), report.connections.dropped), (4, 4));
    let sample = &report.errors["closed_early"].samples[0];
    let age = sample.strip_prefix("1001 \"idle for too long\", closed by the peer, ");
    let age = age.and_then(|rest| rest.strip_suffix(" after it opened")).and_then(parse_duration);
    // The age is that of the server less the time in which the client did not yet see the response.
    assert!(age.is_some_and(|age| age >= Duration::from_millis(900) && age <= started.elapsed()), "{sample}");
    assert!(report.is_failure());
    let figures = &first(&report).messages;
    assert_eq!(figures.sent, figures.received + figures.missing, "{figures:?}");
    assert!(figures.received >= 4, "pings were answered: {figures:?}");
}

#[test]
fn a_server_that_does_not_answer_pings_is_dropped_after_the_timeout() {
    let server = ImpairedServer::start(Impairments { ignore_pings: true, ..Impairments::default() });
    let idle = plan(server.address(), Behaviour::Idle { ping: Some(Duration::from_millis(100)) }, millis(3_600_000));
    let report = load(&Plan { timeout: Duration::from_millis(300), ..idle });
    assert_eq!((errors(&report, "ping_timeout"), report.connections.dropped), (4, 4), "{:?}", report.errors);
    assert!(report.errors["ping_timeout"].samples[0].starts_with("no pong within 300 ms: dropped by us, "));
    let figures = &first(&report).messages;
    assert_eq!((figures.received, figures.missing), (0, figures.sent));
    assert!(figures.sent >= 4 * 3, "{figures:?}");
}

#[test]
fn messages_without_a_pong_behind_them_are_said_to_be_unconfirmed() {
    for (ignore_pings, unconfirmed) in [(false, 0), (true, 4)] {
        let server = ImpairedServer::start(Impairments { ignore_pings, ..Impairments::default() });
        let plan = plan(server.address(), Behaviour::Send, messages(1_000));
        let timeout = if ignore_pings { Duration::from_millis(300) } else { plan.timeout };
        let report = load(&Plan { timeout, ..plan });
        assert_eq!(errors(&report, "no_pong"), unconfirmed, "{:?}", report.errors);
        assert_eq!((first(&report).messages.sent, report.messages.missing), (1_000, 0));
        if !ignore_pings {
            assert_eq!(server.counts().messages, 1_000, "the pong shows that the server has read them");
        }
    }
}

/// What the server has not taken is not sent, although the kernel of the generator has room for
/// megabytes.
#[test]
fn only_what_the_kernel_of_the_server_has_taken_is_sent() {
    let server = ImpairedServer::start(Impairments {
        rate: Some(10),
        queue_limit: 1,
        receive_buffer: Some(16 << 10),
        ..Impairments::default()
    });
    let plan = with(plan(server.address(), Behaviour::Send, millis(500)), |send| {
        send.connections = 1;
        send.message = common::content("1000", ringway_loadtest::Alphabet::Binary);
    });
    let report = load(&Plan { threads: Some(1), timeout: Duration::from_millis(300), ..plan });
    let sent = first(&report).messages.sent * 1000;
    assert!((1..=128 << 10).contains(&sent), "{sent} bytes");
    assert!(errors(&report, "no_pong") == 1, "{:?}", report.errors);
}

#[test]
fn handshakes_of_a_population_of_connections_are_counted_by_stage() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    // Nobody listens: each connection that is due is unsent, and none is lost from the account.
    let plan = with(plan(address, Behaviour::Connect, messages(20)), |one| one.load = common::open(1_000.0));
    let report = load(&plan);
    let figures = &first(&report).messages;
    assert_eq!((figures.offered, figures.sent, figures.unsent), (20, 0, 20));
    assert!(errors(&report, "connect_refused") <= 20 && report.is_failure());
}
