//! Timers of connections and of shards, the alarm of a shard, and lifetimes.
//!
//! [`Connection::set_timer`] sets a timer of a connection; any number can be set.
//! [`Handler::timer`] is called once for each, with the [`TimerId`] that `set_timer` returned.
//! [`Connection::set_timer_with`] gives it a number, which [`TimerId::token`] returns: the kind of
//! the timer, for example. [`Connection::cancel_timer`] cancels one. Timers end with their
//! connection, so none of them fires for a connection that is gone.
//!
//! [`Shard::set_timer`] sets a timer of the shard, for work that concerns no single connection.
//! [`Handler::shard_timer`] is called for it.
//!
//! Timers have a resolution of 1 ms. A timer never fires early, and at most 2 ms late unless the
//! shard is busy. Unlike the deadlines of the engine, it does not move when the shard stalls.
//! Setting and cancelling a timer cost O(1).
//!
//! [`Shard::wake_at`] sets the one alarm of a shard. [`Handler::woken`] is called at that time and
//! can set it again. Unlike timers, it has the resolution of the system: with
//! [`Config::timer_slack`] of 1 ns, an idle shard is late by the time to wake its thread.
//!
//! [`Config::max_lifetime`] limits the time for which connections stay open. Their lifetimes differ
//! at random, so that connections that open together do not end together.
//!
//! ```
//! use ringway::{CloseCode, Connection, Handler, Message, Request, TimerId, Upgrade};
//! use std::time::Duration;
//!
//! /// Closes a connection that has sent nothing within five seconds of its opening.
//! struct Punctual;
//!
//! impl Handler for Punctual {
//!     /// The timer, until the first message.
//!     type State = Option<TimerId>;
//!
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Option<TimerId>> {
//!         Upgrade::accept(None)
//!     }
//!
//!     fn open(&mut self, conn: &mut Connection<'_, Self>) {
//!         let timer = conn.set_timer(Duration::from_secs(5));
//!         *conn.state() = Some(timer);
//!     }
//!
//!     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
//!         if let Some(timer) = conn.state().take() {
//!             conn.cancel_timer(timer);
//!         }
//!         conn.reply(message);
//!     }
//!
//!     fn timer(&mut self, conn: &mut Connection<'_, Self>, _: TimerId) {
//!         conn.close(CloseCode::POLICY, "no message received").expect("1008 may be sent");
//!     }
//! }
//! # let _ = Punctual;
//! ```
//!
//! Next: [compression](super::compression).
//!
//! [`Config::max_lifetime`]: crate::Config::max_lifetime
//! [`Config::timer_slack`]: crate::Config::timer_slack
//! [`Connection::cancel_timer`]: crate::Connection::cancel_timer
//! [`Connection::set_timer`]: crate::Connection::set_timer
//! [`Connection::set_timer_with`]: crate::Connection::set_timer_with
//! [`Handler::shard_timer`]: crate::Handler::shard_timer
//! [`Handler::timer`]: crate::Handler::timer
//! [`Handler::woken`]: crate::Handler::woken
//! [`Shard::set_timer`]: crate::Shard::set_timer
//! [`Shard::wake_at`]: crate::Shard::wake_at
//! [`TimerId`]: crate::TimerId
//! [`TimerId::token`]: crate::TimerId::token
