//! What the simulated driver makes of its kernel's events.

use super::Sim;
use super::connection::Fin;
use super::kernel::Event;
use super::operation::Operation;
use crate::{Cause, Completion, Slot};
use std::io;
use std::rc::Rc;

impl Sim {
    /// Says that the connection has ended: once, and once more when it breaks after the peer's FIN.
    pub(super) fn end(&mut self, slot: Slot, cause: Cause, completions: &mut Vec<Completion>) {
        let Some(connection) = self.current(slot) else { return };
        let finished = matches!(cause, Cause::Finished);
        if connection.broken || connection.ended && finished {
            return;
        }
        connection.ended = true;
        connection.broken = !finished;
        completions.push(Completion::Ended { slot, cause });
    }

    /// What one event means for its slot.
    pub(super) fn complete(&mut self, event: Event, completions: &mut Vec<Completion>) {
        let Some((operation, slot)) = Operation::from_user_data(event.user_data) else {
            self.violated(format_args!("the kernel answers {:#x}, which nobody asked", event.user_data));
        };
        match operation {
            Operation::Accept => return self.accepted(&event, completions),
            Operation::CancelAccept => {
                self.accept_cancelled = false;
                return;
            }
            Operation::Wake => {
                self.watching = event.more;
                completions.push(Completion::Woken);
                return;
            }
            _ => {}
        }
        if self.connections[slot.index() as usize].generation != slot.generation() {
            self.stats.stale += 1;
            return;
        }
        let last = !event.more;
        match operation {
            Operation::Receive => self.received(slot, event, completions),
            Operation::Send => self.sent(slot, event.result, completions),
            Operation::Connect => self.connected(slot, event.result, completions),
            Operation::CancelReceive => self.receive_cancelled(slot, event.result),
            Operation::CancelConnect | Operation::CancelSend if event.result == -libc::EALREADY => {
                self.cancel_rest(slot, operation);
            }
            _ => {}
        }
        if last {
            self.connections[slot.index() as usize].in_flight -= 1;
            self.wind_up(slot);
        }
    }

    fn accepted(&mut self, event: &Event, completions: &mut Vec<Completion>) {
        if !event.more {
            self.accepting = false;
        }
        match event.result {
            descriptor @ 0.. => {
                let slot = self.adopt();
                self.connections[slot.index() as usize].descriptor = Some(descriptor as usize);
                self.stats.accepted += 1;
                completions.push(Completion::Accepted { slot });
                if self.is_full() {
                    self.pause_accepting();
                }
            }
            error if matches!(-error, libc::EMFILE | libc::ENFILE) => self.pause_accepting(),
            // Cancelled by ourselves, or the connection was gone before it was accepted.
            _ => {}
        }
    }

    fn received(&mut self, slot: Slot, event: Event, completions: &mut Vec<Completion>) {
        let connection = &mut self.connections[slot.index() as usize];
        if !event.more {
            connection.armed = false;
        }
        // After the end, which a send may have met first, nothing more is received.
        if !connection.owned || connection.ended {
            self.stats.stale += 1;
            return;
        }
        match (event.buffer, -event.result) {
            (Some(buffer), _) => completions.push(Completion::Received { slot, buffer }),
            (None, 0) => self.end(slot, Cause::Finished, completions),
            (None, libc::ENOBUFS) => {
                connection.starved = true;
                self.starved.push_back(slot);
                self.stats.starved += 1;
            }
            (None, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            (None, errno) => self.end(slot, cause(errno), completions),
        }
        self.arm(slot);
    }

    /// A cancel is over. One that came too late is tried again while its receive goes on and is not wanted.
    fn receive_cancelled(&mut self, slot: Slot, result: i32) {
        let connection = &mut self.connections[slot.index() as usize];
        connection.cancelled = false;
        if result == -libc::EALREADY && !(connection.owned && connection.wanted) {
            self.disarm(slot);
        }
    }

    /// Tries a cancel that came too late again, while there is something to cancel.
    fn cancel_rest(&mut self, slot: Slot, operation: Operation) {
        let connection = &self.connections[slot.index() as usize];
        if operation == Operation::CancelSend && connection.output.is_some() {
            self.cancel(operation, Operation::Send, slot);
        } else if operation == Operation::CancelConnect && connection.connecting {
            self.cancel(operation, Operation::Connect, slot);
        }
    }

    fn sent(&mut self, slot: Slot, result: i32, completions: &mut Vec<Completion>) {
        let connection = &mut self.connections[slot.index() as usize];
        let owned = connection.owned;
        let Some(output) = connection.output.take().and_then(Rc::into_inner) else {
            self.violated(format_args!("the kernel still has the output of slot {slot:?} after its completion"));
        };
        if !owned {
            self.stats.stale += 1;
            return;
        }
        let written = usize::try_from(result).unwrap_or(0);
        if written < output.len() {
            self.stats.short_sends += 1;
        } else if connection.fin == Fin::Asked
            && let Some(descriptor) = connection.descriptor
        {
            connection.fin = Fin::Sent;
            self.kernel.borrow_mut().shutdown(descriptor);
        }
        completions.push(Completion::Sent { slot, output, written });
        if result < 0 && !matches!(-result, libc::EINTR | libc::EAGAIN) {
            self.end(slot, cause(-result), completions);
        }
    }

    fn connected(&mut self, slot: Slot, result: i32, completions: &mut Vec<Completion>) {
        self.connections[slot.index() as usize].connecting = false;
        if result < 0 {
            self.end(slot, Cause::Unconnected(io::Error::from_raw_os_error(-result)), completions);
        } else if self.current(slot).is_some() {
            completions.push(Completion::Connected { slot });
            self.arm(slot);
        }
    }
}

fn cause(errno: i32) -> Cause {
    match errno {
        libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED | libc::ENOTCONN => Cause::Reset,
        _ => Cause::Failed(io::Error::from_raw_os_error(errno)),
    }
}
