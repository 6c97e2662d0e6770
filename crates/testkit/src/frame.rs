//! Frames (RFC 6455 section 5.2), valid and invalid ones, as plain bytes.

/// The masking key of the examples in RFC 6455 section 5.7.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A payload length as a header encodes it, in any of the three forms.
#[derive(Clone, Copy, Debug)]
pub enum LengthField {
    /// 7 bits, up to 125.
    Short(u8),
    /// 7 bits with the value 126, and 16 bits of length.
    Medium(u16),
    /// 7 bits with the value 127, and 64 bits of length.
    Long(u64),
}

impl LengthField {
    fn shortest(length: usize) -> Self {
        match length {
            0..=125 => Self::Short(length as u8),
            126..=0xffff => Self::Medium(length as u16),
            _ => Self::Long(length as u64),
        }
    }
}

/// A frame under construction. By default it is a client's: final, masked with [`KEY`], its length
/// that of the payload, in the shortest form.
#[derive(Clone, Debug)]
pub struct Frame {
    first: u8,
    key: Option<[u8; 4]>,
    length: LengthField,
    payload: Vec<u8>,
}

impl Frame {
    /// A frame with any opcode, 0 to 15.
    #[must_use]
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self::with_first_byte(0x80 | opcode, payload)
    }

    /// A frame with any first byte: FIN, the reserved bits and the opcode.
    #[must_use]
    pub fn with_first_byte(first: u8, payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref().to_vec();
        Self { first, key: Some(KEY), length: LengthField::shortest(payload.len()), payload }
    }

    /// A text message; the payload need not be UTF-8.
    #[must_use]
    pub fn text(payload: impl AsRef<[u8]>) -> Self {
        Self::new(1, payload)
    }

    /// A binary message.
    #[must_use]
    pub fn binary(payload: impl AsRef<[u8]>) -> Self {
        Self::new(2, payload)
    }

    /// The last fragment of a message.
    #[must_use]
    pub fn continuation(payload: impl AsRef<[u8]>) -> Self {
        Self::new(0, payload)
    }

    /// A ping.
    #[must_use]
    pub fn ping(payload: impl AsRef<[u8]>) -> Self {
        Self::new(9, payload)
    }

    /// A pong.
    #[must_use]
    pub fn pong(payload: impl AsRef<[u8]>) -> Self {
        Self::new(10, payload)
    }

    /// A close frame with any code.
    #[must_use]
    pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Self {
        Self::new(8, [&code.to_be_bytes(), reason.as_ref()].concat())
    }

    /// Clears FIN: more fragments of the message follow.
    #[must_use]
    pub fn more(self) -> Self {
        self.fin(false)
    }

    /// Sets or clears FIN.
    #[must_use]
    pub fn fin(mut self, fin: bool) -> Self {
        self.first = self.first & 0x7f | u8::from(fin) << 7;
        self
    }

    /// Sets RSV1, the bit that marks a compressed message (RFC 7692 section 6).
    #[must_use]
    pub fn rsv1(self) -> Self {
        self.bits(0x40)
    }

    /// Sets these bits of the first byte: 0x40, 0x20 and 0x10 are the reserved ones.
    #[must_use]
    pub fn bits(mut self, bits: u8) -> Self {
        self.first |= bits;
        self
    }

    /// Masks the payload with this key instead of [`KEY`].
    #[must_use]
    pub fn key(mut self, key: [u8; 4]) -> Self {
        self.key = Some(key);
        self
    }

    /// Sends the payload unmasked, as a server does.
    #[must_use]
    pub fn unmasked(mut self) -> Self {
        self.key = None;
        self
    }

    /// Puts this length into the header, whatever the length of the payload.
    #[must_use]
    pub fn announcing(mut self, length: LengthField) -> Self {
        self.length = length;
        self
    }

    /// The frame as it is sent.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.first];
        let mask = if self.key.is_some() { 0x80 } else { 0 };
        match self.length {
            LengthField::Short(length) => bytes.push(mask | length),
            LengthField::Medium(length) => {
                bytes.push(mask | 126);
                bytes.extend(length.to_be_bytes());
            }
            LengthField::Long(length) => {
                bytes.push(mask | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend(self.key.into_iter().flatten());
        let key = self.key.unwrap_or([0; 4]);
        bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }
}

/// A frame that was received, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The first byte: FIN, the reserved bits and the opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Received {
    /// A whole text frame.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self { first: 0x81, payload: text.as_bytes().to_vec() }
    }

    /// A whole binary frame.
    #[must_use]
    pub fn binary(payload: impl AsRef<[u8]>) -> Self {
        Self { first: 0x82, payload: payload.as_ref().to_vec() }
    }

    /// A ping.
    #[must_use]
    pub fn ping(payload: impl AsRef<[u8]>) -> Self {
        Self { first: 0x89, payload: payload.as_ref().to_vec() }
    }

    /// A pong.
    #[must_use]
    pub fn pong(payload: impl AsRef<[u8]>) -> Self {
        Self { first: 0x8a, payload: payload.as_ref().to_vec() }
    }

    /// Whether it is a complete ping, with any payload.
    #[must_use]
    pub fn is_ping(&self) -> bool {
        self.first == 0x89
    }

    /// Whether it is a close frame.
    #[must_use]
    pub fn is_close(&self) -> bool {
        self.first == 0x88
    }

    /// The code of a close frame; `None` when it has none.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        assert!(self.is_close(), "expected a close frame, got {self:?}");
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_5_7_the_examples_of_the_standard() {
        assert_eq!(Frame::text("Hello").bytes(), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        assert_eq!(Frame::text("Hel").more().unmasked().bytes(), b"\x01\x03Hel");
        assert_eq!(Frame::continuation("lo").unmasked().bytes(), b"\x80\x02lo");
        assert_eq!(Frame::binary([0; 256]).unmasked().bytes()[..4], *b"\x82\x7e\x01\x00");
        assert_eq!(Frame::binary([0; 65536]).unmasked().bytes()[..10], *b"\x82\x7f\0\0\0\0\0\x01\0\0");
    }

    #[test]
    fn a_frame_can_announce_a_length_that_its_payload_does_not_have() {
        let frame = Frame::binary("").unmasked().bits(0x70).announcing(LengthField::Medium(3));
        assert_eq!(frame.bytes(), b"\xf2\x7e\x00\x03");
    }
}
