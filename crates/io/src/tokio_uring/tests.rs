//! What is particular to tokio-uring. The tests that all drivers share are in `crate::tests`.

use super::*;
use crate::table::KernelInterface;
use crate::tests::{LOCAL, TestDriver};
use crate::uring::UringConfig;
use crate::{Cause, Chunk, Listener, Output};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

impl TestDriver for TokioUring {
    const LENDS_BUFFERS: bool = false;

    fn open(config: UringConfig) -> Self {
        let UringConfig { buffers, max_connections, busy_poll, ring_entries: _ } = config;
        Self::new(TokioUringConfig { buffers, max_connections, busy_poll }).expect("tokio-uring works here")
    }

    fn pool(&self) -> &Pool {
        self.pool()
    }

    fn table(&self) -> &SlotTable<impl KernelInterface> {
        &self.table
    }

    fn table_mut(&mut self) -> &mut SlotTable<impl KernelInterface> {
        &mut self.table
    }

    fn holds_nothing(&self) -> bool {
        self.table.kernel.transfers.holds_nothing()
    }

    fn descriptor(&self) -> RawFd {
        self.table.kernel.set.descriptor().as_raw_fd()
    }
}

fn small_buffers(count: u16) -> TokioUringConfig {
    let buffers = BufferConfig { size: 1024, count, ready: Some(count), working_set: None };
    TokioUringConfig { buffers, ..TokioUringConfig::default() }
}

/// A driver within the runtime of the caller, with a connection whose other end is returned.
fn adopted(config: TokioUringConfig) -> (TokioUring, Slot, UnixStream) {
    let mut driver = TokioUring::within(config).expect("tokio-uring works here");
    let (ours, theirs) = UnixStream::pair().expect("two descriptors");
    let slot = driver.adopt_socket(ours.into(), true);
    (driver, slot, theirs)
}

fn one(bytes: &[u8]) -> Output {
    Output::One(bytes.to_vec().into())
}

/// The completions of a wait, which does not sleep.
fn turn(driver: &mut TokioUring) -> Vec<Completion> {
    let mut completions = Vec::new();
    driver.wait(None, &mut completions).expect("the driver works");
    completions
}

/// Waits until a turn returns completions.
async fn completions(driver: &mut TokioUring) -> Vec<Completion> {
    loop {
        driver.ready().ready().await;
        let completions = turn(driver);
        if !completions.is_empty() {
            return completions;
        }
    }
}

/// Turns until the driver waits for an event.
async fn rest(driver: &mut TokioUring) {
    while driver.ready().is_ready() || driver.table.kernel.has_work() {
        assert!(turn(driver).is_empty());
        // The runtime sleeps, and so submits.
        ::tokio_uring::no_op().await.expect("the ring works");
    }
}

#[test]
fn a_driver_within_a_runtime_echoes() {
    ::tokio_uring::start(async {
        let (mut driver, slot, mut peer) = adopted(small_buffers(4));
        driver.receive(slot);
        for round in 0..100_u32 {
            peer.write_all(&round.to_le_bytes()).expect("open");
            let received = completions(&mut driver).await;
            let [Completion::Received { slot: of, buffer }] = &received[..] else { panic!("{received:?}") };
            assert!(*of == slot && **buffer == round.to_le_bytes());
            driver.send(slot, one(buffer));
            let sent = completions(&mut driver).await;
            assert!(matches!(sent[..], [Completion::Sent { written: 4, .. }]), "{sent:?}");
            let mut reply = [0; 4];
            peer.read_exact(&mut reply).expect("open");
            assert_eq!(reply, round.to_le_bytes());
        }
        drop(peer);
        let ended = completions(&mut driver).await;
        assert!(matches!(ended[..], [Completion::Ended { cause: Cause::Finished, .. }]), "{ended:?}");
    });
}

#[test]
fn a_driver_within_a_runtime_accepts_and_connects() {
    ::tokio_uring::start(async {
        let mut driver = TokioUring::within(small_buffers(4)).expect("tokio-uring works here");
        let listener = Listener::bind(LOCAL).expect("a free port");
        let address = listener.address().tcp().expect("TCP");
        driver.listen(listener);
        turn(&mut driver);
        let slot = driver.reserve().expect("a free slot");
        driver.connect(slot, address);
        let (mut accepted, mut connected) = (None, false);
        while accepted.is_none() || !connected {
            for completion in completions(&mut driver).await {
                match completion {
                    Completion::Accepted { slot, .. } => accepted = Some(slot),
                    Completion::Connected { .. } => connected = true,
                    other => panic!("{other:?}"),
                }
            }
        }
        let accepted = accepted.expect("set above");
        driver.receive(accepted);
        driver.send(slot, one(b"hello"));
        let mut received = Vec::new();
        while received != b"hello" {
            for completion in completions(&mut driver).await {
                if let Completion::Received { buffer, .. } = completion {
                    received.extend_from_slice(&buffer);
                }
            }
        }
    });
}

#[test]
fn an_idle_connection_holds_no_buffer_and_no_operation() {
    ::tokio_uring::start(async {
        let (mut driver, slot, mut peer) = adopted(small_buffers(4));
        driver.receive(slot);
        rest(&mut driver).await;
        assert_eq!((driver.pool().free(), driver.table.kernel.transfers.permits().in_flight()), (4, 0));
        peer.write_all(b"x").expect("open");
        let received = completions(&mut driver).await;
        assert!(matches!(received[..], [Completion::Received { .. }]), "{received:?}");
        drop(received);
        rest(&mut driver).await;
        assert_eq!((driver.pool().free(), driver.table.kernel.transfers.permits().in_flight()), (4, 0));
    });
}

#[test]
fn the_handle_waits_while_nothing_happens_and_a_wake_ends_the_wait() {
    ::tokio_uring::start(async {
        let (mut driver, slot, _peer) = adopted(small_buffers(4));
        driver.receive(slot);
        rest(&mut driver).await;
        let ready = driver.ready();
        for _ in 0..3 {
            let waker = driver.waker();
            let other = std::thread::spawn(move || waker.wake());
            // Several tasks may wait.
            let also = ::tokio_uring::spawn({
                let ready = ready.clone();
                async move { ready.ready().await }
            });
            ready.ready().await;
            also.await.expect("no panic");
            other.join().expect("no panic");
            let woken = turn(&mut driver);
            assert!(matches!(woken[..], [Completion::Woken]), "{woken:?}");
            rest(&mut driver).await;
        }
        let waiting = ::tokio_uring::spawn(async move { ready.ready().await });
        drop(driver);
        waiting.await.expect("the end of the driver ends the wait");
    });
}

#[test]
fn a_request_makes_the_handle_ready() {
    ::tokio_uring::start(async {
        let (mut driver, slot, peer) = adopted(small_buffers(4));
        rest(&mut driver).await;
        assert!(!driver.ready().is_ready());
        driver.send(slot, one(b"x"));
        assert!(driver.ready().is_ready());
        assert!(matches!(completions(&mut driver).await[..], [Completion::Sent { written: 1, .. }]));
        rest(&mut driver).await;
        driver.close(slot);
        assert!(driver.ready().is_ready());
        drop(peer);
    });
}

#[test]
fn a_send_that_waits_for_its_reader_continues_when_the_socket_has_room() {
    const LEN: usize = 8 << 20;
    ::tokio_uring::start(async {
        for output in
            [Output::One(vec![7; LEN].into()), Output::Many((0..8).map(|_| vec![7; LEN / 8].into()).collect())]
        {
            let mut driver = TokioUring::within(small_buffers(4)).expect("tokio-uring works here");
            let listener = std::net::TcpListener::bind(LOCAL).expect("a free port");
            let mut peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
            let (ours, _) = listener.accept().expect("it connected");
            let slot = driver.adopt_socket(ours.into(), false);
            driver.send(slot, output);
            let reader = std::thread::spawn(move || {
                let mut bytes = vec![0; LEN];
                peer.read_exact(&mut bytes).map(|()| bytes)
            });
            let sent = completions(&mut driver).await;
            assert!(matches!(sent[..], [Completion::Sent { written: LEN, .. }]), "{sent:?}");
            let bytes = reader.join().expect("no panic").expect("sent");
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
    });
}

#[test]
fn a_driver_dropped_before_its_operations_are_submitted_keeps_what_they_use() {
    ::tokio_uring::start(async {
        let (mut driver, slot, mut peer) = adopted(small_buffers(4));
        let pool = driver.pool().clone();
        let descriptor = driver.descriptor_of(slot);
        let buffer = pool.fill(b"in a buffer").expect("free");
        let range = 0..buffer.len() as u32;
        driver.receive(slot);
        driver.send(slot, Output::One(Chunk::Buffer { buffer, range }));
        // The send is in the submission queue, which the kernel has not seen.
        assert!(turn(&mut driver).is_empty());
        let permits = Rc::clone(driver.table.kernel.transfers.permits());
        assert_eq!(permits.in_flight(), 1);
        drop(driver);
        assert_eq!(pool.guarded(), 1, "the operation owns its output");
        // The next descriptor is not that of the connection, which the operation still uses.
        let other = std::fs::File::open("/dev/null").expect("a device");
        assert_ne!(other.as_raw_fd(), descriptor);
        let mut all = Vec::new();
        while permits.in_flight() > 0 {
            ::tokio_uring::no_op().await.expect("the ring works");
        }
        peer.read_to_end(&mut all).expect("the connection was closed after the operation");
        assert_eq!(all, b"in a buffer");
        assert_eq!((pool.guarded(), pool.free()), (0, 4));
    });
}

/// A send whose first part was written when its driver was dropped.
#[test]
fn an_abandoned_send_is_not_continued() {
    const LEN: usize = 8 << 20;
    ::tokio_uring::start(async {
        let (mut driver, slot, mut peer) = adopted(small_buffers(4));
        driver.send(slot, Output::Many((0..8).map(|_| vec![7; LEN / 8].into()).collect()));
        turn(&mut driver);
        let permits = Rc::clone(driver.table.kernel.transfers.permits());
        drop(driver);
        while permits.in_flight() > 0 {
            ::tokio_uring::no_op().await.expect("the ring works");
        }
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("closed");
        assert!(!all.is_empty() && all.len() < LEN, "{} bytes", all.len());
    });
}

#[test]
fn a_runtime_that_ends_with_operations_in_flight_frees_what_they_own() {
    let pool = ::tokio_uring::start(async {
        let (mut driver, slot, _peer) = adopted(small_buffers(4));
        let pool = driver.pool().clone();
        let buffer = pool.fill(b"bytes").expect("free");
        driver.send(slot, Output::One(Chunk::Buffer { buffer, range: 0..5 }));
        turn(&mut driver);
        pool
    });
    assert_eq!((pool.guarded(), pool.free()), (0, 4));
}

fn runtime() -> ::tokio_uring::Runtime {
    ::tokio_uring::Runtime::new(&::tokio_uring::builder()).expect("tokio-uring works here")
}

#[test]
fn a_driver_that_is_moved_to_another_runtime_reports_an_error() {
    let (own, other) = (runtime(), runtime());
    let (mut driver, slot, mut peer) = own.block_on(async {
        let (mut driver, slot, peer) = adopted(small_buffers(4));
        driver.receive(slot);
        rest(&mut driver).await;
        (driver, slot, peer)
    });
    peer.write_all(b"x").expect("open");
    other.block_on(async {
        for _ in 0..2 {
            let error = driver.wait(None, &mut Vec::new()).expect_err("not its runtime");
            assert!(error.to_string().contains("another runtime"), "{error}");
            assert!(driver.submit().is_err());
        }
    });
    own.block_on(async {
        let received = completions(&mut driver).await;
        assert!(matches!(received[..], [Completion::Received { slot: of, .. }] if of == slot), "{received:?}");
    });
}

#[test]
fn the_operations_of_one_runtime_do_not_limit_those_of_another() {
    let (first, second) = (runtime(), runtime());
    let held = first.block_on(async {
        let permits = operation::Permits::of_runtime(Handle::current().id());
        std::iter::from_fn(|| permits.take()).collect::<Vec<_>>()
    });
    assert_eq!(held.len(), operation::MAX_IN_FLIGHT as usize);
    second.block_on(async {
        let (mut driver, slot, mut peer) = adopted(small_buffers(4));
        driver.send(slot, one(b"x"));
        assert!(driver.table.kernel.transfers.permits().in_flight() == 0 && turn(&mut driver).is_empty());
        assert_eq!(driver.table.kernel.transfers.permits().in_flight(), 1, "it is submitted");
        assert!(matches!(completions(&mut driver).await[..], [Completion::Sent { written: 1, .. }]));
        peer.read_exact(&mut [0]).expect("sent");
    });
    first.block_on(async {
        assert!(operation::Permits::of_runtime(Handle::current().id()).take().is_none(), "they are those of before");
        drop(held);
        assert_eq!(operation::Permits::of_runtime(Handle::current().id()).in_flight(), 0);
    });
}

#[test]
fn a_connection_without_a_buffer_is_received_from_when_one_is_dropped() {
    ::tokio_uring::start(async {
        let (mut driver, slot, mut peer) = adopted(small_buffers(1));
        let (ours, mut other_peer) = UnixStream::pair().expect("two descriptors");
        let other = driver.adopt_socket(ours.into(), true);
        for (slot, peer) in [(slot, &mut peer), (other, &mut other_peer)] {
            driver.receive(slot);
            peer.write_all(b"x").expect("open");
        }
        let mut received = completions(&mut driver).await;
        rest(&mut driver).await;
        assert!(received.len() == 1 && driver.has_backlog() && !driver.can_feed(), "{received:?}");
        received.clear();
        assert!(driver.can_feed() && !driver.ready().is_ready(), "no event leads to a wait");
        assert!(turn(&mut driver).is_empty());
        let received = completions(&mut driver).await;
        assert!(matches!(received[..], [Completion::Received { .. }]) && !driver.can_feed(), "{received:?}");
    });
}

#[test]
fn a_driver_that_outlives_its_runtime_reports_an_error() {
    let mut driver = ::tokio_uring::start(async {
        let (mut driver, slot, _peer) = adopted(small_buffers(4));
        driver.send(slot, one(b"x"));
        turn(&mut driver);
        driver
    });
    for _ in 0..2 {
        let error = driver.wait(None, &mut Vec::new()).expect_err("there is no runtime");
        assert!(error.to_string().contains("does not run"), "{error}");
    }
}

#[test]
#[should_panic(expected = "not in runtime context")]
fn a_driver_within_a_runtime_cannot_be_made_outside_of_one() {
    let _ = TokioUring::within(small_buffers(4));
}

#[test]
fn the_operations_in_flight_are_bounded_over_the_drivers_of_a_runtime() {
    const COUNT: usize = 100;
    ::tokio_uring::start(async {
        let mut drivers: Vec<TokioUring> =
            (0..3).map(|_| TokioUring::within(small_buffers(4)).expect("tokio-uring works here")).collect();
        let mut peers = Vec::new();
        for driver in &mut drivers {
            for _ in 0..COUNT {
                let (ours, theirs) = UnixStream::pair().expect("two descriptors");
                let slot = driver.adopt_socket(ours.into(), true);
                driver.send(slot, one(b"x"));
                peers.push(theirs);
            }
            assert!(turn(driver).is_empty(), "nothing is submitted yet");
        }
        let permits = operation::Permits::of_runtime(Handle::current().id());
        assert_eq!(permits.in_flight(), operation::MAX_IN_FLIGHT);
        for driver in &mut drivers {
            let mut sent = 0;
            while sent < COUNT {
                sent += completions(driver).await.len();
            }
        }
        for mut peer in peers {
            peer.read_exact(&mut [0]).expect("sent");
        }
    });
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    for max_connections in [0, (1 << 30) + 1] {
        let config = TokioUringConfig { max_connections, ..TokioUringConfig::default() };
        let error = TokioUring::new(config).err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("max_connections is {max_connections}: give 1 to 1073741824")));
    }
}

#[test]
fn the_self_test_passes_on_this_kernel() {
    probe().expect("io_uring works here");
}
