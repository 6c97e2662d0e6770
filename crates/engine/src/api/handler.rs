//! The trait that an application implements.

use crate::api::close::CloseReason;
use crate::api::connection::Connection;
use crate::api::error::{ConnectError, Unopened};
use crate::api::id::{ConnectionId, TimerId};
use crate::api::message::Message;
use crate::api::request::Request;
use crate::api::response::{Response, Upgrade};
use crate::api::shard::Shard;
use http::StatusCode;

/// An application: one value runs on each shard, and only that shard's thread calls it.
///
/// A call has to return soon: it blocks its shard while it runs. Move long work to another thread,
/// which posts its result to the shard ([`ShardHandle`](crate::ShardHandle)).
///
/// For each connection [`upgrade`](Handler::upgrade) is called first (server role), then
/// [`open`](Handler::open), then the methods for its events, and [`closed`](Handler::closed) last.
///
/// ```
/// use ringway::{CloseReason, Connection, Handler, Message, Request, Shard, Upgrade};
///
/// /// Counts the messages of each connection.
/// struct Counting;
///
/// impl Handler for Counting {
///     type State = u64;
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<u64> {
///         Upgrade::accept(0)
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         *conn.state() += 1;
///         conn.reply(message);
///     }
///
///     fn closed(&mut self, _: &mut Shard<'_, Self>, messages: u64, reason: &CloseReason) {
///         println!("{messages} messages; {reason}");
///     }
/// }
/// # let _ = Counting;
/// ```
pub trait Handler: Sized + 'static {
    /// The application's state of one connection. It is stored in the session, so its size adds to
    /// the memory of each connection.
    type State: 'static;

    /// The shard has started.
    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        let _ = shard;
    }

    /// A valid request for a WebSocket was received. The answer holds the state of the connection.
    /// Not called in the client role, where the state is given to [`Shard::connect`].
    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Self::State>;

    /// A plain HTTP request was received, one without a body. The connection continues after the
    /// response, as [`Response`] describes, and a later request can open a WebSocket.
    ///
    /// The default answers GET and HEAD with a short text that names the server, and other methods
    /// with 405. The engine refuses requests with a body (411, 413), with an expectation (417), with
    /// an unknown method (501), CONNECT (405), and invalid ones (400); they are not passed to this
    /// method. It also omits the body of the response to HEAD.
    fn request(&mut self, request: &Request<'_>) -> Response {
        if matches!(request.method(), "GET" | "HEAD") {
            return Response::text(
                StatusCode::OK,
                concat!("Ringway ", env!("CARGO_PKG_VERSION"), ": a WebSocket server"),
            );
        }
        Response::method_not_allowed("GET, HEAD")
    }

    /// An outgoing connection of an endpoint with
    /// [`Endpoint::hold_before_upgrade`](crate::Endpoint::hold_before_upgrade) is established. Its
    /// request is sent after [`Shard::request_upgrade`], which this method or a later one calls
    /// with `id`. The default calls it at once. `state` is the one that was given to
    /// [`Shard::connect`].
    fn connected(&mut self, shard: &mut Shard<'_, Self>, state: &mut Self::State, id: ConnectionId) {
        let _ = state;
        shard.request_upgrade(id);
    }

    /// A connection is open, in either role.
    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let _ = conn;
    }

    /// A message was received. It borrows its payload from the receive buffer: copy what outlives
    /// the call.
    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>);

    /// The output of the connection has fallen to the low-water mark
    /// ([`Limits::low_water`](crate::Limits::low_water)), after a message was queued or handed back.
    /// If it was never above the mark, all of it was given to the kernel. Called once, until another
    /// message is queued or handed back. A message that was handed back can be sent now, unless it
    /// exceeds the room above the mark; then it is handed back again, until no output waits.
    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        let _ = conn;
    }

    /// The peer has violated the protocol, after the messages that the handler has received. With
    /// `false`, the default, the connection is closed with the code for the violation. With `true` it
    /// is paused, and closed so after [`Connection::resume`], or at the latest after
    /// [`Config::close_timeout`](crate::Config::close_timeout): a handler that has messages to process
    /// can answer them first.
    fn postpones_violation(&mut self, conn: &mut Connection<'_, Self>) -> bool {
        let _ = conn;
        false
    }

    /// A ping was received, with up to 125 bytes. The pong is already queued.
    fn ping(&mut self, conn: &mut Connection<'_, Self>, payload: &[u8]) {
        let _ = (conn, payload);
    }

    /// A pong was received, solicited or not (RFC 6455 section 5.5.3).
    fn pong(&mut self, conn: &mut Connection<'_, Self>, payload: &[u8]) {
        let _ = (conn, payload);
    }

    /// A timer of [`Connection::set_timer`] or [`Connection::set_timer_with`] has fired. It is no
    /// longer set.
    fn timer(&mut self, conn: &mut Connection<'_, Self>, id: TimerId) {
        let _ = (conn, id);
    }

    /// A timer of [`Shard::set_timer`] has fired. It is no longer set.
    fn shard_timer(&mut self, shard: &mut Shard<'_, Self>, id: TimerId) {
        let _ = (shard, id);
    }

    /// A subscriber of a topic with [`TopicPolicy::DropNewest`](crate::TopicPolicy::DropNewest) has
    /// missed so many messages since the last call, because it reads too slowly. Called at the end
    /// of the turn in which they were dropped.
    fn lagged(&mut self, conn: &mut Connection<'_, Self>, topic: &str, missed: u64) {
        let _ = (conn, topic, missed);
    }

    /// A topic has subscribers on this shard, of which there were none before, or has none any more.
    /// Called at the end of the turn, with their present number. Use it to begin and end the flow of
    /// messages that nobody else needs.
    fn topic_changed(&mut self, shard: &mut Shard<'_, Self>, topic: &str, subscribers: usize) {
        let _ = (shard, topic, subscribers);
    }

    /// An open connection has ended. Called once for each call of [`open`](Handler::open).
    fn closed(&mut self, shard: &mut Shard<'_, Self>, state: Self::State, reason: &CloseReason) {
        let _ = (shard, state, reason);
    }

    /// A connection requested by [`Shard::connect`] has failed. Called once for each failed
    /// request.
    fn failed(&mut self, shard: &mut Shard<'_, Self>, state: Self::State, error: &ConnectError) {
        let _ = (shard, state, error);
    }

    /// An outgoing connection to one of the addresses of its endpoint begins: `id` identifies it from
    /// now on, for [`Shard::abort`]. Called once for each address that is tried. With `false` the
    /// request of [`Shard::connect`] is withdrawn: its state is dropped, and neither
    /// [`open`](Handler::open) nor [`failed`](Handler::failed) is called. The default is `true`.
    fn connecting(&mut self, state: &mut Self::State, id: ConnectionId) -> bool {
        let _ = (state, id);
        true
    }

    /// An accepted connection has ended before it was open. Not called after [`Shard::abort`].
    fn unopened(&mut self, shard: &mut Shard<'_, Self>, id: ConnectionId, cause: &Unopened) {
        let _ = (shard, id, cause);
    }

    /// The number of bytes that the application holds for a connection, such as messages that it has
    /// received and not processed, as charged by [`Shard::charge`]. When memory is short, receiving
    /// pauses on the connections that hold most, and the largest may be closed
    /// ([`Limits::max_memory`](crate::Limits::max_memory)). The default is 0.
    fn held(&self, state: &Self::State) -> usize {
        let _ = state;
        0
    }

    /// The time set by [`Shard::wake_at`] has passed.
    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        let _ = shard;
    }
}
