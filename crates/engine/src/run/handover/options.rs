//! The options of an offer.

use super::source::{Part, Source};
use super::{CONFIRM_TIMEOUT, MAX_PART};
use crate::config::error::{ConfigError, check_range, check_time};
use std::fmt;
use std::time::Duration;

/// How a process offers its listening sockets: see
/// [`Running::offer_with`](crate::Running::offer_with).
///
/// ```no_run
/// use ringway::handover::OfferOptions;
/// use std::time::Duration;
/// # use ringway::{Connection, Handler, Message, Request, Server, Upgrade};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> { Upgrade::accept(()) }
/// #     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) { conn.reply(message) }
/// # }
///
/// const ADMIN: u8 = 1;
/// let running = Server::bind("0.0.0.0:80")?.start(|_| Echo)?;
/// let admin = Server::bind("127.0.0.1:9100")?.start(|_| Echo)?;
/// let options = OfferOptions::new()
///     .confirm_timeout(Duration::from_secs(10))?
///     .part(ADMIN, admin.handover_part())?
///     .before(|| println!("a new process takes over"));
/// running.offer_with("/run/chat/handover.sock", options)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OfferOptions {
    pub(super) confirm_timeout: Duration,
    pub(super) parts: Vec<(u8, Box<dyn Source>)>,
    pub(super) before: Box<dyn FnOnce() + Send>,
}

impl OfferOptions {
    /// The defaults: one server, and [`CONFIRM_TIMEOUT`].
    #[must_use]
    pub fn new() -> Self {
        Self { confirm_timeout: CONFIRM_TIMEOUT, parts: Vec::new(), before: Box::new(|| {}) }
    }

    /// Sets the maximum time from the transfer of the sockets to the confirmation of the successor,
    /// [`Predecessor::release`](super::Predecessor::release). Default: 60 s. No other successor is
    /// answered meanwhile.
    ///
    /// # Errors
    /// A [`ConfigError`] unless it is 1 ms to 365 days.
    pub fn confirm_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        check_time("handover.confirm_timeout", timeout)?;
        self.confirm_timeout = timeout;
        Ok(self)
    }

    /// Also passes on the sockets of another server of this process, under a number from 1 to
    /// [`MAX_PART`]. The successor gets them with
    /// [`Server::taking_over_part`](crate::Server::taking_over_part).
    ///
    /// When the successor has taken over, that server accepts no more, and goes on serving its
    /// connections until it is stopped.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number that is out of range or is used twice.
    pub fn part(mut self, number: u8, part: Part) -> Result<Self, ConfigError> {
        check_range("handover.part", number, 1..=MAX_PART)?;
        if self.parts.iter().any(|(used, _)| *used == number) {
            return Err(ConfigError::new("handover.part", number.to_string(), "a number that no other part has"));
        }
        self.parts.push((number, part.0));
        Ok(self)
    }

    /// Calls `before` when a successor has taken over and all servers have stopped accepting, before
    /// the shards drain: for example to notify a service manager. It is called on the thread of the
    /// offer.
    #[must_use]
    pub fn before(mut self, before: impl FnOnce() + Send + 'static) -> Self {
        self.before = Box::new(before);
        self
    }
}

impl Default for OfferOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for OfferOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<u8> = self.parts.iter().map(|(number, _)| *number).collect();
        f.debug_struct("OfferOptions")
            .field("confirm_timeout", &self.confirm_timeout)
            .field("parts", &parts)
            .finish_non_exhaustive()
    }
}
