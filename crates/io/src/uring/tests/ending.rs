//! The ends of connections and of the driver.

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
fn nothing_is_received_after_a_send_has_reported_the_end() {
    let (mut driver, _, slot, mut peer) = connection(small(8));
    driver.receive(slot);
    turn(&mut driver);
    peer.write_all(b"on its way").expect("open");
    reset(peer);
    // The send fails during submission, before the task work of the receive runs.
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
fn a_connection_that_breaks_after_the_peers_fin_reports_it_once() {
    let (mut driver, _, slot, peer) = connection(small(8));
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

#[test]
fn closing_with_a_receive_and_a_stuck_send_in_flight_frees_the_slot_and_the_output() {
    let (mut driver, address) = listening(small(8));
    let peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    driver.receive(slot);
    // More than both socket buffers hold, without a reader.
    driver.send(slot, Output::One(Chunk::from(vec![1; 32 << 20])));
    let mut completions = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut completions).expect("the driver works");
    driver.close(slot);
    run_until_idle(&mut driver);
    assert!(driver.table.kernel.holds_nothing());
    drop(peer);
}

#[test]
fn closing_with_a_receive_in_flight_counts_no_stale_completion() {
    let (mut driver, _, slot, peer) = connection(small(8));
    driver.receive(slot);
    driver.send(slot, Output::One(Chunk::from(vec![1; 32 << 20])));
    assert!(turn(&mut driver).is_empty());
    driver.close(slot);
    run_until_idle(&mut driver);
    assert_eq!(driver.stats().stale, 1, "the send had written a part; the cancelled receive is not counted");
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
    // Closed with unread bytes: the peer sees FIN or RST.
    let _ = peer.read_to_end(&mut rest);
}

/// Replaces the file of the ring's descriptor, so that every further `io_uring_enter` fails.
fn break_ring(driver: &Uring) {
    let null = std::fs::File::open("/dev/null").expect("there is one");
    // SAFETY: both descriptors are open. The test uses the ring's descriptor only as a number.
    assert!(unsafe { libc::dup2(null.as_raw_fd(), driver.table.kernel.ring.as_raw_fd()) } >= 0);
}

#[test]
fn a_driver_whose_ring_is_broken_fails_and_can_be_dropped() {
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
    assert!(before.elapsed() < TEARDOWN_TIMEOUT, "the drop does not wait");
    assert_eq!(peer.read(&mut [0; 8]).expect("closed without RST"), 0);
}

#[test]
fn a_wait_fails_permanently_when_io_uring_enter_fails() {
    let mut driver = Uring::new(small(8)).expect("io_uring works here");
    break_ring(&driver);
    let mut completions = Vec::new();
    let first = driver.wait(None, &mut completions).expect_err("broken").raw_os_error();
    assert_eq!(driver.wait(None, &mut completions).expect_err("still broken").raw_os_error(), first);
}
