//! The header of a frame: 2 to 14 bytes in front of the payload (RFC 6455 section 5.2).

use crate::error::ProtocolError;
use crate::frame::OpCode;

const FIN: u8 = 0x80;
const RSV2_RSV3: u8 = 0x30;
const OPCODE: u8 = 0x0f;
const MASK: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// A 7-bit length of 126 means that a 16-bit length follows; lengths up to 125 need no extension.
const LENGTH_16: u8 = 126;
/// A 7-bit length of 127 means that a 64-bit length follows.
const LENGTH_64: u8 = 127;

/// A frame's header.
///
/// ```
/// use ringway_codec::{Header, OpCode};
///
/// let (header, len) = Header::parse(b"\x81\x05hello")?.expect("the header is complete");
/// assert_eq!((header.opcode, header.fin, header.length, len), (OpCode::Text, true, 5, 2));
/// # Ok::<(), ringway_codec::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether this frame is the last, or only, frame of its message.
    pub fin: bool,
    /// The opcode.
    pub opcode: OpCode,
    /// The first reserved bit. [`parse`](Header::parse) accepts it, because an extension may define
    /// it (RFC 7692 section 6: the message is compressed); the decoder refuses it where none was
    /// negotiated.
    pub rsv1: bool,
    /// The masking key; `None` when the frame is not masked.
    pub mask: Option<[u8; 4]>,
    /// The payload's length in bytes, at most 2^63 - 1.
    pub length: u64,
}

/// The fields in the first byte of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstByte {
    pub(crate) fin: bool,
    pub(crate) rsv1: bool,
    pub(crate) opcode: OpCode,
}

impl FirstByte {
    pub(crate) const RSV1: u8 = 0x40;

    #[inline]
    pub(crate) fn parse(byte: u8) -> Result<Self, ProtocolError> {
        if byte & RSV2_RSV3 != 0 {
            return Err(ProtocolError::ReservedBits(byte));
        }
        let opcode = OpCode::from_number(byte & OPCODE)?;
        let fin = byte & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl);
        }
        Ok(Self { fin, rsv1: byte & Self::RSV1 != 0, opcode })
    }
}

impl Header {
    /// The longest header: 2 bytes, 8 of length, 4 of masking key.
    pub const MAX_LEN: usize = 14;

    /// Parses the header at the start of `bytes`, and returns it with its length; `Ok(None)` when
    /// more bytes are needed.
    ///
    /// Fails at the first wrong byte: an invalid first byte fails without the second. Costs a few
    /// nanoseconds and no loop.
    ///
    /// # Errors
    ///
    /// RSV2 or RSV3, a reserved opcode, a control frame that is fragmented or over 125 bytes, a
    /// length that is not in its shortest form or has bit 63 set (RFC 6455 sections 5.2 and 5.5).
    /// The decoder checks mask and RSV1, which depend on the connection.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&byte) = bytes.first() else { return Ok(None) };
        let first = FirstByte::parse(byte)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let short = second & LENGTH;
        let (length, len) = if short < LENGTH_16 {
            (u64::from(short), 2)
        } else if first.opcode.is_control() {
            return Err(ProtocolError::OversizedControl);
        } else if short == LENGTH_16 {
            let Some(extended) = bytes.get(2..).and_then(<[u8]>::first_chunk::<2>) else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes(*extended));
            if length < u64::from(LENGTH_16) {
                return Err(ProtocolError::NonMinimalLength(length));
            }
            (length, 4)
        } else {
            if bytes.get(2).is_some_and(|byte| byte & 0x80 != 0) {
                return Err(ProtocolError::LengthOverflow);
            }
            let Some(extended) = bytes.get(2..).and_then(<[u8]>::first_chunk::<8>) else { return Ok(None) };
            let length = u64::from_be_bytes(*extended);
            if length <= u64::from(u16::MAX) {
                return Err(ProtocolError::NonMinimalLength(length));
            }
            (length, 10)
        };
        let (mask, len) = if second & MASK == 0 {
            (None, len)
        } else {
            let Some(key) = bytes.get(len..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(None) };
            (Some(*key), len + 4)
        };
        let FirstByte { fin, rsv1, opcode } = first;
        Ok(Some((Self { fin, opcode, rsv1, mask, length }, len)))
    }

    /// Writes the header at the start of `out`, the length in its shortest form, and returns the
    /// header's length.
    ///
    /// Writes any fields, also ones that [`parse`](Header::parse) refuses, for tests.
    #[inline]
    pub fn encode(&self, out: &mut [u8; Self::MAX_LEN]) -> usize {
        out[0] = u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6 | self.opcode as u8;
        let masked = if self.mask.is_some() { MASK } else { 0 };
        let len = if self.length < u64::from(LENGTH_16) {
            out[1] = masked | self.length as u8;
            2
        } else if let Ok(length) = u16::try_from(self.length) {
            out[1] = masked | LENGTH_16;
            out[2..4].copy_from_slice(&length.to_be_bytes());
            4
        } else {
            out[1] = masked | LENGTH_64;
            out[2..10].copy_from_slice(&self.length.to_be_bytes());
            10
        };
        let Some(key) = self.mask else { return len };
        out[len..len + 4].copy_from_slice(&key);
        len + 4
    }

    /// The number of bytes that [`encode`](Header::encode) writes: 2, 4 or 10, and 4 more for a
    /// masking key.
    #[inline]
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        server_header_len(self.length) + if self.mask.is_some() { 4 } else { 0 }
    }
}

/// The length of the header of an unmasked frame with this payload: 2, 4 or 10 bytes.
#[inline]
const fn server_header_len(length: u64) -> usize {
    if length < LENGTH_16 as u64 {
        2
    } else if length <= u16::MAX as u64 {
        4
    } else {
        10
    }
}

/// The header of a whole unmasked frame, and its length.
#[inline]
pub(crate) fn server_header(opcode: OpCode, length: usize) -> ([u8; Header::MAX_LEN], usize) {
    let mut bytes = [0; Header::MAX_LEN];
    let header = Header { fin: true, opcode, rsv1: false, mask: None, length: length as u64 };
    let len = header.encode(&mut bytes);
    (bytes, len)
}

/// The payload of a whole frame without a mask. Frames with headers of different lengths never have
/// the same length, so the frame's length determines its header's.
pub(crate) fn payload_of(frame: &[u8]) -> &[u8] {
    let header = [2, 4, 10].into_iter().find(|&header| {
        frame.len().checked_sub(header).is_some_and(|length| server_header_len(length as u64) == header)
    });
    header.map_or(&[], |header| &frame[header..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPCODES: [OpCode; 6] =
        [OpCode::Continuation, OpCode::Text, OpCode::Binary, OpCode::Close, OpCode::Ping, OpCode::Pong];
    const LENGTHS: [u64; 10] = [0, 1, 124, 125, 126, 127, 65535, 65536, 1 << 32, (1 << 63) - 1];

    #[test]
    fn encoded_headers_parse_back_and_every_prefix_needs_more() {
        for opcode in OPCODES {
            for length in LENGTHS.into_iter().filter(|&length| !opcode.is_control() || length <= 125) {
                for (fin, rsv1, mask) in [(true, false, None), (opcode.is_control(), true, Some([9, 8, 7, 6]))] {
                    let header = Header { fin, opcode, rsv1, mask, length };
                    let mut bytes = [0; 14];
                    let len = header.encode(&mut bytes);
                    assert_eq!(len, header.encoded_len());
                    assert_eq!(Header::parse(&bytes), Ok(Some((header, len))));
                    for short in 0..len {
                        assert_eq!(Header::parse(&bytes[..short]), Ok(None), "{header:?} cut at {short}");
                    }
                }
            }
        }
    }

    #[test]
    fn rfc6455_5_2_reserved_bits_2_and_3_fail_at_the_first_byte() {
        for byte in [0xa1, 0x91, 0xb2, 0xf1] {
            assert_eq!(Header::parse(&[byte]), Err(ProtocolError::ReservedBits(byte)));
        }
    }

    #[test]
    fn rfc6455_5_2_reserved_opcodes_fail_at_the_first_byte() {
        assert_eq!(Header::parse(&[0x83]), Err(ProtocolError::ReservedOpCode(3)));
        assert_eq!(Header::parse(&[0x8f]), Err(ProtocolError::ReservedOpCode(15)));
    }

    #[test]
    fn rfc6455_5_5_control_frames_are_whole_and_short() {
        assert_eq!(Header::parse(&[0x09]), Err(ProtocolError::FragmentedControl));
        assert_eq!(Header::parse(&[0x89, 126]), Err(ProtocolError::OversizedControl));
        assert_eq!(Header::parse(&[0x88, 0xff]), Err(ProtocolError::OversizedControl));
    }

    #[test]
    fn rfc6455_5_2_lengths_are_in_their_shortest_form() {
        assert_eq!(Header::parse(&[0x82, 126, 0, 125]), Err(ProtocolError::NonMinimalLength(125)));
        assert!(Header::parse(&[0x82, 126, 0, 126]).unwrap().is_some());
        let long = |length: u64| [&[0x82, 127][..], &length.to_be_bytes()].concat();
        assert_eq!(Header::parse(&long(65535)), Err(ProtocolError::NonMinimalLength(65535)));
        assert!(Header::parse(&long(65536)).unwrap().is_some());
    }

    #[test]
    fn rfc6455_5_2_bit_63_fails_at_the_first_byte_of_the_length() {
        assert_eq!(Header::parse(&[0x82, 127, 0x80]), Err(ProtocolError::LengthOverflow));
    }

    #[test]
    fn the_first_two_bytes_never_panic_and_never_loop() {
        for first in 0..=255 {
            for second in (0..=255).step_by(if cfg!(miri) { 17 } else { 1 }) {
                let _ = Header::parse(&[first, second]);
                let _ = Header::parse(&[first, second, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
            }
        }
    }
}
