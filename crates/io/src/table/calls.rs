//! The calls of [`Driver`](crate::Driver), except for `wait`.

use super::obstacle::Obstacle;
use super::operation::{Cancellable, WAKER};
use super::slot_state::{CLOSED, SlotFlag, SlotState};
use super::{KernelInterface, SlotTable};
use crate::slab::NOWHERE;
use crate::{Address, ConnectOptions, Detached, Listener, Output, PeerCredentials, Slot, TcpInfo};
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

impl<K: KernelInterface> SlotTable<K> {
    pub(crate) fn listen(&mut self, listener: K::Listener) {
        let unix = K::is_unix(&listener);
        self.listeners.add(listener, unix);
    }

    pub(crate) fn stop_listening(&mut self) {
        self.listeners.stop(&mut self.kernel);
    }

    pub(crate) fn drain_listeners(&mut self) {
        self.listeners.drain(&mut self.kernel);
    }

    pub(crate) fn has_listeners(&self) -> bool {
        self.listeners.is_open()
    }

    pub(crate) fn duplicate_listeners(&self) -> io::Result<Vec<(usize, Listener)>> {
        self.listeners.accepting().map(|(number, listener)| Ok((number, K::duplicate(listener)?))).collect()
    }

    pub(crate) fn reserve(&mut self) -> Option<Slot> {
        (!self.is_full()).then(|| self.adopt(CLOSED))
    }

    #[track_caller]
    pub(crate) fn detach(&mut self, slot: Slot) -> Option<Detached> {
        let connection = self.current(slot)?;
        if !connection.can_detach() {
            self.kernel.violated(format_args!("slot {slot:?} is detached after a request on it, or was not accepted"));
        }
        let (descriptor, unix) = (connection.take_fd(), connection.is(SlotFlag::Unix));
        connection.unset(SlotFlag::Owned);
        let socket = self.kernel.detach(descriptor, slot);
        self.release(slot);
        Some(Detached { socket, unix })
    }

    #[track_caller]
    pub(crate) fn attach(&mut self, detached: Detached) -> Slot {
        let Detached { socket, unix } = detached;
        let Some(descriptor) = self.kernel.attach(socket) else {
            self.kernel.violated(format_args!("a connection moves between a simulation and a kernel"));
        };
        let slot = self.adopt(descriptor);
        if unix {
            self.at(slot).set(SlotFlag::Unix);
        }
        if self.is_full() {
            self.pause_accepting(Obstacle::Full);
        }
        slot
    }

    #[track_caller]
    pub(crate) fn connect(&mut self, slot: Slot, peer: &Address, options: &ConnectOptions) {
        let Some(connection) = self.current(slot) else { return };
        if connection.is(SlotFlag::ConnectStarted) {
            self.kernel.violated(format_args!("slot {slot:?} was connected or accepted before"));
        }
        connection.set(SlotFlag::ConnectStarted);
        match self.kernel.socket(peer, options) {
            Ok(descriptor) => {
                let ticket = self.kernel.connect(descriptor, slot, peer);
                let connection = self.at(slot);
                connection.fd = descriptor;
                connection.ticket = ticket;
                connection.in_flight += 1;
                connection.set(SlotFlag::Connecting);
                if peer.unix().is_some() {
                    connection.set(SlotFlag::Unix);
                }
                if options.datagrams {
                    connection.set(SlotFlag::Datagrams);
                }
            }
            Err(error) => self.unconnected.push((slot, error)),
        }
    }

    #[inline]
    pub(crate) fn receive(&mut self, slot: Slot) {
        let Some(connection) = self.current(slot) else { return };
        connection.set(SlotFlag::WantsReceive);
        if connection.should_arm() {
            self.arm_in_turn(slot);
        }
    }

    #[inline]
    pub(crate) fn pause(&mut self, slot: Slot) {
        let Some(connection) = self.current(slot) else { return };
        connection.unset(SlotFlag::WantsReceive);
        self.disarm(slot);
    }

    #[inline]
    #[track_caller]
    pub(crate) fn send(&mut self, slot: Slot, output: Output) {
        let Some(connection) = self.current(slot) else { return };
        if !connection.can_send() {
            self.refuse_send(slot);
        }
        connection.set(SlotFlag::Sending);
        connection.in_flight += 1;
        let (descriptor, unix) = (connection.fd, connection.is(SlotFlag::Unix));
        let ticket = if unix {
            self.kernel.send_in_parts(descriptor, slot, output)
        } else {
            self.kernel.send(descriptor, slot, output)
        };
        self.at(slot).ticket = ticket;
    }

    #[cold]
    #[track_caller]
    fn refuse_send(&mut self, slot: Slot) -> ! {
        let connection = self.at(slot);
        let rule = if connection.is(SlotFlag::Sending) {
            "has a send in flight"
        } else if connection.is(SlotFlag::FinSent) {
            "sends after it has ended its sending direction"
        } else {
            "sends before it is connected"
        };
        self.kernel.violated(format_args!("slot {slot:?} {rule}"))
    }

    pub(crate) fn finish(&mut self, slot: Slot) {
        let Some(connection) = self.current(slot) else { return };
        // shutdown(2) takes effect immediately, so a send that is only queued would fail with
        // EPIPE.
        let can_send = connection.can_send();
        connection.set(SlotFlag::FinAsked);
        if can_send {
            self.shut_down(slot);
        }
    }

    pub(crate) fn close(&mut self, slot: Slot) {
        let Some(connection) = self.current(slot) else { return };
        connection.unset(SlotFlag::Owned);
        let failed = connection.is(SlotFlag::SendFailed);
        let sending = connection.is(SlotFlag::Sending) && !failed;
        let connecting = connection.is(SlotFlag::Connecting);
        self.disarm(slot);
        if failed {
            self.release_failed_send(slot);
        }
        if sending {
            self.cancel(Cancellable::Send, slot);
        }
        if connecting {
            self.cancel(Cancellable::Connect, slot);
        }
        self.release(slot);
    }

    /// Leaves the output of a send that has failed to the next turn.
    #[cold]
    fn release_failed_send(&mut self, slot: Slot) {
        let connection = self.at(slot);
        connection.unset(SlotFlag::SendFailed);
        connection.unset(SlotFlag::Sending);
        let ticket = std::mem::replace(&mut connection.ticket, NOWHERE);
        self.failed_sends -= 1;
        self.released.extend(self.kernel.take_back(ticket));
    }

    /// Closes all slots and listeners, and cancels the poll of the waker.
    pub(crate) fn close_all(&mut self) {
        self.stop_listening();
        for index in 0..self.connections.len() {
            let slot = self.connections[index].slot(index as u32);
            self.close(slot);
        }
        if self.watching {
            self.kernel.cancel(Cancellable::Wake, WAKER);
        }
    }

    pub(crate) fn peer_address(&self, slot: Slot) -> Option<SocketAddr> {
        self.kernel.peer_address(self.descriptor(slot)?)
    }

    pub(crate) fn local_address(&self, slot: Slot) -> Option<SocketAddr> {
        self.kernel.local_address(self.descriptor(slot)?)
    }

    pub(crate) fn peer_credentials(&self, slot: Slot) -> Option<PeerCredentials> {
        let is_connected = !self.open_connection(slot)?.is(SlotFlag::Connecting);
        is_connected.then(|| self.kernel.peer_credentials(self.descriptor(slot)?)).flatten()
    }

    pub(crate) fn acknowledged(&self, slot: Slot) -> Option<u64> {
        let (connection, descriptor) = (self.open_connection(slot)?, self.descriptor(slot)?);
        if !connection.is(SlotFlag::Unix) {
            return self.kernel.acknowledged(descriptor);
        }
        if connection.is(SlotFlag::Connecting) || connection.is(SlotFlag::Broken) {
            return None;
        }
        // A send that waits for room adds less than one that completes, and the more the less is
        // queued.
        let completed = self.unix_sends.get(slot.index() as usize).copied().unwrap_or(0);
        let waiting = if connection.is(SlotFlag::Sending) { u32::MAX - self.kernel.queued(descriptor)? } else { 0 };
        Some((u64::from(completed) << 32) + u64::from(waiting))
    }

    pub(crate) fn tcp_info(&self, slot: Slot) -> Option<TcpInfo> {
        let is_unix = self.open_connection(slot)?.is(SlotFlag::Unix);
        (!is_unix).then(|| self.kernel.tcp_info(self.descriptor(slot)?)).flatten()
    }

    /// Counts a send on a Unix socket that has queued bytes.
    pub(super) fn count_unix_send(&mut self, slot: Slot) {
        let index = slot.index() as usize;
        self.unix_sends.grow(index + 1, || 0);
        self.unix_sends[index] = self.unix_sends[index].wrapping_add(1);
    }

    pub(crate) fn unread(&self, slot: Slot) -> usize {
        self.descriptor(slot).map_or(0, |descriptor| self.kernel.unread(descriptor))
    }

    pub(crate) fn has_backlog(&self) -> bool {
        self.unreaped || self.rearmed || self.is_starved()
    }

    /// Whether a slot waits for a buffer.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved.iter().chain(&self.unserved).any(|slot| self.is_waiting_for_buffer(*slot))
    }

    /// Whether a slot of the starved list still wants bytes. A slot that was closed or paused since
    /// stays on the list until buffers are available.
    fn is_waiting_for_buffer(&self, slot: Slot) -> bool {
        self.open_connection(slot).is_some_and(|connection| {
            connection.is(SlotFlag::WantsReceive) && connection.is(SlotFlag::Starved) && !connection.is(SlotFlag::Ended)
        })
    }

    /// The open descriptor of a slot that its user has not closed.
    fn descriptor(&self, slot: Slot) -> Option<RawFd> {
        self.open_connection(slot).map(|connection| connection.fd).filter(|descriptor| *descriptor != CLOSED)
    }

    pub(super) fn open_connection(&self, slot: Slot) -> Option<&SlotState> {
        let connection = self.connections.get(slot.index() as usize)?;
        (connection.generation == slot.generation() && connection.is(SlotFlag::Owned)).then_some(connection)
    }
}
