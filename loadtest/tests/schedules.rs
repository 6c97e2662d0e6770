//! Open loops against servers in this process: which messages are due, and what becomes of each.

use ringway::{Connection, Handler, Message, Request, Upgrade};
use ringway_loadtest::{
    Alphabet, Arrivals, Behaviour, Content, Cores, Load, LoadFigures, Plan, Population, Report, RunLength, Schedule,
    Sizes, run,
};
use ringway_testkit::server::{TestServer, config};
use std::time::Duration;

/// An open loop of three connections for 300 ms, after a warm-up of 100 ms.
fn plan<H: Handler>(server: &TestServer<H>, rate: f64, threads: usize) -> Plan {
    let load = Load::Open { schedule: Schedule::constant(rate), arrivals: Arrivals::Uniform };
    Plan {
        threads: Some(threads),
        cores: Cores::Unpinned,
        length: RunLength::Time(Duration::from_millis(300)),
        warmup: Some(Duration::from_millis(100)),
        // On a busy machine an answer can take long.
        timeout: Duration::from_secs(60),
        populations: vec![Population { connections: 3, load, ..Population::new(Behaviour::Echo) }],
        ..Plan::new(format!("ws://{}/", server.address()))
    }
}

fn load(plan: &Plan) -> Report {
    run(plan, &mut |_| {}).expect("a report")
}

#[test]
fn the_number_of_messages_that_are_due_is_exact() {
    let server = TestServer::echo();
    for threads in [1, 2] {
        for (rate, due) in [(1_000.0, 300), (20_000.0, 6_000)] {
            let messages = load(&plan(&server, rate, threads)).messages;
            assert_eq!(messages.offered, due, "{messages:?}");
            assert_eq!(messages.sent + messages.unsent, due, "{messages:?}");
            assert_eq!(messages.received + messages.missing, messages.sent, "{messages:?}");
        }
    }
}

#[test]
fn a_generator_that_cannot_keep_up_counts_what_it_has_not_sent() {
    let server = TestServer::echo();
    // More than any thread can send.
    let report = load(&Plan { warmup: Some(Duration::ZERO), ..plan(&server, 20e6, 1) });
    let messages = report.messages;
    assert_eq!(messages.offered, 6_000_000, "{messages:?}");
    assert_eq!(messages.sent + messages.unsent, 6_000_000, "{messages:?}");
    assert!(messages.sent_per_second > 0.0, "{messages:?}");
    assert!(messages.sent > 0 && messages.unsent > messages.sent, "{messages:?}");
    // They have waited until the end, and are in the response time with that.
    let response = report.latency_us.response.expect("some were answered");
    assert_eq!(response.count, 6_000_000, "{response:?}");
    assert!(response.lower_bounds >= messages.unsent && response.is_lower_bound(response.p99), "{response:?}");
    let lag = report.latency_us.send_lag.expect("an open loop");
    assert!(lag.max >= 50_000.0 && lag.count == 6_000_000, "{lag:?}");
}

#[test]
fn threads_without_connections_have_no_messages() {
    let server = TestServer::echo();
    let mut plan = plan(&server, 1_000.0, 2);
    plan.populations[0].connections = 1;
    // The other thread has connections of another population only.
    let idle = Population { connections: 4, ..Population::new(Behaviour::Idle { ping: None }) };
    plan.populations.push(idle);
    let messages = load(&plan).messages;
    assert_eq!((messages.offered, messages.sent, messages.received), (300, 300, 300), "{messages:?}");
}

/// Reads nothing after the first messages.
struct Deaf;

impl Handler for Deaf {
    type State = u32;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<u32> {
        Upgrade::accept(0)
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let _ = conn.send(message);
        *conn.state() += 1;
        if *conn.state() == 3 {
            conn.pause();
        }
    }
}

#[test]
fn messages_that_a_connection_does_not_take_wait_and_are_counted() {
    let server = TestServer::start(config(), ringway::Limits::default(), |_| Deaf);
    let mut plan = Plan {
        warmup: Some(Duration::ZERO),
        timeout: Duration::from_millis(300),
        ..Plan::new(format!("ws://{}/", server.address()))
    };
    plan.length = RunLength::Time(Duration::from_secs(1));
    plan.populations[0].connections = 1;
    plan.populations[0].load = Load::Open { schedule: Schedule::constant(200.0), arrivals: Arrivals::Uniform };
    plan.populations[0].message =
        Content::Random { sizes: Sizes::fixed(1 << 20).expect("a size"), alphabet: Alphabet::Binary };
    let report = load(&plan);
    let messages = report.messages;
    assert_eq!((messages.offered, messages.sent + messages.unsent), (200, 200), "{messages:?}");
    // The buffers of both kernels and the outbox take a few megabytes.
    assert!(messages.blocked > 100 && messages.held_back >= messages.blocked, "{messages:?}");
    assert_eq!((messages.unsent, messages.overdue), (messages.blocked, 0), "{messages:?}");
    let response = report.latency_us.response.expect("some were answered");
    assert_eq!(response.count, 200, "each message is in the response times: {response:?}");
    assert!(response.lower_bounds >= messages.blocked && response.is_lower_bound(response.p90), "{response:?}");
    assert!(report.is_failure());
}

/// Ends each connection at its tenth message.
struct Short;

impl Handler for Short {
    type State = u32;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<u32> {
        Upgrade::accept(0)
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let _ = conn.send(message);
        *conn.state() += 1;
        if *conn.state() == 10 {
            conn.terminate();
        }
    }
}

#[test]
fn the_schedule_goes_on_when_all_connections_have_ended() {
    let server = TestServer::start(config(), ringway::Limits::default(), |_| Short);
    let load_of = |rate| Load::Open { schedule: Schedule::constant(rate), arrivals: Arrivals::Uniform };
    let mut plan = Plan { warmup: Some(Duration::ZERO), ..Plan::new(format!("ws://{}/", server.address())) };
    plan.length = RunLength::Time(Duration::from_millis(500));
    (plan.populations[0].connections, plan.populations[0].load) = (2, load_of(1_000.0));
    let report = load(&plan);
    let messages = report.messages;
    assert_eq!((messages.offered, messages.sent + messages.unsent), (500, 500), "{messages:?}");
    assert!(messages.unsent > 300 && messages.overdue + messages.blocked < messages.unsent, "{messages:?}");
    assert_eq!(report.measured, Duration::from_millis(500));
    assert!(report.is_failure());
}

#[test]
fn a_number_of_messages_that_are_not_answered_is_reported() {
    let server = TestServer::start(config(), ringway::Limits::default(), |_| Mute);
    let mut plan = Plan {
        timeout: Duration::from_millis(200),
        length: RunLength::Messages(4),
        ..Plan::new(format!("ws://{}/", server.address()))
    };
    plan.populations[0].connections = 2;
    let report = load(&plan);
    let messages = report.messages;
    assert_eq!((messages.offered, messages.sent + messages.unsent), (4, 4), "{messages:?}");
    assert_eq!((messages.received, messages.missing), (0, messages.sent), "{messages:?}");
    assert!(report.measured >= Duration::from_millis(200), "{:?}", report.measured);
}

/// Answers nothing.
struct Mute;

impl Handler for Mute {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

#[test]
fn a_flood_does_not_keep_other_populations_from_their_work() {
    let server = TestServer::start(config(), ringway::Limits::default(), |_| Mute);
    let mut plan = Plan { threads: Some(1), ..Plan::new(format!("ws://{}/", server.address())) };
    (plan.length, plan.warmup) = (RunLength::Time(Duration::from_millis(200)), Some(Duration::ZERO));
    plan.timeout = Duration::from_millis(200);
    plan.populations = vec![
        Population { connections: 1, ..Population::new(Behaviour::Send) },
        Population { connections: 1, load: Load::Closed { in_flight: 1 }, ..Population::new(Behaviour::Echo) },
    ];
    let report = load(&plan);
    assert_eq!(report.measured, Duration::from_millis(200));
    assert!(report.populations[0].messages.sent > 0, "{:?}", report.populations[0].messages);
    assert_eq!(report.populations[1].messages.missing, 1, "{:?}", report.populations[1].messages);
}

#[test]
fn the_messages_in_flight_of_closed_loops_are_no_backlog() {
    let server = TestServer::echo();
    let mut plan = Plan { warmup: Some(Duration::ZERO), ..plan(&server, 100.0, 1) };
    let closed =
        Population { connections: 4, load: Load::Closed { in_flight: 16 }, ..Population::new(Behaviour::Echo) };
    plan.populations.push(Population { name: "closed".into(), ..closed });
    let LoadFigures::Open(open) = load(&plan).verdict.figures.load else { panic!("an open loop") };
    // 64 messages of the closed loop are in flight at the end.
    assert_eq!(open.offered, 30);
    assert!(open.backlog_growth <= 30, "{open:?}");
}
