//! The operations of one connection, one step at a time.

use super::{Cqe, Descriptor, Reception, SimKernel};
use crate::{Chunk, Output};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// How many numbers of closed connections are kept, for stale completions.
const RETIRED: usize = 16;

/// A request in flight.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    pub(super) user_data: u64,
    /// The first turn in which it can complete.
    pub(super) due: u64,
}

pub(super) struct Cancelling {
    pub(super) pending: Pending,
    pub(super) target: u64,
}

pub(super) struct Sending {
    pub(super) pending: Pending,
    pub(super) output: Rc<Output>,
    /// The checksum of its bytes when it was submitted.
    pub(super) checksum: u64,
    pub(super) written: usize,
    /// All bytes are written; only the completion is outstanding.
    pub(super) done: bool,
}

/// The driver's side of a connection, with the operations in flight.
pub(super) struct SimSocket {
    pub(super) connection: usize,
    pub(super) connect: Option<Pending>,
    pub(super) receive: Option<Pending>,
    pub(super) send: Option<Sending>,
    pub(super) cancels: Vec<Cancelling>,
    pub(super) close: Option<Pending>,
    /// The number of the latest receive.
    pub(super) received_as: Option<u64>,
}

impl SimSocket {
    const fn new(connection: usize) -> Self {
        Self {
            connection,
            connect: None,
            receive: None,
            send: None,
            cancels: Vec::new(),
            close: None,
            received_as: None,
        }
    }

    /// Whether an operation other than a close is in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.receive.is_some() || self.send.is_some() || self.connect.is_some() || !self.cancels.is_empty()
    }
}

impl SimKernel {
    pub(super) fn open_sockets(&self) -> usize {
        self.sockets.len() - self.free.len()
    }

    pub(super) fn open_socket(&mut self, connection: usize) -> Descriptor {
        let socket = Some(SimSocket::new(connection));
        if let Some(descriptor) = self.free.pop() {
            self.sockets[descriptor] = socket;
            return descriptor;
        }
        self.sockets.push(socket);
        self.sockets.len() - 1
    }

    /// The socket of a descriptor that the driver uses.
    #[track_caller]
    pub(super) fn socket_of(&mut self, descriptor: Descriptor) -> &mut SimSocket {
        if !self.sockets.get(descriptor).is_some_and(Option::is_some) {
            self.violated(format_args!("the driver uses descriptor {descriptor}, which is closed"));
        }
        self.sockets[descriptor].as_mut().expect("looked at above")
    }

    pub(super) fn is_stuck(&self, socket: &SimSocket) -> bool {
        let connection = self.connections[socket.connection].lock();
        let can_connect = socket.connect.is_some() && self.reception != Reception::Ignore;
        let can_receive = socket.receive.is_some() && connection.is_readable();
        let can_send = socket.send.as_ref().is_some_and(|send| {
            send.done || connection.cannot_send() || connection.room() > 0 || send.written == sent_len(&send.output)
        });
        socket.cancels.is_empty() && socket.close.is_none() && !can_connect && !can_receive && !can_send
    }

    pub(super) fn start_cancel(&mut self, user_data: u64, target: u64) {
        let cancelling = Cancelling { pending: Pending { user_data, due: self.due() }, target };
        if self.listener.accept.is_some_and(|accept| accept.user_data == target) {
            self.listener.cancels.push(cancelling);
        } else if let Some(&descriptor) = self.cancellable.get(&target) {
            self.socket_of(descriptor).cancels.push(cancelling);
        } else {
            self.post_last(user_data, -libc::ENOENT);
        }
    }

    pub(super) fn reset_at_random(&mut self, descriptor: Descriptor) {
        let connection = self.socket_of(descriptor).connection;
        let mut connection = self.connections[connection].lock();
        if !connection.established
            || connection.error.is_some()
            || !self.random.draw(self.faults.reset, &mut self.injected.reset)
        {
            return;
        }
        let arrived = self.random.within(0..=connection.inbound.len());
        connection.inbound.truncate(arrived);
        connection.abort(self.random.one_of(&[libc::ECONNRESET, libc::ECONNRESET, libc::ECONNRESET, libc::ETIMEDOUT]));
    }

    pub(super) fn advance_cancel(&mut self, descriptor: Descriptor) -> bool {
        let turn = self.turn;
        let Some(socket) = self.sockets[descriptor].as_mut() else { return false };
        let Some(at) = socket.cancels.iter().position(|cancel| cancel.pending.due <= turn) else { return false };
        let cancel = socket.cancels.remove(at);
        let is_target = |pending: &Pending| pending.user_data == cancel.target;
        let result = if !self.cancellable.contains_key(&cancel.target) {
            -libc::ENOENT
        } else if self.random.draw(self.faults.missed_cancel, &mut self.injected.missed_cancel) {
            -libc::EALREADY
        } else {
            0
        };
        // The two completions can come in either order.
        let answer_first = self.shuffling && self.random.within(0..=1) == 1;
        if answer_first {
            self.post_last(cancel.pending.user_data, result);
        }
        if result == 0
            && let Some(socket) = self.sockets[descriptor].as_mut()
        {
            if socket.receive.as_ref().is_some_and(is_target) {
                self.end_receive(descriptor, -libc::ECANCELED);
            } else if socket.connect.take_if(|pending| is_target(pending)).is_some() {
                self.cancellable.remove(&cancel.target);
                self.post_last(cancel.target, -libc::ECANCELED);
            } else {
                self.end_send(descriptor, -libc::ECANCELED);
            }
        }
        if !answer_first {
            self.post_last(cancel.pending.user_data, result);
        }
        true
    }

    pub(super) fn advance_connect(&mut self, descriptor: Descriptor) -> bool {
        let turn = self.turn;
        let Some(socket) = self.sockets[descriptor].as_mut() else { return false };
        if self.reception == Reception::Ignore {
            return false;
        }
        let Some(connect) = socket.connect.take_if(|connect| connect.due <= turn) else { return false };
        self.cancellable.remove(&connect.user_data);
        let mut connection = self.connections[socket.connection].lock();
        let result = if self.reception == Reception::Refuse {
            -libc::ECONNREFUSED
        } else if self.reception == Reception::NoPort {
            -libc::EADDRNOTAVAIL
        } else if self.random.draw(self.faults.unreachable, &mut self.injected.unreachable) {
            -self.random.one_of(&[libc::ECONNREFUSED, libc::ETIMEDOUT, libc::EHOSTUNREACH])
        } else {
            connection.established = true;
            self.outgoing.push_back(socket.connection);
            0
        };
        drop(connection);
        self.post_last(connect.user_data, result);
        true
    }

    pub(super) fn advance_receive(&mut self, descriptor: Descriptor) -> bool {
        let Some(socket) = self.sockets[descriptor].as_ref() else { return false };
        let Some(receive) = socket.receive.filter(|receive| receive.due <= self.turn) else { return false };
        let at = socket.connection;
        let connection = self.connections[at].clone();
        let mut connection = connection.lock();
        if !connection.established {
            self.end_receive(descriptor, -libc::ENOTCONN);
            return true;
        }
        if connection.inbound.is_empty() {
            match connection.error {
                Some(errno) => self.end_receive(descriptor, -errno),
                None if connection.inbound_finished => self.end_receive(descriptor, 0),
                None => return false,
            }
            return true;
        }
        let mut len = connection.inbound.len().min(self.pool.buffer_size());
        if self.random.draw(self.faults.ended_receive, &mut self.injected.ended_receive) {
            let errno = self.random.one_of(&[libc::EAGAIN, libc::EINTR]);
            self.end_receive(descriptor, -errno);
            return true;
        }
        let starved = self.ring.is_empty();
        if starved || self.random.draw(self.faults.no_buffer, &mut self.injected.no_buffer) {
            self.end_receive(descriptor, -libc::ENOBUFS);
            return true;
        }
        if len > 1 && self.random.draw(self.faults.split, &mut self.injected.split) {
            len = if self.random.within(0..=1) == 1 { 1 } else { self.random.within(1..=len - 1) };
        }
        let bytes: Vec<u8> = connection.inbound.drain(..len).collect();
        let buffer = self.fill(&bytes);
        let last = self.random.draw(self.faults.last_receive, &mut self.injected.last_receive);
        let due = self.due();
        let more =
            self.post(Cqe { user_data: receive.user_data, result: len as i32, more: !last, buffer, counted: true });
        let socket = self.socket_of(descriptor);
        if more {
            socket.receive = Some(Pending { due, ..receive });
        } else {
            socket.receive = None;
            self.cancellable.remove(&receive.user_data);
        }
        true
    }

    pub(super) fn end_receive(&mut self, descriptor: Descriptor, result: i32) {
        if let Some(receive) = self.socket_of(descriptor).receive.take() {
            self.cancellable.remove(&receive.user_data);
            self.post_last(receive.user_data, result);
        }
    }

    pub(super) fn advance_send(&mut self, descriptor: Descriptor) -> bool {
        let turn = self.turn;
        let Some(socket) = self.sockets[descriptor].as_mut() else { return false };
        let Some(send) = &mut socket.send else { return false };
        if send.done {
            let is_due = send.pending.due <= turn;
            if is_due {
                self.end_send(descriptor, 0);
            }
            return is_due;
        }
        let connection = self.connections[socket.connection].clone();
        let mut connection = connection.lock();
        if connection.cannot_send() {
            self.end_send(descriptor, -libc::EPIPE);
            return true;
        }
        let rest = sent_len(&send.output) - send.written;
        let mut len = connection.room().min(rest);
        if len == 0 && rest > 0 {
            return false;
        }
        if send.written == 0 && self.random.draw(self.faults.interrupted_send, &mut self.injected.interrupted_send) {
            let errno = self.random.one_of(&[libc::EINTR, libc::EAGAIN]);
            self.end_send(descriptor, -errno);
            return true;
        }
        let short = rest > 1 && self.random.draw(self.faults.short_send, &mut self.injected.short_send);
        if short {
            len = self.random.within(1..=len.min(rest - 1));
        }
        let bytes = runs(&send.output).flat_map(Chunk::as_slice).skip(send.written).take(len);
        connection.outbound.extend(bytes);
        send.written += len;
        if short || len == rest {
            send.done = true;
            let due = self.due();
            if let Some(send) = &mut self.socket_of(descriptor).send {
                send.pending.due = due;
            }
        }
        true
    }

    /// Ends the send in flight. When bytes were written, their number is reported instead of an
    /// error, as for every system call.
    pub(super) fn end_send(&mut self, descriptor: Descriptor, result: i32) {
        let Some(send) = self.socket_of(descriptor).send.take() else { return };
        if checksum(&send.output) != send.checksum {
            self.violated(format_args!(
                "the bytes of the send on descriptor {descriptor} changed while it was in flight"
            ));
        }
        self.cancellable.remove(&send.pending.user_data);
        let result = if send.written > 0 { send.written as i32 } else { result };
        self.post_last(send.pending.user_data, result);
    }

    /// Replaces the bytes in flight, as a driver with a bug could do.
    #[cfg(test)]
    pub(in crate::sim) fn tamper(&mut self, descriptor: Descriptor, output: Output) {
        if let Some(send) = &mut self.socket_of(descriptor).send {
            send.output = Rc::new(output);
        }
    }

    pub(super) fn advance_close(&mut self, descriptor: Descriptor) -> bool {
        let turn = self.turn;
        let Some(socket) = self.sockets[descriptor].as_mut() else { return false };
        let Some(close) = socket.close.filter(|close| close.due <= turn) else { return false };
        self.connections[socket.connection].lock().close();
        if let Some(user_data) = socket.received_as {
            self.retired.push_back(user_data);
            if self.retired.len() > RETIRED {
                self.retired.pop_front();
            }
        }
        self.sockets[descriptor] = None;
        self.free.push(descriptor);
        self.post_last(close.user_data, 0);
        true
    }
}

/// The chunks of one send.
pub(super) fn runs(output: &Output) -> impl Iterator<Item = &Chunk> {
    output.chunks().take(Output::MAX_CHUNKS)
}

pub(super) fn sent_len(output: &Output) -> usize {
    runs(output).map(Chunk::len).sum()
}

/// A hash of the bytes.
pub(super) fn checksum(output: &Output) -> u64 {
    let mut hasher = DefaultHasher::new();
    for chunk in runs(output) {
        chunk.as_slice().hash(&mut hasher);
    }
    hasher.finish()
}
