//! The driver on the real kernel.

use super::*;
use crate::Chunk;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn small(max_connections: u32) -> UringConfig {
    let buffers = BufferConfig { size: 1024, count: 4, ready: 1 };
    UringConfig { entries: 8, buffers, max_connections }
}

fn listening(config: UringConfig) -> (Uring, SocketAddr) {
    let mut driver = Uring::new(config).expect("io_uring works here");
    let listener = Listener::bind(LOCAL).expect("a free port");
    let address = listener.address();
    driver.listen(listener);
    (driver, address)
}

/// Turns until `wanted` picks something out of a completion; the others are dropped.
#[track_caller]
fn until<T>(driver: &mut Uring, mut wanted: impl FnMut(&mut Uring, Completion) -> Option<T>) -> T {
    let mut completions = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "what is waited for does not come");
        driver.wait(Some(Duration::from_secs(1)), &mut completions).expect("the driver works");
        let mut found = None;
        for completion in completions.drain(..) {
            if found.is_none() {
                found = wanted(driver, completion);
            }
        }
        if let Some(found) = found {
            return found;
        }
    }
}

#[track_caller]
fn accept(driver: &mut Uring) -> Slot {
    until(driver, |_, completion| match completion {
        Completion::Accepted { slot } => Some(slot),
        _ => None,
    })
}

#[track_caller]
fn ended(driver: &mut Uring) -> Cause {
    until(driver, |_, completion| match completion {
        Completion::Ended { cause, .. } => Some(cause),
        _ => None,
    })
}

/// Turns until no slot is in use.
fn settle(driver: &mut Uring) {
    let mut completions = Vec::new();
    while driver.stats().open > 0 {
        driver.wait(None, &mut completions).expect("the driver works");
        for completion in completions.drain(..) {
            assert!(
                !matches!(completion, Completion::Received { .. } | Completion::Sent { .. } | Completion::Ended { .. }),
                "{completion:?} for a slot that was closed"
            );
        }
    }
}

/// Echoes until the peer has ended its side, and closes.
fn echo_until_finished(driver: &mut Uring) {
    let mut queued: Vec<Chunk> = Vec::new();
    let (mut sending, mut finished) = (false, false);
    until(driver, |driver, completion| {
        match completion {
            Completion::Accepted { slot } => driver.receive(slot),
            Completion::Received { slot, buffer } => {
                // Copied: the smallest pool must never be drained by replies that wait.
                queued.push(Chunk::from(buffer.to_vec()));
                if !sending {
                    sending = true;
                    driver.send(slot, Output::Many(std::mem::take(&mut queued)));
                }
            }
            Completion::Sent { slot, output, written } => {
                assert_eq!(written, output.len());
                sending = !queued.is_empty();
                if sending {
                    driver.send(slot, Output::Many(std::mem::take(&mut queued)));
                } else if finished {
                    driver.close(slot);
                    return Some(());
                }
            }
            Completion::Ended { slot, cause } => {
                assert!(matches!(cause, Cause::Finished), "{cause:?}");
                finished = true;
                if !sending {
                    driver.close(slot);
                    return Some(());
                }
            }
            Completion::Connected { .. } | Completion::Woken => {}
        }
        None
    });
}

#[test]
fn bytes_are_echoed_though_there_are_few_buffers() {
    let (mut driver, address) = listening(small(8));
    let sent: Vec<u8> = (0..300_000u32).map(|n| (n * 7) as u8).collect();
    let expected = sent.clone();
    let peer = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let mut reader = stream.try_clone().expect("a descriptor");
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        stream.write_all(&sent).expect("the server reads");
        stream.shutdown(Shutdown::Write).expect("still open");
        reading.join().expect("no panic").expect("the server closes in order")
    });
    echo_until_finished(&mut driver);
    settle(&mut driver);
    assert_eq!(peer.join().expect("no panic"), expected);
    assert_eq!(driver.pool().guarded(), 0);
}

#[test]
fn a_driver_connects_to_another() {
    let listener = TcpListener::bind(LOCAL).expect("a free port");
    let mut driver = Uring::new(small(8)).expect("io_uring works here");
    let slot = driver.reserve().expect("a free slot");
    driver.connect(slot, listener.local_addr().expect("bound"));
    until(&mut driver, |_, completion| matches!(completion, Completion::Connected { .. }).then_some(()));
    let (mut peer, _) = listener.accept().expect("it connected");
    assert_eq!(driver.peer_address(slot), listener.local_addr().ok());
    driver.receive(slot);
    peer.write_all(b"hello").expect("open");
    let received = until(&mut driver, |_, completion| match completion {
        Completion::Received { buffer, .. } => Some(buffer.to_vec()),
        _ => None,
    });
    assert_eq!(received, b"hello");
    driver.close(slot);
    settle(&mut driver);
    assert_eq!(peer.read(&mut [0; 8]).expect("closed in order"), 0);
}

#[test]
fn a_refused_connect_says_so() {
    let mut driver = Uring::new(small(8)).expect("io_uring works here");
    // A port that was just free, and that nobody listens on.
    let address = TcpListener::bind(LOCAL).and_then(|listener| listener.local_addr()).expect("a free port");
    let slot = driver.reserve().expect("a free slot");
    driver.connect(slot, address);
    let cause = ended(&mut driver);
    assert!(
        matches!(&cause, Cause::Unconnected(error) if error.kind() == io::ErrorKind::ConnectionRefused),
        "{cause:?}"
    );
    driver.close(slot);
    settle(&mut driver);
}

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
    settle(&mut driver);
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
    settle(&mut driver);
    assert_eq!(driver.held.len(), 0);
    drop(peer);
}

#[test]
fn a_paused_slot_receives_nothing_until_it_is_armed_again() {
    let (mut driver, address) = listening(small(8));
    let mut peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    driver.receive(slot);
    driver.pause(slot);
    let mut completions = Vec::new();
    while driver.connections[slot.index() as usize].in_flight > 0 {
        driver.wait(None, &mut completions).expect("the driver works");
    }
    assert!(completions.is_empty(), "{completions:?}");
    peer.write_all(b"later").expect("open");
    driver.receive(slot);
    let received = until(&mut driver, |_, completion| match completion {
        Completion::Received { buffer, .. } => Some(buffer.to_vec()),
        _ => None,
    });
    assert_eq!(received, b"later");
}

#[test]
fn pausing_and_receiving_again_at_once_loses_nothing() {
    let (mut driver, address) = listening(small(8));
    let mut peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    driver.receive(slot);
    let mut completions = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut completions).expect("the driver works");
    driver.pause(slot);
    driver.receive(slot);
    peer.write_all(b"still here").expect("open");
    let received = until(&mut driver, |_, completion| match completion {
        Completion::Received { buffer, .. } => Some(buffer.to_vec()),
        _ => None,
    });
    assert_eq!(received, b"still here");
}

#[test]
fn accepting_pauses_at_the_limit_and_resumes_when_a_slot_frees() {
    let (mut driver, address) = listening(small(1));
    let first = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    assert_eq!(driver.stats().accept_pauses, 1);
    let mut completions = Vec::new();
    while !driver.acceptors.is_at_rest() {
        driver.wait(None, &mut completions).expect("the driver works");
    }
    assert!(driver.reserve().is_none());
    let second = TcpStream::connect(address).expect("the backlog takes it");
    driver.close(slot);
    let next = accept(&mut driver);
    assert_eq!(driver.peer_address(next), second.local_addr().ok());
    drop(first);
}

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

#[test]
fn more_sends_than_the_submission_queue_holds_are_all_submitted() {
    let mut config = small(64);
    config.entries = 8;
    let (mut driver, address) = listening(config);
    let mut peers: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let slots: Vec<Slot> = (0..40).map(|_| accept_one(&mut driver)).collect();
    for slot in &slots {
        driver.send(*slot, Output::One(Chunk::from(b"hi".to_vec())));
    }
    let mut left = slots.len();
    until(&mut driver, |_, completion| {
        left -= usize::from(matches!(completion, Completion::Sent { written: 2, .. }));
        (left == 0).then_some(())
    });
    for peer in &mut peers {
        let mut bytes = [0; 2];
        peer.read_exact(&mut bytes).expect("sent");
        assert_eq!(&bytes, b"hi");
    }
}

/// One accepted slot, without losing those that come in the same turn.
fn accept_one(driver: &mut Uring) -> Slot {
    thread_local!(static SPARE: std::cell::RefCell<Vec<Slot>> = const { std::cell::RefCell::new(Vec::new()) });
    if let Some(slot) = SPARE.with_borrow_mut(Vec::pop) {
        return slot;
    }
    let mut completions = Vec::new();
    while completions.is_empty() {
        driver.wait(None, &mut completions).expect("the driver works");
    }
    for completion in completions {
        if let Completion::Accepted { slot } = completion {
            SPARE.with_borrow_mut(|spare| spare.push(slot));
        }
    }
    accept_one(driver)
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

/// What comes of one turn that does not wait.
fn turn(driver: &mut Uring) -> Vec<Completion> {
    let mut completions = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut completions).expect("the driver works");
    completions
}

/// A driver with one accepted connection, and its peer.
fn connection(config: UringConfig) -> (Uring, SocketAddr, Slot, TcpStream) {
    let (mut driver, address) = listening(config);
    let peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    (driver, address, slot, peer)
}

fn one(bytes: &[u8]) -> Output {
    Output::One(Chunk::from(bytes.to_vec()))
}

/// Aborts the connection: RST.
fn reset(peer: TcpStream) {
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("open");
    drop(peer);
}

#[track_caller]
fn sent(driver: &mut Uring) -> usize {
    until(driver, |_, completion| match completion {
        Completion::Sent { written, .. } => Some(written),
        _ => None,
    })
}

#[track_caller]
fn received(driver: &mut Uring) -> Vec<u8> {
    until(driver, |_, completion| match completion {
        Completion::Received { buffer, .. } => Some(buffer.to_vec()),
        _ => None,
    })
}

#[test]
fn fin_follows_a_send_that_is_only_queued() {
    let (mut driver, _, slot, mut peer) = connection(small(8));
    driver.send(slot, one(b"the last words"));
    driver.finish(slot);
    assert_eq!(sent(&mut driver), 14);
    let mut all = Vec::new();
    peer.read_to_end(&mut all).expect("ended in order");
    assert_eq!(all, b"the last words");
    driver.receive(slot);
    peer.write_all(b"receiving goes on").expect("open");
    assert_eq!(received(&mut driver), b"receiving goes on");
}

#[test]
fn fin_follows_a_send_that_waits_for_its_reader() {
    let (mut driver, _, slot, mut peer) = connection(small(8));
    const LEN: usize = 32 << 20;
    driver.send(slot, Output::One(Chunk::from(vec![1; LEN])));
    assert!(turn(&mut driver).is_empty(), "more than both socket buffers hold");
    driver.finish(slot);
    let peer = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all.len())
    });
    assert_eq!(sent(&mut driver), LEN);
    assert_eq!(peer.join().expect("no panic").expect("ended in order"), LEN);
}

#[test]
fn fin_follows_the_rest_of_a_short_send() {
    let (mut driver, _, slot, mut peer) = connection(small(8));
    let chunks = (0..=Output::MOST_CHUNKS).map(|n| vec![n as u8].into()).collect();
    driver.send(slot, Output::Many(chunks));
    driver.finish(slot);
    assert_eq!(sent(&mut driver), Output::MOST_CHUNKS);
    driver.send(slot, one(&[Output::MOST_CHUNKS as u8]));
    assert_eq!(sent(&mut driver), 1);
    let mut all = Vec::new();
    peer.read_to_end(&mut all).expect("ended in order");
    assert_eq!(all.len(), Output::MOST_CHUNKS + 1);
}

#[test]
fn finishing_before_there_is_a_connection_ends_it_when_it_stands() {
    let listener = TcpListener::bind(LOCAL).expect("a free port");
    let mut driver = Uring::new(small(8)).expect("io_uring works here");
    let slot = driver.reserve().expect("a free slot");
    driver.finish(slot);
    driver.connect(slot, listener.local_addr().expect("bound"));
    until(&mut driver, |_, completion| matches!(completion, Completion::Connected { .. }).then_some(()));
    let (mut peer, _) = listener.accept().expect("it connected");
    assert_eq!(peer.read(&mut [0; 8]).expect("ended in order"), 0);
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
fn a_burst_that_finds_no_buffer_doubles_them_once() {
    let mut config = small(64);
    config.buffers = BufferConfig { size: 1024, count: 64, ready: 1 };
    let (mut driver, address) = listening(config);
    let mut peers: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    for _ in 0..8 {
        let slot = accept_one(&mut driver);
        driver.receive(slot);
    }
    turn(&mut driver);
    for peer in &mut peers {
        peer.write_all(b"x").expect("open");
    }
    let kept = turn(&mut driver);
    assert_eq!((kept.len(), driver.stats().starved), (1, 7));
    assert_eq!(driver.ready, 2);
}

#[test]
fn who_has_waited_longest_for_a_buffer_gets_the_first_one() {
    let mut config = small(8);
    config.buffers = BufferConfig { size: 1024, count: 1, ready: 1 };
    let (mut driver, address) = listening(config);
    let (mut peers, mut slots, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut peer = TcpStream::connect(address).expect("it listens");
        let slot = accept(&mut driver);
        driver.receive(slot);
        kept.extend(turn(&mut driver));
        peer.write_all(b"x").expect("open");
        kept.extend(turn(&mut driver));
        peers.push(peer);
        slots.push(slot);
    }
    assert_eq!(driver.stats().starved, 3);
    for expected in &slots[1..] {
        kept.pop();
        kept = turn(&mut driver);
        assert!(matches!(kept[..], [Completion::Received { slot, .. }] if slot == *expected), "{kept:?}");
    }
}

#[test]
fn a_receive_that_is_asked_for_early_waits_for_the_connection() {
    for before in [true, false] {
        let listener = TcpListener::bind(LOCAL).expect("a free port");
        let mut driver = Uring::new(small(8)).expect("io_uring works here");
        let slot = driver.reserve().expect("a free slot");
        if before {
            driver.receive(slot);
        }
        driver.connect(slot, listener.local_addr().expect("bound"));
        if !before {
            driver.receive(slot);
        }
        until(&mut driver, |_, completion| {
            assert!(matches!(completion, Completion::Connected { .. }), "{completion:?}");
            Some(())
        });
        let (mut peer, _) = listener.accept().expect("it connected");
        peer.write_all(b"hello").expect("open");
        assert_eq!(received(&mut driver), b"hello");
    }
}

#[test]
#[should_panic(expected = "slot 0.0 is connected a second time")]
fn a_second_connect_is_refused() {
    let mut driver = Uring::new(small(8)).expect("io_uring works here");
    let slot = driver.reserve().expect("a free slot");
    driver.connect(slot, LOCAL);
    driver.connect(slot, LOCAL);
}

#[test]
#[should_panic(expected = "slot 0.0 is connected a second time")]
fn connecting_an_accepted_slot_is_refused() {
    let (mut driver, address, slot, _peer) = connection(small(8));
    driver.connect(slot, address);
}

#[test]
fn accepting_pauses_when_the_kernel_will_not_accept_any_more() {
    let mut driver = Uring::new(small(8)).expect("io_uring works here");
    let listener = Listener::bind(LOCAL).expect("a free port");
    // accept(2) on a socket that listens no more: EINVAL, for good.
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).expect("open");
    driver.listen(listener);
    for _ in 0..20 {
        turn(&mut driver);
    }
    assert_eq!((driver.stats().accept_pauses, driver.stats().completions), (1, 1), "one EINVAL, then it rests");
}

#[test]
fn a_listener_outlives_the_accept_that_names_it() {
    let (mut driver, address) = listening(small(8));
    let mut timeout = None;
    for entry in driver.acceptors.arms(&mut timeout) {
        driver.push(&entry);
    }
    driver.stop_listening();
    // The accept is not submitted yet. Were the listener closed, its number would be the next socket's.
    drop(TcpStream::connect(address).expect("it listens"));
    while !driver.acceptors.is_at_rest() {
        turn(&mut driver);
    }
    TcpStream::connect(address).expect_err("it listens no more");
}

#[test]
fn closing_in_order_leaves_nothing_stale() {
    let (mut driver, _, slot, peer) = connection(small(8));
    driver.receive(slot);
    driver.send(slot, Output::One(Chunk::from(vec![1; 32 << 20])));
    assert!(turn(&mut driver).is_empty());
    driver.close(slot);
    settle(&mut driver);
    assert_eq!(driver.stats().stale, 1, "the send had written a part; the cancelled receive does not count");
    drop(peer);
}

/// Puts something else in the place of the ring's descriptor, so that the kernel refuses every further enter.
fn break_ring(driver: &Uring) {
    let null = std::fs::File::open("/dev/null").expect("there is one");
    // SAFETY: both descriptors are open. Nothing of this test uses the ring's as anything but a number.
    assert!(unsafe { libc::dup2(null.as_raw_fd(), driver.ring.as_raw_fd()) } >= 0);
}

#[test]
fn a_driver_whose_kernel_takes_nothing_more_says_so_and_can_be_dropped() {
    let (mut driver, _, slot, mut peer) = connection(small(8));
    driver.receive(slot);
    break_ring(&driver);
    // More than the queue of 8 holds.
    for _ in 0..20 {
        driver.pause(slot);
        driver.receive(slot);
        driver.connections[slot.index() as usize].unset(Flag::Cancelled);
    }
    let before = Instant::now();
    let mut completions = Vec::new();
    for _ in 0..3 {
        driver.wait(None, &mut completions).expect_err("the driver is broken");
    }
    drop(driver);
    assert!(before.elapsed() < TEARDOWN, "nothing is waited for");
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

#[test]
fn a_loud_connection_does_not_keep_a_quiet_one_waiting() {
    let mut config = small(8);
    config.buffers = BufferConfig { size: 1024, count: 256, ready: 256 };
    let (mut driver, address) = listening(config);
    let mut loud = TcpStream::connect(address).expect("it listens");
    let loud_slot = accept(&mut driver);
    let mut quiet = TcpStream::connect(address).expect("it listens");
    let quiet_slot = accept(&mut driver);
    driver.receive(loud_slot);
    driver.receive(quiet_slot);
    turn(&mut driver);
    let flood = std::thread::spawn(move || while loud.write_all(&[7; 65_536]).is_ok() {});
    let mut heard = 0;
    while heard < 1 << 20 {
        heard += received(&mut driver).len();
    }
    for _ in 0..50 {
        quiet.write_all(b"?").expect("open");
        let mut before = 0;
        until(&mut driver, |_, completion| match completion {
            Completion::Received { slot, .. } if slot == quiet_slot => Some(()),
            Completion::Received { .. } => {
                before += 1;
                None
            }
            _ => None,
        });
        // What it had been given by then, and one burst of the kernel's more.
        assert!(before <= 3 * 256, "{before} buffers of the loud one came first");
    }
    driver.close(loud_slot);
    settle_open(&mut driver, 1);
    flood.join().expect("no panic");
}

/// Turns until only so many slots are in use.
fn settle_open(driver: &mut Uring, open: u64) {
    while driver.stats().open > open {
        turn(driver);
    }
}
