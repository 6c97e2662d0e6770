//! Datagrams of the simulation: the sockets of the driver, and a network that loses, repeats, delays
//! and reorders.
//!
//! As in the other drivers, a datagram is received into one of a number of buffers, and a send holds
//! its payload until it completes.

use super::faults::RandomSource;
use crate::datagram::{BUFFER_SIZE, BUFFERS};
use crate::{BufferConfig, Chunk, Completion, Datagram, PacketInfo, Pool, Stats};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// The capacity of the queue of a socket, in datagrams. Others are lost, as in a kernel.
const QUEUE: usize = 256;

/// The maximum number of sends in flight, as of the driver on io_uring.
const MAX_SENDS: usize = 1024;

/// The longest payload of UDP over IPv4. A longer one is refused (EMSGSIZE).
const MAX_PAYLOAD: usize = 65_507;

/// The maximum delay of a datagram, of a send and of a cancel, in turns.
const LATEST: usize = 32;

/// The probability of each fault of datagrams, from 0, never, to 1, always.
///
/// All of them can occur with a real kernel or network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DatagramFaults {
    /// The network loses a datagram, in either direction.
    pub lost: f64,
    /// The network delivers a datagram twice.
    pub repeated: f64,
    /// A datagram, the completion of a send, or a cancel is up to 32 turns late, so that others
    /// overtake it.
    pub late: f64,
    /// A send fails: ENOBUFS, EPERM or ENETUNREACH.
    pub refused: f64,
    /// A receive ends with ENOBUFS although buffers are available: nothing is received in this turn.
    pub no_buffer: f64,
}

impl DatagramFaults {
    /// No faults.
    #[must_use]
    pub const fn none() -> Self {
        Self { lost: 0.0, repeated: 0.0, late: 0.0, refused: 0.0, no_buffer: 0.0 }
    }

    /// All faults, each rare enough that a run makes progress.
    #[must_use]
    pub const fn all() -> Self {
        Self { lost: 0.1, repeated: 0.1, late: 0.2, refused: 0.1, no_buffer: 0.1 }
    }
}

/// How often each fault of [`DatagramFaults`] has been injected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InjectedDatagramFaults {
    /// Datagrams of peers that were lost, also because the queue of the socket was full.
    pub lost_inbound: u64,
    /// Datagrams of the driver that were lost.
    pub lost_outbound: u64,
    /// Second copies of datagrams of peers.
    pub repeated_inbound: u64,
    /// Second copies of datagrams of the driver.
    pub repeated_outbound: u64,
    /// Datagrams, completions and cancels that were late.
    pub late: u64,
    /// Sends that have failed.
    pub refused: u64,
    /// Turns in which a socket received nothing although there were buffers.
    pub no_buffer: u64,
}

/// A datagram that the driver has sent, as it arrives at its peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentDatagram {
    /// The number of the socket that has sent it.
    pub socket: usize,
    /// The address that it comes from; `None` if the driver has left it to the route.
    pub from: Option<IpAddr>,
    /// The address that it was sent to.
    pub to: SocketAddr,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A datagram of a peer, in the network or in the queue of a socket.
#[derive(Clone, Debug)]
struct Arrival {
    /// The first turn in which it can be received.
    due: u64,
    peer: SocketAddr,
    destination: IpAddr,
    payload: Vec<u8>,
}

/// A send in flight, which owns its payload.
#[derive(Debug)]
struct Outgoing {
    due: u64,
    is_refused: bool,
    datagram: Datagram,
}

#[derive(Debug, Default)]
struct SocketState {
    is_closed: bool,
    queue: VecDeque<Arrival>,
}

/// The sockets for datagrams of a simulated kernel, and the network behind them.
#[derive(Debug)]
pub(super) struct SimDatagrams {
    pub(super) faults: DatagramFaults,
    pub(super) injected: InjectedDatagramFaults,
    /// `None` until a socket is opened.
    pool: Option<Pool>,
    sockets: Vec<SocketState>,
    outgoing: Vec<Outgoing>,
    /// What has arrived at the peers.
    delivered: Vec<SentDatagram>,
    /// The turn in which the cancel of the receives takes effect, once they were stopped.
    stops_at: Option<u64>,
}

impl SimDatagrams {
    pub(super) fn new() -> Self {
        Self {
            faults: DatagramFaults::none(),
            injected: InjectedDatagramFaults::default(),
            pool: None,
            sockets: Vec::new(),
            outgoing: Vec::new(),
            delivered: Vec::new(),
            stops_at: None,
        }
    }

    pub(super) fn open(&mut self) -> io::Result<()> {
        if self.pool.is_none() {
            let config = BufferConfig { size: BUFFER_SIZE, count: BUFFERS, ready: Some(BUFFERS), working_set: None };
            self.pool = Some(Pool::new(&config).map_err(io::Error::other)?);
        }
        self.sockets.push(SocketState::default());
        Ok(())
    }

    /// Whether a socket has this number.
    pub(super) fn has_socket(&self, number: usize) -> bool {
        number < self.sockets.len()
    }

    /// The number of buffers that have a guard, those of sends in flight included.
    pub(super) fn guarded(&self) -> usize {
        self.pool.as_ref().map_or(0, Pool::guarded)
    }

    /// The delay of an event.
    fn delay(&mut self, random: &mut RandomSource) -> u64 {
        let is_late = random.draw(self.faults.late, &mut self.injected.late);
        if is_late { random.within(1..=LATEST) as u64 } else { 0 }
    }

    /// A peer sends a datagram to a socket.
    pub(super) fn arrive(
        &mut self,
        (turn, random): (u64, &mut RandomSource),
        socket: usize,
        (peer, destination): (SocketAddr, IpAddr),
        payload: &[u8],
    ) {
        if random.draw(self.faults.lost, &mut self.injected.lost_inbound) {
            return;
        }
        let is_repeated = random.draw(self.faults.repeated, &mut self.injected.repeated_inbound);
        for _ in 0..1 + u32::from(is_repeated) {
            let due = turn + self.delay(random);
            let Some(state) = self.sockets.get_mut(socket).filter(|state| !state.is_closed) else { return };
            if state.queue.len() < QUEUE {
                state.queue.push_back(Arrival { due, peer, destination, payload: payload.to_vec() });
            } else {
                self.injected.lost_inbound += 1;
            }
        }
    }

    /// Sends a datagram. Returns whether it is in flight.
    pub(super) fn send(&mut self, turn: u64, random: &mut RandomSource, datagram: Datagram) -> bool {
        let is_closed = self.sockets.get(datagram.socket).is_none_or(|state| state.is_closed);
        if is_closed || self.outgoing.len() >= MAX_SENDS || datagram.payload.len() > MAX_PAYLOAD {
            return false;
        }
        let is_refused = random.draw(self.faults.refused, &mut self.injected.refused);
        let due = turn + self.delay(random);
        self.outgoing.push(Outgoing { due, is_refused, datagram });
        true
    }

    /// The part of a turn for datagrams.
    pub(super) fn work(
        &mut self,
        turn: u64,
        random: &mut RandomSource,
        stats: &mut Stats,
        completions: &mut Vec<Completion>,
    ) {
        for Outgoing { is_refused, datagram, .. } in self.outgoing.extract_if(.., |sent| sent.due <= turn) {
            if is_refused {
                stats.datagrams_unsent += 1;
                continue;
            }
            stats.datagrams_sent += 1;
            if random.draw(self.faults.lost, &mut self.injected.lost_outbound) {
                continue;
            }
            let Datagram { socket, peer: to, local, payload, .. } = datagram;
            let from = local.map(|local| local.destination);
            let sent = SentDatagram { socket, from, to, payload: payload.as_slice().to_vec() };
            if random.draw(self.faults.repeated, &mut self.injected.repeated_outbound) {
                self.delivered.push(sent.clone());
            }
            self.delivered.push(sent);
        }
        let is_stopped = self.stops_at.is_some_and(|at| at <= turn);
        let Some(pool) = self.pool.as_ref().filter(|_| !is_stopped) else { return self.close_stopped(turn) };
        for (socket, state) in self.sockets.iter_mut().enumerate() {
            let has_due = state.queue.iter().any(|arrival| arrival.due <= turn);
            if !has_due || random.draw(self.faults.no_buffer, &mut self.injected.no_buffer) {
                continue;
            }
            for _ in 0..BUFFERS {
                let due = state.queue.iter().position(|arrival| arrival.due <= turn);
                let Some(arrival) = due.filter(|_| pool.free() > 0).and_then(|at| state.queue.remove(at)) else {
                    break;
                };
                let Some(buffer) = pool.fill(&arrival.payload) else { break };
                let range = 0..arrival.payload.len() as u32;
                let local = PacketInfo { destination: arrival.destination, local: None, interface: 1 };
                stats.datagrams_received += 1;
                completions.push(Completion::Datagram(Box::new(Datagram {
                    socket,
                    peer: arrival.peer,
                    local: Some(local),
                    payload: Chunk::Buffer { buffer, range },
                    is_truncated: false,
                })));
            }
        }
    }

    /// Receives no further datagrams, from now on or a little later.
    pub(super) fn stop(&mut self, turn: u64, random: &mut RandomSource) {
        if self.stops_at.is_none() && !self.sockets.is_empty() {
            self.stops_at = Some(turn + self.delay(random));
        }
    }

    /// Closes the sockets when nothing is in flight any more. Their queues are left to others.
    fn close_stopped(&mut self, turn: u64) {
        if self.stops_at.is_some_and(|at| at <= turn) && self.outgoing.is_empty() {
            for state in &mut self.sockets {
                state.is_closed = true;
                state.queue.clear();
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.sockets.iter().any(|state| !state.is_closed)
    }

    /// Whether further turns have no effect until a peer or the driver's user acts.
    pub(super) fn is_idle(&self) -> bool {
        let is_receiving = self.pool.as_ref().is_some_and(|pool| pool.free() > 0)
            && self.sockets.iter().any(|state| !state.is_closed && !state.queue.is_empty());
        self.outgoing.is_empty() && !is_receiving && (self.stops_at.is_none() || !self.is_open())
    }

    /// What has arrived at the peers.
    pub(super) fn take_delivered(&mut self) -> Vec<SentDatagram> {
        std::mem::take(&mut self.delivered)
    }

    /// Closes the sockets at once, with the sends in flight.
    pub(super) fn close(&mut self) {
        self.outgoing.clear();
        for state in &mut self.sockets {
            state.is_closed = true;
            state.queue.clear();
        }
    }
}
