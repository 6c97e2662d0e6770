//! The listener of the simulated kernel.

use super::socket::{Cancelling, Pending};
use super::{Cqe, Descriptor, SimKernel};
use crate::sim::connection::{SharedConnection, SimConnection};
use std::collections::VecDeque;
use std::net::IpAddr;

/// A listener, with its backlog and the operations in flight.
#[derive(Default)]
pub(super) struct SimListener {
    listening: bool,
    /// Established connections that were not accepted yet.
    pub(super) backlog: VecDeque<usize>,
    pub(super) accept: Option<Pending>,
    pub(super) cancels: Vec<Cancelling>,
}

impl SimKernel {
    /// Begins to listen: `listen(2)`.
    pub(in crate::sim) fn listen(&mut self) {
        self.listener.listening = true;
    }

    /// Closes the listener. Connections in the backlog are reset.
    pub(in crate::sim) fn stop_listening(&mut self) {
        self.listener.listening = false;
        for connection in self.listener.backlog.drain(..) {
            self.connections[connection].lock().abort(libc::ECONNRESET);
        }
    }

    /// Connects a peer to the listener, from 192.0.2.1 if no address is given. Without a listener the connection is refused.
    pub(in crate::sim) fn connect_peer(&mut self, address: Option<IpAddr>) -> usize {
        let index = self.connections.len();
        let port = 1024 + index % (usize::from(u16::MAX) - 1024);
        let address = address.unwrap_or(IpAddr::from([192, 0, 2, 1]));
        let mut connection = SimConnection::new((address, port as u16).into(), self.window);
        if self.listener.listening {
            connection.established = true;
            self.listener.backlog.push_back(index);
        } else {
            connection.abort(libc::ECONNREFUSED);
        }
        self.connections.push(SharedConnection::new(connection));
        index
    }

    pub(super) fn has_no_descriptor(&mut self) -> Option<i32> {
        if self.open_sockets() >= self.descriptor_limit {
            return Some(self.descriptor_error);
        }
        self.random
            .draw(self.faults.no_descriptor, &mut self.injected.no_descriptor)
            .then(|| self.random.one_of(&[libc::EMFILE, libc::ENFILE, libc::ENOMEM]))
    }

    pub(super) fn advance_accept(&mut self) -> bool {
        if let Some(at) = self.listener.cancels.iter().position(|cancel| cancel.pending.due <= self.turn) {
            let cancel = self.listener.cancels.remove(at);
            let is_target = |accept: &Pending| accept.user_data == cancel.target;
            let result = if !self.listener.accept.as_ref().is_some_and(is_target) {
                -libc::ENOENT
            } else if self.random.draw(self.faults.missed_cancel, &mut self.injected.missed_cancel) {
                -libc::EALREADY
            } else {
                self.end_accept(cancel.target, -libc::ECANCELED);
                0
            };
            self.post_last(cancel.pending.user_data, result);
            return true;
        }
        let Some(accept) = self.listener.accept.filter(|accept| accept.due <= self.turn) else { return false };
        let Some(&connection) = self.listener.backlog.front() else { return false };
        if let Some(errno) = self.has_no_descriptor() {
            self.end_accept(accept.user_data, -errno);
            return true;
        }
        self.listener.backlog.pop_front();
        if self.random.draw(self.faults.aborted, &mut self.injected.aborted) {
            self.connections[connection].lock().abort(libc::ECONNRESET);
            self.end_accept(accept.user_data, -libc::ECONNABORTED);
            return true;
        }
        let descriptor = self.open_socket(connection);
        if self.random.draw(self.faults.last_accept, &mut self.injected.last_accept) {
            self.end_accept(accept.user_data, descriptor as i32);
            return true;
        }
        let event =
            Cqe { user_data: accept.user_data, result: descriptor as i32, more: true, buffer: None, counted: false };
        if !self.post(event) {
            self.listener.accept = None;
        }
        true
    }

    /// Accepts a connection of the backlog without waiting: `accept4(2)` on a nonblocking socket.
    pub(in crate::sim) fn accept_queued(&mut self) -> Result<Option<Descriptor>, i32> {
        if self.listener.accept.is_some() {
            self.violated("the driver takes connections from the queue while its accept is in flight");
        }
        let Some(&connection) = self.listener.backlog.front() else { return Ok(None) };
        if let Some(errno) = self.has_no_descriptor() {
            return Err(errno);
        }
        self.listener.backlog.pop_front();
        if self.random.draw(self.faults.aborted, &mut self.injected.aborted) {
            self.connections[connection].lock().abort(libc::ECONNRESET);
            return Err(libc::ECONNABORTED);
        }
        Ok(Some(self.open_socket(connection)))
    }

    pub(super) fn end_accept(&mut self, user_data: u64, result: i32) {
        self.listener.accept = None;
        self.post(Cqe { user_data, result, more: false, buffer: None, counted: false });
    }
}
