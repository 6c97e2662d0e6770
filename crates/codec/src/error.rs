//! Protocol violations of a peer on an open connection, and the close code of each.

use crate::close::CloseCode;

/// A violation of RFC 6455, or of the configured limits, in the frames of a peer.
///
/// The connection cannot continue after any of them: send a close frame with
/// [`close_code`](ProtocolError::close_code) and close it (RFC 6455 section 7.1.7, "fail the
/// WebSocket connection").
///
/// ```
/// use ringway_codec::{CloseCode, Header, ProtocolError};
///
/// let error = Header::parse(b"\x83").unwrap_err();
/// assert_eq!(error, ProtocolError::ReservedOpCode(3));
/// assert_eq!(error.close_code(), CloseCode::PROTOCOL_ERROR);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV2 or RSV3 is set, which no known extension uses (RFC 6455 section 5.2). Holds the frame's
    /// first byte.
    #[error("reserved bit RSV2 or RSV3 is set in the first byte of a frame, {0:#04x}; no extension was negotiated")]
    ReservedBits(u8),
    /// RSV1 is set although no compression was negotiated (RFC 6455 section 5.2), or on a frame
    /// that does not begin a message (RFC 7692 section 6.1).
    #[error("reserved bit RSV1 is set, but no compression was negotiated or the frame does not begin a message")]
    UnexpectedRsv1,
    /// An opcode that RFC 6455 section 5.2 reserves: 3–7 or 11–15.
    #[error("opcode {0} is reserved; expected 0 to 2 or 8 to 10")]
    ReservedOpCode(u8),
    /// A control frame without FIN (RFC 6455 section 5.5).
    #[error("a control frame is fragmented; control frames must have FIN set")]
    FragmentedControl,
    /// A control frame with more than 125 bytes of payload (RFC 6455 section 5.5).
    #[error("a control frame announces more than 125 bytes of payload")]
    OversizedControl,
    /// A payload length that is not in its shortest form (RFC 6455 section 5.2).
    #[error("payload length {0} is not encoded in its shortest form")]
    NonMinimalLength(u64),
    /// A 64-bit payload length whose most significant bit is set (RFC 6455 section 5.2).
    #[error("the most significant bit of a 64-bit payload length is set")]
    LengthOverflow,
    /// A server received an unmasked frame (RFC 6455 section 5.1).
    #[error("a client sent a frame that is not masked")]
    UnmaskedFrame,
    /// A client received a masked frame (RFC 6455 section 5.1).
    #[error("a server sent a masked frame")]
    MaskedFrame,
    /// A continuation frame while no message is open (RFC 6455 section 5.4).
    #[error("received a continuation frame, but no fragmented message is open")]
    UnexpectedContinuation,
    /// A new text or binary frame before the open fragmented message ended (RFC 6455 section 5.4).
    #[error("a new message began before the open fragmented message ended")]
    ExpectedContinuation,
    /// The payload of a text message is not UTF-8 (RFC 6455 section 8.1).
    #[error("a text message is not valid UTF-8")]
    InvalidText,
    /// The payload of a compressed message is not valid DEFLATE, or does not end between two blocks
    /// with the tail of the last one, 00 00 FF FF, removed (RFC 7692 sections 7.2.1 and 7.2.2).
    #[error("the compressed data of a message is corrupt or incomplete, or its tail was not removed")]
    CorruptCompression,
    /// The reason of a close frame is not UTF-8 (RFC 6455 section 5.5.1).
    #[error("the reason of a close frame is not valid UTF-8")]
    InvalidCloseReason,
    /// A close frame with one byte of payload, which cannot hold a code (RFC 6455 section 5.5.1).
    #[error("a close frame has 1 byte of payload; expected none, or a 2 byte code and a reason")]
    TruncatedCloseCode,
    /// A close frame with a code that must not be sent (RFC 6455 section 7.4).
    #[error("close code {0} must not be sent in a close frame")]
    ForbiddenCloseCode(u16),
    /// The message exceeds, or a header announces that it will exceed,
    /// [`Limits::max_message`](crate::Limits::max_message).
    #[error("a message exceeds the limit of {limit} bytes")]
    TooBig {
        /// The limit in bytes.
        limit: usize,
    },
}

impl ProtocolError {
    /// The close code for this violation (RFC 6455 section 7.4.1): 1007 for text that is not UTF-8
    /// and for data that cannot be inflated, 1009 for a message over the limit, 1002 for all
    /// others.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidText | Self::CorruptCompression | Self::InvalidCloseReason => CloseCode::INVALID_PAYLOAD,
            Self::TooBig { .. } => CloseCode::TOO_BIG,
            Self::ReservedBits(_)
            | Self::UnexpectedRsv1
            | Self::ReservedOpCode(_)
            | Self::FragmentedControl
            | Self::OversizedControl
            | Self::NonMinimalLength(_)
            | Self::LengthOverflow
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::TruncatedCloseCode
            | Self::ForbiddenCloseCode(_) => CloseCode::PROTOCOL_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_has_a_close_code_that_may_be_sent() {
        let all = [
            (ProtocolError::ReservedBits(0xa1), 1002),
            (ProtocolError::UnexpectedRsv1, 1002),
            (ProtocolError::ReservedOpCode(3), 1002),
            (ProtocolError::FragmentedControl, 1002),
            (ProtocolError::OversizedControl, 1002),
            (ProtocolError::NonMinimalLength(5), 1002),
            (ProtocolError::LengthOverflow, 1002),
            (ProtocolError::UnmaskedFrame, 1002),
            (ProtocolError::MaskedFrame, 1002),
            (ProtocolError::UnexpectedContinuation, 1002),
            (ProtocolError::ExpectedContinuation, 1002),
            (ProtocolError::InvalidText, 1007),
            (ProtocolError::CorruptCompression, 1007),
            (ProtocolError::InvalidCloseReason, 1007),
            (ProtocolError::TruncatedCloseCode, 1002),
            (ProtocolError::ForbiddenCloseCode(1005), 1002),
            (ProtocolError::TooBig { limit: 9 }, 1009),
        ];
        for (error, code) in all {
            assert_eq!(error.close_code().as_u16(), code, "{error}");
            assert!(error.close_code().is_sendable());
        }
    }

    #[test]
    fn error_messages_name_the_wrong_value() {
        assert!(ProtocolError::ReservedOpCode(11).to_string().contains("11"));
        assert!(ProtocolError::TooBig { limit: 4096 }.to_string().contains("4096"));
        assert!(ProtocolError::ReservedBits(0xa1).to_string().contains("0xa1"));
    }
}
