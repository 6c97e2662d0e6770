//! Close codes and the payload of close frames (RFC 6455 sections 5.5.1 and 7.4).

use std::fmt;
use std::ops::Deref;

use crate::error::ProtocolError;

/// The status code of a close frame (RFC 6455 section 7.4). Any `u16` can be held;
/// [`is_sendable`](Self::is_sendable) is true for codes that may be sent.
///
/// ```
/// use ringway_codec::CloseCode;
///
/// assert_eq!(CloseCode::NORMAL.as_u16(), 1000);
/// assert!(CloseCode::new(4000).is_sendable());
/// assert!(!CloseCode::ABNORMAL.is_sendable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away: a server shuts down, or the user leaves a page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer violated the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that the endpoint cannot accept, such as binary where only text is
    /// supported.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: reported for a close frame without a code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: reported for a connection that ended without a close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that does not fit the message's kind, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message that violates the endpoint's policy, where no other code fits.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: a client expected an extension that the server did not negotiate.
    pub const EXTENSION: Self = Self(1010);
    /// 1011: an unexpected condition prevented the server from fulfilling the request.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts; a client may reconnect after a random delay (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; try again later (IANA registry).
    pub const TRY_AGAIN: Self = Self(1013);
    /// 1014: a gateway got an invalid response from the server behind it (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: reported for a failed TLS handshake. Never sent.
    pub const TLS: Self = Self(1015);

    /// Creates the code with this number, whether or not it may be sent.
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether the code may be sent in a close frame: 1000–1003, 1007–1014 and 3000–4999 (RFC 6455
    /// sections 7.4.1 and 7.4.2, and the IANA registry for 1012–1014).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

/// The code must never be sent in a close frame (RFC 6455 section 7.4.1).
///
/// ```
/// use ringway_codec::{CloseCode, ClosePayload, CodeNotSendable};
///
/// assert_eq!(ClosePayload::new(CloseCode::TLS, "").err(), Some(CodeNotSendable(CloseCode::TLS)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("close code {0} must not be sent; use 1000 to 1003, 1007 to 1014, or 3000 to 4999 for your own")]
pub struct CodeNotSendable(pub CloseCode);

/// The maximum length of a close frame's reason in bytes: 125 for the payload of a control frame,
/// less 2 for the code.
pub const MAX_REASON: usize = 123;

/// The payload of a close frame, on the stack. Derefs to its bytes.
///
/// ```
/// use ringway_codec::{CloseCode, ClosePayload};
///
/// let payload = ClosePayload::new(CloseCode::GOING_AWAY, "restart")?;
/// assert_eq!(payload.as_slice(), b"\x03\xe9restart");
/// # Ok::<(), ringway_codec::CodeNotSendable>(())
/// ```
#[derive(Clone, Copy)]
pub struct ClosePayload {
    bytes: [u8; 125],
    len: u8,
}

impl ClosePayload {
    /// A close frame without a code or a reason.
    pub const EMPTY: Self = Self { bytes: [0; 125], len: 0 };

    /// Creates the payload with a code and a reason; the reason is cut to [`MAX_REASON`] bytes at a
    /// character boundary (RFC 6455 section 5.5.1).
    ///
    /// # Errors
    ///
    /// [`CodeNotSendable`] when [`CloseCode::is_sendable`] is false.
    pub fn new(code: CloseCode, reason: &str) -> Result<Self, CodeNotSendable> {
        if !code.is_sendable() {
            return Err(CodeNotSendable(code));
        }
        let longest = reason.len().min(MAX_REASON);
        // 0 is always a boundary.
        let cut = (0..=longest).rev().find(|&at| reason.is_char_boundary(at)).unwrap_or(0);
        let reason = &reason[..cut];
        let mut payload = Self::EMPTY;
        payload.bytes[..2].copy_from_slice(&code.0.to_be_bytes());
        payload.bytes[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
        payload.len = 2 + reason.len() as u8;
        Ok(payload)
    }

    /// The bytes of the payload: none, or the code (big endian) and the reason.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Deref for ClosePayload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for ClosePayload {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for ClosePayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClosePayload").field(&self.as_slice()).finish()
    }
}

/// Parses the payload of a received close frame: `None` when it is empty, else the code and the
/// reason.
///
/// # Errors
///
/// One byte, a code that must not be sent, or a reason that is not UTF-8 (RFC 6455 sections 5.5.1
/// and 7.4).
pub fn parse(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, ProtocolError> {
    match payload {
        [] => Ok(None),
        [_] => Err(ProtocolError::TruncatedCloseCode),
        [high, low, reason @ ..] => {
            let code = CloseCode(u16::from_be_bytes([*high, *low]));
            if !code.is_sendable() {
                return Err(ProtocolError::ForbiddenCloseCode(code.0));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
            Ok(Some((code, reason)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_7_4_codes_that_may_be_sent() {
        let sendable = |n: u16| CloseCode::new(n).is_sendable();
        for n in [1000, 1001, 1002, 1003, 1007, 1014, 3000, 3999, 4000, 4999] {
            assert!(sendable(n), "{n}");
        }
        for n in [0, 1, 999, 1004, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(!sendable(n), "{n}");
        }
    }

    #[test]
    fn close_codes_1005_1006_and_1015_are_never_sent() {
        for code in [CloseCode::NO_STATUS, CloseCode::ABNORMAL, CloseCode::TLS] {
            assert_eq!(ClosePayload::new(code, "").unwrap_err(), CodeNotSendable(code));
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character_boundary() {
        let payload = ClosePayload::new(CloseCode::NORMAL, &"€".repeat(50)).unwrap();
        assert_eq!(payload.len(), 2 + 123);
        let payload = ClosePayload::new(CloseCode::NORMAL, &format!("x{}", "€".repeat(50))).unwrap();
        assert_eq!(payload.len(), 2 + 121);
        let (code, reason) = parse(&payload).unwrap().unwrap();
        assert_eq!(code, CloseCode::NORMAL);
        assert_eq!(reason, format!("x{}", "€".repeat(40)));
    }

    #[test]
    fn every_code_is_parsed_exactly_when_it_may_be_sent() {
        for n in (0..=u16::MAX).step_by(if cfg!(miri) { 97 } else { 1 }) {
            let result = parse(&n.to_be_bytes()).map(|close| close.map(|(code, reason)| (code.as_u16(), reason.len())));
            match CloseCode::new(n).is_sendable() {
                true => assert_eq!(result, Ok(Some((n, 0)))),
                false => assert_eq!(result, Err(ProtocolError::ForbiddenCloseCode(n))),
            }
        }
    }

    #[test]
    fn rfc6455_5_5_1_the_payload_of_a_received_close() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[3]), Err(ProtocolError::TruncatedCloseCode));
        assert_eq!(parse(&[3, 0xe8, 0xff]), Err(ProtocolError::InvalidCloseReason));
        assert_eq!(parse(b"\x03\xe8bye"), Ok(Some((CloseCode::NORMAL, "bye"))));
    }
}
