//! Broadcasts against servers that deliver all, and against servers that do not.

mod common;

use common::{Copies, Hub, content, errors, first, load, load_until, messages, open, plan, serve, with};
use ringway_loadtest::message::Literal;
use ringway_loadtest::{Alphabet, Behaviour, Content, Load, Plan, PlanError, Report};
use ringway_testkit::server::TestServer;
use std::time::Duration;

/// 200 messages of two publishers to six connections, on three threads.
fn broadcast(server: &TestServer<Hub>) -> Plan {
    let plan = plan(server.address(), Behaviour::Broadcast { publishers: 2, topic: None }, messages(200));
    let plan = with(plan, |broadcast| {
        broadcast.connections = 6;
        broadcast.load = open(2_000.0);
    });
    Plan { threads: Some(3), ..plan }
}

fn hub(rule: fn(u64, u32, bool) -> Copies) -> TestServer<Hub> {
    serve(move || Hub::new(rule))
}

/// The deliveries, the missing, duplicated and reordered ones.
fn counts(report: &Report) -> [u64; 4] {
    let messages = &first(report).messages;
    [messages.received, messages.missing, messages.duplicated, messages.reordered]
}

#[test]
fn each_message_reaches_all_but_its_publisher() {
    let server = hub(|_, _, _| Copies::Once);
    for alphabet in [Alphabet::Ascii, Alphabet::Mixed, Alphabet::Binary] {
        let report = load(&with(broadcast(&server), |broadcast| broadcast.message = content("24-90", alphabet)));
        assert_eq!(report.errors, Default::default(), "{alphabet:?}");
        assert_eq!((counts(&report), first(&report).messages.sent), ([200 * 5, 0, 0, 0], 200));
        let reach = first(&report).reach.as_ref().expect("it is a broadcast");
        assert_eq!((reach.messages, reach.readers, reach.reached), (200, 5, 1.0));
        assert_eq!((reach.own_copies, reach.unrecorded), (200, 0));
        let [each, first, median, last] =
            [reach.each_us, reach.first_us, reach.median_us, reach.last_us].map(|stage| stage.expect("deliveries"));
        assert_eq!([each, first, median, last].map(|stage| stage.count), [1000, 200, 200, 200]);
        assert!(first.p50 <= median.p50 && median.p50 <= last.p50 && first.min <= each.min && last.max >= each.max);
        assert_eq!(report.messages.achieved, Some(1.0));
        assert!(!report.is_failure() && !report.is_void());
    }
    assert_eq!(server.on_shard(|hub, _| hub.messages), 600);
}

#[test]
fn the_reach_does_not_depend_on_copies_to_the_publisher() {
    let server = hub(|_, _, is_publisher| if is_publisher { Copies::Never } else { Copies::Once });
    let report = load(&broadcast(&server));
    let reach = first(&report).reach.clone().expect("it is a broadcast");
    assert_eq!((counts(&report), reach.reached, reach.own_copies), ([1000, 0, 0, 0], 1.0, 0));
}

/// The run ends when all have arrived, so that their number and their bytes are exact.
#[test]
fn copies_to_the_publisher_are_waited_for_if_the_server_sends_any() {
    let server = hub(|message, _, is_publisher| match is_publisher && message >= 150 {
        true => Copies::Late,
        false => Copies::Once,
    });
    let report = load(&broadcast(&server));
    assert_eq!((counts(&report), report.errors.len()), ([1000, 0, 0, 0], 0));
    let reach = first(&report).reach.as_ref().expect("it is a broadcast");
    assert_eq!((reach.reached, reach.own_copies), (1.0, 200));
    let messages = &first(&report).messages;
    assert_eq!(messages.bytes_received, 6 * messages.bytes_sent);
}

/// Every tenth message does not reach the connection with number 5.
#[test]
fn a_reader_that_misses_messages_lowers_the_reach_and_is_waited_for() {
    let server = hub(|message, reader, _| if message % 10 == 0 && reader == 5 { Copies::Never } else { Copies::Once });
    // One thread, so that the connections are numbered in the order of their places and the last
    // one is no publisher.
    let plan = Plan { threads: Some(1), timeout: Duration::from_millis(400), ..broadcast(&server) };
    let report = load(&plan);
    assert_eq!(counts(&report), [980, 20, 0, 0]);
    let reach = first(&report).reach.clone().expect("it is a broadcast");
    assert!((reach.reached - 0.98).abs() < 1e-9, "{reach:?}");
    let [first, last] = [reach.first_us, reach.last_us].map(|stage| stage.expect("messages"));
    assert_eq!((first.count, first.lower_bounds, last.count, last.lower_bounds), (200, 0, 200, 20));
    assert!(report.is_failure());
}

#[test]
fn duplicates_and_messages_out_of_order_are_counted_for_each_reader() {
    // Of all messages, the number 50 is sent twice to all, and each 20th after the next one. Those
    // of the two publishers alternate, so that messages of one of them change places only if the
    // server holds them for longer: with one publisher, each exchange counts.
    let server = hub(|message, _, _| match message {
        50 => Copies::Twice,
        message if message % 20 == 7 => Copies::Swapped,
        _ => Copies::Once,
    });
    let one = with(broadcast(&server), |one| one.behaviour = Behaviour::Broadcast { publishers: 1, topic: None });
    let report = load(&one);
    // The publisher sees its own copies too.
    assert_eq!(counts(&report), [1000, 0, 6, 10 * 6]);
    assert_eq!(errors(&report, "duplicate_reply"), 6);
    assert!(report.errors["duplicate_reply"].samples[0].contains("message 50 of publisher 0"));
}

#[test]
fn a_message_that_was_not_published_is_unasked_for() {
    let server = hub(|_, _, _| Copies::Once);
    let plan = broadcast(&server);
    // A second run of another seed, whose messages the first one receives.
    let other = Plan { seed: Some(2), ..plan.clone() };
    let mut others = None;
    let endless = Plan { length: common::millis(3_600_000), ..plan };
    let report = load_until(&endless, |_| {
        others.get_or_insert_with(|| load(&other));
        true
    });
    assert_eq!(first(&report).messages.unasked, 200 * 6);
    assert_eq!(errors(&report, "unexpected_message"), 1200);
    assert!(others.is_some_and(|other| first(&other).messages.unasked > 0));
}

#[test]
fn publishers_that_are_gone_leave_their_turns_unsent() {
    let server = hub(|_, _, _| Copies::Once);
    let plan = broadcast(&server);
    let (mut is_closed, mut reports) = (false, 0);
    let plan = Plan { threads: Some(1), length: common::millis(3_600_000), ..plan };
    let report = load_until(&plan, |progress| {
        if !is_closed && progress.messages > 0 {
            is_closed = true;
            server.on_shard(|_, shard| {
                let mut left = 3;
                shard.for_each_connection(|conn| {
                    if left > 0 {
                        left -= 1;
                        conn.terminate();
                    }
                });
            });
        }
        reports += u32::from(progress.open == 3);
        reports > 3
    });
    let messages = &first(&report).messages;
    assert_eq!(messages.offered, messages.sent + messages.unsent);
    // Both publishers are among the first connections.
    assert!(messages.sent > 0 && messages.unsent > 0, "{messages:?}");
    assert_eq!(first(&report).connections.dropped, 3);
}

#[test]
fn plans_without_readers_room_or_own_content_are_refused() {
    let plan = plan(
        "127.0.0.1:9".parse().expect("an address"),
        Behaviour::Broadcast { publishers: 1, topic: None },
        messages(1),
    );
    let plan = with(plan, |broadcast| broadcast.load = open(1.0));
    assert_eq!(plan.check(), Ok(()));
    let given = Literal::text("a message of more than 24 bytes").expect("it is short");
    for (plan, error) in [
        (with(plan.clone(), |one| one.connections = 1), PlanError::NoReaders),
        (with(plan.clone(), |one| one.message = content("23", Alphabet::Ascii)), PlanError::NoHead(23)),
        (with(plan.clone(), |one| one.message = Content::Literal(given)), PlanError::GivenContent),
        (with(plan.clone(), |one| one.load = Load::Closed { in_flight: 1 }), PlanError::NeedsSchedule("broadcast")),
        (
            with(plan.clone(), |one| {
                (one.connections, one.behaviour) = (1 << 20, Behaviour::Broadcast { publishers: 17, topic: None });
            }),
            PlanError::Pairs { publishers: 17, connections: 1 << 20 },
        ),
    ] {
        assert_eq!(plan.check(), Err(error));
    }
}
