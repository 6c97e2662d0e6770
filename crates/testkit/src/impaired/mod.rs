//! A WebSocket echo server with known faults, delays and rates, for tests of clients and of load
//! generators.
//!
//! It shares no event loop with the engine: one thread polls the standard library's sockets with
//! poll(2), and the codec decodes the frames. All faults are counted over all connections, in the
//! order of the replies, and each reply has at most one, so that a test can compare exact numbers.
//!
//! - [`Impairments`] says what the server does, [`ImpairedCounts`] what it has done.
//! - Each reply is due at a time that depends only on the receipt of its message, the delay and the
//!   rate. The thread sleeps until shortly before that time and polls without sleeping until then,
//!   and [`ImpairedReport::delays`] has the times that the server has taken, so that a test can
//!   separate an error of the server from one of the client.

mod connection;
mod impairments;
mod schedule;
mod worker;

pub use impairments::{CorruptedByte, EndingKind, ImpairedCounts, Impairments, PlannedEnding};

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use worker::{ReplyRecord, Worker};

/// The server. It stops when it is dropped.
#[derive(Debug)]
pub struct ImpairedServer {
    address: SocketAddr,
    counts: Arc<Mutex<ImpairedCounts>>,
    /// Dropping it stops the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<io::Result<ReplyRecord>>>,
}

/// What a server has done, when it has stopped.
#[derive(Clone, Debug)]
pub struct ImpairedReport {
    /// The counts.
    pub counts: ImpairedCounts,
    /// For each of the first million answered messages the time from its receipt to the call that
    /// sends its reply, in the order of the replies. It contains the delay, the wait for the rate,
    /// and the lateness of the thread.
    pub delays: Vec<Duration>,
    /// For each corrupted reply the number of its message among those of its connection, from 0, in
    /// the order of the replies.
    pub corrupted: Vec<u64>,
}

impl ImpairedServer {
    /// Starts a server on a port of 127.0.0.1 that the system chooses.
    ///
    /// # Panics
    /// If the impairments contradict each other ([`Impairments`] has the ranges), or the system
    /// refuses a socket or a thread.
    #[must_use]
    pub fn start(impairments: Impairments) -> Self {
        impairments.check();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = UnixStream::pair().expect("there is a descriptor left");
        let counts = Arc::new(Mutex::new(ImpairedCounts::default()));
        let worker = Worker::new(listener, stopped, impairments, Arc::clone(&counts)).expect("socket options");
        let thread = thread::Builder::new().name("impaired".into()).spawn(|| worker.run()).expect("a thread");
        Self { address, counts, stop: Some(stop), thread: Some(thread) }
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The counts so far. A reply that a client has received is counted.
    #[must_use]
    pub fn counts(&self) -> ImpairedCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the server. Messages that wait for their reply stay unanswered, and its connections
    /// end.
    ///
    /// # Panics
    /// If the server has failed.
    #[must_use]
    pub fn stop(mut self) -> ImpairedReport {
        self.stop = None;
        let thread = self.thread.take().expect("it runs until it is stopped or dropped");
        let record = thread.join().expect("the server does not panic").expect("the system calls of the server");
        ImpairedReport { counts: self.counts(), delays: record.delays, corrupted: record.corrupted }
    }
}

impl Drop for ImpairedServer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A failure is reported by `stop`; a test that drops the server does not depend on it.
            let _ = thread.join();
        }
    }
}
