//! Published messages between shards.
//!
//! Each shard has a bounded mailbox for parcels: the messages that one other shard has published in
//! one turn. A shard sends parcels to the shards that need one of the topics. Which these are is in
//! a table of counters for each shard, by the hash of the topic's name: two topics with one hash can
//! cost a needless parcel, but a subscription is visible to all shards when the call that made it
//! returns. A peer that was told of its subscription therefore receives whatever is published on
//! other shards from then on.
//!
//! A full mailbox keeps its parcel with the sender, and messages of later turns are added to it. At
//! half of the limit of what a shard keeps, a message replaces an earlier one of the same topic and
//! key if the topic is keyed, and the message of a new key uses the other half; a message of another
//! topic is dropped, and the subscribers on that shard are treated as slow readers by the policy of
//! their topic.
//!
//! Nothing locks: the mailbox is the bounded channel of the standard library, of which only
//! operations that never block are used, and the counters are atomic.

use super::log::Content;
use super::parcel::{Item, Outgoing, Parcel};
use crate::config::Limits;
use ringway_codec::Prepared;
use ringway_io::Waker;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

/// The maximum number of parcels in one mailbox.
const CAPACITY: usize = 1024;

/// The number of counters of each shard: 64 KiB.
const COUNTERS: usize = 1 << 14;

/// The mailboxes of all shards.
pub(crate) struct Exchange {
    seats: Box<[Seat]>,
    max_bytes: usize,
    hasher: RandomState,
}

/// One shard, as others see it. Aligned, so that two shards share no cache line.
#[repr(align(128))]
struct Seat {
    sender: SyncSender<Parcel>,
    waker: OnceLock<Waker>,
    /// Whether parcels may wait, and the shard was woken for them.
    has_mail: AtomicBool,
    /// The bytes in the mailbox.
    bytes: AtomicUsize,
    /// The parcels in the mailbox.
    parcels: AtomicUsize,
    /// Nothing is taken out of the mailbox any more.
    has_ended: AtomicBool,
    /// The number of topics that the shard needs, by hash.
    needed: Box<[AtomicU32]>,
}

impl Seat {
    /// A parcel is not in the mailbox.
    fn removed(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.parcels.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Exchange {
    /// Creates an exchange: the desk of each shard. `max_bytes`: the limit of each mailbox, which one
    /// parcel can exceed.
    pub(crate) fn desks(shards: usize, max_bytes: usize) -> Vec<Desk> {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| sync_channel(CAPACITY)).unzip();
        let seats = senders.into_iter().map(|sender| Seat {
            sender,
            waker: OnceLock::new(),
            has_mail: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            parcels: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            needed: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
        });
        let exchange = Arc::new(Self { seats: seats.collect(), max_bytes, hasher: RandomState::new() });
        let desk = |(index, receiver)| Desk {
            exchange: Arc::clone(&exchange),
            index,
            receiver,
            received: VecDeque::new(),
            is_forwarded: false,
            outgoing: (0..shards).map(|_| Outgoing::default()).collect(),
            held: 0,
            dropped: 0,
        };
        receivers.into_iter().enumerate().map(desk).collect()
    }

    pub(crate) fn shards(&self) -> usize {
        self.seats.len()
    }

    fn counter(&self, name: &str) -> usize {
        self.hasher.hash_one(name) as usize % COUNTERS
    }

    /// The shards that may need a topic.
    pub(crate) fn interested(&self, name: &str) -> impl Iterator<Item = usize> {
        let counter = self.counter(name);
        let needs = move |(_, seat): &(usize, &Seat)| seat.needed[counter].load(Ordering::Acquire) > 0;
        self.seats.iter().enumerate().filter(needs).map(|(index, _)| index)
    }

    /// Whether the mailbox of a shard has room for a parcel, or is not needed any more.
    fn has_room(&self, shard: usize) -> bool {
        let seat = &self.seats[shard];
        seat.has_ended.load(Ordering::Acquire)
            || seat.bytes.load(Ordering::Acquire) < self.max_bytes && seat.parcels.load(Ordering::Acquire) < CAPACITY
    }

    /// Passes a parcel to a shard, and wakes it if necessary.
    pub(crate) fn post(&self, shard: usize, parcel: Parcel) -> Result<(), TrySendError<Parcel>> {
        let seat = &self.seats[shard];
        if seat.has_ended.load(Ordering::Acquire) {
            return Err(TrySendError::Disconnected(parcel));
        }
        let bytes = parcel.bytes();
        if seat.bytes.fetch_add(bytes, Ordering::AcqRel) >= self.max_bytes {
            seat.bytes.fetch_sub(bytes, Ordering::AcqRel);
            return Err(TrySendError::Full(parcel));
        }
        seat.parcels.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = seat.sender.try_send(parcel) {
            seat.removed(bytes);
            return Err(error);
        }
        if !seat.has_mail.swap(true, Ordering::AcqRel)
            && let Some(waker) = seat.waker.get()
        {
            waker.wake();
        }
        Ok(())
    }
}

/// Announces the topics that one shard needs.
pub(crate) struct Announcer {
    exchange: Arc<Exchange>,
    index: usize,
}

impl Announcer {
    pub(crate) fn announce(&self, name: &str, is_needed: bool) {
        let counter = &self.exchange.seats[self.index].needed[self.exchange.counter(name)];
        if is_needed {
            counter.fetch_add(1, Ordering::AcqRel);
        } else {
            counter.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// The place of one shard in the exchange.
pub(crate) struct Desk {
    exchange: Arc<Exchange>,
    index: usize,
    receiver: Receiver<Parcel>,
    /// The rest of a parcel that the log had no room for.
    received: VecDeque<Item>,
    is_forwarded: bool,
    outgoing: Box<[Outgoing]>,
    /// The bytes in `outgoing`.
    held: usize,
    /// Messages that were dropped since the last call of `post`.
    dropped: u64,
}

impl Desk {
    /// The shard begins to run: it is woken for parcels from now on.
    pub(crate) fn open(&self, waker: Waker) {
        // A parcel that came before has set the flag; the first turn looks for it.
        let _ = self.exchange.seats[self.index].waker.set(waker);
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    pub(crate) fn announcer(&self) -> Announcer {
        Announcer { exchange: Arc::clone(&self.exchange), index: self.index }
    }

    /// The number of bytes that wait for other shards.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.outgoing.iter().any(|outgoing| !outgoing.is_empty())
    }

    /// Whether messages were taken out of the mailbox, or may be in it.
    pub(crate) fn has_received(&self) -> bool {
        !self.received.is_empty() || self.exchange.seats[self.index].has_mail.load(Ordering::Acquire)
    }

    /// The next message of another shard, and whether it is passed on.
    pub(crate) fn next(&mut self) -> Option<(Item, bool)> {
        while self.received.is_empty() {
            let has_mail = &self.exchange.seats[self.index].has_mail;
            let parcel = match self.receiver.try_recv() {
                Ok(parcel) => parcel,
                // A sender that sees the flag unset from now on wakes the shard; one that saw it set
                // before has sent its parcel before.
                Err(_) if has_mail.swap(false, Ordering::AcqRel) => match self.receiver.try_recv() {
                    Ok(parcel) => {
                        has_mail.store(true, Ordering::Release);
                        parcel
                    }
                    Err(_) => return None,
                },
                Err(_) => return None,
            };
            self.exchange.seats[self.index].removed(parcel.bytes());
            self.received = parcel.items.into();
            self.is_forwarded = parcel.is_forwarded;
        }
        self.received.pop_front().map(|item| (item, self.is_forwarded))
    }

    /// Keeps a message for the other shards that need its topic, until [`post`](Desk::post).
    /// `known`: the same name, if this shard has it. `is_keyed`: the topic keeps the latest message of
    /// each key. Returns the number of shards.
    pub(crate) fn forward(
        &mut self,
        name: &str,
        known: Option<&Arc<str>>,
        key: u64,
        is_keyed: bool,
        prepared: &Prepared,
        limits: &Limits,
    ) -> usize {
        if self.outgoing.len() < 2 {
            return 0;
        }
        let mut topic = known.cloned();
        let mut shards = 0;
        for shard in self.exchange.interested(name).filter(|&shard| shard != self.index) {
            shards += 1;
            let topic = Arc::clone(topic.get_or_insert_with(|| name.into()));
            let item = Item { topic, content: Content::Message { key, prepared: prepared.clone() } };
            let outgoing = &mut self.outgoing[shard];
            let before = outgoing.bytes();
            // Messages of this turn are limited by the log.
            if outgoing.is_waiting && self.held + item.bytes() > limits.max_published / 2 {
                let allowance = limits.max_published.saturating_sub(self.held);
                self.dropped += u64::from(outgoing.push_limited(item, is_keyed, allowance));
            } else {
                outgoing.push(item);
            }
            self.held = self.held + outgoing.bytes() - before;
        }
        shards
    }

    /// Passes the kept messages to other shards. Returns how often a mailbox was full, and the
    /// number of dropped messages.
    pub(crate) fn post(&mut self) -> (u64, u64) {
        let mut full = 0;
        if self.held > 0 {
            for (shard, outgoing) in self.outgoing.iter_mut().enumerate().filter(|(_, one)| !one.is_empty()) {
                let was_waiting = outgoing.is_waiting;
                let bytes = outgoing.bytes();
                outgoing.is_waiting = !self.exchange.has_room(shard);
                if !outgoing.is_waiting {
                    match self.exchange.post(shard, Parcel { items: outgoing.take(), is_forwarded: false }) {
                        Err(TrySendError::Full(parcel)) => outgoing.put_back(parcel.items),
                        // A shard that has ended has no subscribers.
                        Ok(()) | Err(TrySendError::Disconnected(_)) => self.held -= bytes,
                    }
                }
                full += u64::from(outgoing.is_waiting && !was_waiting);
            }
        }
        (full, std::mem::take(&mut self.dropped))
    }
}

impl Drop for Desk {
    /// The shard has ended.
    fn drop(&mut self) {
        self.exchange.seats[self.index].has_ended.store(true, Ordering::Release);
    }
}
