//! Open loops against servers in this process: which messages are due, and what becomes of each.

use ringway::{Connection, Handler, Message, Request, Upgrade};
use ringway_loadtest::{Arrivals, Behaviour, Cores, Load, Plan, Population, Report, RunLength, Schedule, run};
use ringway_testkit::server::{TestServer, config};
use std::time::Duration;

/// Sends each message back.
struct Echo;

impl Handler for Echo {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let _ = conn.send(message);
    }
}

fn echo() -> TestServer<Echo> {
    TestServer::start(config(), ringway::Limits::default(), |_| Echo)
}

/// An open loop of three connections for 300 ms, after a warm-up of 100 ms.
fn plan(server: &TestServer<Echo>, rate: f64, threads: usize) -> Plan {
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
    let server = echo();
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
    let server = echo();
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
    let server = echo();
    let mut plan = plan(&server, 1_000.0, 2);
    plan.populations[0].connections = 1;
    // The other thread has connections of another population only.
    let idle = Population { connections: 4, ..Population::new(Behaviour::Idle { ping: None }) };
    plan.populations.push(idle);
    let messages = load(&plan).messages;
    assert_eq!((messages.offered, messages.sent, messages.received), (300, 300, 300), "{messages:?}");
}
