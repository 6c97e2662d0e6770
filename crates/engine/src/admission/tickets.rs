//! What the connections of one shard were admitted with, beside the table of sessions: what is
//! counted is removed exactly once.

use super::addresses::AddressKey;
use super::gate::{Gate, Rejection};
use ringway_io::Slot;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The maximum number of rejected connections of a shard whose response is in progress. Beyond it a
/// connection is closed without a response.
const RESPONSES_MAX: usize = 64;

/// The admitted connections of a shard.
#[derive(Debug)]
pub(crate) struct Tickets {
    pub(crate) gate: Arc<Gate>,
    /// By the index of the slot.
    all: Vec<Ticket>,
    /// Connections whose handshake was counted, the oldest first. Those whose handshake has ended
    /// are skipped, and removed when they are more than the others.
    handshakes: VecDeque<Slot>,
    /// The number of handshakes in progress.
    in_progress: usize,
    /// The number of responses to rejected connections in progress.
    responses: usize,
    /// The clients that the PROXY protocol has named, by the index of the slot.
    clients: Vec<Option<SocketAddr>>,
}

/// What a connection is counted in.
#[derive(Clone, Copy, Debug, Default)]
struct Ticket {
    slot: Option<Slot>,
    is_counted: bool,
    is_handshaking: bool,
    is_answered: bool,
    address: Option<AddressKey>,
}

impl Tickets {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, all: Vec::new(), handshakes: VecDeque::new(), in_progress: 0, responses: 0, clients: Vec::new() }
    }

    fn of(&mut self, slot: Slot) -> &mut Ticket {
        let index = slot.index() as usize;
        if self.all.len() <= index {
            self.all.resize_with(index + 1, Ticket::default);
        }
        &mut self.all[index]
    }

    /// Counts a new connection and its handshake.
    pub(crate) fn admit(&mut self, slot: Slot) -> Result<(), Rejection> {
        if !self.gate.add_connection() {
            return Err(Rejection::Full);
        }
        if !self.gate.add_handshake() {
            self.gate.remove_connection();
            return Err(Rejection::Handshakes);
        }
        let is_handshaking = self.gate.limits_handshakes();
        *self.of(slot) = Ticket { slot: Some(slot), is_counted: true, is_handshaking, ..Ticket::default() };
        if is_handshaking {
            self.in_progress += 1;
            self.handshakes.push_back(slot);
            if self.handshakes.len() > 2 * self.in_progress + 64 {
                let all = &self.all;
                self.handshakes.retain(|slot| is_handshaking_in(all, *slot));
            }
        }
        Ok(())
    }

    /// Counts a new connection that has no handshake.
    pub(crate) fn admit_open(&mut self, slot: Slot) -> Result<(), Rejection> {
        if !self.gate.add_connection() {
            return Err(Rejection::Full);
        }
        *self.of(slot) = Ticket { slot: Some(slot), is_counted: true, ..Ticket::default() };
        Ok(())
    }

    /// Keeps the address of the client that the PROXY protocol has named.
    pub(crate) fn set_client(&mut self, slot: Slot, client: SocketAddr) {
        let index = slot.index() as usize;
        if self.clients.len() <= index {
            self.clients.resize(index + 1, None);
        }
        self.clients[index] = Some(client);
    }

    /// The address of the client that the PROXY protocol has named.
    pub(crate) fn client(&self, slot: Slot) -> Option<SocketAddr> {
        *self.clients.get(slot.index() as usize)?
    }

    /// Counts the client of a connection.
    pub(crate) fn admit_address(&mut self, slot: Slot, address: IpAddr) -> Result<(), Rejection> {
        let key = AddressKey::of(address);
        if !self.gate.add_address(key) {
            return Err(Rejection::Address);
        }
        self.of(slot).address = Some(key);
        Ok(())
    }

    /// The connection whose handshake has been in progress for the longest time.
    pub(crate) fn oldest_handshake(&mut self) -> Option<Slot> {
        while let Some(&slot) = self.handshakes.front() {
            if is_handshaking_in(&self.all, slot) {
                return Some(slot);
            }
            self.handshakes.pop_front();
        }
        None
    }

    /// The handshake of a connection has ended, if it was in progress.
    pub(crate) fn handshake_ended(&mut self, slot: Slot) {
        let ticket = self.of(slot);
        if ticket.slot == Some(slot) && std::mem::take(&mut ticket.is_handshaking) {
            self.in_progress -= 1;
            self.gate.remove_handshake();
        }
    }

    /// Begins the response to a rejected connection, which is no longer counted. Returns whether
    /// there may be one.
    pub(crate) fn begin_response(&mut self, slot: Slot) -> bool {
        self.release(slot);
        if self.responses >= RESPONSES_MAX {
            return false;
        }
        self.responses += 1;
        *self.of(slot) = Ticket { slot: Some(slot), is_answered: true, ..Ticket::default() };
        true
    }

    /// A connection has ended: removes it from all counts.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.handshake_ended(slot);
        let ticket = self.of(slot);
        if ticket.slot != Some(slot) {
            return;
        }
        let Ticket { is_counted, is_answered, address, .. } = std::mem::take(ticket);
        if is_counted {
            self.gate.remove_connection();
        }
        if let Some(key) = address {
            self.gate.remove_address(key);
        }
        self.responses -= usize::from(is_answered);
        if let Some(client) = self.clients.get_mut(slot.index() as usize) {
            *client = None;
        }
    }
}

fn is_handshaking_in(all: &[Ticket], slot: Slot) -> bool {
    all.get(slot.index() as usize).is_some_and(|ticket| ticket.slot == Some(slot) && ticket.is_handshaking)
}

#[cfg(test)]
mod tests {
    use super::super::options::Admission;
    use super::*;
    use std::time::Instant;

    fn tickets(connections: u32, handshakes: u32, per_address: u32) -> Tickets {
        let admission = Admission {
            max_connections: Some(connections),
            max_handshakes: Some(handshakes),
            max_per_address: Some(per_address),
            ..Admission::new()
        };
        Tickets::new(Arc::new(Gate::new(&admission, Instant::now())))
    }

    const fn slot(index: u32) -> Slot {
        Slot::new(index, 7)
    }

    #[test]
    fn each_count_is_removed_exactly_once() {
        let mut tickets = tickets(10, 10, 10);
        let address = IpAddr::V4([192, 0, 2, 1].into());
        for index in 0..4 {
            tickets.admit(slot(index)).expect("there is room");
            tickets.admit_address(slot(index), address).expect("there is room");
        }
        assert_eq!(tickets.gate.counts(), (4, 4, 1));
        tickets.handshake_ended(slot(0));
        tickets.handshake_ended(slot(0));
        assert_eq!(tickets.gate.counts(), (4, 3, 1));
        assert!(tickets.begin_response(slot(1)), "an evicted handshake");
        assert_eq!(tickets.gate.counts(), (3, 2, 1));
        for index in [0, 1, 2, 3, 0, 9] {
            tickets.release(slot(index));
        }
        assert_eq!((tickets.gate.counts(), tickets.responses, tickets.in_progress), ((0, 0, 0), 0, 0));
    }

    #[test]
    fn the_oldest_handshake_in_progress_is_found_and_the_list_stays_short() {
        let mut tickets = tickets(1000, 1000, 1);
        tickets.admit(slot(0)).expect("there is room");
        for round in 1..10_000 {
            let slot = Slot::new(1, round);
            tickets.admit(slot).expect("there is room");
            tickets.handshake_ended(slot);
            tickets.release(slot);
        }
        assert!(tickets.handshakes.len() <= 2 + 64 + 1, "{}", tickets.handshakes.len());
        assert_eq!(tickets.oldest_handshake(), Some(slot(0)));
        tickets.handshake_ended(slot(0));
        assert_eq!((tickets.oldest_handshake(), tickets.handshakes.len()), (None, 0));
    }

    #[test]
    fn a_rejected_connection_is_in_no_count() {
        let mut tickets = tickets(2, 1, 1);
        tickets.admit(slot(0)).expect("there is room");
        assert_eq!(tickets.admit(slot(1)), Err(Rejection::Handshakes));
        assert_eq!(tickets.gate.counts(), (1, 1, 0));
        tickets.handshake_ended(slot(0));
        tickets.admit(slot(1)).expect("the handshake has ended");
        assert_eq!(tickets.admit(slot(2)), Err(Rejection::Full));
        assert_eq!(tickets.gate.counts(), (2, 1, 0));
    }

    #[test]
    fn responses_in_progress_are_bounded() {
        let mut tickets = tickets(1, 1, 1);
        let answered = (0..100).filter(|index| tickets.begin_response(slot(*index))).count();
        assert_eq!(answered, RESPONSES_MAX);
        tickets.release(slot(0));
        assert!(tickets.begin_response(slot(200)));
    }
}
