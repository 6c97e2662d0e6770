//! What a handler holds in its hands: one connection, and the shard that it is on.

use crate::client::Endpoint;
use crate::handler::Handler;
use crate::hub::{Hub, Peers, Wish};
use crate::mailbox::ShardHandle;
use crate::message::{Body, Message};
use crate::request::Upgrade;
use crate::session::{Flag, Phase};
use ringway_codec::{CloseCode, OpCode, Prepared, encode_close};
use ringway_io::Slot;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Names a connection of one shard, also after it is gone: another one never has the same name within 16 million
/// users of its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub(crate) Slot);

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ConnectionId {
    /// A number that no other connection open on this shard has; numbers of closed connections are used again, so
    /// that a table indexed by it stays as small as the largest number of connections open at once.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.index() as usize
    }
}

/// What became of a message that was to be sent.
#[must_use = "a message that was handed back is not sent"]
#[derive(Debug)]
pub enum Sent<'m> {
    /// It goes out at the end of this turn.
    Sent,
    /// It waits behind others; this many bytes wait in all. [`Handler::drained`] says when they are gone.
    Queued(usize),
    /// Too much waits already ([`Limits::max_buffered`](crate::Limits::max_buffered)), or the connection is closing: here
    /// is the message. In the first case [`Handler::drained`] says when to try again.
    Full(Message<'m>),
}

/// The shard that a handler runs on.
pub struct Shard<'a, H: Handler> {
    pub(crate) hub: &'a mut Hub<H>,
    pub(crate) peers: Peers<'a>,
}

impl<H: Handler> Shard<'_, H> {
    /// The number of this shard, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.hub.index
    }

    /// The time at which this turn began. Costs nothing.
    #[must_use]
    pub fn turn_time(&self) -> Instant {
        self.hub.now
    }

    /// How many connections this shard has, those that are opening or closing included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.hub.table.len()
    }

    /// A connection by its name; `None` when it is not, or no longer, open.
    pub fn connection(&mut self, id: ConnectionId) -> Option<Connection<'_, H>> {
        let session = self.hub.table.get(id.0)?;
        matches!(session.phase, Phase::Open | Phase::Closing)
            .then(|| Connection { shard: Shard { hub: self.hub, peers: self.peers }, slot: id.0 })
    }

    /// Opens a connection to `endpoint`, in the client role. [`Handler::open`] is called when it stands, or
    /// [`Handler::failed`] with the reason.
    pub fn connect(&mut self, endpoint: &Arc<Endpoint>, state: H::State) {
        self.hub.wishes.push_back(Wish::Connect(Arc::clone(endpoint), state));
    }

    /// Gives the answer that [`Upgrade::defer`] put off. Without effect when the connection is gone by now.
    pub fn answer(&mut self, id: ConnectionId, upgrade: Upgrade<H::State>) {
        self.hub.wishes.push_back(Wish::Answer(id.0, upgrade));
    }

    /// Calls [`Handler::woken`] once at `when`, or as soon as the turn after it begins. A later call replaces an
    /// earlier one.
    pub fn wake_at(&mut self, when: Instant) {
        self.hub.alarm = Some(when);
    }

    /// What posts work to this shard from other threads.
    #[must_use]
    pub fn handle(&self) -> ShardHandle<H> {
        self.hub.handle.clone()
    }

    /// Stops this shard: it accepts nothing more, closes its connections with 1001, and ends when they are gone, or
    /// after [`Config::stop_timeout`](crate::Config::stop_timeout).
    pub fn stop(&mut self) {
        self.hub.wishes.push_back(Wish::Stop);
    }
}

/// One open connection.
pub struct Connection<'a, H: Handler> {
    shard: Shard<'a, H>,
    slot: Slot,
}

impl<'a, H: Handler> Connection<'a, H> {
    pub(crate) fn new(hub: &'a mut Hub<H>, peers: Peers<'a>, slot: Slot) -> Self {
        Self { shard: Shard { hub, peers }, slot }
    }

    /// The connection's name.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.slot)
    }

    /// The peer's address; `None` when the connection is gone already. Costs one `getpeername(2)`.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        (self.shard.peers)(self.slot)
    }

    /// What the application keeps for this connection.
    ///
    /// # Panics
    /// Never: the session lives as long as this borrow.
    pub fn state(&mut self) -> &mut H::State {
        let session = self.shard.hub.table.get_mut(self.slot);
        &mut session.expect("a session is removed only between calls of the handler").state
    }

    /// The shard that the connection is on.
    pub fn shard(&mut self) -> Shard<'_, H> {
        Shard { hub: self.shard.hub, peers: self.shard.peers }
    }

    /// Sends a received message back as it is.
    ///
    /// In the server role this moves no byte: the reply's header is written in front of the payload, in the buffer that
    /// the kernel filled, and that buffer is sent. Only when receive buffers run low, because peers read slowly, or
    /// when other messages are sent in between, is it copied. In the client role the reply is masked into a new buffer.
    ///
    /// A message that came compressed is compressed again, if it is long enough or [`Message::compress`] says so.
    ///
    /// It is never handed back: nothing more is read from a peer that has too much waiting for it.
    pub fn reply(&mut self, message: Message<'_>) {
        if !self.is_open() {
            return;
        }
        self.shard.hub.reply(self.slot, message);
    }

    /// Sends a message. Costs one copy of its payload, or compressing it where that was negotiated.
    pub fn send<'m>(&mut self, message: Message<'m>) -> Sent<'m> {
        let len = message.payload().len();
        if !self.has_room(len) {
            return Sent::Full(message);
        }
        let (kind, compress) = (message.kind(), message.is_to_be_compressed());
        self.shard.hub.send_message(self.slot, kind, message.payload(), compress);
        self.sent()
    }

    /// Sends a message that was encoded once for many connections; where compression was negotiated, it is compressed
    /// once for all that share the size of the window. In the server role a long one is not copied; in the
    /// client role it must be, because every client frame has a mask of its own (RFC 6455 section 5.3).
    pub fn send_prepared<'m>(&mut self, prepared: &'m Prepared) -> Sent<'m> {
        if !self.has_room(prepared.payload().len()) {
            return Sent::Full(Message::of(prepared.kind(), prepared.payload()));
        }
        self.shard.hub.send_prepared(self.slot, prepared);
        self.sent()
    }

    /// Sends a ping with up to 125 bytes; more are cut off.
    pub fn ping(&mut self, payload: &[u8]) {
        if self.is_open() {
            self.shard.hub.send(self.slot, OpCode::Ping, &payload[..payload.len().min(125)]);
        }
    }

    /// Begins the closing handshake. [`Handler::closed`] is called when it is over; until then messages that still come
    /// are dropped. [`CloseCode::NO_STATUS`] sends a close frame without a code; a reason is cut to 123 bytes.
    ///
    /// # Panics
    /// When the code is one that must not be sent: [`CloseCode::is_sendable`] tells.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        let payload = if code == CloseCode::NO_STATUS {
            ringway_codec::ClosePayload::EMPTY
        } else {
            encode_close(code, reason).expect("the caller gives a code that may be sent")
        };
        if self.is_open() {
            self.shard.hub.begin_close(self.slot, code, reason, &payload);
        }
    }

    /// Stops messages from being delivered. Pings and a close in front of the next message are still answered, and then
    /// the kernel's flow control holds the peer back.
    pub fn pause(&mut self) {
        // While it closes, the peer's close frame is behind whatever it would hold back.
        if let Some(session) = self.shard.hub.table.get_mut(self.slot)
            && session.phase == Phase::Open
        {
            session.set(Flag::PausedByHandler);
        }
    }

    /// Has messages delivered again, from this turn's end on.
    pub fn resume(&mut self) {
        if let Some(session) = self.shard.hub.table.get_mut(self.slot) {
            session.unset(Flag::PausedByHandler);
            self.shard.hub.mark(self.slot);
        }
    }

    /// Whether messages may be compressed, both ways: the opening handshake has agreed on it.
    #[must_use]
    pub fn is_compressing(&self) -> bool {
        self.shard.hub.table.get(self.slot).is_some_and(|session| session.compression.is_on())
    }

    /// How many bytes wait for the peer, those that the kernel is sending included.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.shard.hub.table.get(self.slot).map_or(0, |session| session.buffered)
    }

    /// Whether messages can be sent: no close frame has been sent yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shard.hub.table.get(self.slot).is_some_and(|session| session.phase == Phase::Open)
    }

    /// Whether `len` more bytes may wait. A message of any size is taken when nothing waits.
    fn has_room(&mut self, len: usize) -> bool {
        let max = self.shard.hub.limits.max_buffered;
        let Some(session) = self.shard.hub.table.get_mut(self.slot) else { return false };
        if session.phase != Phase::Open {
            return false;
        }
        let room = session.buffered == 0 || session.buffered.saturating_add(len) <= max;
        if !room {
            session.set(Flag::WantsDrained);
        }
        room
    }

    fn sent<'m>(&mut self) -> Sent<'m> {
        match self.shard.hub.table.get_mut(self.slot) {
            Some(session) if session.is(Flag::Sending) => {
                session.set(Flag::WantsDrained);
                Sent::Queued(session.buffered)
            }
            _ => Sent::Sent,
        }
    }
}

impl<H: Handler> fmt::Debug for Connection<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({:?})", self.slot)
    }
}

impl<H: Handler> fmt::Debug for Shard<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.hub.index)
    }
}

impl<H: Handler> Hub<H> {
    /// Puts a reply in the outbox; see [`Connection::reply`].
    fn reply(&mut self, slot: Slot, message: Message<'_>) {
        let (body, compress) = message.into_parts();
        match body {
            Body::Received(incoming)
                if self.receiving == Some(slot)
                    && !self.is_client(slot)
                    && !self.compresses(slot, incoming.payload().len(), compress) =>
            {
                self.reply_in_place(slot, incoming)
            }
            Body::Received(incoming) => self.send_message(slot, incoming.kind(), incoming.payload(), compress),
            Body::Borrowed(kind, payload) => self.send_message(slot, kind, payload, compress),
        }
    }
}
