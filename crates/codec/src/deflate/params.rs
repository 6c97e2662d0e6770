//! The parameters that both sides have agreed on (RFC 7692 section 7.1).

use std::fmt;

use super::{NAME, WindowBits};
use crate::Role;
use crate::handshake::Extension;

/// The parameters of a server's answer.
///
/// [`Display`](fmt::Display) writes them in the form of the header.
///
/// ```
/// use ringway_codec::{Decoder, DeflateParams, Role};
///
/// let params = DeflateParams { client_no_context_takeover: true, ..DeflateParams::default() };
/// assert_eq!(params.to_string(), "permessage-deflate; client_no_context_takeover");
/// let decoder = Decoder::with_deflate(Role::Server, &params);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeflateParams {
    /// The server compresses each message without the earlier ones (section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client compresses each message without the earlier ones (section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The largest window that the server compresses with; `None`: any (section 7.1.2.1).
    pub server_max_window_bits: Option<WindowBits>,
    /// The largest window that the client compresses with; `None`: any (section 7.1.2.2).
    pub client_max_window_bits: Option<WindowBits>,
}

/// How the messages of one direction are compressed.
///
/// ```
/// use ringway_codec::{DeflateParams, Role, WindowBits};
///
/// let direction = DeflateParams::default().outgoing(Role::Server);
/// assert!(direction.takeover && direction.window_bits == WindowBits::MAX);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// Whether a message may refer to earlier ones, so that both sides keep a window.
    pub takeover: bool,
    /// The largest window.
    pub window_bits: WindowBits,
}

impl DeflateParams {
    /// Parses the parameters in an element of a response's header. Returns `None` for another
    /// extension, an unknown parameter, a duplicate, or an invalid value, none of which a client
    /// may accept (section 7.1).
    #[must_use]
    pub fn parse(extension: &Extension<'_>) -> Option<Self> {
        let given = Given::parse(extension)?;
        if given.server_max_window_bits == Some(None) || given.client_max_window_bits == Some(None) {
            return None;
        }
        Some(Self {
            server_no_context_takeover: given.server_no_context_takeover,
            client_no_context_takeover: given.client_no_context_takeover,
            server_max_window_bits: given.server_max_window_bits.flatten(),
            client_max_window_bits: given.client_max_window_bits.flatten(),
        })
    }

    /// The direction in which `role` sends.
    #[must_use]
    pub fn outgoing(&self, role: Role) -> Direction {
        let (no_takeover, window_bits) = match role {
            Role::Server => (self.server_no_context_takeover, self.server_max_window_bits),
            Role::Client => (self.client_no_context_takeover, self.client_max_window_bits),
        };
        Direction { takeover: !no_takeover, window_bits: window_bits.unwrap_or_default() }
    }

    /// The direction in which `role` receives.
    #[must_use]
    pub fn incoming(&self, role: Role) -> Direction {
        self.outgoing(match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        })
    }
}

impl fmt::Display for DeflateParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        let contexts = (self.server_no_context_takeover, self.client_no_context_takeover);
        write(f, contexts, self.server_max_window_bits)?;
        match self.client_max_window_bits {
            None => Ok(()),
            Some(bits) => write!(f, "; client_max_window_bits={bits}"),
        }
    }
}

/// Writes the parameters that have the same form in offers and answers.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    (server_no_context_takeover, client_no_context_takeover): (bool, bool),
    server_max_window_bits: Option<WindowBits>,
) -> fmt::Result {
    if server_no_context_takeover {
        f.write_str("; server_no_context_takeover")?;
    }
    if client_no_context_takeover {
        f.write_str("; client_no_context_takeover")?;
    }
    server_max_window_bits.map_or(Ok(()), |bits| write!(f, "; server_max_window_bits={bits}"))
}

/// The parameters of an element, in an offer or an answer. A window without a value is
/// `Some(None)`.
#[derive(Default)]
pub(super) struct Given {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<Option<WindowBits>>,
    pub(super) client_max_window_bits: Option<Option<WindowBits>>,
}

impl Given {
    pub(super) fn parse(extension: &Extension<'_>) -> Option<Self> {
        if extension.name != NAME {
            return None;
        }
        let mut given = Self::default();
        for (name, value) in &extension.params {
            let value = value.as_deref();
            match *name {
                "server_no_context_takeover" => set_flag(&mut given.server_no_context_takeover, value)?,
                "client_no_context_takeover" => set_flag(&mut given.client_no_context_takeover, value)?,
                "server_max_window_bits" => set_window(&mut given.server_max_window_bits, value)?,
                "client_max_window_bits" => set_window(&mut given.client_max_window_bits, value)?,
                _ => return None,
            }
        }
        Some(given)
    }
}

/// Returns `None` if the flag is already set, or has a value.
fn set_flag(flag: &mut bool, value: Option<&str>) -> Option<()> {
    (value.is_none() && !std::mem::replace(flag, true)).then_some(())
}

/// Returns `None` if the window is already set, or its value is invalid.
fn set_window(window: &mut Option<Option<WindowBits>>, value: Option<&str>) -> Option<()> {
    let bits = match value {
        Some(value) => Some(WindowBits::parse(value)?),
        None => None,
    };
    window.replace(bits).is_none().then_some(())
}
