//! The names of connections and timers.

use ringway_io::Slot;
use std::fmt;

/// Names a connection of one shard, also after it has ended: another one never has the same name within 16 million users of
/// its place. 8 bytes.
///
/// ```
/// use ringway::{Connection, ConnectionId, Handler, Message};
///
/// /// Sends what the first client says to the latest one.
/// #[derive(Default)]
/// struct Forwarding {
///     latest: Option<ConnectionId>,
/// }
///
/// impl Handler for Forwarding {
///     type State = ();
///
///     fn open(&mut self, conn: &mut Connection<'_, Self>) {
///         self.latest = Some(conn.id());
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         let Some(latest) = self.latest else { return };
///         // None: it has ended.
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
    /// A number that no other connection open on this shard has; numbers of closed connections are used again, so
    /// that a table indexed by it stays as small as the largest number of connections open at once.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.index() as usize
    }
}

/// Names a timer of a connection, also after it has fired or was cancelled: another timer of the shard never has the same
/// name within four billion users of its place.
///
/// ```
/// use ringway::{Connection, Handler, Message, TimerId};
/// use std::time::Duration;
///
/// /// Sends what a client has said again after a second, unless the client has said something else by then.
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
}
