//! Broadcasts on a topic, against servers that speak the protocol of docs/topics.md and servers that
//! do not. What the servers do is known.

mod common;

use common::{content, errors, first, load, messages, open, plan, serve, with};
use ringway::{CloseCode, Connection, Handler, Message, Request, Upgrade};
use ringway_loadtest::{Alphabet, Behaviour, Plan, Report};
use ringway_testkit::server::TestServer;
use std::time::Duration;

/// What the server does with a subscription or a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Good,
    /// The answer is an error, or the message is not published.
    Refuse,
    /// Nothing is sent.
    Ignore,
    /// The command is sent back, as an echo does.
    Echo,
    /// The connection is closed.
    Close,
    /// The copy is sent twice.
    Twice,
}

/// A server of one topic, of one shard. `subscribe` says what it does with the subscription of a
/// connection, by its number, and `publish` with a message, by its number over all connections.
struct Topical {
    subscribe: fn(u32) -> Act,
    publish: fn(u64) -> Act,
    opened: u32,
    messages: u64,
}

/// A connection: its number, and whether it has subscribed.
struct Subscriber {
    number: u32,
    has_subscribed: bool,
}

fn send(conn: &mut Connection<'_, Topical>, message: Message<'_>) {
    assert!(conn.send(message).is_accepted(), "a reader of a test is not slow");
}

impl Handler for Topical {
    type State = Subscriber;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Subscriber> {
        self.opened += 1;
        Upgrade::accept(Subscriber { number: self.opened - 1, has_subscribed: false })
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let Some(published) = message.payload().strip_prefix(b"pub news\n") else {
            assert_eq!(message.as_text(), Some("sub news"));
            match (self.subscribe)(conn.state().number) {
                Act::Good => {
                    conn.state().has_subscribed = true;
                    send(conn, Message::text("ok sub news"));
                }
                Act::Refuse => send(conn, Message::text("err too many topics: wait")),
                Act::Echo => {
                    conn.reply(message);
                }
                Act::Close => conn.close(CloseCode::TRY_AGAIN, "full").expect("a code that may be sent"),
                Act::Ignore | Act::Twice => {}
            }
            return;
        };
        self.messages += 1;
        let act = (self.publish)(self.messages - 1);
        if act == Act::Refuse {
            return send(conn, Message::text("err the budget is used up: publish later"));
        }
        let copies = match act {
            Act::Good => 1,
            Act::Twice => 2,
            _ => 0,
        };
        let delivery = [b"msg news\n", published].concat();
        let is_text = message.as_text().is_some();
        conn.shard().for_each_connection(|conn| {
            assert!(conn.state().has_subscribed, "messages begin when all have subscribed");
            for _ in 0..copies {
                send(
                    conn,
                    match is_text {
                        true => Message::text(std::str::from_utf8(&delivery).expect("it was received as text")),
                        false => Message::binary(&delivery),
                    },
                );
            }
        });
    }
}

fn topical(subscribe: fn(u32) -> Act, publish: fn(u64) -> Act) -> TestServer<Topical> {
    serve(move || Topical { subscribe, publish, opened: 0, messages: 0 })
}

/// 200 messages of two publishers to six connections, on three threads.
fn broadcast(server: &TestServer<Topical>) -> Plan {
    let topic = Some("news".parse().expect("a name"));
    let plan = plan(server.address(), Behaviour::Broadcast { publishers: 2, topic }, messages(200));
    let plan = with(plan, |broadcast| {
        broadcast.connections = 6;
        broadcast.load = open(2_000.0);
    });
    Plan { threads: Some(3), ..plan }
}

/// The deliveries, the missing, duplicated and unasked ones.
fn counts(report: &Report) -> [u64; 4] {
    let messages = &first(report).messages;
    [messages.received, messages.missing, messages.duplicated, messages.unasked]
}

/// The requested, established and failed connections.
fn connections(report: &Report) -> [u64; 3] {
    let connections = &report.connections;
    [connections.requested, connections.established, connections.failed]
}

#[test]
fn each_message_reaches_all_subscribers_but_its_publisher() {
    let server = topical(|_| Act::Good, |_| Act::Good);
    for alphabet in [Alphabet::Ascii, Alphabet::Mixed, Alphabet::Binary] {
        let report = load(&with(broadcast(&server), |broadcast| broadcast.message = content("24-90", alphabet)));
        assert_eq!(report.errors, Default::default(), "{alphabet:?}");
        assert_eq!((counts(&report), connections(&report)), ([200 * 5, 0, 0, 0], [6, 6, 0]));
        let reach = first(&report).reach.as_ref().expect("it is a broadcast");
        assert_eq!((reach.messages, reach.readers, reach.reached, reach.own_copies), (200, 5, 1.0, 200));
        assert_eq!(reach.last_us.map(|last| last.count), Some(200));
        assert!(!report.is_failure() && !report.is_void());
        // The bytes are those on the wire: of each copy, the line with the topic too.
        let bytes = &first(&report).messages;
        assert_eq!(bytes.bytes_received, 6 * bytes.bytes_sent);
    }
    assert_eq!(server.on_shard(|server, _| server.messages), 600);
}

#[test]
fn lost_repeated_and_refused_messages_are_counted() {
    let server = topical(
        |_| Act::Good,
        |number| match number {
            10 => Act::Ignore,
            20 | 30 => Act::Twice,
            40..43 => Act::Refuse,
            _ => Act::Good,
        },
    );
    let report = load(&Plan { timeout: Duration::from_millis(400), ..broadcast(&server) });
    // The publisher sees its own second copy too.
    assert_eq!(counts(&report), [196 * 5, 4 * 5, 2 * 6, 0]);
    assert_eq!((errors(&report, "publish_refused"), errors(&report, "duplicate_reply")), (3, 12));
    let says = &report.errors["publish_refused"].samples[0];
    assert_eq!(says, "the server answered: err the budget is used up: publish later");
    // Not once as missing and once as an error.
    assert_eq!(report.failures(), 4 * 5 + 2 * 6);
}

/// What a server does with the subscriptions, the timeout of the load in milliseconds, and the kind and
/// the text of the error.
type Refusal = (fn(u32) -> Act, u64, &'static str, &'static str);

#[test]
fn a_refused_subscription_is_a_connection_that_failed() {
    let cases: [Refusal; 4] = [
        (
            |number| if number == 2 { Act::Refuse } else { Act::Good },
            60_000,
            "subscribe_refused",
            "the server answered: err too many topics: wait",
        ),
        (
            |number| if number == 2 { Act::Echo } else { Act::Good },
            60_000,
            "subscribe_invalid",
            "the server sent 8 bytes before it confirmed the subscription: \"sub news\"",
        ),
        (|number| if number == 2 { Act::Close } else { Act::Good }, 60_000, "closed_early", "before it had subscribed"),
        (
            |number| if number == 2 { Act::Ignore } else { Act::Good },
            400,
            "subscribe_timeout",
            "the server did not confirm the subscription within 400 ms",
        ),
    ];
    for (rule, timeout, kind, says) in cases {
        let server = topical(rule, |_| Act::Good);
        let report = load(&Plan { timeout: Duration::from_millis(timeout), ..broadcast(&server) });
        assert_eq!(connections(&report), [6, 5, 1], "{kind}");
        assert_eq!(errors(&report, kind), 1, "{:?}", report.errors);
        assert!(report.errors[kind].samples[0].contains(says), "{:?}", report.errors);
        assert_eq!(report.errors.len(), 1, "{:?}", report.errors);
        let messages = &first(&report).messages;
        assert_eq!((messages.received, messages.missing), (messages.sent * 4, 0), "{kind}");
        assert!(report.is_failure(), "{kind}");
    }
}

#[test]
fn a_server_of_another_protocol_is_named_as_the_reason() {
    let server = topical(|_| Act::Echo, |_| Act::Good);
    let report = load(&broadcast(&server));
    assert_eq!(connections(&report), [6, 0, 6]);
    let says = report.connect_failure().expect("no connection is established");
    assert!(says.starts_with("none of 6 connections to ws://"), "{says}");
    assert!(says.contains("(subscribe_invalid)") && says.ends_with("(docs/topics.md)"), "{says}");
}
