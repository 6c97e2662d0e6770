//! The turn itself: wakes and timeouts.

use super::*;

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    let mut driver = Uring::new(small(1)).expect("io_uring works here");
    for _ in 0..3 {
        let waker = driver.waker();
        let other = std::thread::spawn(move || waker.wake());
        until(&mut driver, |_, completion| matches!(completion, Completion::Woken).then_some(()));
        other.join().expect("no panic");
    }
}

#[test]
fn a_wait_ends_at_its_timeout() {
    let mut driver = Uring::new(small(1)).expect("io_uring works here");
    let mut completions = Vec::new();
    let before = Instant::now();
    driver.wait(Some(Duration::from_millis(5)), &mut completions).expect("the driver works");
    assert!(before.elapsed() >= Duration::from_millis(5));
    assert!(completions.is_empty());
}
