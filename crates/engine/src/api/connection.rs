//! The handler's view of one open connection.

use crate::api::handler::Handler;
use crate::api::id::{ConnectionId, TimerId};
use crate::api::message::Message;
use crate::api::opening::OpeningTimes;
use crate::api::shard::{Command, Shard};
use crate::api::tls::TlsSession;
use crate::api::topic::{Published, TopicLimit};
use crate::session::link::Link;
use crate::shard::core::Core;
use crate::shard::memory::Pressure;
use crate::shard::timers::TimerOwner;
use crate::topics::delivery::{catch_up, deliver_first};
use http::HeaderMap;
use ringway_codec::{CloseCode, ClosePayload, CodeNotSendable, OpCode, Prepared, encode_close};
use ringway_io::{PeerCredentials, Slot, TcpInfo};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The reason why the session of a [`Connection`] is always found.
const REMOVED_BETWEEN_CALLS: &str = "a session is removed only between handler calls";

/// The outcome of sending a message.
///
/// ```
/// use ringway::{Connection, Handler, Message, Request, SendOutcome, Upgrade};
///
/// struct Feed;
///
/// impl Handler for Feed {
///     /// Lines not sent yet.
///     type State = Vec<String>;
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Vec<String>> {
///         Upgrade::accept(Vec::new())
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, _: Message<'_>) {
///         conn.state().extend((0..1000).map(|n| format!("line {n}")));
///         self.drained(conn);
///     }
///
///     fn drained(&mut self, conn: &mut Connection<'_, Self>) {
///         while let Some(line) = conn.state().pop() {
///             match conn.send(Message::text(&line)) {
///                 SendOutcome::Sent | SendOutcome::Queued(_) => {}
///                 // `drained` is called again when half of the queue is sent.
///                 _ => return conn.state().push(line),
///             }
///         }
///     }
/// }
/// # let _ = Feed;
/// ```
#[must_use = "a message that was handed back is not sent"]
#[derive(Debug)]
#[non_exhaustive]
pub enum SendOutcome<'m> {
    /// The message is sent at the end of this turn.
    Sent,
    /// The message is queued behind others; the value is the total number of queued bytes.
    /// [`Handler::drained`] is called when they have fallen to the low-water mark
    /// ([`Limits::low_water`](crate::Limits::low_water)), or are sent.
    Queued(usize),
    /// More than [`Limits::max_buffered`](crate::Limits::max_buffered) bytes would be queued: the
    /// message is handed back. [`Handler::drained`] is called when it can be sent.
    Full(Message<'m>),
    /// The payload has more than 1 GiB: the message is handed back. Send it in parts.
    TooLarge(Message<'m>),
    /// The connection is closing: the message is handed back, and no further message can be sent.
    Closed(Message<'m>),
}

impl<'m> SendOutcome<'m> {
    /// Whether the message is sent or queued.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Sent | Self::Queued(_))
    }

    /// The message, if it was handed back.
    #[must_use]
    pub fn into_message(self) -> Option<Message<'m>> {
        match self {
            Self::Sent | Self::Queued(_) => None,
            Self::Full(message) | Self::TooLarge(message) | Self::Closed(message) => Some(message),
        }
    }
}

/// A ping or a pong has more than 125 bytes of payload, the maximum of a control frame (RFC 6455
/// section 5.5).
///
/// ```
/// use ringway::{Connection, Handler, Message, PingTooLong, Request, Upgrade};
///
/// struct Pinging;
///
/// impl Handler for Pinging {
///     type State = ();
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
///         Upgrade::accept(())
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         if let Err(PingTooLong { len, .. }) = conn.ping(message.payload()) {
///             eprintln!("{len} bytes do not fit a ping");
///         }
///     }
/// }
/// # let _ = Pinging;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ping of {len} bytes is too long: give 0 to {MAX_PING}")]
#[non_exhaustive]
pub struct PingTooLong {
    /// The length of the payload in bytes.
    pub len: usize,
}

/// The maximum payload of a message to send. It keeps the count of queued bytes within 32 bits: one
/// message can be queued beyond `max_buffered`, which has the same maximum.
const MAX_PAYLOAD: usize = 1 << 30;

/// The maximum payload of a control frame in bytes (RFC 6455 section 5.5).
const MAX_PING: usize = 125;

/// One connection, open or closing, lent to the handler for one call.
///
/// Output that is queued during a turn is sent at its end, with one system call for all connections
/// of the shard.
///
/// ```
/// use ringway::{CloseCode, Connection, Handler, Message, MessageKind, Request, Upgrade};
///
/// /// Answers text and refuses binary messages.
/// struct Shouting;
///
/// impl Handler for Shouting {
///     type State = ();
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
///         Upgrade::accept(())
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         if message.kind() == MessageKind::Binary {
///             conn.close(CloseCode::UNSUPPORTED, "text only").expect("1003 may be sent");
///             return;
///         }
///         let loud = message.as_text().unwrap_or_default().to_uppercase();
///         if !conn.send(Message::text(&loud)).is_accepted() {
///             conn.terminate(); // the peer does not read
///         }
///     }
/// }
/// # let _ = Shouting;
/// ```
pub struct Connection<'a, H: Handler> {
    shard: Shard<'a, H>,
    slot: Slot,
}

impl<'a, H: Handler> Connection<'a, H> {
    /// Creates the view of a connection that is open or closing.
    #[inline]
    pub(crate) fn new(shard: Shard<'a, H>, slot: Slot) -> Self {
        Self { shard, slot }
    }

    /// The link of the connection's session, and the shard's core.
    #[inline]
    fn link(&mut self) -> (&mut Link<H::State>, &mut Core) {
        let Shard { core, current, surroundings } = &mut self.shard;
        let link = match current {
            Some(link) if link.slot() == self.slot => Some(&mut **link),
            _ => surroundings.find(self.slot),
        };
        (link.expect(REMOVED_BETWEEN_CALLS), core)
    }

    /// The identifier of the connection, for [`Shard::connection`].
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.slot)
    }

    /// The TLS session; `None` on a connection without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<TlsSession<'_>> {
        self.shard.core.tls_session(self.slot)
    }

    /// The peer's address; `None` if the connection is gone, or is one of a Unix socket: see
    /// [`Connection::peer_credentials`]. Costs one `getpeername(2)`.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.shard.surroundings.peer_address(self.slot)
    }

    /// The process, user and group at the other end of a Unix socket; `None` for TCP, or if the
    /// connection is gone. Those of a client are of the time when it connected, those of a server
    /// of the time when it began to listen. Costs one `getsockopt(2)` with `SO_PEERCRED` (unix(7)).
    #[must_use]
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.shard.surroundings.peer_credentials(self.slot)
    }

    /// The round-trip time and the retransmits of the TCP connection, as the kernel measures them;
    /// `None` if the connection is gone, or is one of a Unix socket. Costs one `getsockopt(2)` with
    /// `TCP_INFO` (tcp(7)), about a microsecond.
    ///
    /// ```
    /// use ringway::{Connection, Handler};
    ///
    /// fn has_lost_segments<H: Handler>(conn: &Connection<'_, H>) -> bool {
    ///     conn.tcp_info().is_some_and(|info| info.retransmits > 0)
    /// }
    /// ```
    #[must_use]
    pub fn tcp_info(&self) -> Option<TcpInfo> {
        self.shard.surroundings.tcp_info(self.slot)
    }

    /// The application's state of this connection.
    pub fn state(&mut self) -> &mut H::State {
        self.link().0.state.as_mut().expect("an open connection has the state that it was accepted with")
    }

    /// The shard that the connection is on.
    pub fn shard(&mut self) -> Shard<'_, H> {
        self.shard.reborrow()
    }

    /// The subprotocol that the opening handshake agreed on. Available during [`Handler::open`]
    /// only: copy it into the connection's state.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.peek()?.agreed()?.subprotocol.as_deref()
    }

    /// The header fields of the server's response, in the client role. Available during
    /// [`Handler::open`] only.
    #[must_use]
    pub fn response_headers(&self) -> Option<&HeaderMap> {
        Some(&self.peek()?.agreed()?.headers)
    }

    /// The durations of the stages in which the connection has opened, in the client role.
    /// Available during [`Handler::open`] only.
    #[must_use]
    pub fn opening_times(&self) -> Option<OpeningTimes> {
        self.peek()?.agreed()?.times
    }

    /// Sends a received message back unchanged. Has no effect on a connection that is closing.
    ///
    /// In the server role the payload is not copied: the reply's header is written in front of the
    /// payload, in the buffer that the kernel filled, and that buffer is sent. The reply is copied
    /// when few receive buffers are free, because peers read slowly, and when other output of the
    /// same call precedes it. In the client role the reply is masked into a new buffer.
    ///
    /// A message that was received compressed is compressed again, if it is long enough or
    /// [`Message::compress`] requests it.
    ///
    /// A reply is never handed back: while too much output waits for a peer, nothing is received
    /// from it. A handler that replies to other connections than the current one can exceed that
    /// limit; a connection for which 1 GiB waits is terminated.
    pub fn reply(&mut self, message: Message<'_>) {
        if self.buffered_amount() > MAX_PAYLOAD {
            return self.terminate();
        }
        // Only a message of the current connection lies in an input that is being decoded.
        let current = self.shard.current.as_ref().is_some_and(|link| link.slot() == self.slot);
        let (link, core) = self.link();
        catch_up(link, core);
        if link.is_open() {
            link.reply(message, current, core);
        }
    }

    /// Sends a message. It is handed back if more than
    /// [`Limits::max_buffered`](crate::Limits::max_buffered) bytes would be queued; if nothing is
    /// queued, a message of any size up to 1 GiB is accepted. Costs one copy of the payload, or its
    /// compression if compression was negotiated.
    #[inline]
    pub fn send<'m>(&mut self, message: Message<'m>) -> SendOutcome<'m> {
        if message.len() > MAX_PAYLOAD {
            return SendOutcome::TooLarge(message);
        }
        let (link, core) = self.link();
        catch_up(link, core);
        if !link.has_room(message.len(), false, core) {
            return hand_back(message, link.is_open());
        }
        let compress = message.is_to_be_compressed();
        if message.has_parts() {
            link.send_parts(message.kind(), message.head(), message.payload(), compress, core);
        } else {
            link.send_message(message.kind(), message.payload(), compress, core);
        }
        link.queued().map_or(SendOutcome::Sent, SendOutcome::Queued)
    }

    /// Sends a message that was encoded once for many connections; with compression negotiated, it
    /// is compressed once for all connections with the same window size. In the server role a long
    /// message is not copied; in the client role each send copies it, because every client frame
    /// has its own mask (RFC 6455 section 5.3).
    pub fn send_prepared<'m>(&mut self, prepared: &'m Prepared) -> SendOutcome<'m> {
        if prepared.payload().len() > MAX_PAYLOAD {
            return SendOutcome::TooLarge(Message::of(prepared.kind(), prepared.payload()));
        }
        let (link, core) = self.link();
        catch_up(link, core);
        if !link.has_room(prepared.payload().len(), true, core) {
            return hand_back(Message::of(prepared.kind(), prepared.payload()), link.is_open());
        }
        link.send_prepared(prepared, core);
        link.queued().map_or(SendOutcome::Sent, SendOutcome::Queued)
    }

    /// Subscribes to a topic: the connection receives what is published to it from now on, on any
    /// shard, until it unsubscribes or begins to close. Returns `false` if it has subscribed before.
    /// If the topic keeps the latest message of each key
    /// ([`TopicPolicy::Latest`](crate::TopicPolicy::Latest)), it receives these first.
    ///
    /// Costs a look-up of the name, one comparison for each topic of the connection, and about 20
    /// bytes. A topic is created by its first subscription; a name has 1 to 255 bytes.
    ///
    /// # Errors
    /// A [`TopicLimit`] if a limit is reached.
    pub fn subscribe(&mut self, topic: &str) -> Result<bool, TopicLimit> {
        let (link, core) = self.link();
        catch_up(link, core);
        if !link.is_open() {
            return Err(TopicLimit::Closing);
        }
        if core.memory.pressure() == Pressure::Full {
            return Err(TopicLimit::Memory);
        }
        let index = link.slot().index();
        let is_new = core.with_topics(|topics, limits| topics.subscribe(index, topic, limits))?;
        if is_new {
            deliver_first(link, topic, core);
        }
        Ok(is_new)
    }

    /// Ends the subscription to a topic. What was published before is still sent. Returns `false` if
    /// there was none.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        let (link, core) = self.link();
        catch_up(link, core);
        let index = link.slot().index();
        core.topics.is_some() && core.with_topics(|topics, _| topics.unsubscribe(index, topic))
    }

    /// Whether the connection has subscribed to a topic.
    #[must_use]
    pub fn is_subscribed(&self, topic: &str) -> bool {
        let Some(topics) = &self.shard.core.topics else { return false };
        topics.registry.find(topic).is_some_and(|topic| topics.registry.is_member(self.slot.index(), topic))
    }

    /// Publishes a message to all subscribers of a topic except this connection, as
    /// [`Shard::publish`] does. The connection need not be a subscriber.
    ///
    /// # Errors
    /// As [`Shard::publish`].
    pub fn publish(&mut self, topic: &str, message: &Prepared) -> Result<Published, TopicLimit> {
        self.publish_keyed(topic, 0, message)
    }

    /// Publishes a message with a key to all subscribers of a topic except this connection, as
    /// [`Shard::publish_keyed`] does.
    ///
    /// # Errors
    /// As [`Shard::publish`].
    pub fn publish_keyed(&mut self, topic: &str, key: u64, message: &Prepared) -> Result<Published, TopicLimit> {
        let (link, core) = self.link();
        catch_up(link, core);
        let except = Some(link.slot().index());
        core.publish(topic, key, message, except)
    }

    /// Sends a ping with up to 125 bytes. [`Handler::pong`] is called with the answer. Has no
    /// effect on a connection that is closing.
    ///
    /// # Errors
    /// [`PingTooLong`] for a longer payload.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), PingTooLong> {
        if payload.len() > MAX_PING {
            return Err(PingTooLong { len: payload.len() });
        }
        let (link, core) = self.link();
        catch_up(link, core);
        if link.is_open() {
            link.send(OpCode::Ping, payload, core);
        }
        Ok(())
    }

    /// Sends a pong that no ping has asked for, with up to 125 bytes: a sign of life that the peer
    /// does not answer (RFC 6455 section 5.5.3). The engine answers the pings of the peer by itself.
    /// Has no effect on a connection that is closing.
    ///
    /// # Errors
    /// [`PingTooLong`] for a longer payload.
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), PingTooLong> {
        if payload.len() > MAX_PING {
            return Err(PingTooLong { len: payload.len() });
        }
        let (link, core) = self.link();
        catch_up(link, core);
        if link.is_open() {
            link.send(OpCode::Pong, payload, core);
        }
        Ok(())
    }

    /// Begins the closing handshake. [`Handler::closed`] is called when it is complete; messages
    /// received until then are dropped. [`CloseCode::NO_STATUS`] sends a close frame without a
    /// code; a reason is cut to 123 bytes. Has no effect on a connection that is already closing.
    ///
    /// # Errors
    /// [`CodeNotSendable`] for a code that must not be sent ([`CloseCode::is_sendable`]); the
    /// connection stays open.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), CodeNotSendable> {
        let payload = if code == CloseCode::NO_STATUS { ClosePayload::EMPTY } else { encode_close(code, reason)? };
        let (link, core) = self.link();
        if link.is_open() {
            link.begin_close(code, reason, &payload, core);
        }
        Ok(())
    }

    /// Drops the connection at the end of this turn, without a close frame and without the queued
    /// output. Nothing is delivered or sent after this call. [`Handler::closed`] is called with
    /// [`Ending::Terminated`](crate::Ending::Terminated) and 1006. The peer receives a FIN, or a
    /// RST if received bytes were unread.
    pub fn terminate(&mut self) {
        let slot = self.slot;
        let (link, core) = self.link();
        link.terminate(core);
        self.shard.command(Command::Terminate(slot));
    }

    /// Sets a timer: [`Handler::timer`] is called once, not before this time has passed, and at
    /// most 2 ms later unless the shard is busy. The number of timers of a connection is not
    /// limited; each takes 48 bytes and a look-up in a hash table. Timers end with the connection:
    /// none fires after both close frames are sent.
    pub fn set_timer(&mut self, after: Duration) -> TimerId {
        self.set_timer_with(after, 0)
    }

    /// As [`set_timer`](Connection::set_timer). [`TimerId::token`] returns `token` when the timer
    /// fires: the kind of the timer, or an index into the state of the application.
    pub fn set_timer_with(&mut self, after: Duration, token: u64) -> TimerId {
        self.shard.core.set_user_timer(TimerOwner::Connection(self.slot), after, token)
    }

    /// Cancels a timer of this connection. Returns `false` if the timer has fired, was cancelled
    /// before, or belongs to another connection or to the shard. Costs O(1).
    pub fn cancel_timer(&mut self, id: TimerId) -> bool {
        self.shard.core.timers.clear(TimerOwner::Connection(self.slot), id)
    }

    /// Stops the delivery of messages at once. Pings and a close in front of the next message are
    /// still answered; behind it the kernel's flow control stops the peer. Input that is already
    /// received is kept.
    pub fn pause(&mut self) {
        let (link, core) = self.link();
        link.pause(core);
    }

    /// Resumes the delivery of messages at the end of this turn. Has no effect on a connection that
    /// is not paused.
    pub fn resume(&mut self) {
        let (link, core) = self.link();
        link.resume(core);
    }

    /// Whether messages can be compressed in both directions: the opening handshake agreed on
    /// permessage-deflate.
    #[must_use]
    pub fn is_compressing(&self) -> bool {
        self.peek().is_some_and(Link::is_compressing)
    }

    /// The number of bytes that wait for the peer, including frame headers and the bytes of the
    /// send in flight.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.peek().map_or(0, Link::buffered)
    }

    /// Requests a call of [`Handler::drained`], as if a message had been queued: when the output has
    /// fallen to the low-water mark, or, if it is not above the mark now, when all of it was given to
    /// the kernel. Has no effect if no output waits, and on a connection that is closing.
    pub fn notify_drained(&mut self) {
        self.link().0.want_drained();
    }

    /// Whether messages can be sent: no close frame has been sent yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.peek().is_some_and(Link::is_open)
    }

    fn peek(&self) -> Option<&Link<H::State>> {
        match &self.shard.current {
            Some(link) if link.slot() == self.slot => Some(link),
            _ => self.shard.surroundings.peek(self.slot),
        }
    }
}

/// The outcome for a message that cannot be sent now.
fn hand_back(message: Message<'_>, is_open: bool) -> SendOutcome<'_> {
    if is_open { SendOutcome::Full(message) } else { SendOutcome::Closed(message) }
}

impl<H: Handler> fmt::Debug for Connection<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({:?})", self.slot)
    }
}
