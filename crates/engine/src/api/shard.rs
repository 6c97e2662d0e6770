//! The shard that a handler runs on: as the handler sees it, and from other threads.

use crate::api::connection::Connection;
use crate::api::endpoint::Endpoint;
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::api::request::PeerAddress;
use crate::api::response::Upgrade;
use crate::session::attempt::Attempt;
use crate::session::link::{Link, SessionPhase};
use crate::shard::core::{Core, Counters};
use crate::shard::mailbox::{Mailbox, PostError};
use ringway_io::{Slot, Waker};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The shard that a handler runs on, lent to it for one call.
///
/// ```
/// use ringway::{Connection, Handler, Message, Shard};
/// use std::time::Duration;
///
/// /// Sends the number of connections to all of them once a second.
/// struct Counting;
///
/// impl Handler for Counting {
///     type State = ();
///
///     fn start(&mut self, shard: &mut Shard<'_, Self>) {
///         self.woken(shard);
///     }
///
///     fn woken(&mut self, shard: &mut Shard<'_, Self>) {
///         let text = format!("{} connections on shard {}", shard.connection_count(), shard.index());
///         shard.for_each_connection(|conn| drop(conn.send(Message::text(&text))));
///         let next = shard.turn_time() + Duration::from_secs(1);
///         shard.wake_at(next);
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         conn.reply(message);
///     }
/// }
/// # let _ = Counting;
/// ```
pub struct Shard<'a, H: Handler> {
    pub(crate) core: &'a mut Core,
    /// The connection that the handler is called for.
    pub(crate) current: Option<&'a mut Link<H::State>>,
    pub(crate) surroundings: &'a mut dyn Surroundings<H>,
}

/// What a handler reaches beside the connection that it is called for.
pub(crate) trait Surroundings<H: Handler>: PeerAddress {
    /// Another connection of the shard.
    fn find(&mut self, slot: Slot) -> Option<&mut Link<H::State>>;

    /// The same, for reading.
    fn peek(&self, slot: Slot) -> Option<&Link<H::State>>;

    /// How many connections the shard has.
    fn connection_count(&self) -> usize;

    /// Of the other connections that are open, the one with the lowest index from this one on.
    fn next_open(&self, from: u32) -> Option<Slot>;

    fn control(&self) -> &Control<H>;

    fn control_mut(&mut self) -> &mut Control<H>;
}

/// What handlers ask of their shard.
pub(crate) struct Control<H: Handler> {
    pub(crate) index: usize,
    pub(crate) handle: ShardHandle<H>,
    /// Carried out between the calls of the handler.
    pub(crate) commands: VecDeque<Command<H::State>>,
    pub(crate) alarm: Option<Instant>,
}

/// What a shard does between the calls of its handler.
pub(crate) enum Command<S> {
    Connect(Attempt, S),
    Answer(Slot, Upgrade<S>),
    Terminate(Slot),
    Stop,
}

impl<H: Handler> Shard<'_, H> {
    /// The number of this shard, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.surroundings.control().index
    }

    /// The time at which this turn began. Costs nothing.
    #[must_use]
    pub fn turn_time(&self) -> Instant {
        self.core.now()
    }

    /// How many connections this shard has, those that are opening or closing included. Costs nothing.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.surroundings.connection_count()
    }

    /// Calls `visit` for each connection that is open, that of this call of the handler included, in no particular order.
    /// Connections that are opening or closing are left out, as are those that `visit` closes before their turn. Costs one
    /// look at each place of the table, some nanoseconds, and the calls.
    ///
    /// ```
    /// use ringway::{Connection, Handler, Message, Prepared};
    ///
    /// /// Sends each message to all.
    /// struct Room;
    ///
    /// impl Handler for Room {
    ///     type State = ();
    ///
    ///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
    ///         let Some(text) = message.as_text() else { return };
    ///         let prepared = Prepared::text(text);
    ///         conn.shard().for_each_connection(|conn| {
    ///             // One that does not read misses messages.
    ///             let _ = conn.send_prepared(&prepared);
    ///         });
    ///     }
    /// }
    /// # let _ = Room;
    /// ```
    pub fn for_each_connection(&mut self, mut visit: impl FnMut(&mut Connection<'_, H>)) {
        if let Some(slot) = self.current.as_ref().filter(|link| link.is_open()).map(|link| link.slot()) {
            visit(&mut Connection::new(self.reborrow(), slot));
        }
        let mut from = 0;
        while let Some(slot) = self.surroundings.next_open(from) {
            visit(&mut Connection::new(self.reborrow(), slot));
            from = slot.index() + 1;
        }
    }

    /// The connection of this name, open or closing; `None` when it is opening or has ended. Costs a look-up in an array.
    pub fn connection(&mut self, id: ConnectionId) -> Option<Connection<'_, H>> {
        let link = self.link(id.0)?;
        matches!(link.phase(), SessionPhase::Open | SessionPhase::Closing)
            .then(|| Connection::new(self.reborrow(), id.0))
    }

    /// What this shard has done against misbehaviour so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    /// How many bytes the connections of this shard hold together: assembly buffers, outboxes, stashes, heads and
    /// compressors, counted against [`Limits::max_memory`](crate::Limits::max_memory).
    #[must_use]
    pub fn memory_held(&self) -> usize {
        self.core.memory.held()
    }

    /// Opens a connection to `endpoint`, in the client role. Its addresses are tried one after another until one accepts
    /// the TCP connection, within [`Config::handshake_timeout`](crate::Config::handshake_timeout) in all.
    /// [`Handler::open`] is called when it is open, or [`Handler::failed`] with the reason of the last address; not before
    /// this call has returned.
    pub fn connect(&mut self, endpoint: &Arc<Endpoint>, state: H::State) {
        let attempt = Attempt::first(Arc::clone(endpoint), self.core);
        self.command(Command::Connect(attempt, state));
    }

    /// Gives the answer that [`Upgrade::defer`] deferred, at the end of this turn. Without effect when the connection has
    /// ended, or was refused because the handshake took too long.
    pub fn answer(&mut self, id: ConnectionId, upgrade: Upgrade<H::State>) {
        self.command(Command::Answer(id.0, upgrade));
    }

    /// Calls [`Handler::woken`] once at `when`, or as soon as the turn after it begins. A later call replaces an
    /// earlier one.
    pub fn wake_at(&mut self, when: Instant) {
        self.surroundings.control_mut().alarm = Some(when);
    }

    /// A handle that posts work to this shard from other threads.
    #[must_use]
    pub fn handle(&self) -> ShardHandle<H> {
        self.surroundings.control().handle.clone()
    }

    /// Stops this shard: it accepts no more connections, closes its own with 1001, and ends when they have ended, or after
    /// [`Config::stop_timeout`](crate::Config::stop_timeout).
    pub fn stop(&mut self) {
        self.command(Command::Stop);
    }

    pub(super) fn command(&mut self, command: Command<H::State>) {
        self.surroundings.control_mut().commands.push_back(command);
    }

    /// The connection of a slot: the current one is at hand, any other is looked up.
    #[inline]
    pub(crate) fn link(&mut self, slot: Slot) -> Option<&mut Link<H::State>> {
        match &mut self.current {
            Some(link) if link.slot() == slot => Some(link),
            _ => self.surroundings.find(slot),
        }
    }

    pub(crate) fn reborrow(&mut self) -> Shard<'_, H> {
        Shard { core: self.core, current: self.current.as_deref_mut(), surroundings: self.surroundings }
    }
}

impl<H: Handler> fmt::Debug for Shard<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.index())
    }
}

/// A piece of work from another thread.
pub(crate) type Work<H> = Box<dyn FnOnce(&mut H, &mut Shard<'_, H>) + Send>;

/// Posts work to one shard from any thread. Clones post to the same shard.
///
/// ```
/// use ringway::{Client, Connection, Handler, Message, Shards};
/// use std::sync::mpsc;
/// # struct Quiet;
/// # impl Handler for Quiet {
/// #     type State = ();
/// #     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
/// # }
///
/// let running = Client::new().shards(Shards::Count(1)).start(|_| Quiet)?;
/// let handle = running.handles()[0].clone();
/// let (answer, answered) = mpsc::channel();
/// handle.post(move |_handler, shard| answer.send(shard.connection_count()).expect("somebody waits"))?;
/// assert_eq!(answered.recv()?, 0);
/// running.stop();
/// running.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ShardHandle<H: Handler> {
    mailbox: Mailbox<Work<H>>,
}

impl<H: Handler> ShardHandle<H> {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { mailbox: Mailbox::new(waker) }
    }

    /// Runs `work` on the shard's thread, with its handler, in the order of posting.
    ///
    /// Costs an allocation, a lock, and one `write(2)` when the mailbox was empty.
    ///
    /// # Errors
    /// [`PostError::Full`] when 4096 pieces of work wait, [`PostError::Ended`] when the shard has ended.
    pub fn post(&self, work: impl FnOnce(&mut H, &mut Shard<'_, H>) + Send + 'static) -> Result<(), PostError> {
        self.mailbox.post(Box::new(work))
    }

    /// Tells the shard to stop, as [`Shard::stop`] does. Never waits, and works when the mailbox is full.
    pub fn stop(&self) {
        self.mailbox.request_stop();
    }

    pub(crate) fn is_stop_requested(&self) -> bool {
        self.mailbox.is_stop_requested()
    }

    /// Takes all that is waiting.
    pub(crate) fn take(&self) -> VecDeque<Work<H>> {
        self.mailbox.take()
    }

    /// The shard ends: what is waiting is dropped, and nothing more is taken.
    pub(crate) fn close(&self) {
        self.mailbox.close();
    }
}

impl<H: Handler> Clone for ShardHandle<H> {
    fn clone(&self) -> Self {
        Self { mailbox: self.mailbox.clone() }
    }
}

impl<H: Handler> fmt::Debug for ShardHandle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardHandle").finish_non_exhaustive()
    }
}
