//! Work other than the shard's own traffic: the mailbox, and the alarm.

use super::world::{Scripted, World, each_seed, rough};
use crate::Shard;
use ringway_io::sim::Faults;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn woken_is_called_once_and_a_later_alarm_replaces_an_earlier_one() {
    let mut world = World::new(1, rough(), Scripted::new());
    world.post(|_, shard| {
        shard.wake_at(shard.turn_time() + SECOND);
        shard.wake_at(shard.turn_time() + 2 * SECOND);
    });
    world.run_until_idle();
    assert_eq!(world.shard.next_work(world.now), Some(2 * SECOND));
    world.pass(2 * SECOND - Duration::from_nanos(1));
    assert!(world.handler().log.is_empty());
    world.pass(Duration::from_nanos(1));
    assert_eq!(world.handler().take_log(), ["woken"]);
    world.pass(10 * SECOND);
    assert!(world.handler().log.is_empty());
    // Set from within `woken`, and for a time that has passed.
    world.handler().on_woken = |handler, shard| {
        if handler.log.len() < 5 {
            shard.wake_at(shard.turn_time());
        }
    };
    world.post(|_, shard| shard.wake_at(shard.turn_time()));
    world.run_until_idle();
    assert_eq!(world.handler().take_log(), ["woken"; 5]);
}

#[test]
fn work_from_other_threads_runs_in_the_order_of_posting() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let handle = world.shard.control.handle.clone();
                thread::spawn(move || {
                    for n in 0..100 {
                        let work = move |handler: &mut Scripted, _: &mut Shard<'_, Scripted>| {
                            handler.log.push(format!("{thread}/{n}"));
                        };
                        handle.post(work).expect("the mailbox has room");
                    }
                })
            })
            .collect();
        world.turn();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        world.run_until_idle();
        let log = world.handler().take_log();
        for thread in 0..4 {
            let of_one: Vec<&String> = log.iter().filter(|line| line.starts_with(&format!("{thread}/"))).collect();
            assert_eq!(of_one.len(), 100, "seed {seed}");
            assert!(of_one.iter().enumerate().all(|(n, line)| **line == format!("{thread}/{n}")), "seed {seed}");
        }
    });
}

#[test]
fn a_full_mailbox_returns_an_error_and_work_can_post_work() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    for _ in 0..4096 {
        world.post(|handler, _| handler.count += 1);
    }
    let handle = world.shard.control.handle.clone();
    assert!(handle.post(|handler, _| handler.count += 1_000_000).is_err());
    world.run_until_idle();
    assert_eq!(world.handler().count, 4096);
    world.post(|_, shard| {
        let order = Arc::new(Mutex::new(Vec::new()));
        for n in 0..3 {
            let order = Arc::clone(&order);
            let post = shard.handle().post(move |handler, _| {
                let mut order = order.lock().expect("no panic");
                order.push(n);
                handler.count = order.len();
            });
            post.expect("the mailbox has room");
        }
    });
    world.run_until_idle();
    assert_eq!(world.handler().count, 3);
}
