//! The queue between the shards and the reader of a tap.

use super::event::TapEvent;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant, SystemTime};

/// What an event counts towards the capacity besides its bytes: more than its memory in the queue.
pub(super) const EVENT_COST: usize = 256;

/// The options of a tap.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TapOptions {
    pub(super) connections: u32,
    capacity: usize,
}

impl Default for TapOptions {
    fn default() -> Self {
        Self { connections: 1, capacity: 16 * 1024 * 1024 }
    }
}

impl TapOptions {
    /// The number of connections that are traced, over all shards: the first ones that are accepted
    /// or established. Default 1. When all of them have ended, the tap costs nothing any more.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// The maximum number of bytes in the queue, over all shards, with 256 for each event. Default
    /// 16 MiB. What does not fit is lost.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }
}

/// Traces connections of a server or a client ([`Config::tap`](crate::Config::tap)).
///
/// A clone is the same tap. Off by default. On a connection that is not traced a tap costs a look-up
/// per receive and send, until no further connection is to be traced. On one that is traced, every
/// byte is copied, and each receive and send takes a memory allocation and, while the reader sleeps,
/// a system call.
///
/// ```
/// use ringway::{Config, TapKind, TapOptions, WireTap};
/// use std::thread;
///
/// let (tap, reader) = WireTap::new(TapOptions::default().connections(10));
/// let config = Config::default().tap(Some(tap.clone()));
/// let writer = thread::spawn(move || {
///     for event in reader {
///         if let TapKind::Bytes { direction, bytes, .. } = event.kind {
///             println!("{} {direction:?} {} bytes", event.connection, bytes.len());
///         }
///     }
/// });
/// // Here the server runs with this configuration.
/// # drop(config);
/// tap.finish();
/// writer.join().expect("the thread does not panic");
/// ```
#[derive(Clone, Debug)]
pub struct WireTap {
    queue: Sender<Entry>,
    shared: Arc<TapState>,
}

/// The receiving side of a tap: an iterator over its events, in the order of the shards' threads.
/// The events of one connection are in their order.
///
/// When it is dropped, tracing ends.
#[derive(Debug)]
pub struct TapReader {
    queue: Receiver<Entry>,
    shared: Arc<TapState>,
}

#[derive(Debug)]
struct TapState {
    options: TapOptions,
    /// The number of connections traced so far.
    opened: AtomicU32,
    /// The bytes in the queue, as they count towards the capacity.
    queued: AtomicUsize,
    /// The bytes that found the queue full.
    lost: AtomicU64,
    began: Instant,
    began_at: SystemTime,
}

/// An entry of the queue, with what it counts.
#[derive(Debug)]
enum Entry {
    Event(TapEvent, usize),
    /// Nothing follows.
    Finish,
}

/// The queue has no reader any more.
#[derive(Debug)]
pub(super) struct Unread;

impl WireTap {
    /// Creates a tap, and the reader of its events.
    #[must_use]
    pub fn new(options: TapOptions) -> (Self, TapReader) {
        let (sender, receiver) = channel();
        let shared = Arc::new(TapState {
            options,
            opened: AtomicU32::new(0),
            queued: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            began: Instant::now(),
            began_at: SystemTime::now(),
        });
        (Self { queue: sender, shared: Arc::clone(&shared) }, TapReader { queue: receiver, shared })
    }

    /// Ends the reader's iteration after the events that are queued. To be called when the shards
    /// have ended: later events are lost.
    pub fn finish(&self) {
        // Without a reader there is nothing to end.
        let _ = self.queue.send(Entry::Finish);
    }

    /// The wall-clock time of `now`.
    pub(super) fn time(&self, now: Instant) -> SystemTime {
        self.shared.began_at + now.checked_duration_since(self.shared.began).unwrap_or(Duration::ZERO)
    }

    /// The number of a connection that is to be traced; `None` if it is one too many.
    pub(super) fn number(&self) -> Option<u32> {
        let max = self.shared.options.connections;
        let next = |opened: u32| (opened < max).then(|| opened + 1);
        let before = self.shared.opened.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        before.ok().map(|before| before + 1)
    }

    /// Whether no further connection is traced.
    pub(super) fn is_exhausted(&self) -> bool {
        self.shared.opened.load(Ordering::Relaxed) >= self.shared.options.connections
    }

    /// Reserves room in the queue. Returns whether there was enough.
    pub(super) fn reserve(&self, cost: usize) -> bool {
        let capacity = self.shared.options.capacity;
        let add = |queued: usize| queued.checked_add(cost).filter(|queued| *queued <= capacity);
        self.shared.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Gives back room that was reserved.
    pub(super) fn release(&self, cost: usize) {
        self.shared.queued.fetch_sub(cost, Ordering::Relaxed);
    }

    /// Counts bytes that have found the queue full.
    pub(super) fn lose(&self, bytes: u64) {
        self.shared.lost.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Queues an event, for which `cost` was reserved.
    pub(super) fn send(&self, event: TapEvent, cost: usize) -> Result<(), Unread> {
        self.queue.send(Entry::Event(event, cost)).map_err(|_| Unread)
    }
}

impl TapReader {
    /// The next event, without waiting; `None` if none is queued now, or after the last one.
    pub fn try_next(&mut self) -> Option<TapEvent> {
        match self.queue.try_recv() {
            Ok(entry) => self.take(entry),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// The number of bytes of traced connections that were lost so far, because the queue was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// The number of bytes in the queue, as they count towards [`TapOptions::capacity`].
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    fn take(&mut self, entry: Entry) -> Option<TapEvent> {
        match entry {
            Entry::Event(event, cost) => {
                self.shared.queued.fetch_sub(cost, Ordering::Relaxed);
                Some(event)
            }
            Entry::Finish => {
                // The sender of this queue is gone: the iteration stays at its end.
                self.queue = channel().1;
                None
            }
        }
    }
}

impl Iterator for TapReader {
    type Item = TapEvent;

    /// Waits for the next event. `None` after [`WireTap::finish`], and when the tap is dropped.
    fn next(&mut self) -> Option<TapEvent> {
        let entry = self.queue.recv().ok()?;
        self.take(entry)
    }
}
