//! The state of each connection in the epoll set.

use crate::Slot;
use crate::pages::Pages;
use crate::slab::NOWHERE;
use rustix::event::epoll::EventFlags;
use std::os::fd::RawFd;

/// The events of a connection: both directions, edge-triggered, in one registration. A connection
/// whose send does not wait causes no event for its sending direction, because the kernel reports
/// free space only after a write has found none (`SOCK_NOSPACE`).
pub(super) const EVENTS: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::PRI).union(EventFlags::ET);

/// Events after which a receive can make progress.
const READABLE: EventFlags = EventFlags::IN.union(THOROUGH);

/// Events after which a receive is repeated until it fails with EAGAIN. Otherwise a receive that
/// does not fill its buffer has emptied the socket, and the next byte causes an event (epoll(7)).
/// That is not so after a FIN or an error that has arrived already, and in front of urgent data, at
/// which recv(2) stops.
const THOROUGH: EventFlags = EventFlags::RDHUP.union(EventFlags::PRI).union(EventFlags::ERR).union(EventFlags::HUP);

/// Events after which a send or a connect can make progress.
const WRITABLE: EventFlags = EventFlags::OUT.union(EventFlags::ERR).union(EventFlags::HUP);

/// The readiness of one connection, and its requests: 16 bytes.
#[derive(Debug)]
pub(super) struct Interest {
    /// The descriptor; -1 in an unused entry.
    pub(super) fd: RawFd,
    generation: u32,
    /// The ticket of the send that waits for space.
    pub(super) ticket: u32,
    flags: u16,
}

/// One bit of an [`Interest`].
#[derive(Clone, Copy)]
pub(super) enum InterestFlag {
    /// The descriptor is in the epoll set.
    Registered = 1,
    /// A receive is requested.
    Receiving = 2,
    /// A send waits for space.
    Sending = 4,
    /// A connect is in progress.
    Connecting = 8,
    /// The socket may have bytes, an end or an error to report.
    Readable = 16,
    /// A receive that does not fill its buffer may leave something behind.
    Thorough = 32,
    /// The connection is in the queue of readable ones.
    Queued = 64,
    /// A receive is in flight: it has begun, and its end was not reported yet.
    ReceiveInFlight = 128,
    /// A write is in flight, as a receive may be.
    WriteInFlight = 256,
    /// The receive in flight ends the request.
    ReceiveCancelled = 512,
    /// The write in flight ends the request.
    SendCancelled = 1024,
    /// The socket has reported room since the write in flight began.
    Writable = 2048,
    /// [`InterestFlag::Thorough`] when the receive in flight began.
    WasThorough = 4096,
    /// A UDP socket: a receive ends with a datagram, although others may wait.
    Datagrams = 8192,
}

impl Interest {
    pub(super) const fn unused() -> Self {
        Self { fd: -1, generation: 0, ticket: NOWHERE, flags: 0 }
    }

    pub(super) const fn new(fd: RawFd, slot: Slot) -> Self {
        Self { fd, generation: slot.generation(), ticket: NOWHERE, flags: 0 }
    }

    /// Whether the entry belongs to the slot.
    #[inline]
    pub(super) fn is_of(&self, slot: Slot) -> bool {
        self.fd >= 0 && self.generation == slot.generation()
    }

    #[inline]
    pub(super) fn is(&self, flag: InterestFlag) -> bool {
        self.flags & flag as u16 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flag: InterestFlag) {
        self.flags |= flag as u16;
    }

    /// Removes the flag; whether it was set.
    #[inline]
    pub(super) fn take(&mut self, flag: InterestFlag) -> bool {
        let before = self.is(flag);
        self.flags &= !(flag as u16);
        before
    }

    /// Records the events of the receiving direction.
    #[inline]
    pub(super) fn note(&mut self, events: EventFlags) {
        if events.intersects(READABLE) {
            self.set(InterestFlag::Readable);
        }
        if events.intersects(THOROUGH) {
            self.set(InterestFlag::Thorough);
        }
    }

    /// Whether the connection has to be queued for a receive.
    #[inline]
    pub(super) fn should_queue(&self) -> bool {
        const WITH: u16 = InterestFlag::Receiving as u16 | InterestFlag::Readable as u16;
        const WITHOUT: u16 = InterestFlag::Queued as u16 | InterestFlag::ReceiveInFlight as u16;
        self.flags & (WITH | WITHOUT) == WITH
    }

    /// A receive has returned `len` bytes into a buffer of `size`.
    #[inline]
    pub(super) fn received(&mut self, len: usize, size: usize) {
        const REPEATED: u16 = InterestFlag::Thorough as u16 | InterestFlag::Datagrams as u16;
        if len < size && self.flags & REPEATED == 0 {
            self.take(InterestFlag::Readable);
        }
    }

    /// A receive is in flight from now on. Events that are noted until its end are of bytes that it
    /// may not have seen.
    pub(super) fn begin_receive(&mut self) {
        self.take(InterestFlag::Readable);
        if self.take(InterestFlag::Thorough) || self.is(InterestFlag::Datagrams) {
            self.set(InterestFlag::WasThorough);
        }
        self.set(InterestFlag::ReceiveInFlight);
    }

    /// The receive in flight has ended: with `len` bytes into a buffer of `size`, or without bytes.
    #[cfg(any(test, feature = "tokio-uring"))]
    pub(super) fn end_receive(&mut self, len: Option<usize>, size: usize) {
        self.take(InterestFlag::ReceiveInFlight);
        let thorough = self.take(InterestFlag::WasThorough);
        let Some(len) = len else { return };
        if thorough {
            self.set(InterestFlag::Thorough);
        }
        if thorough || len >= size {
            self.set(InterestFlag::Readable);
        }
    }

    /// A receive has found nothing.
    pub(super) fn emptied(&mut self) {
        self.take(InterestFlag::Readable);
        self.take(InterestFlag::Thorough);
    }
}

/// The interests of all connections, by the index of their slots.
pub(super) struct Interests {
    pages: Pages<Interest>,
}

impl Interests {
    pub(super) const fn new() -> Self {
        Self { pages: Pages::new() }
    }

    /// The entry of a slot that has one.
    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Interest> {
        self.pages.get_mut(slot.index() as usize).filter(|interest| interest.is_of(slot))
    }

    /// The entry of a slot, which is made if it has none.
    #[inline]
    pub(super) fn entry(&mut self, descriptor: RawFd, slot: Slot) -> &mut Interest {
        let index = slot.index() as usize;
        self.pages.grow(index + 1, Interest::unused);
        let interest = &mut self.pages[index];
        if !interest.is_of(slot) {
            *interest = Interest::new(descriptor, slot);
        }
        interest
    }
}

/// Whether a send or a connect can make progress after these events.
#[inline]
pub(super) fn is_writable(events: EventFlags) -> bool {
    events.intersects(WRITABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_an_idle_connection_costs_sixteen_bytes() {
        assert_eq!(size_of::<Interest>(), 16);
    }

    #[test]
    fn a_receive_that_fills_its_buffer_is_repeated() {
        let mut interest = Interest::new(5, Slot::new(0, 0));
        interest.set(InterestFlag::Receiving);
        assert!(!interest.should_queue());
        interest.note(EventFlags::IN);
        assert!(interest.should_queue());
        interest.received(1024, 1024);
        assert!(interest.should_queue());
        interest.received(1000, 1024);
        assert!(!interest.should_queue());
    }

    #[test]
    fn an_event_during_a_receive_in_flight_leads_to_another_receive() {
        for (events, len, again) in [
            (None, Some(10), false),
            (None, Some(1024), true),
            (Some(EventFlags::IN), Some(10), true),
            (Some(EventFlags::IN), None, true),
            (None, None, false),
        ] {
            let mut interest = Interest::new(5, Slot::new(0, 0));
            interest.set(InterestFlag::Receiving);
            interest.note(EventFlags::IN);
            interest.begin_receive();
            assert!(!interest.should_queue());
            if let Some(events) = events {
                interest.note(events);
                assert!(!interest.should_queue(), "one receive at a time");
            }
            interest.end_receive(len, 1024);
            assert_eq!(interest.should_queue(), again, "{events:?} {len:?}");
        }
    }

    #[test]
    fn a_receive_in_flight_before_fin_is_repeated_until_it_finds_nothing() {
        let mut interest = Interest::new(5, Slot::new(0, 0));
        interest.set(InterestFlag::Receiving);
        interest.note(EventFlags::IN | EventFlags::RDHUP);
        interest.begin_receive();
        interest.end_receive(Some(10), 1024);
        assert!(interest.should_queue());
        interest.begin_receive();
        interest.end_receive(None, 1024);
        assert!(!interest.should_queue());
    }

    #[test]
    fn a_receive_after_fin_an_error_or_urgent_data_is_repeated_until_it_finds_nothing() {
        for events in [EventFlags::RDHUP, EventFlags::PRI, EventFlags::ERR, EventFlags::HUP] {
            let mut interest = Interest::new(5, Slot::new(0, 0));
            interest.set(InterestFlag::Receiving);
            interest.note(EventFlags::IN | events);
            interest.received(1, 1024);
            assert!(interest.should_queue(), "{events:?}");
            interest.emptied();
            assert!(!interest.should_queue(), "{events:?}");
            interest.note(EventFlags::IN);
            interest.received(1, 1024);
            assert!(!interest.should_queue(), "{events:?}");
        }
    }
}
