//! What the tests of behaviours share: plans, and servers whose truth is known.
#![allow(dead_code, reason = "each test program uses a part of it")]

use ringway::{Connection, ConnectionId, Handler, Message, Request, Shard, Upgrade};
use ringway_loadtest::{
    Alphabet, Arrivals, Behaviour, Content, Cores, Load, Plan, Population, PopulationFigures, Progress, Report,
    RunLength, RunPhase, Schedule, Verify, run,
};
use ringway_testkit::server::{TestServer, config};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) fn serve<H: Handler>(make: impl Fn() -> H + Send + Sync + 'static) -> TestServer<H> {
    TestServer::start(config(), ringway::Limits::default(), move |_| make())
}

/// A plan of one population of four connections, on two threads, with a known seed.
pub(crate) fn plan(address: SocketAddr, behaviour: Behaviour, length: RunLength) -> Plan {
    Plan {
        threads: Some(2),
        cores: Cores::Unpinned,
        length,
        warmup: Some(Duration::ZERO),
        verify: Verify::All,
        // On a busy machine an answer can take long.
        timeout: Duration::from_secs(60),
        seed: Some(1),
        populations: vec![Population { connections: 4, ..Population::new(behaviour) }],
        ..Plan::new(format!("ws://{address}/"))
    }
}

/// The plan with a changed population.
pub(crate) fn with(mut plan: Plan, change: impl FnOnce(&mut Population)) -> Plan {
    change(&mut plan.populations[0]);
    plan
}

pub(crate) fn messages(number: u64) -> RunLength {
    RunLength::Messages(number)
}

pub(crate) fn millis(time: u64) -> RunLength {
    RunLength::Time(Duration::from_millis(time))
}

pub(crate) fn open(rate: f64) -> Load {
    Load::Open { schedule: Schedule::constant(rate), arrivals: Arrivals::Uniform }
}

/// Random messages of these sizes.
pub(crate) fn content(sizes: &str, alphabet: Alphabet) -> Content {
    Content::Random { sizes: sizes.parse().expect("sizes"), alphabet }
}

pub(crate) fn load(plan: &Plan) -> Report {
    run(plan, &mut |_| {}).expect("a report")
}

/// A run that is stopped when `enough` returns true.
pub(crate) fn load_until(plan: &Plan, mut enough: impl FnMut(&Progress) -> bool) -> Report {
    let stop = plan.stop.clone();
    let report = run(plan, &mut |progress| {
        if progress.phase == RunPhase::Measure && enough(progress) {
            stop.now();
        }
    });
    report.expect("a report")
}

/// The number of errors of a kind.
pub(crate) fn errors(report: &Report, kind: &str) -> u64 {
    report.errors.get(kind).map_or(0, |error| error.count)
}

/// The figures of the first population.
pub(crate) fn first(report: &Report) -> &PopulationFigures {
    &report.populations[0]
}

/// What a [`Hub`] does to one copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    Once,
    Never,
    Twice,
    /// After the next one to the same connection.
    Swapped,
    /// Some 20 ms later.
    Late,
}

/// A server of one shard that sends each message to all connections. `rule` says what it does with
/// each copy, by the number of the message over all connections, the number of the reader's
/// connection, and whether the reader is the publisher.
pub(crate) struct Hub {
    pub(crate) rule: fn(u64, u32, bool) -> Copies,
    pub(crate) messages: u64,
    opened: u32,
    /// The copies that are sent later, and when.
    late: Vec<(ConnectionId, bool, Vec<u8>)>,
    due: Option<Instant>,
}

impl Hub {
    pub(crate) fn new(rule: fn(u64, u32, bool) -> Copies) -> Self {
        Self { rule, messages: 0, opened: 0, late: Vec::new(), due: None }
    }
}

/// A connection of a [`Hub`]: its number, and a message to send after the next one.
pub(crate) struct Reader {
    number: u32,
    held: Option<(bool, Vec<u8>)>,
}

fn send(conn: &mut Connection<'_, Hub>, is_text: bool, payload: &[u8]) {
    let message = match is_text {
        true => Message::text(std::str::from_utf8(payload).expect("it was received as text")),
        false => Message::binary(payload),
    };
    assert!(conn.send(message).is_accepted(), "a reader of a test is not slow");
}

impl Handler for Hub {
    type State = Reader;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Reader> {
        self.opened += 1;
        Upgrade::accept(Reader { number: self.opened - 1, held: None })
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let (publisher, number, rule) = (conn.id(), self.messages, self.rule);
        self.messages += 1;
        let is_text = message.as_text().is_some();
        let payload = message.payload().to_vec();
        let mut late = Vec::new();
        let deliver = |conn: &mut Connection<'_, Self>| {
            let is_publisher = conn.id() == publisher;
            let copies = rule(number, conn.state().number, is_publisher);
            let times = match copies {
                Copies::Swapped => {
                    conn.state().held = Some((is_text, payload.clone()));
                    return;
                }
                Copies::Late => return late.push((conn.id(), is_text, payload.clone())),
                Copies::Never => 0,
                Copies::Once => 1,
                Copies::Twice => 2,
            };
            for _ in 0..times {
                send(conn, is_text, &payload);
            }
            if let Some((is_text, payload)) = conn.state().held.take() {
                send(conn, is_text, &payload);
            }
        };
        let shard: &mut Shard<'_, Self> = &mut conn.shard();
        shard.for_each_connection(deliver);
        let due = shard.turn_time() + Duration::from_millis(20);
        if !late.is_empty() {
            self.late.append(&mut late);
            shard.wake_at(*self.due.get_or_insert(due));
        }
    }

    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        self.due = None;
        for (id, is_text, payload) in std::mem::take(&mut self.late) {
            if let Some(mut conn) = shard.connection(id) {
                send(&mut conn, is_text, &payload);
            }
        }
    }
}
