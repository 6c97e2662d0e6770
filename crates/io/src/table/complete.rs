//! Handles each completion of the kernel.

use super::listeners::Listeners;
use super::obstacle::Obstacle;
use super::operation::{Cancellable, Operation};
use super::slot_state::SlotFlag;
use super::{KernelInterface, SlotTable};
use crate::slab::NOWHERE;
use crate::{Buffer, Cause, Completion, Slot};
use std::io;
use std::os::fd::RawFd;

impl<K: KernelInterface> SlotTable<K> {
    /// Handles one completion. `result` is the result of the system call, with an error as the
    /// negated errno; with `more` the request stays in flight (IORING_CQE_F_MORE).
    #[inline]
    pub(crate) fn complete(
        &mut self,
        user_data: u64,
        result: i32,
        more: bool,
        buffer: Option<Buffer>,
        completions: &mut Vec<Completion>,
    ) {
        self.stats.completions += 1;
        let Some((operation, slot)) = Operation::from_user_data(user_data) else {
            self.stats.stale += 1;
            return;
        };
        match operation {
            Operation::Accept => return self.accepted(slot, result, more, completions),
            Operation::Wake => return self.woken(more, completions),
            Operation::Cancel(Cancellable::Accept) => {
                if result < 0 {
                    self.listeners.cancel_failed(&mut self.kernel, slot);
                }
                return;
            }
            Operation::Cancel(Cancellable::Wake) => {
                if result < 0 && self.watching {
                    self.kernel.cancel(Cancellable::Wake, slot);
                }
                return;
            }
            _ => {}
        }
        let known = self.connections.get(slot.index() as usize).map(|connection| connection.generation);
        if known != Some(slot.generation()) {
            // A buffer of this completion returns to the pool.
            self.stats.stale += 1;
            return;
        }
        match operation {
            Operation::Receive => self.received(slot, result, more, buffer, completions),
            Operation::Send => self.sent(slot, result, completions),
            Operation::Connect => self.connected(slot, result, completions),
            Operation::Cancel(target) if result < 0 => self.cancel_failed(slot, target),
            // A driver handles those on datagrams itself.
            Operation::ReceiveDatagrams | Operation::SendDatagram => {}
            Operation::Cancel(_) | Operation::Close | Operation::Accept | Operation::Wake => {}
        }
        if !more {
            self.op_completed(slot);
        }
    }

    fn accepted(&mut self, listener: Slot, result: i32, more: bool, completions: &mut Vec<Completion>) {
        if !more {
            self.listeners.disarmed(listener);
        }
        if result >= 0 {
            self.report_accepted(listener, result as RawFd, completions);
            if self.is_full() {
                self.pause_accepting(Obstacle::Full);
            }
        } else if let Some(obstacle) = Obstacle::of(-result) {
            self.pause_accepting(obstacle);
        }
    }

    /// Takes a new connection into use, and reports it.
    pub(super) fn report_accepted(&mut self, listener: Slot, descriptor: RawFd, completions: &mut Vec<Completion>) {
        let unix = self.listeners.is_unix(listener);
        let slot = self.adopt(descriptor);
        if unix {
            self.at(slot).set(SlotFlag::Unix);
        }
        self.stats.accepted += 1;
        completions.push(Completion::Accepted { slot, listener: Listeners::<K::Listener>::number(listener) });
    }

    pub(crate) fn pause_accepting(&mut self, obstacle: Obstacle) {
        if self.listeners.pause(&mut self.kernel, obstacle) {
            self.stats.accept_pauses += 1;
        }
    }

    pub(crate) fn resume_accepting(&mut self) {
        self.listeners.release();
    }

    fn woken(&mut self, more: bool, completions: &mut Vec<Completion>) {
        self.watching = more;
        if self.kernel.take_wake() {
            completions.push(Completion::Woken);
        }
    }

    #[inline]
    fn received(
        &mut self,
        slot: Slot,
        result: i32,
        more: bool,
        buffer: Option<Buffer>,
        completions: &mut Vec<Completion>,
    ) {
        let connection = self.at(slot);
        if !more {
            connection.unset(SlotFlag::Armed);
            connection.unset(SlotFlag::Cancelled);
        }
        if !connection.is(SlotFlag::Owned) || connection.is(SlotFlag::Ended) {
            // Closed, or a send has reported the end: the completion is dropped.
            self.stats.stale += u64::from(result != -libc::ECANCELED);
            return;
        }
        if let Some(buffer) = buffer {
            connection.set(SlotFlag::Served);
            self.working_set.received(buffer.len());
            completions.push(Completion::Received { slot, buffer });
        } else {
            match -result {
                // An empty datagram is no end.
                0 if connection.is(SlotFlag::Datagrams) => {}
                libc::ENOBUFS => {
                    self.wait_for_buffer(slot);
                    self.stats.starved += 1;
                }
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                // What arrived before the reset was received.
                _ if connection.is(SlotFlag::SendFailed) => self.report_failed_send(slot, completions),
                0 => self.end(slot, Cause::Finished, completions),
                errno => self.end(slot, cause(errno), completions),
            }
        }
        if more {
            return;
        }
        if self.at(slot).should_arm() {
            self.arm_in_turn(slot);
            self.rearmed = true;
        } else if self.at(slot).is(SlotFlag::SendFailed) && !self.at(slot).is(SlotFlag::Starved) {
            // The slot is paused.
            self.report_failed_send(slot, completions);
        }
    }

    /// A cancel came too late (EALREADY), or did not find its target (ENOENT). It is repeated while
    /// the target is in flight, because otherwise the slot would not be freed, or the pause would
    /// not take effect.
    fn cancel_failed(&mut self, slot: Slot, target: Cancellable) {
        let connection = self.at(slot);
        match target {
            Cancellable::Receive => {
                connection.unset(SlotFlag::Cancelled);
                if connection.should_disarm() {
                    self.disarm(slot);
                }
            }
            Cancellable::Send if connection.is(SlotFlag::Sending) => self.cancel(target, slot),
            Cancellable::Connect if connection.is(SlotFlag::Connecting) => self.cancel(target, slot),
            _ => {}
        }
    }

    #[inline]
    fn sent(&mut self, slot: Slot, result: i32, completions: &mut Vec<Completion>) {
        if result >= 0 || !self.reports_later(slot, -result) {
            self.report_sent(slot, result, completions);
        }
    }

    /// Whether the report of a failed send follows what a receive still has to read. The send can
    /// overtake bytes that arrived before the reset: it completes during its submission, before the
    /// receive is woken.
    #[cold]
    fn reports_later(&mut self, slot: Slot, errno: i32) -> bool {
        let connection = self.at(slot);
        let (descriptor, reads) = (connection.fd, connection.reads_to_the_end());
        if !reads || !matches!(errno, libc::ECONNRESET | libc::EPIPE) || !self.kernel.is_hung_up(descriptor) {
            return false;
        }
        self.at(slot).set(SlotFlag::SendFailed);
        self.failed_sends += 1;
        // A new receive sees the end. Since 6.5, the one in flight can miss it if bytes have woken it at
        // the same time (mended by a68ed2df7213, "io_uring/poll: fix multishot recv missing EOF on wakeup
        // race", for 7.0 and the stable kernels after that).
        self.disarm(slot);
        true
    }

    /// Reports a send that has failed, and the end of the connection.
    #[cold]
    pub(super) fn report_failed_send(&mut self, slot: Slot, completions: &mut Vec<Completion>) {
        self.at(slot).unset(SlotFlag::SendFailed);
        self.failed_sends -= 1;
        self.report_sent(slot, -libc::ECONNRESET, completions);
    }

    #[inline]
    fn report_sent(&mut self, slot: Slot, result: i32, completions: &mut Vec<Completion>) {
        let connection = self.at(slot);
        connection.unset(SlotFlag::Sending);
        let ticket = std::mem::replace(&mut connection.ticket, NOWHERE);
        let (owned, finish) = (connection.is(SlotFlag::Owned), connection.is(SlotFlag::FinAsked));
        if result > 0 && connection.is(SlotFlag::Unix) {
            self.count_unix_send(slot);
        }
        let Some(output) = self.kernel.take_back(ticket) else { return };
        if !owned {
            self.stats.stale += u64::from(result != -libc::ECANCELED);
            completions.push(Completion::Released { output });
            return;
        }
        let written = usize::try_from(result).unwrap_or(0);
        if written < output.len() {
            self.stats.short_sends += 1;
        } else if finish {
            self.shut_down(slot);
        }
        completions.push(Completion::Sent { slot, output, written });
        if result < 0 && !matches!(-result, libc::EINTR | libc::EAGAIN) {
            self.end(slot, cause(-result), completions);
        }
    }

    fn connected(&mut self, slot: Slot, result: i32, completions: &mut Vec<Completion>) {
        let connection = self.at(slot);
        connection.unset(SlotFlag::Connecting);
        let ticket = std::mem::replace(&mut connection.ticket, NOWHERE);
        let (owned, finish) = (connection.is(SlotFlag::Owned), connection.is(SlotFlag::FinAsked));
        self.kernel.take_back(ticket);
        if result < 0 {
            self.end(slot, Cause::Unconnected(io::Error::from_raw_os_error(-result)), completions);
        } else if owned {
            completions.push(Completion::Connected { slot });
            if finish {
                self.shut_down(slot);
            }
            if self.at(slot).should_arm() {
                self.arm(slot);
            }
        }
    }
}

fn cause(errno: i32) -> Cause {
    match errno {
        libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED | libc::ENOTCONN => Cause::Reset,
        _ => Cause::Failed(io::Error::from_raw_os_error(errno)),
    }
}
