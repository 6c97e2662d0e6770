//! The timers that handlers set on their connections.

use super::world::{Got, World, each_seed};
use crate::{CloseCode, CloseReason, Connection, Handler, Message, Request, Shard, TimerId, Upgrade};
use ringway_io::sim::Faults;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Records which timers of a connection fire. Executes the commands in messages.
#[derive(Default)]
struct Timing {
    fired: Vec<usize>,
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
        world.pass_millis(11);
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
    assert!(next <= Duration::from_millis(510), "{next:?}");
    world.pass_millis(510);
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
