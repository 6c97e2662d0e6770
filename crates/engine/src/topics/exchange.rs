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
//! the limit of what a shard keeps for others, a message replaces an earlier one of the same topic
//! and key if the topic is keyed; otherwise it is dropped, and the subscribers on that shard are
//! treated as slow readers by the policy of their topic.
//!
//! Nothing locks: the mailbox is the bounded channel of the standard library, of which only
//! operations that never block are used, and the counters are atomic.

use super::log::{Content, ENTRY};
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

/// A message for one topic.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) topic: Arc<str>,
    pub(crate) content: Content,
}

impl Item {
    fn bytes(&self) -> usize {
        ENTRY + self.content.frame_len()
    }
}

/// The messages of one turn.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) items: Vec<Item>,
    /// The receiver passes them to other shards as well: they come from a thread without a shard.
    pub(crate) is_forwarded: bool,
}

impl Parcel {
    fn bytes(&self) -> usize {
        self.items.iter().map(Item::bytes).sum()
    }
}

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
    /// The number of topics that the shard needs, by hash.
    needed: Box<[AtomicU32]>,
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

    /// Passes a parcel to a shard, and wakes it if necessary.
    pub(crate) fn post(&self, shard: usize, parcel: Parcel) -> Result<(), TrySendError<Parcel>> {
        let seat = &self.seats[shard];
        let bytes = parcel.bytes();
        if seat.bytes.fetch_add(bytes, Ordering::AcqRel) >= self.max_bytes {
            seat.bytes.fetch_sub(bytes, Ordering::AcqRel);
            return Err(TrySendError::Full(parcel));
        }
        if let Err(error) = seat.sender.try_send(parcel) {
            seat.bytes.fetch_sub(bytes, Ordering::AcqRel);
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

/// The messages for one other shard.
#[derive(Default)]
struct Outgoing {
    items: Vec<Item>,
    /// Its mailbox was full.
    is_waiting: bool,
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
        self.outgoing.iter().any(|outgoing| !outgoing.items.is_empty())
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
            self.exchange.seats[self.index].bytes.fetch_sub(parcel.bytes(), Ordering::AcqRel);
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
            // Messages of this turn are limited by the log.
            if outgoing.is_waiting && self.held + item.bytes() > limits.max_published / 2 {
                self.dropped += 1;
                let allowance = limits.max_published.saturating_sub(self.held);
                let (removed, added) = outgoing.coalesce(item, is_keyed, allowance);
                self.held = self.held - removed + added;
            } else {
                self.held += item.bytes();
                outgoing.items.push(item);
            }
        }
        shards
    }

    /// Passes the kept messages to other shards. Returns how often a mailbox was full, and the
    /// number of dropped messages.
    pub(crate) fn post(&mut self) -> (u64, u64) {
        let mut full = 0;
        if self.held > 0 {
            for (shard, outgoing) in self.outgoing.iter_mut().enumerate().filter(|(_, one)| !one.items.is_empty()) {
                let items = std::mem::take(&mut outgoing.items);
                let bytes: usize = items.iter().map(Item::bytes).sum();
                match self.exchange.post(shard, Parcel { items, is_forwarded: false }) {
                    Err(TrySendError::Full(parcel)) => {
                        full += u64::from(!outgoing.is_waiting);
                        *outgoing = Outgoing { items: parcel.items, is_waiting: true };
                    }
                    // A shard that has ended has no subscribers.
                    Ok(()) | Err(TrySendError::Disconnected(_)) => {
                        outgoing.is_waiting = false;
                        self.held -= bytes;
                    }
                }
            }
        }
        (full, std::mem::take(&mut self.dropped))
    }
}

impl Outgoing {
    /// Adds a message to a parcel at its limit: it replaces an earlier one of its topic and key if it
    /// is at most `allowance` bytes longer; otherwise it is dropped, and counted in the gap of its
    /// topic. Returns the number of bytes that are removed, and the number that are added.
    fn coalesce(&mut self, item: Item, is_keyed: bool, allowance: usize) -> (usize, usize) {
        let Content::Message { key, .. } = item.content else { return (0, 0) };
        let same =
            |other: &Item| is_keyed && matches!(other.content, Content::Message { key: other, .. } if other == key);
        let of_topic = |other: &&mut Item| other.topic == item.topic;
        if let Some(at) = self.items.iter().position(|other| same(other) && other.topic == item.topic)
            && item.bytes() <= self.items[at].bytes() + allowance
        {
            // The order is that of the last updates.
            let (removed, added) = (self.items.remove(at).bytes(), item.bytes());
            self.items.push(item);
            return (removed, added);
        }
        let gap = self.items.iter_mut().filter(of_topic).find_map(|other| match &mut other.content {
            Content::Gap(count) => Some(count),
            Content::Message { .. } => None,
        });
        if let Some(count) = gap {
            *count += 1;
            return (0, 0);
        }
        let gap = Item { content: Content::Gap(1), ..item };
        let added = gap.bytes();
        self.items.push(gap);
        (0, added)
    }
}
