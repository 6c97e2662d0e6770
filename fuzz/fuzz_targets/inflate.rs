#![no_main]
//! Arbitrary bytes as the compressed data of messages: they inflate to the same data as in flate2
//! with one byte at a time, wherever they are cut, and never to more than the limit.
//!
//! Input: a byte of flags, a byte for the limit, a byte for where to cut, a byte for the length of
//! the first of two messages, and their data.

use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;
use ringway_codec::{Limits, MessageKind, OpCode, ProtocolError, Role, WindowBits};
use ringway_testkit::Frame;
use ringway_testkit::decoder::{Outcome, Seen, decode, decode_in_steps, symmetric};

/// A raw inflater that is fed one byte at a time.
struct Oracle {
    decompress: Decompress,
    ended: bool,
    /// The input since it was created, and the number of output bytes.
    fed: Vec<u8>,
    made: usize,
}

impl Oracle {
    fn new() -> Self {
        Self { decompress: Decompress::new(false), ended: false, fed: Vec::new(), made: 0 }
    }

    /// Inflates one message, or returns the error with which it is refused.
    fn message(&mut self, data: &[u8], limit: usize) -> Result<Vec<u8>, ProtocolError> {
        let mut out = Vec::new();
        for &byte in data {
            self.byte(byte, &mut out, limit)?;
        }
        if !self.ended {
            let made = self.made;
            for byte in [0, 0, 0xff] {
                self.byte(byte, &mut out, usize::MAX)?;
            }
            // If the stream has ended, the fourth byte would begin a new one.
            let ended_early = self.ended;
            self.byte(0xff, &mut out, usize::MAX)?;
            // The empty block may be marked as the last one.
            let whole = self.made == made && !ended_early && (self.ended || self.is_between_blocks());
            if !whole {
                return Err(ProtocolError::CorruptCompression);
            }
        }
        // Compressed data of zero bytes is not a message, in any state.
        if data.is_empty() { Err(ProtocolError::CorruptCompression) } else { Ok(out) }
    }

    /// Whether a final block could follow, with which the stream would end.
    fn is_between_blocks(&self) -> bool {
        const LAST: [u8; 2] = [0x03, 0x00];
        let stream = [&self.fed[..], &LAST].concat();
        let mut decompress = Decompress::new(false);
        let mut room = vec![0; self.made + 1];
        let result = decompress.decompress(&stream, &mut room, FlushDecompress::Finish);
        matches!(result, Ok(Status::StreamEnd))
            && decompress.total_in() == stream.len() as u64
            && decompress.total_out() == self.made as u64
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>, limit: usize) -> Result<(), ProtocolError> {
        if self.ended {
            *self = Self::new();
        }
        self.fed.push(byte);
        let mut input = &[byte][..];
        loop {
            let mut room = [0; 512];
            let (before_in, before_out) = (self.decompress.total_in(), self.decompress.total_out());
            let result = self.decompress.decompress(input, &mut room, FlushDecompress::None);
            input = &input[(self.decompress.total_in() - before_in) as usize..];
            let made = (self.decompress.total_out() - before_out) as usize;
            out.extend_from_slice(&room[..made]);
            self.made += made;
            if out.len() > limit {
                return Err(ProtocolError::TooBig { limit });
            }
            match result {
                Err(_) => return Err(ProtocolError::CorruptCompression),
                Ok(Status::StreamEnd) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(_) if input.is_empty() && made < room.len() => return Ok(()),
                Ok(_) => {}
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[flags, limit, cut, first], rest)) = data.split_first_chunk::<4>() else { return };
    let takeover = flags & 1 != 0;
    let limits = Limits { max_message: usize::from(limit) * 64, fragment_cost: 0 };
    let messages = rest.split_at(usize::from(first).min(rest.len()));
    // The size of compressed frames is limited as well, which is not tested here.
    let most = limits.max_message;
    if messages.0.len() > most || messages.1.len() > most {
        return;
    }
    let stream = |opcode| {
        [
            Frame::new(opcode as u8, messages.0).rsv1().unmasked().bytes(),
            Frame::new(opcode as u8, messages.1).rsv1().unmasked().bytes(),
        ]
        .concat()
    };
    let cuts =
        |stream: &[u8]| -> Vec<usize> { (1..=stream.len()).filter(|at| at % (1 + usize::from(cut)) == 0).collect() };

    let mut expected: Outcome = (Vec::new(), None);
    let mut oracle = Oracle::new();
    for message in [messages.0, messages.1] {
        match oracle.message(message, limits.max_message) {
            Ok(payload) => expected.0.push(Seen::Message(MessageKind::Binary, payload)),
            Err(error) => {
                expected.1 = Some(error);
                break;
            }
        }
        if !takeover {
            oracle = Oracle::new();
        }
    }
    let params = symmetric(takeover, WindowBits::MAX);
    let binary = stream(OpCode::Binary);
    assert_eq!(decode(Role::Client, Some(&params), limits, &binary, &[]), expected);
    assert_eq!(decode(Role::Client, Some(&params), limits, &binary, &cuts(&binary)), expected);
    // With an allowance, in the smallest steps and in steps of the distance of the cuts.
    let allowances = [1, 0, usize::from(cut) * 8];
    assert_eq!(decode_in_steps(Role::Client, Some(&params), limits, &binary, &cuts(&binary), &allowances), expected);
    assert_eq!(decode_in_steps(Role::Client, Some(&params), limits, &binary, &[], &allowances[..2]), expected);

    // As text: the same bytes, if they are UTF-8.
    let text = stream(OpCode::Text);
    let (seen, error) = decode(Role::Client, Some(&params), limits, &text, &[]);
    assert_eq!(decode(Role::Client, Some(&params), limits, &text, &cuts(&text)), (seen.clone(), error));
    let in_steps = decode_in_steps(Role::Client, Some(&params), limits, &text, &cuts(&text), &allowances);
    assert_eq!(in_steps, (seen.clone(), error));
    for (seen, expected) in seen.iter().zip(&expected.0) {
        let (Seen::Message(_, seen), Seen::Message(_, expected)) = (seen, expected) else { panic!("two messages") };
        assert!(seen == expected && std::str::from_utf8(seen).is_ok());
    }
    if error != Some(ProtocolError::InvalidText) {
        assert_eq!((seen.len(), error), (expected.0.len(), expected.1));
    }

    // A smaller window may refuse data that a larger one accepts, but must not produce additional
    // messages.
    let window = WindowBits::new(8 + (flags >> 1) % 8).expect("8 to 15 bits are windows");
    let small = symmetric(takeover, window);
    let (seen, _) = decode(Role::Client, Some(&small), limits, &binary, &cuts(&binary));
    assert!(seen.len() <= 2);
});
