//! `--app broadcast`: sends each message to all connections of all shards, its sender included.
//!
//! A shard sends a message to its own connections at once, and posts it to the others. The messages
//! of one sender arrive in their order. Two limits bound the memory: a connection for which too
//! much is queued (`--max-buffered`) misses a message, and so do the connections of a shard whose
//! mailbox is full, or to which [`MAX_POSTED`] bytes are on their way. What is missed is counted.

use super::{App, Syntax, without_options};
use crate::serve::site;
use ringway::{Connection, Handler, Message, MessageKind, Prepared, Request, Response, Shard, ShardHandle, Upgrade};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) const SYNTAX: Syntax = Syntax {
    name: "broadcast",
    example: "broadcast",
    help: "Send each message to all connections",
    parse: |options| without_options(App::Broadcast, options),
};

/// The maximum number of bytes on their way to one shard. A single message may be larger.
const MAX_POSTED: usize = 16 << 20;

/// What the shards share.
#[derive(Default)]
pub(crate) struct BroadcastHub {
    peers: Mutex<Vec<Peer>>,
    counts: BroadcastCounts,
}

/// The messages of all shards.
#[derive(Debug, Default)]
struct BroadcastCounts {
    messages: AtomicU64,
    copies: AtomicU64,
    missed: AtomicU64,
    missed_by_shards: AtomicU64,
}

impl fmt::Display for BroadcastHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BroadcastCounts { messages, copies, missed, missed_by_shards } = &self.counts;
        let [messages, copies, missed, by_shards] =
            [messages, copies, missed, missed_by_shards].map(|count| count.load(Ordering::Relaxed));
        write!(
            f,
            "{messages} messages, {copies} copies; {missed} copies skipped because their readers were slow, \
             {by_shards} messages to a shard because it was"
        )
    }
}

/// A shard, as the others see it.
#[derive(Clone)]
struct Peer {
    index: usize,
    handle: ShardHandle<BroadcastApp>,
    /// The bytes on their way to it.
    posted: Arc<AtomicUsize>,
}

impl Peer {
    /// Posts a message. Returns whether the shard has room for it.
    fn post(&self, message: &Prepared) -> bool {
        let len = message.payload().len();
        if self.posted.load(Ordering::Relaxed) + len > MAX_POSTED.max(len) {
            return false;
        }
        self.posted.fetch_add(len, Ordering::Relaxed);
        let (message, posted) = (message.clone(), Arc::clone(&self.posted));
        let outcome = self.handle.post(move |app, shard| {
            posted.fetch_sub(len, Ordering::Relaxed);
            app.deliver(shard, &message);
        });
        if outcome.is_err() {
            self.posted.fetch_sub(len, Ordering::Relaxed);
        }
        outcome.is_ok()
    }
}

/// The application of one shard.
pub(crate) struct BroadcastApp {
    hub: Arc<BroadcastHub>,
    index: usize,
    /// The other shards. One that starts later has no connections yet.
    peers: Vec<Peer>,
}

impl BroadcastApp {
    pub(crate) fn new(index: usize, hub: Arc<BroadcastHub>) -> Self {
        Self { hub, index, peers: Vec::new() }
    }

    /// Sends a message to the connections of this shard.
    fn deliver(&mut self, shard: &mut Shard<'_, Self>, message: &Prepared) {
        let (mut copies, mut missed) = (0, 0);
        shard.for_each_connection(|conn| {
            let is_accepted = conn.send_prepared(message).is_accepted();
            *if is_accepted { &mut copies } else { &mut missed } += 1;
        });
        self.hub.counts.copies.fetch_add(copies, Ordering::Relaxed);
        self.hub.counts.missed.fetch_add(missed, Ordering::Relaxed);
    }
}

impl Handler for BroadcastApp {
    type State = ();

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        let me = Peer { index: self.index, handle: shard.handle(), posted: Arc::default() };
        let mut peers = self.hub.peers.lock().unwrap_or_else(PoisonError::into_inner);
        // Shards that have started before are told of this one, which takes what they post from now
        // on.
        for peer in &*peers {
            let me = me.clone();
            // A mailbox is empty before its shard has connections, unless the shard has ended.
            let _ = peer.handle.post(move |app, _| app.peers.push(me));
        }
        self.peers.clone_from(&peers);
        peers.push(me);
    }

    fn request(&mut self, request: &Request<'_>) -> Response {
        site::respond(request)
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let prepared = match (message.kind(), message.as_text()) {
            (MessageKind::Text, Some(text)) => Prepared::text(text),
            _ => Prepared::binary(message.payload()),
        };
        self.hub.counts.messages.fetch_add(1, Ordering::Relaxed);
        for peer in &self.peers {
            debug_assert_ne!(peer.index, self.index, "a shard sends to its own connections itself");
            if !peer.post(&prepared) {
                self.hub.counts.missed_by_shards.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.deliver(&mut conn.shard(), &prepared);
    }
}
