//! The shard of a handler: the handler's view, and the handle for other threads.

use crate::api::connection::Connection;
use crate::api::endpoint::Endpoint;
use crate::api::handler::Handler;
use crate::api::id::{ConnectionId, TimerId};
use crate::api::request::PeerAddress;
use crate::api::response::Upgrade;
use crate::api::topic::{Published, TopicLimit, TopicPolicy};
use crate::run::readiness::Readiness;
use crate::session::attempt::Attempt;
use crate::session::link::{Link, SessionPhase};
use crate::shard::core::{Core, Counters};
use crate::shard::drain::DrainReason;
use crate::shard::mailbox::{Mailbox, MailboxCounts, PostError};
use crate::shard::timers::TimerOwner;
use crate::tls::table::ListenerTls;
use ringway_codec::Prepared;
use ringway_io::{DatagramSocket, Listener, Slot, Stats, Waker};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shard of a handler, lent to it for one call.
///
/// ```
/// use ringway::{Connection, Handler, Message, Shard, Request, Upgrade};
/// use std::time::Duration;
///
/// /// Sends the number of connections to every connection once a second.
/// struct Counting;
///
/// impl Handler for Counting {
///     type State = ();
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
///         Upgrade::accept(())
///     }
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

/// The parts of the shard that a handler can use, apart from the current connection.
pub(crate) trait Surroundings<H: Handler>: PeerAddress {
    /// Another connection of the shard.
    fn find(&mut self, slot: Slot) -> Option<&mut Link<H::State>>;

    /// As [`find`](Surroundings::find), for reading.
    fn peek(&self, slot: Slot) -> Option<&Link<H::State>>;

    /// The number of connections of the shard.
    fn connection_count(&self) -> usize;

    /// The open connection with the lowest index of at least `from`, apart from the current one.
    fn next_open(&self, from: u32) -> Option<Slot>;

    /// The counters of the driver.
    fn stats(&self) -> &Stats;

    fn control(&self) -> &Control<H>;

    /// Duplicates of the driver's listeners, with their numbers.
    fn duplicate_listeners(&self) -> io::Result<Vec<(usize, Listener)>>;

    /// Duplicates of the driver's sockets for datagrams.
    fn duplicate_datagrams(&self) -> io::Result<Vec<DatagramSocket>>;

    /// Whether the driver still listens, or has an accept in flight, or receives datagrams.
    fn has_listeners(&self) -> bool;

    fn control_mut(&mut self) -> &mut Control<H>;
}

/// The requests of handlers to their shard.
pub(crate) struct Control<H: Handler> {
    pub(crate) index: usize,
    pub(crate) handle: ShardHandle<H>,
    /// Executed between calls of the handler.
    pub(crate) commands: VecDeque<Command<H::State>>,
    pub(crate) alarm: Option<Instant>,
}

/// A command of a handler, executed by the shard between calls of the handler.
pub(crate) enum Command<S> {
    Connect(Attempt, S),
    RequestUpgrade(Slot),
    Answer(Slot, Upgrade<S>),
    Terminate(Slot),
    Abort(Slot),
    Drain(DrainReason),
    StopListening,
}

impl<H: Handler> Shard<'_, H> {
    /// Replaces the certificates of a listener. Open connections keep theirs.
    pub(crate) fn set_tls(&mut self, listener: usize, tls: ListenerTls) {
        if let Some(table) = &mut self.core.tls {
            table.reconfigure(listener, tls);
        }
    }

    /// Duplicates of the listeners of this shard, with the driver's numbers.
    pub(crate) fn duplicate_listeners(&self) -> io::Result<Vec<(usize, Listener)>> {
        self.surroundings.duplicate_listeners()
    }

    /// Duplicates of the sockets for datagrams of this shard.
    pub(crate) fn duplicate_datagrams(&self) -> io::Result<Vec<DatagramSocket>> {
        self.surroundings.duplicate_datagrams()
    }

    /// Ends accepting after this call of the handler. The queues of the listeners are left alone.
    pub(crate) fn stop_listening(&mut self) {
        self.surroundings.control_mut().commands.push_back(Command::StopListening);
    }

    /// Whether this shard still accepts, or an accept is in flight.
    pub(crate) fn has_listeners(&self) -> bool {
        self.surroundings.has_listeners()
    }

    /// The number of this shard, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.surroundings.control().index
    }

    /// The start time of this turn. Costs nothing.
    #[must_use]
    pub fn turn_time(&self) -> Instant {
        self.core.now()
    }

    /// The number of connections of this shard, including those that are opening or closing. Costs
    /// nothing.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.surroundings.connection_count()
    }

    /// Calls `visit` for each open connection, including the current one, in unspecified order.
    /// Connections that are opening or closing are skipped, and so are those that `visit` closes
    /// before they are reached. Costs a few nanoseconds for each slot of the session table, and the
    /// calls.
    ///
    /// ```
    /// use ringway::{Connection, Handler, Message, Prepared, Request, Upgrade};
    ///
    /// /// Sends each message to all connections.
    /// struct Room;
    ///
    /// impl Handler for Room {
    ///     type State = ();
    ///
    ///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
    ///         Upgrade::accept(())
    ///     }
    ///
    ///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
    ///         let Some(text) = message.as_text() else { return };
    ///         let prepared = Prepared::text(text);
    ///         conn.shard().for_each_connection(|conn| {
    ///             // A peer that does not read misses messages.
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

    /// The connection with this identifier, open or closing; `None` if it is opening or has ended.
    /// Costs a look-up in an array.
    pub fn connection(&mut self, id: ConnectionId) -> Option<Connection<'_, H>> {
        let link = self.link(id.0)?;
        matches!(
            link.phase(),
            SessionPhase::Open | SessionPhase::PlainStream | SessionPhase::PlainDatagrams | SessionPhase::Closing
        )
        .then(|| Connection::new(self.reborrow(), id.0))
    }

    /// The counters of this shard since its start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    /// The counters of the driver of this shard since its start, as of the beginning of this turn.
    #[must_use]
    pub fn driver_stats(&self) -> Stats {
        *self.surroundings.stats()
    }

    /// Counts bytes that the application holds for connections against
    /// [`Limits::max_memory`](crate::Limits::max_memory), until [`Shard::discharge`]. Costs an
    /// addition. [`Handler::held`] reports them by connection.
    pub fn charge(&mut self, bytes: usize) {
        self.core.memory.charge(bytes);
    }

    /// Ends the count of bytes that [`Shard::charge`] has counted. More than were counted end none.
    pub fn discharge(&mut self, bytes: usize) {
        let bytes = bytes.min(self.core.memory.held());
        self.core.memory.discharge(bytes);
    }

    /// The number of bytes that the connections of this shard hold together: assembly buffers,
    /// outboxes, stashes, heads and compressors, counted against
    /// [`Limits::max_memory`](crate::Limits::max_memory).
    #[must_use]
    pub fn memory_held(&self) -> usize {
        self.core.memory.held()
    }

    /// Publishes a message to all subscribers of a topic, on this and all other shards.
    ///
    /// A connection receives the messages that its shard publishes, and those that it is sent
    /// directly, in the order of the calls. Messages of another shard, or of a
    /// [`Publisher`](crate::Publisher), arrive in the order in which that one has published them.
    ///
    /// The call costs a look-up of the name and one entry in a list, whatever the number of
    /// subscribers. The message is passed to them at the end of this turn, and of the following
    /// ones if they are many.
    ///
    /// ```
    /// use ringway::{Connection, Handler, Message, Prepared, Request, Upgrade};
    ///
    /// /// Each message is published in the room of its connection.
    /// struct Rooms;
    ///
    /// impl Handler for Rooms {
    ///     /// The name of the room.
    ///     type State = String;
    ///
    ///     fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
    ///         Upgrade::accept(request.target().to_owned())
    ///     }
    ///
    ///     fn open(&mut self, conn: &mut Connection<'_, Self>) {
    ///         let room = conn.state().clone();
    ///         if let Err(limit) = conn.subscribe(&room) {
    ///             eprintln!("{limit}");
    ///         }
    ///     }
    ///
    ///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
    ///         let room = conn.state().clone();
    ///         let Some(text) = message.as_text() else { return };
    ///         if let Err(limit) = conn.shard().publish(&room, &Prepared::text(text)) {
    ///             eprintln!("{limit}");
    ///         }
    ///     }
    /// }
    /// # let _ = Rooms;
    /// ```
    ///
    /// # Errors
    /// [`TopicLimit::Backlog`] if
    /// [`Limits::max_published`](crate::Limits::max_published) bytes wait: publish the message in a
    /// later turn. [`TopicLimit::TooLarge`] and [`TopicLimit::Name`] for a message or name that is
    /// too long; [`TopicLimit::Keys`] as for [`Shard::publish_keyed`].
    pub fn publish(&mut self, topic: &str, message: &Prepared) -> Result<Published, TopicLimit> {
        self.core.publish(topic, 0, message, None)
    }

    /// Publishes a message with a key. A topic with [`TopicPolicy::Latest`] keeps it until the next
    /// one with the same key, for subscribers that come later or read slowly. Other topics ignore
    /// the key. [`Shard::publish`] uses key 0.
    ///
    /// # Errors
    /// As [`Shard::publish`], and [`TopicLimit::Keys`] if the topic keeps
    /// [`Limits::max_topic_keys`](crate::Limits::max_topic_keys) others.
    pub fn publish_keyed(&mut self, topic: &str, key: u64, message: &Prepared) -> Result<Published, TopicLimit> {
        self.core.publish(topic, key, message, None)
    }

    /// Sets what a topic does with messages for slow subscribers on this shard. Each shard has its
    /// own setting: set it in [`Handler::start`]. A topic with another policy than
    /// [`TopicPolicy::Close`] exists without subscribers; setting that one again ends it.
    ///
    /// # Errors
    /// [`TopicLimit::Topics`] or [`TopicLimit::Name`].
    pub fn set_topic(&mut self, topic: &str, policy: TopicPolicy) -> Result<(), TopicLimit> {
        self.core.with_topics(|topics, limits| topics.set_policy(topic, policy, limits))
    }

    /// The number of subscribers of a topic on this shard. Costs a look-up of the name.
    #[must_use]
    pub fn subscribers(&self, topic: &str) -> usize {
        self.core.topics.as_ref().map_or(0, |topics| topics.subscribers(topic))
    }

    /// The number of topics of this shard. Costs nothing.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.core.topics.as_ref().map_or(0, |topics| topics.registry.len())
    }

    /// The number of subscriptions on this shard. Costs nothing.
    #[must_use]
    pub fn subscription_count(&self) -> usize {
        self.core.topics.as_ref().map_or(0, |topics| topics.registry.subscriptions())
    }

    /// Opens a connection to `endpoint`, in the client role. Its addresses are tried in turn until
    /// one accepts the TCP connection, within
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout) in total. [`Handler::open`]
    /// is called when the connection is open, or [`Handler::failed`] with the error of the last
    /// address; neither is called before this call returns.
    pub fn connect(&mut self, endpoint: &Arc<Endpoint>, state: H::State) {
        let attempt = Attempt::first(Arc::clone(endpoint), self.core);
        self.command(Command::Connect(attempt, state));
    }

    /// Sends the request of a connection that [`Handler::connected`] was called for, at the end of
    /// this turn. Has no effect if that was done before, or if the connection has failed.
    ///
    /// ```
    /// use ringway::{Connection, ConnectionId, Endpoint, Handler, Message, Request, Shard, Upgrade};
    /// use std::sync::Arc;
    ///
    /// /// Opens 1000 connections of TCP, and then upgrades all of them.
    /// struct Fleet {
    ///     /// With `hold_before_upgrade`.
    ///     endpoint: Arc<Endpoint>,
    ///     held: Vec<ConnectionId>,
    /// }
    ///
    /// impl Handler for Fleet {
    ///     type State = ();
    ///
    ///     fn start(&mut self, shard: &mut Shard<'_, Self>) {
    ///         (0..1000).for_each(|_| shard.connect(&self.endpoint, ()));
    ///     }
    ///
    ///     fn connected(&mut self, shard: &mut Shard<'_, Self>, (): &mut (), id: ConnectionId) {
    ///         self.held.push(id);
    ///         if self.held.len() == 1000 {
    ///             self.held.drain(..).for_each(|id| shard.request_upgrade(id));
    ///         }
    ///     }
    ///
    ///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
    ///         Upgrade::accept(()) // for servers only: a client is not asked
    ///     }
    ///
    ///     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
    /// }
    /// # let _ = |endpoint| Fleet { endpoint, held: Vec::new() };
    /// ```
    pub fn request_upgrade(&mut self, id: ConnectionId) {
        self.command(Command::RequestUpgrade(id.0));
    }

    /// Ends a connection that is not open yet, in either role, at the end of this turn: its slot and
    /// its socket are free then. Its state is dropped, and the handler is not called. An open
    /// connection ends as by [`Connection::terminate`]. Has no effect if the connection has ended.
    pub fn abort(&mut self, id: ConnectionId) {
        if let Some(mut connection) = self.connection(id) {
            return connection.terminate();
        }
        self.command(Command::Abort(id.0));
    }

    /// Answers a request that [`Upgrade::defer`] deferred, at the end of this turn. Has no effect
    /// if the connection has ended, or was refused because the handshake timed out.
    pub fn answer(&mut self, id: ConnectionId, upgrade: Upgrade<H::State>) {
        self.command(Command::Answer(id.0, upgrade));
    }

    /// Sets a timer of this shard: [`Handler::shard_timer`] is called once, not before this time has
    /// passed, and at most 2 ms later unless the shard is busy. [`TimerId::token`] returns `token`
    /// then. The number of timers is not limited; each takes 48 bytes and a look-up in a hash table.
    /// For work that concerns no single connection, such as the end of a round of a game. For a
    /// higher resolution than 1 ms, see [`wake_at`](Shard::wake_at).
    ///
    /// ```
    /// use ringway::{Connection, Handler, Message, Request, Shard, TimerId, Upgrade};
    /// use std::time::Duration;
    ///
    /// /// Tells all clients the end of each round.
    /// struct Rounds;
    ///
    /// impl Handler for Rounds {
    ///     type State = ();
    ///
    ///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
    ///         Upgrade::accept(())
    ///     }
    ///
    ///     fn start(&mut self, shard: &mut Shard<'_, Self>) {
    ///         shard.set_timer(Duration::from_secs(30), 1);
    ///     }
    ///
    ///     fn shard_timer(&mut self, shard: &mut Shard<'_, Self>, id: TimerId) {
    ///         let text = format!("the end of round {}", id.token());
    ///         shard.for_each_connection(|conn| drop(conn.send(Message::text(&text))));
    ///         shard.set_timer(Duration::from_secs(30), id.token() + 1);
    ///     }
    ///
    ///     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
    /// }
    /// # let _ = Rounds;
    /// ```
    pub fn set_timer(&mut self, after: Duration, token: u64) -> TimerId {
        self.core.set_user_timer(TimerOwner::Shard, after, token)
    }

    /// Cancels a timer of this shard. Returns `false` if the timer has fired, was cancelled before,
    /// or belongs to a connection. Costs O(1).
    pub fn cancel_timer(&mut self, id: TimerId) -> bool {
        self.core.timers.clear(TimerOwner::Shard, id)
    }

    /// Calls [`Handler::woken`] once at `when`, or as soon afterwards as a turn begins. A later
    /// call replaces an earlier one.
    ///
    /// On an idle shard it is late by the timer slack of the thread
    /// ([`Config::timer_slack`](crate::Config::timer_slack)) and the time that the kernel takes to
    /// wake the thread, which is some microseconds, or some tens on a virtual machine. A thread
    /// that polls ([`Config::busy_poll`](crate::Config::busy_poll)) is not asleep, and is late by
    /// less. On a busy shard the completions of the turn are handled before. Before Linux 5.11,
    /// epoll rounds the time up to a millisecond.
    pub fn wake_at(&mut self, when: Instant) {
        self.surroundings.control_mut().alarm = Some(when);
    }

    /// A handle that posts work to this shard from other threads.
    #[must_use]
    pub fn handle(&self) -> ShardHandle<H> {
        self.surroundings.control().handle.clone()
    }

    /// Stops this shard, as [`Shard::drain`] with [`DrainReason::Stop`] does.
    pub fn stop(&mut self) {
        self.drain(DrainReason::Stop);
    }

    /// Drains this shard: it ends accepting, closes its connections, and ends when all have ended,
    /// or after [`Config::drain_delay`](crate::Config::drain_delay) and
    /// [`Config::stop_timeout`](crate::Config::stop_timeout). The
    /// [guide](crate::guide::running#draining) has the order. Has no effect if it drains already.
    pub fn drain(&mut self, reason: DrainReason) {
        self.command(Command::Drain(reason));
    }

    /// Whether this shard has begun to drain. Costs nothing.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.core.drain.is_some()
    }

    /// Whether the server wants new connections: the state that all shards share. It becomes
    /// draining with the first shard that drains.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.core.readiness
    }

    pub(super) fn command(&mut self, command: Command<H::State>) {
        self.surroundings.control_mut().commands.push_back(command);
    }

    /// The connection of a slot: the current one, or a look-up for any other.
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

/// Work posted from another thread.
pub(crate) type Work<H> = Box<dyn FnOnce(&mut H, &mut Shard<'_, H>) + Send>;

/// Posts work to one shard from any thread. Clones post to the same shard.
///
/// ```
/// use ringway::{Client, Connection, Handler, Message, Shards, Request, Upgrade};
/// use std::sync::mpsc;
/// # struct Quiet;
/// # impl Handler for Quiet {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &ringway::Request<'_>) -> ringway::Upgrade<()> { ringway::Upgrade::accept(()) }
/// #     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
/// # }
///
/// let running = Client::new().shards(Shards::Count(1)).start(|_| Quiet)?;
/// let handle = running.handles()[0].clone();
/// let (answer, answered) = mpsc::channel();
/// handle.post(move |_handler, shard| answer.send(shard.connection_count()).expect("the receiver is open"))?;
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
    /// Costs an allocation, a lock, and one `write(2)` if the mailbox was empty.
    ///
    /// # Errors
    /// [`PostError::Full`] if 4096 items of work are queued, [`PostError::Ended`] if the shard has
    /// ended.
    pub fn post(&self, work: impl FnOnce(&mut H, &mut Shard<'_, H>) + Send + 'static) -> Result<(), PostError> {
        self.mailbox.post(Box::new(work))
    }

    /// Stops the shard, as [`Shard::stop`] does. Never blocks, and works when the mailbox is full.
    pub fn stop(&self) {
        self.drain(DrainReason::Stop);
    }

    /// Drains the shard, as [`Shard::drain`] does. Never blocks, and works when the mailbox is full.
    pub fn drain(&self, reason: DrainReason) {
        self.mailbox.request_drain(reason);
    }

    pub(crate) fn mailbox_counts(&self) -> Arc<MailboxCounts> {
        self.mailbox.counts()
    }

    pub(crate) fn requested_drain(&self) -> Option<DrainReason> {
        self.mailbox.requested_drain()
    }

    /// Takes all queued work.
    pub(crate) fn take(&self) -> VecDeque<Work<H>> {
        self.mailbox.take()
    }

    /// Closes the mailbox: queued work is dropped, and no further work is accepted.
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
