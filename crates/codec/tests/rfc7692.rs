//! Requirements of RFC 7692 for sent and received messages, checked bit by bit. The tests have an
//! inflater of their own, which reports properties that zlib does not: the distance of references,
//! and how blocks end.

use ringway_codec::{
    Decoder, DeflateParams, Deflater, Header, Limits, MessageKind, Prepared, ProtocolError, Role, SpillPool,
    WindowBits, deflated_frame, encode_deflated, mask,
};
use ringway_testkit::decoder::{Seen, feed, received_by};
use ringway_testkit::{Frame, KEY};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// The bits of compressed data, from the lowest of each byte on (RFC 1951 section 3.1.1).
struct Bits<'d> {
    data: &'d [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> usize {
        let bit = self.data[self.at / 8] >> (self.at % 8) & 1;
        self.at += 1;
        bit.into()
    }

    fn number(&mut self, bits: usize) -> usize {
        (0..bits).fold(0, |number, place| number | self.bit() << place)
    }

    fn at_end(&self) -> bool {
        self.at >= self.data.len() * 8
    }

    /// One symbol of a code.
    fn symbol(&mut self, code: &Code) -> usize {
        let (mut number, mut first, mut before) = (0, 0, 0);
        for count in code.counts {
            number = number << 1 | self.bit();
            first <<= 1;
            if number < first + count {
                return code.symbols[before + number - first];
            }
            first += count;
            before += count;
        }
        panic!("no symbol has such a code")
    }
}

/// A prefix code (RFC 1951 section 3.2.2): those of one length are consecutive numbers in the order
/// of their symbols, and the first of them follows the last shorter one.
struct Code {
    /// The number of codes of 1, 2, … 15 bits.
    counts: [usize; 15],
    /// The symbols in the order of their codes.
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let of = |length: u8| lengths.iter().enumerate().filter(move |&(_, &l)| l == length).map(|(symbol, _)| symbol);
        Self { counts: std::array::from_fn(|at| of(at as u8 + 1).count()), symbols: (1..=15).flat_map(of).collect() }
    }
}

/// The content of a message, and how it was compressed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Inflated {
    payload: Vec<u8>,
    /// The largest distance of a reference.
    farthest: usize,
    /// Whether a reference reaches beyond the beginning of the message.
    takes_over: bool,
    /// Whether a block is marked as the last.
    has_last_block: bool,
    /// Whether the data, with the tail appended, ends with the empty stored block of the tail.
    ends_empty: bool,
}

/// Inflates one message. `history` is the receiver's window of earlier messages.
fn inflate(compressed: &[u8], history: &[u8]) -> Inflated {
    const LENGTHS: [(usize, usize); 29] = {
        let mut table = [(0, 0); 29];
        let mut code = 0;
        while code < 28 {
            let extra = if code < 8 { 0 } else { code / 4 - 1 };
            table[code] = if code < 8 { (3 + code, 0) } else { (3 + ((4 + code % 4) << extra), extra) };
            code += 1;
        }
        table[28] = (258, 0);
        table
    };
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    let data = [compressed, &[0, 0, 0xff, 0xff]].concat();
    let mut bits = Bits { data: &data, at: 0 };
    let mut out = history.to_vec();
    let mut found = Inflated::default();
    while !bits.at_end() {
        let is_last = bits.bit() == 1;
        found.has_last_block |= is_last;
        found.ends_empty = false;
        let (literals, distances) = match bits.number(2) {
            0 => {
                bits.at = bits.at.next_multiple_of(8);
                let (length, complement) = (bits.number(16), bits.number(16));
                assert_eq!(length ^ complement, 0xffff);
                (0..length).for_each(|_| out.push(bits.number(8) as u8));
                found.ends_empty = length == 0;
                continue; // It has ended at a byte.
            }
            1 => (Code::new(&[&[8; 144][..], &[9; 112], &[7; 24], &[8; 8]].concat()), Code::new(&[5; 30])),
            2 => {
                let (literals, distances, codes) = (bits.number(5) + 257, bits.number(5) + 1, bits.number(4) + 4);
                let mut lengths = [0; 19];
                ORDER[..codes].iter().for_each(|&code| lengths[code] = bits.number(3) as u8);
                let lengths = Code::new(&lengths);
                let mut both = Vec::new();
                while both.len() < literals + distances {
                    let (value, times) = match bits.symbol(&lengths) {
                        16 => (*both.last().expect("there is one to repeat"), 3 + bits.number(2)),
                        17 => (0, 3 + bits.number(3)),
                        18 => (0, 11 + bits.number(7)),
                        length => (length as u8, 1),
                    };
                    both.extend(std::iter::repeat_n(value, times));
                }
                let distances = both.split_off(literals);
                (Code::new(&both), Code::new(&distances))
            }
            _ => panic!("a reserved kind of block"),
        };
        loop {
            match bits.symbol(&literals) {
                literal @ 0..256 => out.push(literal as u8),
                256 => break,
                code => {
                    let (base, extra) = LENGTHS[code - 257];
                    let length = base + bits.number(extra);
                    let code = bits.symbol(&distances);
                    let extra = (code / 2).saturating_sub(1);
                    let base = if code < 2 { 1 + code } else { 1 + ((2 + code % 2) << extra) };
                    let distance = base + bits.number(extra);
                    found.farthest = found.farthest.max(distance);
                    found.takes_over |= distance > out.len() - history.len();
                    for _ in 0..length {
                        out.push(out[out.len() - distance]);
                    }
                }
            }
        }
        if is_last {
            bits.at = bits.at.next_multiple_of(8);
        }
    }
    found.payload = out.split_off(history.len());
    found
}

/// A text of words, with noise between them so that references are distant.
fn text(len: usize, seed: u32) -> Vec<u8> {
    let mut random = seed;
    let mut text = Vec::new();
    while text.len() < len {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let words: [&[u8]; 4] = [b"{\"price\":", b"the quick brown fox ", b"\"volume\": 17}, ", b"jumps "];
        text.extend_from_slice(words[(random >> 28) as usize % 4]);
        text.extend(random.to_string().bytes());
    }
    text.truncate(len);
    text
}

fn bits(bits: u8) -> WindowBits {
    WindowBits::new(bits).unwrap()
}

/// The frame's first byte, and its payload without the mask.
fn read(frame: &[u8]) -> (u8, Vec<u8>) {
    let (header, len) = Header::parse(frame).unwrap().unwrap();
    let mut payload = frame[len..].to_vec();
    assert_eq!(payload.len() as u64, header.length);
    if let Some(key) = header.mask {
        mask::apply(&mut payload, key, 0);
    }
    (frame[0], payload)
}

#[test]
fn the_inflater_of_these_tests_reads_the_examples_of_the_standard() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let first = inflate(&hello, b"");
    assert_eq!((&first.payload[..], first.takes_over, first.has_last_block), (&b"Hello"[..], false, false));
    let second = inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], b"Hello");
    assert_eq!((&second.payload[..], second.takes_over, second.farthest), (&b"Hello"[..], true, 5));
    assert!(inflate(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"").has_last_block);
    assert_eq!(inflate(&[0], b""), Inflated { ends_empty: true, ..Inflated::default() });
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    assert_eq!(inflate(&stored, b"").payload, b"Hello");
}

#[test]
fn rfc7692_7_2_1_compressed_messages_end_with_an_empty_block_without_its_tail() {
    for level in [0, 1, 6, 9].into_iter().step_by(if cfg!(miri) { 2 } else { 1 }) {
        let mut deflater = Deflater::new(level, WindowBits::MAX).unwrap();
        let lengths: &[usize] = if cfg!(miri) { &[0, 1, 300] } else { &[0, 1, 2, 10, 300, 5000, 100_000] };
        for &len in lengths {
            let payload = text(len, 7);
            let mut compressed = Vec::new();
            deflater.compress(&payload, false, &mut compressed);
            let found = inflate(&compressed, b"");
            assert_eq!(found.payload, payload, "{len} at level {level}");
            assert!(found.ends_empty, "{len} at level {level}");
            // So no last block needs padding.
            assert!(!found.has_last_block, "{len} at level {level}");
        }
    }
}

#[test]
fn rfc7692_7_2_1_no_reference_exceeds_the_window_that_was_agreed_on() {
    // Under Miri only the smallest window, which is filled quickly.
    let (windows, len) = if cfg!(miri) { (9..=9, 1000) } else { (9..=15, 20_000) };
    for window in windows {
        let mut deflater = Deflater::new(9, bits(window)).unwrap();
        let mut history = Vec::new();
        let mut farthest = 0;
        for seed in 0..4 {
            let payload = text(len, seed / 2);
            let mut compressed = Vec::new();
            deflater.compress(&payload, true, &mut compressed);
            let found = inflate(&compressed, &history);
            assert_eq!(found.payload, payload);
            farthest = farthest.max(found.farthest);
            history.extend(payload);
        }
        assert!(farthest <= 1 << window, "{farthest} with {window} bits");
        assert!(farthest > 1 << (window - 2), "{farthest} with {window} bits: the window is made use of");
    }
}

#[test]
fn rfc7692_7_2_1_without_context_takeover_each_message_is_compressed_independently() {
    for (takeover, key) in [(false, None), (false, Some(KEY)), (true, None), (true, Some(KEY))] {
        let mut deflater = Deflater::new(6, WindowBits::MAX).unwrap();
        let payload = text(500, 3);
        for round in 0..3 {
            let mut frame = Vec::new();
            encode_deflated(MessageKind::Text, &payload, key, &mut deflater, takeover, &mut frame);
            let (first, compressed) = read(&frame);
            assert_eq!(first, 0xc1, "FIN, RSV1, text");
            let history = if takeover { payload.repeat(round) } else { Vec::new() };
            let found = inflate(&compressed, &history);
            assert_eq!(found.payload, payload);
            assert_eq!(found.takes_over, takeover && round > 0);
        }
    }
    let mut deflater = Deflater::new(6, WindowBits::MAX).unwrap();
    deflater.compress(&text(500, 3), true, &mut Vec::new());
    let prepared = Prepared::text(&String::from_utf8(text(500, 3)).unwrap());
    let (_, compressed) = read(deflated_frame(&prepared, &mut deflater).unwrap());
    assert!(!inflate(&compressed, b"").takes_over, "what all receivers share stands alone for each of them");
}

/// A frame as `role` receives it.
fn received(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    received_by(role, Frame::with_first_byte(first, payload))
}

/// The payloads of the messages, and the error that ended the stream.
fn receive(role: Role, params: &DeflateParams, stream: &[u8]) -> (Vec<Vec<u8>>, Option<ProtocolError>) {
    let mut pool = SpillPool::new(Limits::default());
    let (seen, error) = feed(&mut Decoder::with_deflate(role, params), &mut pool, stream, &[]);
    let message = |seen| if let Seen::Message(_, payload) = seen { Some(payload) } else { None };
    (seen.into_iter().filter_map(message).collect(), error)
}

/// Two messages: 32 KiB as they are, and a reference to the first three bytes of them, 32 KiB back.
fn farthest_reference() -> [Vec<u8>; 2] {
    let payload: Vec<u8> = (0..32_768u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut stored = vec![0, 0x00, 0x80, 0xff, 0x7f];
    stored.extend(payload);
    stored.push(0);
    // A block of the fixed code: length 3 (symbol 257), distance 24 577 (code 29) and 8191 more,
    // end of block; and the first bits of the empty block after it.
    let fixed = "0 10 0000001 11101 1111111111111 0000000 0 00";
    let mut second = Vec::new();
    for (at, bit) in fixed.bytes().filter(|byte| *byte != b' ').enumerate() {
        if at % 8 == 0 {
            second.push(0);
        }
        *second.last_mut().unwrap() |= (bit - b'0') << (at % 8);
    }
    [stored, second]
}

#[test]
fn rfc7692_7_2_2_a_window_of_32_kib_is_kept_between_messages_unless_less_was_agreed_on() {
    let [first, second] = farthest_reference();
    let payload = inflate(&first, b"").payload;
    let found = inflate(&second, &payload);
    assert_eq!((found.farthest, &found.payload[..]), (32_768, &payload[..3]));
    for role in ROLES {
        let stream = [received(role, 0xc2, &first), received(role, 0xc2, &second)].concat();
        let (messages, error) = receive(role, &DeflateParams::default(), &stream);
        assert_eq!(error, None);
        assert_eq!(messages, [payload.clone(), payload[..3].to_vec()]);
        // The parameters of the other direction make no difference.
        let other = match role {
            Role::Server => DeflateParams {
                server_no_context_takeover: true,
                server_max_window_bits: Some(bits(9)),
                ..DeflateParams::default()
            },
            Role::Client => DeflateParams {
                client_no_context_takeover: true,
                client_max_window_bits: Some(bits(9)),
                ..DeflateParams::default()
            },
        };
        assert_eq!(receive(role, &other, &stream).0, messages);
    }
}

#[test]
fn rfc7692_7_2_2_fragments_are_put_together_before_they_are_inflated() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for role in ROLES {
        for cut in 0..=hello.len() {
            let stream =
                [received(role, 0x41, &hello[..cut]), received(role, 0x89, b"?"), received(role, 0x80, &hello[cut..])];
            let expected = (vec![b"Hello".to_vec()], None);
            assert_eq!(receive(role, &DeflateParams::default(), &stream.concat()), expected, "cut at {cut}");
        }
        // A sender that flushes at the end of a fragment leaves the tail in it (section 7.2.1).
        let flushed = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        let stream = [received(role, 0x41, &flushed[..8]), received(role, 0x80, &flushed[8..])].concat();
        assert_eq!(receive(role, &DeflateParams::default(), &stream), (vec![b"Hello".to_vec()], None));
    }
}

#[test]
fn rfc7692_6_1_the_bit_anywhere_but_on_a_first_data_frame_fails_the_connection() {
    for role in ROLES {
        for first in [0xc8, 0xc9, 0xca] {
            let error = receive(role, &DeflateParams::default(), &received(role, first, b""));
            assert_eq!(error, (vec![], Some(ProtocolError::UnexpectedRsv1)), "{first:#x}");
        }
        for first in [0xc0, 0x40] {
            let stream = [received(role, 0x41, &[0xf2]), received(role, first, &[0])].concat();
            let error = receive(role, &DeflateParams::default(), &stream);
            assert_eq!(error, (vec![], Some(ProtocolError::UnexpectedRsv1)), "{first:#x}");
        }
    }
}
