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
fn until<T>(driver: &mut Uring, mut wanted: impl FnMut(&mut Uring, Completion) -> Option<T>) -> T {
    let mut completions = Vec::new();
    loop {
        driver.wait(None, &mut completions).expect("the driver works");
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

fn accept(driver: &mut Uring) -> Slot {
    until(driver, |_, completion| match completion {
        Completion::Accepted { slot } => Some(slot),
        _ => None,
    })
}

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
    assert!(matches!(&cause, Cause::Unconnected(error) if error.kind() == io::ErrorKind::ConnectionRefused), "{cause:?}");
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
