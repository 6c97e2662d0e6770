//! The requests that the table of slots makes.

use super::{Cancelled, Completed, Poller, Transfers, borrow};
use crate::detached::DetachedSocket;
use crate::epoll::interest::{Interest, InterestFlag};
use crate::slab::NOWHERE;
use crate::table::{Cancellable, KernelInterface, Operation, RealDescriptors, WAKER};
use crate::{Address, Listener, Output, Slot};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::Type;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

impl<T: Transfers> RealDescriptors for Poller<T> {
    const SOCKET_TYPE: Type = Type::STREAM.nonblocking();
}

impl<T: Transfers> KernelInterface for Poller<T> {
    type Listener = Listener;

    fn accept(&mut self, listener: &Listener, slot: Slot) {
        if let Err(error) = self.accepts.arm(&self.set, listener, slot) {
            self.complete(Completed::last(Operation::Accept, slot, -error.raw_os_error()));
        }
    }

    fn is_unix(listener: &Listener) -> bool {
        listener.is_unix()
    }

    fn duplicate(listener: &Listener) -> io::Result<Listener> {
        listener.duplicate()
    }

    fn leaves_queue(listener: &Listener) -> bool {
        listener.is_foreign()
    }

    fn accept_queued(&mut self, listener: &Listener) -> Result<Option<RawFd>, i32> {
        listener.accept_queued(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).map_err(Errno::raw_os_error)
    }

    fn detach(&mut self, descriptor: RawFd, slot: Slot) -> DetachedSocket {
        if let Some(interest) = self.interests.get_mut(slot) {
            // Another driver keeps the socket open, so it would stay in the epoll set.
            if interest.is(InterestFlag::Registered) {
                let _ = self.set.delete(borrow(&descriptor));
            }
            *interest = Interest::unused();
        }
        Self::give_up(descriptor)
    }

    fn attach(&mut self, socket: DetachedSocket) -> Option<RawFd> {
        Self::take_over(socket)
    }

    fn connect(&mut self, descriptor: RawFd, slot: Slot, peer: &Address) -> u32 {
        self.try_connect(descriptor, slot, peer);
        NOWHERE
    }

    #[inline]
    fn receive(&mut self, descriptor: RawFd, slot: Slot) {
        match self.register(descriptor, slot, InterestFlag::Receiving) {
            Ok(interest) => {
                if interest.should_queue() {
                    interest.set(InterestFlag::Queued);
                    self.queue(slot);
                }
            }
            Err(error) => self.complete(Completed::last(Operation::Receive, slot, -error.raw_os_error())),
        }
    }

    #[inline]
    fn send(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32 {
        self.push_send(descriptor, slot, output, false)
    }

    fn send_in_parts(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32 {
        self.push_send(descriptor, slot, output, true)
    }

    #[inline]
    fn take_back(&mut self, ticket: u32) -> Option<Output> {
        self.transfers.take_back(ticket)
    }

    fn cancel(&mut self, target: Cancellable, slot: Slot) {
        let ended = self.end(target, slot);
        if let Cancelled::Ended(result) = ended {
            self.complete(Completed::last(target.operation(), slot, result));
        }
        let result = if let Cancelled::NotFound = ended { -Errno::NOENT.raw_os_error() } else { 0 };
        self.complete(Completed::last(Operation::Cancel(target), slot, result));
    }

    fn close(&mut self, descriptor: RawFd, slot: Slot) {
        if let Some(interest) = self.interests.get_mut(slot) {
            *interest = Interest::unused();
        }
        // SAFETY: the table has given up the descriptor, which is open, and nothing else owns it.
        // Closing it removes it from the epoll set.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        self.complete(Completed::last(Operation::Close, slot, 0));
    }

    fn has_unreaped(&mut self) -> bool {
        self.partial || self.has_work()
    }

    fn watch_waker(&mut self) {
        if let Err(error) = self.set.add(self.waker.fd(), Operation::Wake, WAKER, EventFlags::IN) {
            // Without the waker a wait could last for ever. The next turn tries again.
            self.complete(Completed::last(Operation::Wake, WAKER, -error.raw_os_error()));
        }
    }

    fn take_wake(&mut self) -> bool {
        self.waker.take()
    }

    /// Sets how many buffers this turn may fill. A buffer is taken from the pool when a connection
    /// is readable.
    #[inline]
    fn lend(&mut self, target: u16) -> u16 {
        self.quota = target;
        u16::try_from(self.pool.free()).map_or(target, |free| target.min(free))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
