//! Connections that receive what the server sends: numbers, gaps, and rates of reading.

mod common;

use common::{errors, first, load_until, millis, plan, serve, with};
use ringway::{Connection, Handler, Limits, Message, Request, Upgrade};
use ringway_loadtest::{Behaviour, Plan, Report};
use ringway_testkit::server::{TestServer, config};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A message as `ringway serve --app push` numbers it: the number and 32 bits of check, and more.
fn numbered(number: u32) -> [u8; 20] {
    let check = mix(u64::from(number) ^ mix(0)) >> 32;
    let mut message = [0; 20];
    message[..8].copy_from_slice(&(u64::from(number) << 32 | check).to_be_bytes());
    message
}

/// Sends these numbers to each connection, when the test says so.
struct Numbers;

impl Handler for Numbers {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

/// The report of four connections that receive these numbers, when all have arrived.
fn receive(numbers: Vec<u32>) -> Report {
    let server = serve(|| Numbers);
    let plan = plan(server.address(), Behaviour::Receive, millis(3_600_000));
    let expected = 4 * numbers.len() as u64;
    let mut numbers = Some(numbers);
    load_until(&plan, |progress| {
        if let Some(numbers) = numbers.take() {
            server.on_shard(move |_, shard| {
                shard.for_each_connection(|conn| {
                    for number in &numbers {
                        assert!(conn.send(Message::binary(&numbered(*number))).is_accepted());
                    }
                });
            });
        }
        progress.messages >= expected
    })
}

/// The messages, those with a number, those that are missing, sent twice, and out of order.
fn counts(report: &Report) -> [u64; 5] {
    let messages = &first(report).messages;
    let arrived = (messages.per_second * report.measured.as_secs_f64()).round() as u64;
    [arrived, messages.numbered, messages.skipped, messages.duplicated, messages.reordered]
}

#[test]
fn a_good_server_leaves_no_gaps() {
    let report = receive((0..100).collect());
    assert_eq!(counts(&report), [400, 400, 0, 0, 0]);
    assert_eq!(first(&report).gaps_us.expect("times between messages").count, 4 * 99);
    assert_eq!((report.errors.len(), report.is_failure()), (0, false));
}

#[test]
fn missing_repeated_and_exchanged_messages_are_counted_exactly() {
    // 3 to 5 are missing, 10 comes twice, 20 and 21 are exchanged, and 100 to 299 are missing.
    let numbers = (0..3).chain(6..11).chain(10..20).chain([21, 20]).chain(22..100).chain(300..330);
    let report = receive(numbers.clone().collect());
    let sent = 4 * numbers.count() as u64;
    assert_eq!(counts(&report), [sent, sent, 4 * 203, 4, 4]);
    assert_eq!(errors(&report, "duplicate_reply"), 4);
}

/// Sends messages as fast as its connections take them.
struct Flood {
    accepted: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

const FLOOD: usize = 1000;

/// The length of the frame of such a message.
const FRAME: u64 = FLOOD as u64 + 4;

impl Flood {
    fn fill(&self, conn: &mut Connection<'_, Self>) {
        while conn.send(Message::binary(&[7; FLOOD])).is_accepted() {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Handler for Flood {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.fill(conn);
    }

    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        self.fill(conn);
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

/// The rate is met, and what is not read waits in the buffers of the server.
#[test]
fn slow_connections_read_at_their_rate_and_the_server_holds_the_rest() {
    const RATE: u64 = 50_000;
    let (accepted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (of_accepted, of_refused) = (Arc::clone(&accepted), Arc::clone(&refused));
    let limits = Limits::default().max_buffered(256 << 10).expect("in range");
    let server = TestServer::start(config(), limits, move |_| Flood {
        accepted: Arc::clone(&of_accepted),
        refused: Arc::clone(&of_refused),
    });
    let plan = plan(server.address(), Behaviour::Slow { bytes_per_second: RATE }, millis(3_000));
    let begun = Instant::now();
    let mut taken = None;
    let report = load_until(&Plan { warmup: Some(Duration::from_millis(500)), ..plan }, |progress| {
        if taken.is_none() && progress.elapsed > Duration::from_secs(2) {
            let accepted = Arc::clone(&accepted);
            let bytes = server.on_shard(move |_, shard| {
                let mut held = 0;
                shard.for_each_connection(|conn| {
                    let unacknowledged = conn.tcp_info().map_or(0, |info| info.unacknowledged as usize);
                    held += conn.buffered_amount() + unacknowledged;
                });
                (accepted.load(Ordering::Relaxed) * FRAME).saturating_sub(held as u64)
            });
            taken = Some((bytes, begun.elapsed()));
        }
        false
    });
    let rate = first(&report).messages.bytes_received_per_second;
    let expected = 4.0 * RATE as f64;
    assert!((rate / expected - 1.0).abs() < 0.1, "{rate} bytes per second for {expected}");
    assert!(refused.load(Ordering::Relaxed) >= 4, "the outboxes of the server are full");
    // What the kernel of the generator has taken is not much more than what was read by then: its
    // small receive buffer, and one of the engine, for each connection.
    let (taken, elapsed) = taken.expect("the run is longer than 2 s");
    let ours = taken as f64 - expected * elapsed.as_secs_f64();
    assert!(ours < 4.0 * f64::from(128 << 10), "{ours} bytes wait in buffers of the generator");
    assert_eq!(report.errors.len(), 0, "{:?}", report.errors);
}

#[test]
fn text_is_counted_without_numbers() {
    let server = serve(|| Numbers);
    let plan = with(plan(server.address(), Behaviour::Receive, millis(3_600_000)), |one| one.connections = 1);
    let mut is_sent = false;
    let report = load_until(&Plan { threads: Some(1), ..plan }, |progress| {
        if !std::mem::replace(&mut is_sent, true) {
            server.on_shard(|_, shard| {
                shard.for_each_connection(|conn| {
                    (0..3).for_each(|_| assert!(conn.send(Message::text("news")).is_accepted()));
                });
            });
        }
        progress.messages >= 3
    });
    assert_eq!(counts(&report), [3, 0, 0, 0, 0]);
}
