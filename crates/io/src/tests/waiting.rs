//! Waits: wakes, timeouts and polling.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

on_each_driver! {
    a_wake_from_another_thread_ends_the_wait,
    a_wait_ends_at_its_timeout,
    a_wait_with_a_timeout_of_zero_does_not_sleep,
    an_event_during_a_poll_is_handled_without_a_sleep,
    a_poll_ends_at_the_timeout_of_the_wait,
    a_wait_that_polls_at_both_ends_lasts_until_its_timeout,
    a_wake_during_the_sleep_between_two_polls_ends_the_wait,
    the_time_of_polls_is_counted_and_that_of_sleeps_is_not,
    a_poll_at_the_end_of_a_timeout_is_counted,
    polls_until_the_timeout_are_not_given_up,
}

fn a_wake_from_another_thread_ends_the_wait<D: TestDriver>() {
    let mut driver = D::open(small(1));
    for _ in 0..3 {
        let waker = driver.waker();
        let other = std::thread::spawn(move || waker.wake());
        until(&mut driver, |_, completion| matches!(completion, Completion::Woken).then_some(()));
        other.join().expect("no panic");
    }
}

fn a_wait_ends_at_its_timeout<D: TestDriver>() {
    let mut driver = D::open(small(1));
    let mut completions = Vec::new();
    let before = Instant::now();
    driver.wait(Some(Duration::from_millis(5)), &mut completions).expect("the driver works");
    assert!(before.elapsed() >= Duration::from_millis(5));
    assert!(completions.is_empty());
}

/// The number of voluntary context switches of the calling thread.
fn sleeps() -> i64 {
    // SAFETY: all-zero bytes are a valid `rusage`, and the call writes to that alone.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
        usage
    };
    usage.ru_nvcsw
}

fn a_wait_with_a_timeout_of_zero_does_not_sleep<D: TestDriver>() {
    let mut driver = D::open(small(1));
    turn(&mut driver);
    let before = sleeps();
    for _ in 0..1000 {
        assert!(turn(&mut driver).is_empty());
    }
    assert!(sleeps() - before < 100, "{} sleeps in 1000 turns", sleeps() - before);
}

fn an_event_during_a_poll_is_handled_without_a_sleep<D: TestDriver>() {
    let config = UringConfig { busy_poll: BusyPoll::Fixed(Duration::from_secs(20)), ..small(1) };
    let mut driver = D::open(config);
    turn(&mut driver);
    let before = sleeps();
    for _ in 0..20 {
        let waker = driver.waker();
        let (waiting, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let other = std::thread::spawn({
            let (waiting, seen) = (Arc::clone(&waiting), Arc::clone(&seen));
            move || {
                seen.store(true, Ordering::Release);
                while !waiting.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                waker.wake();
            }
        });
        while !seen.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        waiting.store(true, Ordering::Release);
        let mut completions = Vec::new();
        while completions.is_empty() {
            driver.wait(None, &mut completions).expect("the driver works");
        }
        assert!(matches!(completions[..], [Completion::Woken]), "{completions:?}");
        while !other.is_finished() {
            std::hint::spin_loop();
        }
    }
    assert!(sleeps() - before <= 5, "{} sleeps for 20 wakes", sleeps() - before);
}

fn a_poll_ends_at_the_timeout_of_the_wait<D: TestDriver>() {
    let config = UringConfig { busy_poll: BusyPoll::Fixed(Duration::from_secs(20)), ..small(1) };
    let mut driver = D::open(config);
    let (mut completions, before) = (Vec::new(), Instant::now());
    driver.wait(Some(Duration::from_millis(5)), &mut completions).expect("the driver works");
    assert!(completions.is_empty());
    assert!(before.elapsed() >= Duration::from_millis(5), "{:?}", before.elapsed());
}

fn a_wait_that_polls_at_both_ends_lasts_until_its_timeout<D: TestDriver>() {
    let poll = Duration::from_millis(1);
    let mut driver = D::open(UringConfig { busy_poll: BusyPoll::Fixed(poll), ..small(1) });
    turn(&mut driver);
    for micros in [500, 1_000, 1_500, 2_000, 2_100, 5_000] {
        let (timeout, mut completions) = (Duration::from_micros(micros), Vec::new());
        let (before, slept) = (Instant::now(), sleeps());
        driver.wait(Some(timeout), &mut completions).expect("the driver works");
        assert!(completions.is_empty());
        assert!(before.elapsed() >= timeout, "{:?} of {timeout:?}", before.elapsed());
        if timeout <= poll {
            assert_eq!(sleeps() - slept, 0, "{timeout:?}");
        }
    }
}

fn a_wake_during_the_sleep_between_two_polls_ends_the_wait<D: TestDriver>() {
    let mut driver = D::open(UringConfig { busy_poll: BusyPoll::Fixed(Duration::from_millis(1)), ..small(1) });
    turn(&mut driver);
    let waker = driver.waker();
    let (before, slept) = (Instant::now(), sleeps());
    let other = std::thread::spawn({
        let status = format!("/proc/self/task/{}/stat", rustix::thread::gettid().as_raw_nonzero());
        move || {
            // Until the thread of the driver sleeps.
            while !std::fs::read_to_string(&status)
                .expect("a thread")
                .rsplit_once(')')
                .is_some_and(|(_, rest)| rest.starts_with(" S"))
            {
                std::thread::yield_now();
            }
            waker.wake();
        }
    });
    let mut completions = Vec::new();
    while completions.is_empty() {
        driver.wait(Some(Duration::from_secs(60)), &mut completions).expect("the driver works");
    }
    assert!(matches!(completions[..], [Completion::Woken]), "{completions:?}");
    assert!(sleeps() > slept && before.elapsed() < Duration::from_secs(60), "the wake has ended the wait");
    other.join().expect("no panic");
}

fn the_time_of_polls_is_counted_and_that_of_sleeps_is_not<D: TestDriver>() {
    let pause = Duration::from_millis(5);
    for (busy_poll, polls) in [(BusyPoll::Off, false), (BusyPoll::Fixed(Duration::from_secs(20)), true)] {
        let mut driver = D::open(UringConfig { busy_poll, ..small(1) });
        // A turn that submits requests does not poll.
        turn(&mut driver);
        let before = Instant::now();
        for waits in 1..=2 {
            driver.wait(Some(pause), &mut Vec::new()).expect("the driver works");
            let polled = driver.stats().polled;
            if polls {
                assert!((waits * pause..=before.elapsed()).contains(&polled), "{polled:?} of {:?}", before.elapsed());
            } else {
                assert_eq!(polled, Duration::ZERO);
            }
        }
    }
}

/// The CPU time of the calling thread: what it polls, but not what it sleeps.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn a_poll_at_the_end_of_a_timeout_is_counted<D: TestDriver>() {
    let poll = Duration::from_millis(4);
    let mut driver = D::open(UringConfig { busy_poll: BusyPoll::Fixed(poll), ..small(1) });
    turn(&mut driver);
    // Each wait polls at its beginning, sleeps, and polls at its end, unless it wakes up too late.
    let (before, mut longest) = (cpu_time(), Duration::ZERO);
    for _ in 0..20 {
        let polled = driver.stats().polled;
        driver.wait(Some(4 * poll), &mut Vec::new()).expect("the driver works");
        longest = longest.max(driver.stats().polled - polled);
    }
    assert!(longest > poll, "{longest:?} in a wait: the poll at its end is missing");
    assert!(longest <= 2 * poll, "{longest:?} in a wait");
    let (used, polled) = (cpu_time() - before, driver.stats().polled);
    assert!(used <= polled + 5 * poll, "{polled:?} polled, {used:?} used");
}

fn polls_until_the_timeout_are_not_given_up<D: TestDriver>() {
    // The first waits are short, so that the adaptive policy polls. It continues although no event
    // occurs: each poll lasts until the timeout, and avoids a sleep. Other tests may need this
    // core, which ends the polling of a driver.
    let sleeps_of = |driver: &mut D| {
        let before = sleeps();
        for _ in 0..200 {
            driver.wait(Some(Duration::from_micros(20)), &mut Vec::new()).expect("the driver works");
        }
        sleeps() - before
    };
    let slept = (0..50).map(|_| {
        let mut driver = D::open(small(1));
        sleeps_of(&mut driver);
        sleeps_of(&mut driver)
    });
    let slept: Vec<_> = slept.collect();
    assert!(slept.iter().any(|slept| *slept < 100), "sleeps in 200 waits each: {slept:?}");
}
