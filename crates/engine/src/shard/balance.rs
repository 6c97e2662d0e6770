//! Balanced accepting: an accepted connection goes to the shard with the fewest connections.
//!
//! Each shard publishes its number of connections. The shard that accepts a connection compares, and
//! transfers the connection to another shard that has fewer by a margin: before anything is received,
//! counted towards a limit, or encrypted on it. The other shard then treats it as one that it has
//! accepted itself, and never transfers it again. A connection on its way already counts for the
//! shard that it goes to, so that a burst is spread, and each shard has a bounded number of them.
//!
//! A shard is closed to transfers while it drains, while too many TLS handshakes wait on it, and
//! while it refuses handshakes for want of memory: it would have few connections then because it
//! cannot serve them. Nothing locks: the mailbox is the bounded channel of the standard library, of
//! which only operations that never block are used, and the counters are atomic.

use ringway_io::{Detached, Waker};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

/// The maximum number of connections on their way to one shard.
pub(crate) const MAX_TRANSFERS: usize = 1024;

/// The maximum number of shards that are compared for one connection. Each costs a cache line that
/// another core has written. If there are more shards, each accept looks at the next ones.
const MAX_COMPARED: usize = 64;

/// A connection is transferred to a shard that has fewer by more than this part of its own: with up
/// to 63 connections, to one that has fewer at all. The margin grows with the number of connections
/// because the kernel spreads many connections evenly by itself.
const MARGIN: usize = 64;

/// An accepted connection on its way to another shard.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) detached: Detached,
    /// The server's number of the listener.
    pub(crate) listener: usize,
}

/// One shard, as others see it. Aligned, so that two shards share no cache line: two lines, because
/// processors prefetch pairs.
#[repr(align(128))]
struct Seat {
    /// The connections of the shard. Only the shard writes it.
    connections: AtomicUsize,
    /// The connections on their way, and those that are about to be sent.
    incoming: AtomicUsize,
    is_open: AtomicBool,
    /// Whether connections may wait in the mailbox, and the shard was woken for them.
    has_mail: AtomicBool,
    sender: SyncSender<Transfer>,
    waker: OnceLock<Waker>,
}

impl Seat {
    fn load(&self) -> usize {
        self.connections.load(Ordering::Relaxed) + self.incoming.load(Ordering::Relaxed)
    }
}

/// The shard that serves a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The one that has accepted it.
    Here,
    /// The same, because the mailbox of the one with the fewest connections is full.
    Full,
    /// Another one, which expects it: [`Balancer::send`] or [`Balancer::withdraw`] follows.
    Shard(usize),
}

/// The place of one shard among those that accept for each other.
pub(crate) struct Balancer {
    seats: Arc<[Seat]>,
    index: usize,
    receiver: Receiver<Transfer>,
    /// The maximum number of connections of a shard.
    max_connections: usize,
    /// Where the next comparison begins.
    start: usize,
    /// What was published last.
    connections: usize,
    is_open: bool,
}

impl Balancer {
    /// The places of all shards. Each is closed to transfers until [`Balancer::open`].
    pub(crate) fn places(shards: usize, max_connections: u32) -> Vec<Self> {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| sync_channel(MAX_TRANSFERS)).unzip();
        let seats = senders.into_iter().map(|sender| Seat {
            connections: AtomicUsize::new(0),
            incoming: AtomicUsize::new(0),
            is_open: AtomicBool::new(false),
            has_mail: AtomicBool::new(false),
            sender,
            waker: OnceLock::new(),
        });
        let seats: Arc<[Seat]> = seats.collect();
        let place = |(index, receiver)| Self {
            seats: Arc::clone(&seats),
            index,
            receiver,
            max_connections: max_connections as usize,
            start: index + 1,
            connections: 0,
            is_open: false,
        };
        receivers.into_iter().enumerate().map(place).collect()
    }

    fn seat(&self) -> &Seat {
        &self.seats[self.index]
    }

    /// The shard begins to run: others may transfer connections to it from now on.
    pub(crate) fn open(&mut self, waker: Waker) {
        let _ = self.seat().waker.set(waker);
        self.set_open(true);
    }

    /// Whether others may transfer connections to this shard.
    pub(crate) fn set_open(&mut self, is_open: bool) {
        if self.is_open != is_open {
            self.is_open = is_open;
            // SeqCst: see `choose`.
            self.seat().is_open.store(is_open, Ordering::SeqCst);
        }
    }

    /// Publishes the number of connections of this shard.
    pub(crate) fn publish(&mut self, connections: usize) {
        if self.connections != connections {
            self.connections = connections;
            self.seat().connections.store(connections, Ordering::Relaxed);
        }
    }

    /// Chooses the shard that serves a connection. `is_able`: this shard can serve it; otherwise any
    /// shard that can is chosen.
    pub(crate) fn choose(&mut self, is_able: bool) -> Choice {
        let shards = self.seats.len();
        let others = (self.start..self.start + shards.min(MAX_COMPARED)).map(|at| at % shards);
        let open = others.filter(|&at| at != self.index && self.seats[at].is_open.load(Ordering::Relaxed));
        let Some((load, target)) = open.map(|at| (self.seats[at].load(), at)).min_by_key(|(load, _)| *load) else {
            return Choice::Here;
        };
        self.start = target + 1;
        if load >= self.max_connections || is_able && self.seat().load() <= load + load / MARGIN {
            return Choice::Here;
        }
        // A shard that ends has closed its seat before it looks at `incoming`, and this one looks
        // at the seat after `incoming`: either the shard waits for the connection, or it stays here.
        let seat = &self.seats[target];
        let incoming = seat.incoming.fetch_add(1, Ordering::SeqCst);
        if incoming < MAX_TRANSFERS && seat.is_open.load(Ordering::SeqCst) {
            return Choice::Shard(target);
        }
        self.withdraw(target);
        if incoming < MAX_TRANSFERS { Choice::Here } else { Choice::Full }
    }

    /// Sends a connection to the shard that was chosen, and wakes it if necessary. Returns the
    /// connection if that shard has ended.
    pub(crate) fn send(&self, target: usize, transfer: Transfer) -> Result<(), Transfer> {
        let seat = &self.seats[target];
        if let Err(error) = seat.sender.try_send(transfer) {
            self.withdraw(target);
            let (TrySendError::Full(transfer) | TrySendError::Disconnected(transfer)) = error;
            return Err(transfer);
        }
        if !seat.has_mail.swap(true, Ordering::AcqRel)
            && let Some(waker) = seat.waker.get()
        {
            waker.wake();
        }
        Ok(())
    }

    /// Does not send a connection to the shard that was chosen.
    pub(crate) fn withdraw(&self, target: usize) {
        self.seats[target].incoming.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether connections may wait in the mailbox of this shard. Costs a load.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.seat().has_mail.load(Ordering::Relaxed)
    }

    /// Begins to take connections out of the mailbox: later ones wake the shard again.
    pub(crate) fn begin_taking(&self) {
        // A sender that sets the flag again wakes the shard; one that found it set has sent before.
        self.seat().has_mail.swap(false, Ordering::AcqRel);
    }

    /// Ends it before the mailbox is empty: the next turn continues.
    pub(crate) fn interrupt_taking(&self) {
        self.seat().has_mail.store(true, Ordering::Release);
    }

    /// The next connection in the mailbox; [`Balancer::arrived`] follows.
    pub(crate) fn take(&self) -> Option<Transfer> {
        self.receiver.try_recv().ok()
    }

    /// A connection that was taken out of the mailbox is one of this number now.
    pub(crate) fn arrived(&mut self, connections: usize) {
        self.publish(connections);
        self.seat().incoming.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether connections are on their way to this shard. Once it was closed to transfers, `false`
    /// is final.
    pub(crate) fn expects(&self) -> bool {
        self.seat().incoming.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Balancer {
    /// The shard ends, by a return or a panic. Connections in its mailbox are closed.
    fn drop(&mut self) {
        self.set_open(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_io::sim::{Faults, Sim};
    use ringway_io::{BufferConfig, Driver};

    fn places_up_to(max_connections: u32, loads: &[usize]) -> Vec<Balancer> {
        let waker = Sim::new(0, Faults::none(), BufferConfig::default()).0.waker();
        let mut places = Balancer::places(loads.len(), max_connections);
        for (place, load) in places.iter_mut().zip(loads) {
            place.open(waker.clone());
            place.publish(*load);
        }
        places
    }

    fn places(loads: &[usize]) -> Vec<Balancer> {
        places_up_to(10_000, loads)
    }

    #[test]
    fn the_shard_with_the_fewest_connections_is_chosen() {
        let mut places = places(&[5, 3, 4, 7]);
        assert_eq!((places[0].choose(true), places[3].choose(true)), (Choice::Shard(1), Choice::Shard(1)));
        // Two are on their way to shard 1, so it has 5.
        assert_eq!(places[3].choose(true), Choice::Shard(2));
        assert_eq!((places[2].choose(true), places[0].choose(true)), (Choice::Here, Choice::Here));
        places[0].withdraw(1);
        assert_eq!((places[1].seat().load(), places[2].seat().load()), (4, 5));
    }

    #[test]
    fn a_difference_within_the_margin_changes_nothing() {
        let mut places = places(&[6_500, 6_400]);
        assert_eq!(places[0].choose(true), Choice::Here);
        places[0].publish(6_501);
        assert_eq!(places[0].choose(true), Choice::Shard(1));
        assert_eq!(places[1].choose(true), Choice::Here);
    }

    #[test]
    fn shards_with_equally_many_connections_are_chosen_in_turn() {
        let mut places = places(&[100, 0, 0, 0]);
        let mut chosen = [0; 4];
        for _ in 0..30 {
            let Choice::Shard(target) = places[0].choose(true) else { panic!("shard 0 has more") };
            chosen[target] += 1;
        }
        assert_eq!(chosen, [0, 10, 10, 10]);
    }

    #[test]
    fn a_shard_that_is_closed_or_at_its_limit_is_not_chosen() {
        let mut places = places(&[50, 0, 10, 20]);
        places[1].set_open(false);
        assert_eq!(places[0].choose(true), Choice::Shard(2));
        places[2].set_open(false);
        assert_eq!(places[0].choose(true), Choice::Shard(3));
        drop(places.remove(3));
        assert_eq!(places[0].choose(true), Choice::Here, "no other is open");
        assert_eq!(places[0].choose(false), Choice::Here);
        let mut full = places_up_to(3, &[5, 3]);
        assert_eq!(full[0].choose(true), Choice::Here, "at its limit");
    }

    #[test]
    fn a_shard_that_cannot_serve_passes_connections_to_one_with_more() {
        let mut places = places(&[0, 1000]);
        assert_eq!((places[0].choose(true), places[0].choose(false)), (Choice::Here, Choice::Shard(1)));
    }

    #[test]
    fn the_number_of_connections_on_their_way_is_bounded() {
        let mut places = places(&[5000, 0]);
        for _ in 0..MAX_TRANSFERS {
            assert_eq!(places[0].choose(true), Choice::Shard(1));
        }
        assert_eq!(places[0].choose(true), Choice::Full);
        assert!(places[1].expects() && !places[1].has_mail(), "none was sent yet");
        places[0].withdraw(1);
        assert_eq!(places[0].choose(true), Choice::Shard(1));
    }

    #[test]
    fn with_many_shards_each_accept_looks_at_some_and_all_get_their_turn() {
        let mut places = places(&[0; 1024]);
        places[0].publish(100);
        let chosen: std::collections::BTreeSet<usize> = (0..1023)
            .map(|_| match places[0].choose(true) {
                Choice::Shard(target) => target,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(chosen.len(), 1023);
    }
}
