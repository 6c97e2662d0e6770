//! How connections end, and the driver itself.

use super::*;

#[test]
fn a_reset_ends_the_slot() {
    let (mut driver, address) = listening(small(8));
    let peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    driver.receive(slot);
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("open");
    drop(peer);
    assert!(matches!(ended(&mut driver), Cause::Reset));
    driver.close(slot);
    run_until_idle(&mut driver);
}

#[test]
fn nothing_is_received_after_the_end_that_a_send_has_met() {
    let (mut driver, _, slot, mut peer) = connection(small(8));
    driver.receive(slot);
    turn(&mut driver);
    peer.write_all(b"on its way").expect("open");
    reset(peer);
    // The send fails while it is submitted, before the receive's work is run.
    driver.send(slot, one(b"x"));
    let mut completions = turn(&mut driver);
    completions.extend(turn(&mut driver));
    assert!(
        matches!(completions[..], [Completion::Sent { .. }, Completion::Ended { cause: Cause::Reset, .. }]),
        "{completions:?}"
    );
    drop(completions);
    assert_eq!(driver.pool().guarded(), 0);
}

#[test]
fn a_connection_that_breaks_after_the_peers_fin_says_so() {
    let (mut driver, _, slot, peer) = connection(small(8));
    driver.receive(slot);
    peer.shutdown(Shutdown::Write).expect("open");
    assert!(matches!(ended(&mut driver), Cause::Finished));
    reset(peer);
    driver.send(slot, one(b"x"));
    assert!(matches!(ended(&mut driver), Cause::Reset));
    driver.send(slot, one(b"y"));
    assert_eq!(sent(&mut driver), 0);
    assert!(turn(&mut driver).is_empty(), "that it is broken is said once");
}

#[test]
fn closing_with_a_receive_and_a_stuck_send_in_flight_frees_the_slot_and_the_output() {
    let (mut driver, address) = listening(small(8));
    let peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    driver.receive(slot);
    // More than both socket buffers hold, and nobody reads.
    driver.send(slot, Output::One(Chunk::from(vec![1; 32 << 20])));
    let mut completions = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut completions).expect("the driver works");
    driver.close(slot);
    run_until_idle(&mut driver);
    assert!(driver.table.kernel.holds_nothing());
    drop(peer);
}

#[test]
fn closing_in_order_leaves_nothing_stale() {
    let (mut driver, _, slot, peer) = connection(small(8));
    driver.receive(slot);
    driver.send(slot, Output::One(Chunk::from(vec![1; 32 << 20])));
    assert!(turn(&mut driver).is_empty());
    driver.close(slot);
    run_until_idle(&mut driver);
    assert_eq!(driver.stats().stale, 1, "the send had written a part; the cancelled receive does not count");
    drop(peer);
}

#[test]
fn a_driver_dropped_with_everything_in_flight_leaves_no_guard_behind() {
    let (mut driver, address) = listening(small(8));
    let mut peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    driver.receive(slot);
    driver.send(slot, Output::One(Chunk::from(vec![1; 32 << 20])));
    let pool = driver.pool().clone();
    peer.write_all(b"on its way").expect("open");
    drop(driver);
    assert_eq!(pool.guarded(), 0);
    let mut rest = Vec::new();
    // Closed with bytes unread: the peer sees the end or a reset, but it sees it.
    let _ = peer.read_to_end(&mut rest);
}

/// Puts something else in the place of the ring's descriptor, so that the kernel refuses every
/// further enter.
fn break_ring(driver: &Uring) {
    let null = std::fs::File::open("/dev/null").expect("there is one");
    // SAFETY: both descriptors are open. Nothing of this test uses the ring's as anything but a
    // number.
    assert!(unsafe { libc::dup2(null.as_raw_fd(), driver.table.kernel.ring.as_raw_fd()) } >= 0);
}

#[test]
fn a_driver_whose_kernel_takes_nothing_more_says_so_and_can_be_dropped() {
    let (mut driver, _, slot, mut peer) = connection(small(32));
    driver.receive(slot);
    break_ring(&driver);
    // More than the queue of 8 holds.
    for _ in 0..20 {
        let slot = driver.reserve().expect("a free slot");
        driver.connect(slot, LOCAL);
    }
    let before = Instant::now();
    let mut completions = Vec::new();
    for _ in 0..3 {
        driver.wait(None, &mut completions).expect_err("the driver is broken");
    }
    drop(driver);
    assert!(before.elapsed() < TEARDOWN_TIMEOUT, "nothing is waited for");
    assert_eq!(peer.read(&mut [0; 8]).expect("closed in order"), 0);
}

#[test]
fn a_wait_that_cannot_enter_fails_for_good() {
    let mut driver = Uring::new(small(8)).expect("io_uring works here");
    break_ring(&driver);
    let mut completions = Vec::new();
    let first = driver.wait(None, &mut completions).expect_err("broken").raw_os_error();
    assert_eq!(driver.wait(None, &mut completions).expect_err("still broken").raw_os_error(), first);
}
