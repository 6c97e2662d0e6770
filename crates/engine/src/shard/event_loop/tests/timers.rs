//! The timers that handlers set on their connections and on the shard.

use super::world::{Got, World, each_seed};
use crate::{CloseCode, CloseReason, Config, Connection, Handler, Limits, Message, Request, Shard, TimerId, Upgrade};
use ringway_io::sim::Faults;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Records which timers of a connection fire. Executes the commands in messages.
#[derive(Default)]
struct Timing {
    fired: Vec<usize>,
    /// The tokens of the shard's timers that have fired, and when.
    rounds: Vec<(u64, Instant)>,
    /// The results of cancelling.
    cancelled: Vec<bool>,
    closed: usize,
    /// Called with the number of the timer that has fired.
    on_timer: Option<fn(&mut Connection<'_, Timing>, usize)>,
}

impl Handler for Timing {
    type State = Vec<TimerId>;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Vec<TimerId>> {
        Upgrade::accept(Vec::new())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let text = message.as_text().expect("the tests send text");
        for command in text.split(' ') {
            let (name, number) = command.split_at(1);
            let number: u64 = number.parse().expect("a letter and a number");
            match name {
                // In milliseconds from now.
                "s" => {
                    let id = conn.set_timer(Duration::from_millis(number));
                    conn.state().push(id);
                }
                "c" => {
                    let id = conn.state()[number as usize];
                    self.cancelled.push(conn.cancel_timer(id));
                }
                _ => panic!("{command}"),
            }
        }
    }

    fn timer(&mut self, conn: &mut Connection<'_, Self>, id: TimerId) {
        let number = conn.state().iter().position(|known| *known == id).expect("it is one of this connection's");
        self.fired.push(number);
        if let Some(call) = self.on_timer {
            call(conn, number);
        }
    }

    fn shard_timer(&mut self, shard: &mut Shard<'_, Self>, id: TimerId) {
        self.rounds.push((id.token(), shard.turn_time()));
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, _: Vec<TimerId>, _: &CloseReason) {
        self.closed += 1;
    }
}

impl World<Timing> {
    fn timers(&self) -> usize {
        self.shard.core.timers.len()
    }

    fn pass_millis(&mut self, millis: u64) {
        self.pass(Duration::from_millis(millis));
    }
}

#[test]
fn a_timer_fires_once_and_never_early() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Timing::default());
        let client = world.open_client();
        client.text("s100 s30 s5000");
        world.run_until_idle();
        world.pass_millis(29);
        assert_eq!(world.handler().fired, [], "seed {seed}");
        world.pass_millis(2);
        assert_eq!(world.handler().fired, [1], "seed {seed}");
        world.pass_millis(200);
        assert_eq!(world.handler().fired, [1, 0], "seed {seed}");
        world.pass(10 * SECOND);
        world.pass(10 * SECOND);
        assert_eq!((world.handler().fired.clone(), world.timers()), (vec![1, 0, 2], 0), "seed {seed}");
    });
}

#[test]
fn a_shard_sleeps_no_longer_than_until_the_next_timer() {
    let mut world = World::new(0, Faults::none(), Timing::default());
    let client = world.open_client();
    client.text("s500 s40000");
    world.run_until_idle();
    let next = world.shard.next_work(world.now).expect("timers are set");
    assert!(next <= Duration::from_millis(501), "{next:?}");
    world.pass_millis(501);
    assert_eq!(world.handler().fired, [0]);
}

#[test]
fn a_timer_that_is_cancelled_does_not_fire() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Timing::default());
        let client = world.open_client();
        client.text("s50 s50 s50 c1 c1");
        world.run_until_idle();
        assert_eq!((world.handler().cancelled.clone(), world.timers()), (vec![true, false], 2), "seed {seed}");
        world.pass_millis(60);
        world.handler().fired.sort_unstable();
        assert_eq!(world.handler().fired, [0, 2], "seed {seed}");
        client.text("c0");
        world.run_until_idle();
        assert_eq!(world.handler().cancelled, [true, false, false], "seed {seed}: the timer has fired");
    });
}

#[test]
fn another_connections_timer_cannot_be_cancelled() {
    let mut world = World::new(0, Faults::none(), Timing::default());
    let (one, _other) = (world.open_client(), world.open_client());
    one.text("s50");
    world.run_until_idle();
    world.post(|_, shard| {
        let mut owner = None;
        shard.for_each_connection(|conn| owner = owner.or(conn.state().first().copied()));
        let id = owner.expect("a timer is set");
        shard.for_each_connection(|conn| assert!(!conn.state().is_empty() || !conn.cancel_timer(id)));
    });
    world.pass_millis(60);
    assert_eq!(world.handler().fired, [0]);
}

/// Both are due in the same turn: the one that fires first cancels the other one, and sets one that
/// reuses its entry in the slab.
#[test]
fn a_timer_that_is_due_can_be_cancelled_by_another_one() {
    each_seed(|seed, faults| {
        let on_timer = |conn: &mut Connection<'_, Timing>, number: usize| {
            if number < 2 {
                let other = conn.state()[1 - number];
                assert!(conn.cancel_timer(other));
                let id = conn.set_timer(SECOND);
                conn.state().push(id);
            }
        };
        let mut world = World::new(seed, faults, Timing { on_timer: Some(on_timer), ..Timing::default() });
        let client = world.open_client();
        client.text("s50 s50");
        world.run_until_idle();
        world.pass_millis(60);
        assert_eq!((world.handler().fired.len(), world.timers()), (1, 1), "seed {seed}");
        world.pass(2 * SECOND);
        assert_eq!(world.handler().fired.last(), Some(&2), "seed {seed}");
        assert_eq!((world.handler().fired.len(), world.timers()), (2, 0), "seed {seed}");
    });
}

#[test]
fn a_timer_can_set_another_one_and_send() {
    each_seed(|seed, faults| {
        let on_timer = |conn: &mut Connection<'_, Timing>, _: usize| {
            assert!(conn.send(Message::text("tick")).is_accepted());
            let id = conn.set_timer(SECOND);
            conn.state().push(id);
        };
        let mut world = World::new(seed, faults, Timing { on_timer: Some(on_timer), ..Timing::default() });
        let mut client = world.open_client();
        client.text("s1000");
        world.run_until_idle();
        for _ in 0..5 {
            world.pass(SECOND + Duration::from_millis(10));
            assert_eq!(client.take(), [Got::text("tick")], "seed {seed}");
        }
    });
}

#[test]
fn the_timers_of_a_connection_end_with_it() {
    each_seed(|seed, faults| {
        for end in ["peer", "handler", "finish", "reset", "terminate", "stop"] {
            let mut world = World::new(seed, faults, Timing::default());
            let client = world.open_client();
            client.text(&["s1000"; 50].join(" "));
            world.run_until_idle();
            assert_eq!((world.timers(), world.shard.core.timers.owners()), (50, 1), "seed {seed}");
            let each = |call: fn(&mut Connection<'_, Timing>)| {
                move |_: &mut Timing, shard: &mut Shard<'_, Timing>| shard.for_each_connection(call)
            };
            match end {
                "peer" => client.close(1000),
                "handler" => {
                    world.post(each(|conn| conn.close(CloseCode::NORMAL, "").expect("sendable")));
                    client.close(1000);
                }
                "finish" => client.peer.finish(),
                "reset" => client.peer.reset(),
                "terminate" => world.post(each(|conn| conn.terminate())),
                _ => {
                    world.post(|_, shard| shard.stop());
                    client.close(1001);
                }
            }
            world.run_until_idle();
            let left = (world.timers(), world.shard.core.timers.owners(), world.handler().closed);
            assert_eq!(left, (0, 0, 1), "{end} (seed {seed})");
            if world.running {
                world.pass(2 * SECOND);
            }
            assert_eq!(world.handler().fired, [], "{end} (seed {seed})");
        }
    });
}

/// While the close frame waits for its answer, timers fire; while the last output is sent, none
/// does.
#[test]
fn timers_fire_while_a_connection_is_closing_and_not_while_it_shuts_down() {
    let mut world = World::new(0, Faults::none(), Timing::default());
    let client = world.open_client();
    client.peer.set_window(1000);
    client.text("s500 s1500 s2500");
    world.run_until_idle();
    world.post(|_, shard| {
        shard.for_each_connection(|conn| {
            assert!(conn.send(Message::binary(&[0; 100_000])).is_accepted());
            conn.close(CloseCode::NORMAL, "").expect("sendable");
        });
    });
    world.pass(SECOND);
    assert_eq!((world.handler().fired.clone(), world.timers()), (vec![0], 2));
    client.close(1000);
    world.run_until_idle();
    assert_eq!((world.sessions(), world.timers()), (1, 0), "the remaining output is sent");
    world.pass(SECOND);
    assert_eq!(world.handler().fired, [0]);
}

#[test]
fn a_timer_of_the_shard_fires_once_with_its_token_unless_it_is_cancelled() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Timing::default());
        let _client = world.open_client();
        let start = world.now;
        world.post(|_, shard| {
            let [_, cancelled, _] = [30, 40, 50].map(|millis| shard.set_timer(Duration::from_millis(millis), millis));
            assert!(shard.cancel_timer(cancelled) && !shard.cancel_timer(cancelled));
            // A timer of a connection is not the shard's, and the other way round.
            let mut of_connection = None;
            shard.for_each_connection(|conn| {
                assert!(!conn.cancel_timer(cancelled));
                of_connection = Some(conn.set_timer_with(Duration::from_millis(50), 9));
            });
            let of_connection = of_connection.expect("a connection is open");
            assert_eq!((of_connection.token(), cancelled.token()), (9, 40));
            assert!(!shard.cancel_timer(of_connection));
            shard.for_each_connection(|conn| assert!(conn.cancel_timer(of_connection)));
        });
        world.run_until_idle();
        assert_eq!(world.timers(), 2, "seed {seed}");
        world.pass(SECOND);
        let rounds: Vec<_> = world.handler().rounds.iter().map(|&(token, at)| (token, at - start)).collect();
        let [(30, first), (50, second)] = rounds[..] else { panic!("{rounds:?} (seed {seed})") };
        let expected = |millis| Duration::from_millis(millis)..=Duration::from_millis(millis + 2);
        assert!(expected(30).contains(&first) && expected(50).contains(&second), "{rounds:?} (seed {seed})");
        assert_eq!(world.timers(), 0, "seed {seed}");
    });
}

/// Records how late each timer is. The token of a timer is its deadline, in microseconds.
struct Lateness {
    start: Instant,
    fired: usize,
    max: Duration,
}

impl Lateness {
    fn note(&mut self, id: TimerId, now: Instant) {
        let deadline = self.start + Duration::from_micros(id.token());
        assert!(now >= deadline, "the timer of {} µs is early", id.token());
        self.max = self.max.max(now - deadline);
        self.fired += 1;
    }
}

impl Handler for Lateness {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}

    fn timer(&mut self, conn: &mut Connection<'_, Self>, id: TimerId) {
        let now = conn.shard().turn_time();
        self.note(id, now);
    }

    fn shard_timer(&mut self, shard: &mut Shard<'_, Self>, id: TimerId) {
        self.note(id, shard.turn_time());
    }
}

#[test]
fn a_million_armed_timers_fire_at_most_two_milliseconds_late() {
    const TIMERS: u64 = 1_000_000;
    let start = Instant::now();
    let handler = Lateness { start, fired: 0, max: Duration::ZERO };
    let config = Config { idle_timeout: None, ..Config::default() };
    let mut world = World::with(1, Faults::none(), config, Limits::default(), handler);
    let clients: Vec<_> = (0..4).map(|_| world.open_client()).collect();
    let base = world.now;
    world.handler().start = base;
    world.post(move |_, shard| {
        // Spread over two minutes in a fixed pseudo-random order; every fifth is the shard's own.
        let mut micros = (1..=TIMERS).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).map(|n| n % 120_000_000);
        let mut ids = Vec::new();
        shard.for_each_connection(|conn| ids.push(conn.id()));
        for n in 0..TIMERS as usize {
            let micros = micros.next().expect("there are as many");
            let after = Duration::from_micros(micros);
            match ids.get(n % 5) {
                Some(&id) => drop(shard.connection(id).expect("open").set_timer_with(after, micros)),
                None => drop(shard.set_timer(after, micros)),
            }
        }
    });
    world.run_until_idle();
    assert_eq!(world.shard.core.timers.len(), TIMERS as usize);
    world.pass(121 * SECOND);
    assert_eq!((world.handler().fired, world.shard.core.timers.len()), (TIMERS as usize, 0));
    assert!(world.handler().max <= Duration::from_millis(2), "{:?} late", world.handler().max);
    drop(clients);
}

/// Clients of a server that limits lifetimes to 100 s, less up to 40 s.
fn limited(seed: u64, faults: Faults, clients: usize) -> (World<Timing>, Vec<super::world::WebSocketPeer>) {
    let (max_lifetime, lifetime_jitter) = (Some(100 * SECOND), Some(40 * SECOND));
    let config = Config { max_lifetime, lifetime_jitter, idle_timeout: None, ..Config::default() };
    let mut world = World::with(seed, faults, config, Limits::default(), Timing::default());
    let clients = (0..clients).map(|_| world.open_client()).collect();
    (world, clients)
}

#[test]
fn a_connection_is_closed_with_1001_when_its_lifetime_is_over_and_not_all_at_once() {
    each_seed(|seed, faults| {
        let (mut world, mut clients) = limited(seed, faults, 60);
        world.pass(59 * SECOND);
        assert_eq!(world.shard.core.counters.lifetime_closes, 0, "seed {seed}");
        let mut per_step = Vec::new();
        for _ in 0..11 {
            let before = world.shard.core.counters.lifetime_closes;
            world.pass(4 * SECOND);
            for client in &mut clients {
                if client.take().contains(&Got::Close(Some(1001))) {
                    client.close(1001);
                }
            }
            world.run_until_idle();
            per_step.push(world.shard.core.counters.lifetime_closes - before);
        }
        // Of 60 in ten steps, 30 or more in one step are less likely than 10^-12.
        assert_eq!(per_step.iter().sum::<u64>(), 60, "{per_step:?} (seed {seed})");
        assert!(per_step.iter().all(|&closed| closed < 30), "{per_step:?} (seed {seed})");
        assert_eq!(world.handler().closed, 60, "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_stall_of_the_shard_extends_lifetimes_and_the_next_connection_of_a_slot_has_its_own() {
    let (mut world, mut clients) = limited(1, Faults::none(), 1);
    world.pass(30 * SECOND);
    world.stall(1000 * SECOND);
    assert_eq!(world.shard.core.counters.lifetime_closes, 0);
    world.pass(20 * SECOND);
    let client = clients.pop().expect("one was opened");
    client.close(1000);
    world.run_until_idle();
    let _next = world.open_client();
    world.pass(59 * SECOND);
    assert_eq!((world.shard.core.counters.lifetime_closes, world.sessions()), (0, 1));
    world.pass(42 * SECOND);
    assert_eq!(world.shard.core.counters.lifetime_closes, 1);
}
