//! The offer of a client (RFC 7692 section 7.1).

use std::fmt;

use super::params::{Given, write};
use super::{DeflateParams, NAME, WindowBits};
use crate::handshake::Extension;

/// One offer of a client. A client may make several, the preferred one first (RFC 7692 section
/// 5.2).
///
/// [`Display`](fmt::Display) writes it in the form of the header.
///
/// ```
/// use ringway_codec::{DeflateOffer, DeflateParams};
///
/// let offer = DeflateOffer { server_no_context_takeover: true, ..DeflateOffer::default() };
/// assert_eq!(offer.to_string(), "permessage-deflate; server_no_context_takeover");
/// assert!(!offer.admits(&DeflateParams::default()), "the server must agree to it");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeflateOffer {
    /// The server must not use earlier messages to compress a message (section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client does not use earlier messages to compress a message (section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The largest window that the server may compress with; `None`: any (section 7.1.2.1).
    pub server_max_window_bits: Option<WindowBits>,
    /// The server may limit the client's window, and the client uses none larger than this; `None`:
    /// the server may not limit it (section 7.1.2.2). [`WindowBits::MAX`], which is no limit, is
    /// written without value.
    pub client_max_window_bits: Option<WindowBits>,
}

impl DeflateOffer {
    /// Parses the offer in an element of a request's header. Returns `None` for another extension,
    /// and for an offer that must be declined: an unknown parameter, a duplicate, or an invalid
    /// value (section 7.1).
    #[must_use]
    pub fn parse(extension: &Extension<'_>) -> Option<Self> {
        let given = Given::parse(extension)?;
        // Only here may the client's window have no value.
        let client_max_window_bits = given.client_max_window_bits.map(|bits| bits.unwrap_or(WindowBits::MAX));
        let server_max_window_bits = match given.server_max_window_bits {
            Some(None) => return None,
            given => given.flatten(),
        };
        Some(Self {
            server_no_context_takeover: given.server_no_context_takeover,
            client_no_context_takeover: given.client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        })
    }

    /// Whether a server may answer this offer with `params` (section 7.1).
    #[must_use]
    pub fn admits(&self, params: &DeflateParams) -> bool {
        let server_context = params.server_no_context_takeover || !self.server_no_context_takeover;
        let server_window = match (self.server_max_window_bits, params.server_max_window_bits) {
            (None, _) => true,
            (Some(most), Some(bits)) => bits <= most,
            (Some(_), None) => false,
        };
        let client_window = params
            .client_max_window_bits
            .is_none_or(|bits| self.client_max_window_bits.is_some_and(|most| bits <= most));
        server_context && server_window && client_window
    }
}

impl fmt::Display for DeflateOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        let contexts = (self.server_no_context_takeover, self.client_no_context_takeover);
        write(f, contexts, self.server_max_window_bits)?;
        match self.client_max_window_bits {
            None => Ok(()),
            Some(WindowBits::MAX) => f.write_str("; client_max_window_bits"),
            Some(bits) => write!(f, "; client_max_window_bits={bits}"),
        }
    }
}
