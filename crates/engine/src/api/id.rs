//! The identifiers of connections and timers.

use ringway_io::Slot;
use std::fmt;

/// Identifies a connection of one shard, also after the connection has ended: an identifier repeats
/// only after 16 million connections in the same slot. 8 bytes.
///
/// ```
/// use ringway::{Connection, ConnectionId, Handler, Message, Request, Upgrade};
///
/// /// Forwards the messages of the first client to the latest one.
/// #[derive(Default)]
/// struct Forwarding {
///     latest: Option<ConnectionId>,
/// }
///
/// impl Handler for Forwarding {
///     type State = ();
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
///         Upgrade::accept(())
///     }
///
///     fn open(&mut self, conn: &mut Connection<'_, Self>) {
///         self.latest = Some(conn.id());
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         let Some(latest) = self.latest else { return };
///         // None: the connection has ended.
///         if let Some(mut other) = conn.shard().connection(latest) {
///             let _ = other.send(Message::binary(message.payload()));
///         }
///     }
/// }
/// # let _ = Forwarding::default();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub(crate) Slot);

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ConnectionId {
    /// A number that is unique among the open connections of this shard. Numbers of closed
    /// connections are reused, so a table indexed by it grows only to the maximum number of
    /// connections open at once.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.index() as usize
    }
}

/// Identifies a timer of a connection or of a shard, also after the timer has fired or was
/// cancelled: an identifier repeats only after four billion timers in the same slot. 16 bytes.
///
/// ```
/// use ringway::{Connection, Handler, Message, TimerId, Request, Upgrade};
/// use std::time::Duration;
///
/// /// Repeats a client's message after a second, unless another one was received by then.
/// struct Reminding;
///
/// #[derive(Default)]
/// struct Reminder {
///     timer: Option<TimerId>,
///     text: String,
/// }
///
/// impl Handler for Reminding {
///     type State = Reminder;
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Reminder> {
///         Upgrade::accept(Reminder::default())
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         if let Some(timer) = conn.state().timer.take() {
///             conn.cancel_timer(timer);
///         }
///         let text = message.as_text().unwrap_or_default().to_owned();
///         let timer = Some(conn.set_timer(Duration::from_secs(1)));
///         *conn.state() = Reminder { timer, text };
///     }
///
///     fn timer(&mut self, conn: &mut Connection<'_, Self>, _: TimerId) {
///         let reminder = std::mem::take(conn.state());
///         let _ = conn.send(Message::text(&reminder.text));
///     }
/// }
/// # let _ = Reminding;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    pub(crate) token: u64,
}

impl TimerId {
    /// The number that was given when the timer was set; 0 for a timer of
    /// [`Connection::set_timer`](crate::Connection::set_timer).
    ///
    /// ```
    /// use ringway::{CloseCode, Connection, Handler, Message, Request, TimerId, Upgrade};
    /// use std::time::Duration;
    ///
    /// const REMIND: u64 = 1;
    /// const CLOSE: u64 = 2;
    ///
    /// /// Reminds a client after 20 seconds, and closes the connection after 30.
    /// struct Impatient;
    ///
    /// impl Handler for Impatient {
    ///     type State = ();
    ///
    ///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
    ///         Upgrade::accept(())
    ///     }
    ///
    ///     fn open(&mut self, conn: &mut Connection<'_, Self>) {
    ///         conn.set_timer_with(Duration::from_secs(20), REMIND);
    ///         conn.set_timer_with(Duration::from_secs(30), CLOSE);
    ///     }
    ///
    ///     fn timer(&mut self, conn: &mut Connection<'_, Self>, id: TimerId) {
    ///         match id.token() {
    ///             REMIND => drop(conn.send(Message::text("still there?"))),
    ///             _ => conn.close(CloseCode::POLICY, "too slow").expect("1008 may be sent"),
    ///         }
    ///     }
    ///
    ///     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
    /// }
    /// # let _ = Impatient;
    /// ```
    #[must_use]
    pub fn token(self) -> u64 {
        self.token
    }
}
