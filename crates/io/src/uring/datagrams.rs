//! Datagrams on io_uring: multishot receives into buffers of their own (since 6.0), and sends.
//!
//! The buffers are another ring than those of connections, because a buffer has to hold the longest
//! datagram, and because a flood of datagrams must not take the buffers of connections.

use super::entry;
use super::provided::Provided;
use super::ring::Ring;
use crate::datagram::{
    BUFFER_SIZE, BUFFERS, CONTROL_ROOM, MAX_NAME, parse_address, parse_control, write_address, write_control,
};
use crate::slab::Slab;
use crate::table::{Cancellable, Operation};
use crate::{Buffer, BufferConfig, Chunk, Completion, Datagram, DatagramSocket, Pool, Slot, Stats};
use io_uring::cqueue;
use io_uring::types::RecvMsgOut;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

/// The group of the buffer ring of datagrams.
const GROUP: u16 = 1;

/// The maximum number of sends in flight. Replies are limited by the buffers; this limits others.
const MAX_SENDS: usize = 1024;

/// After this many failed receives in succession, a socket is closed.
const MAX_FAILURES: u32 = 64;

/// The sockets for datagrams of one ring, and the memory that the kernel uses for them.
pub(super) struct Datagrams {
    provided: Provided,
    /// The lengths of the name and the control messages of each datagram. The kernel reads it while a
    /// receive is armed.
    header: Box<libc::msghdr>,
    sockets: Vec<SocketState>,
    outgoing: Slab<Box<Outgoing>>,
    is_stopped: bool,
}

#[derive(Debug)]
struct SocketState {
    /// `None` once it is closed.
    socket: Option<DatagramSocket>,
    is_armed: bool,
    is_cancelled: bool,
    failures: u32,
}

/// Bytes with the alignment of control messages.
#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

/// A datagram in flight, with the memory that describes it.
struct Outgoing {
    /// Its pointers lead to the other fields. It is not changed after it was made.
    header: libc::msghdr,
    vector: libc::iovec,
    name: Aligned<MAX_NAME>,
    control: Aligned<CONTROL_ROOM>,
    payload: Chunk,
}

impl Outgoing {
    fn new(datagram: Datagram) -> Box<Self> {
        let Datagram { peer, local, payload, .. } = datagram;
        // SAFETY: both consist of pointers and integers, for which zero is a value.
        let (header, vector) = unsafe { (mem::zeroed::<libc::msghdr>(), mem::zeroed::<libc::iovec>()) };
        let (name, control) = (Aligned([0; MAX_NAME]), Aligned([0; CONTROL_ROOM]));
        let mut outgoing = Box::new(Self { header, vector, name, control, payload });
        let Self { header, vector, name, control, payload } = &mut *outgoing;
        let bytes = payload.as_slice();
        *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let (named, controlled) = (write_address(peer, &mut name.0), write_control(local, peer, &mut control.0));
        header.msg_name = (&raw mut name.0).cast();
        header.msg_namelen = named as libc::socklen_t;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        if controlled > 0 {
            header.msg_control = (&raw mut control.0).cast();
            header.msg_controllen = controlled as _;
        }
        outgoing
    }
}

impl Datagrams {
    /// Registers the buffers with an enabled ring.
    pub(super) fn new(ring: &Ring) -> io::Result<Self> {
        let config = BufferConfig { size: BUFFER_SIZE, count: BUFFERS, ready: Some(BUFFERS), working_set: None };
        let pool = Pool::new(&config).map_err(io::Error::other)?;
        let provided = Provided::register(&ring.ring, pool, BUFFERS, GROUP)?;
        // SAFETY: as in `Outgoing::new`.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { mem::zeroed() });
        header.msg_namelen = MAX_NAME as libc::socklen_t;
        header.msg_controllen = CONTROL_ROOM as _;
        Ok(Self { provided, header, sockets: Vec::new(), outgoing: Slab::new(), is_stopped: false })
    }

    pub(super) fn open(&mut self, socket: DatagramSocket) {
        let socket = Some(socket);
        self.sockets.push(SocketState { socket, is_armed: false, is_cancelled: false, failures: 0 });
    }

    /// Sends a datagram. Returns whether it was submitted.
    pub(super) fn send(&mut self, ring: &mut Ring, datagram: Datagram) -> bool {
        let socket = self.sockets.get(datagram.socket).and_then(|state| state.socket.as_ref());
        let Some(socket) = socket.filter(|_| self.outgoing.len() < MAX_SENDS) else { return false };
        let descriptor = socket.as_fd().as_raw_fd();
        let outgoing = Outgoing::new(datagram);
        let header = &raw const outgoing.header;
        let ticket = self.outgoing.insert(outgoing);
        // The header and what it points to are on the heap, in `outgoing`, until the completion.
        if ring.push(&entry::send_datagram(descriptor, ticket, header)) {
            return true;
        }
        self.outgoing.remove(ticket);
        false
    }

    /// The part of a turn before its system call: lends buffers, and arms the receives.
    pub(super) fn begin_turn(&mut self, ring: &mut Ring) {
        if self.is_stopped {
            // Now, because what the last turn has reported could be answered until here.
            return self.close_idle();
        }
        self.provided.refill(BUFFERS);
        if self.provided.ready() == 0 {
            // The completion of a send returns one.
            return;
        }
        for (number, state) in self.sockets.iter_mut().enumerate() {
            if let Some(socket) = state.socket.as_ref().filter(|_| !state.is_armed) {
                let descriptor = socket.as_fd().as_raw_fd();
                state.is_armed = ring.push(&entry::receive_datagrams(descriptor, number, &*self.header, GROUP));
            }
        }
    }

    /// Handles a completion.
    pub(super) fn complete(
        &mut self,
        ring: &mut Ring,
        (operation, number): (Operation, u32),
        entry: &cqueue::Entry,
        stats: &mut Stats,
        completions: &mut Vec<Completion>,
    ) {
        let result = entry.result();
        match operation {
            Operation::ReceiveDatagrams => {
                let buffer = cqueue::buffer_select(entry.flags()).and_then(|id| self.provided.claim(id, result));
                self.received(number as usize, result, cqueue::more(entry.flags()));
                if let Some(datagram) = buffer.and_then(|buffer| self.parse(number as usize, buffer)) {
                    stats.datagrams_received += 1;
                    completions.push(Completion::Datagram(Box::new(datagram)));
                }
            }
            Operation::SendDatagram => {
                self.outgoing.remove(number);
                *if result < 0 { &mut stats.datagrams_unsent } else { &mut stats.datagrams_sent } += 1;
            }
            // The cancel came too late, or has not found its target.
            Operation::Cancel(_) if result < 0 => {
                if let Some(state) = self.sockets.get_mut(number as usize).filter(|state| state.is_armed) {
                    state.is_cancelled = ring.push(&entry::cancel(Cancellable::ReceiveDatagrams, slot(number)));
                }
            }
            _ => {}
        }
    }

    /// Handles the end, or the success, of a receive.
    fn received(&mut self, number: usize, result: i32, more: bool) {
        let Some(state) = self.sockets.get_mut(number) else { return };
        if !more {
            (state.is_armed, state.is_cancelled) = (false, false);
        }
        match -result {
            ..=0 => state.failures = 0,
            // Armed again when there are buffers, or at once.
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            errno => {
                state.failures += 1;
                if state.failures >= MAX_FAILURES {
                    let error = io::Error::from_raw_os_error(errno);
                    tracing::error!(%error, "a socket for datagrams is closed: it fails again and again");
                    state.socket = None;
                }
            }
        }
    }

    fn parse(&self, number: usize, buffer: Buffer) -> Option<Datagram> {
        let parsed = RecvMsgOut::parse(&buffer, &self.header).ok()?;
        let peer = parse_address(parsed.name_data())?;
        let local = parse_control(parsed.control_data());
        let (is_truncated, payload) = (parsed.is_payload_truncated(), parsed.payload_data());
        // The payload is at the end of what the kernel has written.
        let start = payload.as_ptr().addr() - buffer.as_ptr().addr();
        let range = start as u32..(start + payload.len()) as u32;
        Some(Datagram { socket: number, peer, local, payload: Chunk::Buffer { buffer, range }, is_truncated })
    }

    /// Cancels the receives. The sockets are closed when they and the sends have ended.
    pub(super) fn stop(&mut self, ring: &mut Ring) {
        self.is_stopped = true;
        for (number, state) in self.sockets.iter_mut().enumerate() {
            if state.is_armed && !state.is_cancelled {
                state.is_cancelled = ring.push(&entry::cancel(Cancellable::ReceiveDatagrams, slot(number as u32)));
            }
        }
    }

    /// Closes the sockets on which nothing is in flight, after a stop.
    fn close_idle(&mut self) {
        if self.outgoing.len() == 0 {
            for state in self.sockets.iter_mut().filter(|state| !state.is_armed) {
                state.socket = None;
            }
        }
    }

    /// Whether a socket receives, or has sends in flight.
    pub(super) fn is_open(&self) -> bool {
        if self.is_stopped { !self.is_idle() } else { self.sockets.iter().any(|state| state.socket.is_some()) }
    }

    /// Whether no operation is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.outgoing.len() == 0 && self.sockets.iter().all(|state| !state.is_armed)
    }

    /// Duplicates of the sockets that receive.
    pub(super) fn duplicate(&self) -> io::Result<Vec<DatagramSocket>> {
        let open = self.sockets.iter().filter(|_| !self.is_stopped).filter_map(|state| state.socket.as_ref());
        open.map(DatagramSocket::duplicate).collect()
    }

    /// Leaks the memory that the kernel may still use.
    pub(super) fn leak(&mut self) {
        self.provided.leak();
        mem::forget(mem::replace(&mut self.outgoing, Slab::new()));
        // SAFETY: as in `Outgoing::new`.
        mem::forget(mem::replace(&mut self.header, Box::new(unsafe { mem::zeroed() })));
    }
}

/// The slot that identifies a socket in `user_data`.
fn slot(number: u32) -> Slot {
    Slot::new(number, 0)
}
