//! Tests of the drivers on the real kernel. Each test runs on every driver.

mod accepting;
mod connecting;
mod datagrams;
mod detaching;
mod echoing;
mod ending;
mod receiving;
mod sending;
mod unix;
mod waiting;

use crate::table::{KernelInterface, SlotTable};
use crate::uring::UringConfig;
use crate::{
    BufferConfig, BusyPoll, Cause, Chunk, Completion, ConnectOptions, Driver, Listener, Output, Pool, Slot, SourceError,
};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

pub(crate) const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A driver, and its state that only tests read.
pub(crate) trait TestDriver: Driver {
    /// Whether buffers are lent to the kernel in advance, so that a receive beyond the working set
    /// ends with ENOBUFS. Otherwise it waits for the next turn.
    const LENDS_BUFFERS: bool;

    /// A driver with this configuration. One without a ring ignores the number of its entries.
    fn open(config: UringConfig) -> Self;

    fn pool(&self) -> &Pool;

    fn table(&self) -> &SlotTable<impl KernelInterface>;

    fn table_mut(&mut self) -> &mut SlotTable<impl KernelInterface>;

    /// Whether the kernel uses no memory of an operation.
    fn holds_nothing(&self) -> bool;

    /// The descriptor that the driver waits on.
    fn descriptor(&self) -> RawFd;

    /// Whether an accept is in flight.
    fn is_accepting(&self) -> bool {
        self.table().is_accepting()
    }

    /// The number of operations in flight on a slot.
    fn in_flight(&self, slot: Slot) -> u16 {
        self.table().in_flight(slot)
    }

    /// The descriptor of an open slot.
    fn descriptor_of(&self, slot: Slot) -> RawFd {
        self.table().descriptor_of(slot)
    }

    /// The number of buffers of the working set.
    fn ready(&self) -> u16 {
        self.table().ready()
    }

    /// The part of a turn before its system call.
    fn begin_turn(&mut self) {
        self.table_mut().begin_turn(&mut None, &mut Vec::new());
    }
}

/// Makes a test of each function for each driver.
macro_rules! on_each_driver {
    ($($(#[$attribute:meta])* $name:ident,)+) => {
        mod on_uring {
            $(#[test] $(#[$attribute])* fn $name() { super::$name::<crate::uring::Uring>() })+
        }
        mod on_epoll {
            $(#[test] $(#[$attribute])* fn $name() { super::$name::<crate::epoll::Epoll>() })+
        }
        #[cfg(feature = "tokio-uring")]
        mod on_tokio_uring {
            $(#[test] $(#[$attribute])* fn $name() { super::$name::<crate::tokio_uring::TokioUring>() })+
        }
    };
}
use on_each_driver;

pub(crate) fn small(max_connections: u32) -> UringConfig {
    let buffers = BufferConfig { size: 1024, count: 4, ready: Some(1), working_set: None };
    UringConfig { ring_entries: 8, buffers, max_connections, ..UringConfig::default() }
}

fn listening<D: TestDriver>(config: UringConfig) -> (D, SocketAddr) {
    let mut driver = D::open(config);
    let listener = Listener::bind(LOCAL).expect("a free port");
    let address = listener.address().tcp().expect("TCP");
    driver.listen(listener);
    (driver, address)
}

/// Turns until `wanted` returns a value for a completion. Other completions are dropped.
#[track_caller]
fn until<D: TestDriver, T>(driver: &mut D, mut wanted: impl FnMut(&mut D, Completion) -> Option<T>) -> T {
    let mut completions = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "the expected completion is missing");
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
pub(crate) fn accept(driver: &mut impl TestDriver) -> Slot {
    until(driver, |_, completion| match completion {
        Completion::Accepted { slot, .. } => Some(slot),
        _ => None,
    })
}

#[track_caller]
pub(crate) fn ended(driver: &mut impl TestDriver) -> Cause {
    until(driver, |_, completion| match completion {
        Completion::Ended { cause, .. } => Some(cause),
        _ => None,
    })
}

/// Turns until no slot is in use.
fn run_until_idle(driver: &mut impl TestDriver) {
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

/// One accepted slot. Others of the same turn are kept for the next call.
fn accept_one(driver: &mut impl TestDriver) -> Slot {
    thread_local!(static SPARE: std::cell::RefCell<Vec<Slot>> = const { std::cell::RefCell::new(Vec::new()) });
    if let Some(slot) = SPARE.with_borrow_mut(Vec::pop) {
        return slot;
    }
    let mut completions = Vec::new();
    while completions.is_empty() {
        driver.wait(None, &mut completions).expect("the driver works");
    }
    for completion in completions {
        if let Completion::Accepted { slot, .. } = completion {
            SPARE.with_borrow_mut(|spare| spare.push(slot));
        }
    }
    accept_one(driver)
}

/// The completions of one turn that does not wait.
pub(crate) fn turn(driver: &mut impl TestDriver) -> Vec<Completion> {
    let mut completions = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut completions).expect("the driver works");
    completions
}

/// A driver with one accepted connection, and its peer.
fn connection<D: TestDriver>(config: UringConfig) -> (D, SocketAddr, Slot, TcpStream) {
    let (mut driver, address) = listening(config);
    let peer = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    (driver, address, slot, peer)
}

fn one(bytes: &[u8]) -> Output {
    Output::One(Chunk::from(bytes.to_vec()))
}

/// Aborts the connection with RST.
fn reset(peer: TcpStream) {
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("open");
    drop(peer);
}

#[track_caller]
fn sent(driver: &mut impl TestDriver) -> usize {
    until(driver, |_, completion| match completion {
        Completion::Sent { written, .. } => Some(written),
        _ => None,
    })
}

#[track_caller]
pub(crate) fn received(driver: &mut impl TestDriver) -> Vec<u8> {
    until(driver, |_, completion| match completion {
        Completion::Received { buffer, .. } => Some(buffer.to_vec()),
        _ => None,
    })
}
