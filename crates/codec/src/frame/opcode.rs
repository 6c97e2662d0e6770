//! The opcode of a frame (RFC 6455 sections 5.2 and 11.8).

use crate::error::ProtocolError;

/// The opcode of a frame. The reserved opcodes have no variant: parsing a header refuses them.
///
/// Exhaustive: RFC 6455 section 5.2 defines the opcodes, and only an extension could define the
/// reserved ones.
///
/// ```
/// use ringway_codec::OpCode;
///
/// assert_eq!(OpCode::from_number(9), Ok(OpCode::Ping));
/// assert!(OpCode::Ping.is_control());
/// assert!(OpCode::from_number(3).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// 0: the next fragment of the open message.
    Continuation = 0,
    /// 1: a text message, or its first fragment.
    Text = 1,
    /// 2: a binary message, or its first fragment.
    Binary = 2,
    /// 8: close.
    Close = 8,
    /// 9: ping.
    Ping = 9,
    /// 10: pong.
    Pong = 10,
}

impl OpCode {
    /// The opcode with this number.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::ReservedOpCode`] for every other number (RFC 6455 section 5.2).
    #[inline]
    pub const fn from_number(number: u8) -> Result<Self, ProtocolError> {
        Ok(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(ProtocolError::ReservedOpCode(number)),
        })
    }

    /// Whether frames of this kind are control frames (RFC 6455 section 5.5): whole, and at most
    /// 125 bytes.
    #[inline]
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_5_2_reserved_opcodes_are_refused() {
        for number in 0..=15u8 {
            match OpCode::from_number(number) {
                Ok(opcode) => {
                    assert_eq!(opcode as u8, number);
                    assert_eq!(opcode.is_control(), number >= 8);
                }
                Err(error) => {
                    assert!(matches!(number, 3..=7 | 11..=15));
                    assert_eq!(error, ProtocolError::ReservedOpCode(number));
                }
            }
        }
    }
}
