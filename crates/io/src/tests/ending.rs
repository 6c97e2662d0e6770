//! The ends of connections and of the driver.

use super::*;
use std::os::fd::AsRawFd;

on_each_driver! {
    a_reset_ends_the_slot,
    bytes_before_a_reset_are_received_before_a_failed_send_reports_it,
    a_send_behind_a_reset_that_the_receive_has_missed_reports_it,
    a_send_that_fails_on_a_half_closed_connection_is_reported_at_once,
    nothing_is_received_after_a_send_of_a_paused_slot_has_reported_the_end,
    a_connection_that_breaks_after_the_peers_fin_reports_it_once,
    closing_with_a_receive_and_a_stuck_send_in_flight_frees_the_slot_and_the_output,
    closing_with_a_receive_in_flight_counts_no_stale_completion,
    a_driver_dropped_with_everything_in_flight_leaves_no_guard_behind,
    a_broken_driver_fails_and_can_be_dropped,
    a_wait_fails_permanently_when_its_system_call_fails,
}

fn a_reset_ends_the_slot<D: TestDriver>() {
    let (mut driver, address) = listening::<D>(small(8));
    let peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    driver.receive(slot);
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("open");
    drop(peer);
    assert!(matches!(ended(&mut driver), Cause::Reset));
    driver.close(slot);
    run_until_idle(&mut driver);
}

fn bytes_before_a_reset_are_received_before_a_failed_send_reports_it<D: TestDriver>() {
    // Within one buffer, and more than the buffers hold, so that the receive is armed again.
    for len in [3, 6 * 1024] {
        let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
        driver.receive(slot);
        turn(&mut driver);
        peer.write_all(&vec![7; len]).expect("open");
        reset(peer);
        // The send fails during submission, before the task work of the receive runs.
        driver.send(slot, one(b"x"));
        assert_eq!(until_reset(&mut driver), len);
        driver.close(slot);
        run_until_idle(&mut driver);
        assert!(driver.holds_nothing());
        assert_eq!(driver.pool().guarded(), 0);
    }
}

/// Turns until a send that fails and the end of its slot are reported. Returns the number of bytes that
/// were received before.
fn until_reset<D: TestDriver>(driver: &mut D) -> usize {
    let (mut received, mut is_sent) = (0, false);
    let cause = until(driver, |_, completion| match completion {
        Completion::Received { buffer, .. } => {
            assert!(!is_sent, "the send is reported behind them");
            received += buffer.len();
            None
        }
        Completion::Sent { written, .. } => {
            assert_eq!(written, 0);
            is_sent = true;
            None
        }
        Completion::Ended { cause, .. } => Some(cause),
        _ => None,
    });
    assert!(matches!(cause, Cause::Reset) && is_sent, "{cause:?}");
    assert!(turn(driver).is_empty(), "it is reported once");
    received
}

fn a_send_behind_a_reset_that_the_receive_has_missed_reports_it<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
    driver.receive(slot);
    turn(&mut driver);
    peer.write_all(b"abc").expect("open");
    reset(peer);
    // Some kernels report the bytes and not the end.
    let mut completions = turn(&mut driver);
    assert!(matches!(completions.remove(0), Completion::Received { .. }));
    if completions.is_empty() {
        driver.send(slot, one(b"x"));
        assert_eq!(until_reset(&mut driver), 0);
    }
}

fn a_send_that_fails_on_a_half_closed_connection_is_reported_at_once<D: TestDriver>() {
    let (mut driver, _, slot, peer) = connection::<D>(small(8));
    driver.receive(slot);
    turn(&mut driver);
    let ours = driver.descriptor_of(slot);
    // SAFETY: the descriptor is open. The driver does not know of the end of its sending direction.
    assert_eq!(unsafe { libc::shutdown(ours, libc::SHUT_WR) }, 0);
    driver.send(slot, one(b"x"));
    assert_eq!(until_reset(&mut driver), 0, "nothing wakes the receive: the peer is silent");
    drop(peer);
}

fn nothing_is_received_after_a_send_of_a_paused_slot_has_reported_the_end<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
    driver.receive(slot);
    turn(&mut driver);
    driver.pause(slot);
    turn(&mut driver);
    peer.write_all(b"on its way").expect("open");
    reset(peer);
    driver.send(slot, one(b"x"));
    let mut completions = turn(&mut driver);
    driver.receive(slot);
    completions.extend(turn(&mut driver));
    assert!(
        matches!(completions[..], [Completion::Sent { .. }, Completion::Ended { cause: Cause::Reset, .. }]),
        "{completions:?}"
    );
    drop(completions);
    assert_eq!(driver.pool().guarded(), 0);
}

fn a_connection_that_breaks_after_the_peers_fin_reports_it_once<D: TestDriver>() {
    let (mut driver, _, slot, peer) = connection::<D>(small(8));
    driver.receive(slot);
    peer.shutdown(Shutdown::Write).expect("open");
    assert!(matches!(ended(&mut driver), Cause::Finished));
    reset(peer);
    driver.send(slot, one(b"x"));
    assert!(matches!(ended(&mut driver), Cause::Reset));
    driver.send(slot, one(b"y"));
    assert_eq!(sent(&mut driver), 0);
    assert!(turn(&mut driver).is_empty(), "it is reported once");
}

fn closing_with_a_receive_and_a_stuck_send_in_flight_frees_the_slot_and_the_output<D: TestDriver>() {
    let (mut driver, address) = listening::<D>(small(8));
    let peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    driver.receive(slot);
    // More than both socket buffers hold, without a reader.
    driver.send(slot, Output::One(Chunk::from(vec![1; 32 << 20])));
    let mut completions = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut completions).expect("the driver works");
    driver.close(slot);
    run_until_idle(&mut driver);
    assert!(driver.holds_nothing());
    drop(peer);
}

fn closing_with_a_receive_in_flight_counts_no_stale_completion<D: TestDriver>() {
    let (mut driver, _, slot, peer) = connection::<D>(small(8));
    driver.receive(slot);
    driver.send(slot, Output::One(Chunk::from(vec![1; 32 << 20])));
    assert!(turn(&mut driver).is_empty());
    driver.close(slot);
    run_until_idle(&mut driver);
    assert_eq!(driver.stats().stale, 1, "the send had written a part; the cancelled receive is not counted");
    drop(peer);
}

fn a_driver_dropped_with_everything_in_flight_leaves_no_guard_behind<D: TestDriver>() {
    let (mut driver, address) = listening::<D>(small(8));
    let mut peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    driver.receive(slot);
    driver.send(slot, Output::One(Chunk::from(vec![1; 32 << 20])));
    let pool = driver.pool().clone();
    peer.write_all(b"on its way").expect("open");
    drop(driver);
    assert_eq!(pool.guarded(), 0);
    let mut rest = Vec::new();
    // Closed with unread bytes: the peer sees FIN or RST.
    let _ = peer.read_to_end(&mut rest);
}

/// Replaces the file of the driver's descriptor, so that every further wait on it fails.
fn break_driver(driver: &impl TestDriver) {
    let null = std::fs::File::open("/dev/null").expect("there is one");
    // SAFETY: both descriptors are open. The test uses the driver's descriptor only as a number.
    assert!(unsafe { libc::dup2(null.as_raw_fd(), driver.descriptor()) } >= 0);
}

fn a_broken_driver_fails_and_can_be_dropped<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(32));
    driver.receive(slot);
    break_driver(&driver);
    // More than the queue of 8 holds.
    for _ in 0..20 {
        let slot = driver.reserve().expect("a free slot");
        driver.connect(slot, LOCAL);
    }
    let before = Instant::now();
    let (mut completions, mut waits) = (Vec::new(), 0);
    // One wait may return what was completed before.
    while driver.wait(None, &mut completions).is_ok() {
        waits += 1;
        assert_eq!(waits, 1, "the driver is broken");
    }
    for _ in 0..3 {
        driver.wait(None, &mut completions).expect_err("the driver is broken");
    }
    drop((driver, completions));
    assert!(before.elapsed() < crate::uring::TEARDOWN_TIMEOUT, "the drop does not wait");
    assert_eq!(peer.read(&mut [0; 8]).expect("closed without RST"), 0);
}

fn a_wait_fails_permanently_when_its_system_call_fails<D: TestDriver>() {
    let mut driver = D::open(small(8));
    break_driver(&driver);
    let mut completions = Vec::new();
    let first = driver.wait(None, &mut completions).expect_err("broken").raw_os_error();
    assert_eq!(driver.wait(None, &mut completions).expect_err("still broken").raw_os_error(), first);
}
