//! A run by number of messages sends exactly that many, and each turn is accounted for.

mod common;

use common::{Copies, Hub, first, load, load_until, messages, millis, open, plan, serve, with};
use ringway::{CloseCode, Connection, Handler, Message, Request, Upgrade};
use ringway_loadtest::{Behaviour, Load, Plan, Span};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts the messages of all connections, and echoes them.
struct Counting(Arc<AtomicU64>);

impl Handler for Counting {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        conn.reply(message);
    }
}

#[test]
fn exactly_as_many_messages_as_asked_for_are_sent() {
    let time = Span::Fixed(Duration::from_millis(3));
    let closed = Load::Closed { in_flight: 3 };
    let one = Load::Closed { in_flight: 1 };
    for (behaviour, load_of) in [
        (Behaviour::Echo, closed.clone()),
        (Behaviour::Echo, open(2_000.0)),
        (Behaviour::Request { think: time }, one.clone()),
        (Behaviour::Send, one.clone()),
        (Behaviour::Send, open(2_000.0)),
        (Behaviour::Connect, one),
        (Behaviour::Connect, open(200.0)),
        (Behaviour::Churn { lifetime: time, pause: Span::ZERO }, closed),
    ] {
        let received = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&received);
        let server = serve(move || Counting(Arc::clone(&counting)));
        for (number, threads) in [(1, 2), (10, 1), (10, 3)] {
            let plan = with(plan(server.address(), behaviour.clone(), messages(number)), |one| {
                one.load = load_of.clone();
            });
            let report = load(&Plan { threads: Some(threads), ..plan });
            let what = format!("{behaviour}, {load_of:?}: {number} messages, {threads} threads: {:?}", report.errors);
            let figures = &first(&report).messages;
            assert_eq!(figures.offered, figures.sent + figures.unsent, "{what}");
            assert_eq!((figures.sent + figures.unsent, figures.missing), (number, 0), "{what}");
            assert_eq!(received.swap(0, Ordering::Relaxed), figures.sent, "{what}");
            // An open loop of connections needs a free place for each; the others send all.
            assert!(figures.unsent == 0 || behaviour == Behaviour::Connect, "{what}");
            if behaviour.is_answered() {
                assert_eq!(figures.received, figures.sent, "{what}");
            }
        }
    }
}

#[test]
fn a_broadcast_publishes_exactly_as_many_messages_as_asked_for() {
    let server = serve(|| Hub::new(|_, _, _| Copies::Once));
    for (number, threads, publishers) in [(1, 2, 1), (10, 1, 3), (10, 3, 1), (11, 3, 4)] {
        let plan =
            with(plan(server.address(), Behaviour::Broadcast { publishers, topic: None }, messages(number)), |one| {
                one.load = open(2_000.0);
            });
        let report = load(&Plan { threads: Some(threads), ..plan });
        assert_eq!(server.on_shard(|hub, _| std::mem::take(&mut hub.messages)), number);
        let figures = &first(&report).messages;
        assert_eq!((figures.sent, figures.received, figures.missing), (number, number * 3, 0));
    }
}

/// Counts the messages of each connection, and closes the first connection at its tenth message.
struct Closing {
    opened: usize,
    counts: Arc<[AtomicU64; 4]>,
}

impl Handler for Closing {
    type State = usize;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<usize> {
        self.opened += 1;
        Upgrade::accept(self.opened - 1)
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let number = *conn.state();
        let count = self.counts[number].fetch_add(1, Ordering::Relaxed) + 1;
        conn.reply(message);
        if number == 0 && count == 10 {
            conn.close(CloseCode::GOING_AWAY, "").expect("1001 may be sent");
        }
    }
}

#[test]
fn the_turns_of_a_dead_connection_are_unsent_and_no_other_one_takes_them() {
    let counts: Arc<[AtomicU64; 4]> = Arc::default();
    let counting = Arc::clone(&counts);
    let server = serve(move || Closing { opened: 0, counts: Arc::clone(&counting) });
    for behaviour in [Behaviour::Echo, Behaviour::Send] {
        let plan = with(plan(server.address(), behaviour.clone(), messages(400)), |one| one.load = open(1_000.0));
        let report = load(&Plan { threads: Some(1), timeout: Duration::from_secs(1), ..plan });
        let figures = &first(&report).messages;
        let [dead, others @ ..] = counts.each_ref().map(|count| count.swap(0, Ordering::Relaxed));
        assert_eq!(others, [100; 3], "{behaviour}");
        assert_eq!((figures.offered, figures.sent + figures.unsent), (400, 400), "{behaviour}");
        assert!(figures.unsent > 0 && figures.unsent <= 90 && dead == 10, "{behaviour}: {figures:?} {dead}");
        server.wait_until_empty();
        server.on_shard(|closing, _| closing.opened = 0);
    }
}

/// The time between a reply and the next request of each connection is the think time at least.
#[test]
fn requests_follow_replies_after_the_think_time() {
    let (min, max) = (Duration::from_millis(10), Duration::from_millis(30));
    let received = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&received);
    let server = serve(move || Counting(Arc::clone(&counting)));
    let think = Span::Uniform(min, max);
    let report = load(&plan(server.address(), Behaviour::Request { think }, millis(600)));
    let figures = &first(&report).messages;
    assert_eq!((figures.sent, figures.missing), (figures.received, 0));
    // Four connections of 600 ms, each of which sends its first request within one think time: at
    // most 60 each, and half of that at the mean time on an idle machine.
    assert!((4..=4 * 61).contains(&figures.sent), "{figures:?}");
    // With a fixed seed the number is lower by late wake-ups only.
    let longest = load(&plan(server.address(), Behaviour::Request { think: Span::Fixed(max) }, millis(600)));
    assert!(first(&longest).messages.sent <= 4 * 21, "{:?}", first(&longest).messages);
}

#[test]
fn a_run_that_is_stopped_accounts_for_connections_in_progress() {
    let server = serve(|| Counting(Arc::default()));
    let plan = with(plan(server.address(), Behaviour::Connect, millis(3_600_000)), |one| one.load = open(500.0));
    let report = load_until(&plan, |progress| progress.messages > 20);
    let figures = &first(&report).messages;
    assert_eq!(figures.offered, figures.sent + figures.unsent, "{figures:?}");
    assert_eq!(figures.sent, figures.received + figures.corrupted + figures.missing, "{figures:?}");
    let latency = &first(&report).latency_us;
    let [response, service, lag] =
        [latency.response, latency.service, latency.send_lag].map(|one| one.expect("connections"));
    // From when the connection was due, and from the message.
    assert_eq!((response.count, service.count), (figures.received, figures.received));
    assert!(response.min > service.min && response.p50 > service.p50, "{response:?} {service:?}");
    assert!(lag.count >= figures.sent);
    let opening = &first(&report).opening_us;
    assert!(opening.connect.is_some() && opening.upgrade.is_some() && opening.tls.is_none());
}
