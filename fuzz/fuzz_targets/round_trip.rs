#![no_main]
//! Encoded messages decode to their payloads, compressed or not, in any fragments and pieces.

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringway_codec::{
    CloseCode, Deflater, Limits, MessageKind, OpCode, Prepared, Role, WindowBits, deflated_frame, encode_client,
    encode_close, encode_deflated, encode_masked, encode_server,
};
use ringway_testkit::Frame;
use ringway_testkit::decoder::{Seen, decode, received_by, symmetric};

#[derive(Debug, Arbitrary)]
struct RoundTrip<'d> {
    client: bool,
    deflate: Option<RoundTripCompression>,
    items: Vec<Item<'d>>,
    close: Option<(u16, &'d str)>,
    cuts: Vec<u16>,
}

/// The negotiated compression.
#[derive(Debug, Arbitrary)]
struct RoundTripCompression {
    takeover: bool,
    window: u8,
    level: u8,
}

#[derive(Debug, Arbitrary)]
enum Item<'d> {
    Text(&'d str, [u8; 4]),
    Binary(&'d [u8], [u8; 4]),
    Prepared(&'d [u8], [u8; 4]),
    /// A message in fragments, with a ping after each but the last.
    Fragments(&'d [u8], u8, [u8; 4]),
    Ping(&'d [u8], [u8; 4]),
    Pong(&'d [u8], [u8; 4]),
}

/// The bytes for a decoder in `role`, and the expected events.
struct Wire {
    role: Role,
    deflater: Option<(Deflater, bool)>,
    bytes: Vec<u8>,
    expected: Vec<Seen>,
}

impl Wire {
    fn whole(&mut self, opcode: OpCode, payload: &[u8], key: [u8; 4]) {
        match self.role {
            Role::Server => encode_client(opcode, payload, key, &mut self.bytes),
            Role::Client => encode_server(opcode, payload, &mut self.bytes),
        }
    }

    /// A message, compressed if that was negotiated.
    fn message(&mut self, kind: MessageKind, payload: &[u8], key: [u8; 4]) {
        match &mut self.deflater {
            None => self.whole(kind.into(), payload, key),
            Some((deflater, takeover)) => {
                let key = (self.role == Role::Server).then_some(key);
                encode_deflated(kind, payload, key, deflater, *takeover, &mut self.bytes);
            }
        }
        self.expected.push(Seen::Message(kind, payload.to_vec()));
    }

    fn fragment(&mut self, fin: bool, opcode: OpCode, payload: &[u8], key: [u8; 4]) {
        let frame = Frame::new(opcode as u8, payload).fin(fin).key(key);
        self.bytes.extend(received_by(self.role, frame));
    }

    fn put(&mut self, item: &Item<'_>) {
        match *item {
            Item::Text(text, key) => self.message(MessageKind::Text, text.as_bytes(), key),
            Item::Binary(payload, key) => self.message(MessageKind::Binary, payload, key),
            Item::Prepared(payload, key) => {
                let prepared = Prepared::binary(payload);
                assert_eq!(prepared.payload(), payload);
                let deflater = self.deflater.as_mut().map(|(deflater, _)| deflater);
                let frame = deflater.and_then(|deflater| deflated_frame(&prepared, deflater));
                let frame = frame.unwrap_or_else(|| prepared.as_frame());
                match self.role {
                    Role::Server => encode_masked(frame, key, &mut self.bytes),
                    Role::Client => self.bytes.extend_from_slice(frame),
                }
                self.expected.push(Seen::Message(MessageKind::Binary, payload.to_vec()));
            }
            Item::Fragments(payload, size, key) => {
                let mut rest = payload;
                let mut opcode = OpCode::Binary;
                while rest.len() > usize::from(size) {
                    let (fragment, after) = rest.split_at(usize::from(size).max(1));
                    self.fragment(false, opcode, fragment, key);
                    self.whole(OpCode::Ping, b"between", key);
                    self.expected.push(Seen::Ping(b"between".to_vec()));
                    (rest, opcode) = (after, OpCode::Continuation);
                }
                self.fragment(true, opcode, rest, key);
                self.expected.push(Seen::Message(MessageKind::Binary, payload.to_vec()));
            }
            Item::Ping(payload, key) => {
                let payload = &payload[..payload.len().min(125)];
                self.whole(OpCode::Ping, payload, key);
                self.expected.push(Seen::Ping(payload.to_vec()));
            }
            Item::Pong(payload, key) => {
                let payload = &payload[..payload.len().min(125)];
                self.whole(OpCode::Pong, payload, key);
                self.expected.push(Seen::Pong(payload.to_vec()));
            }
        }
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        let Ok(payload) = encode_close(code, reason) else {
            assert!(!code.is_sendable());
            self.whole(OpCode::Close, b"", [9; 4]);
            return self.expected.push(Seen::Close(None));
        };
        self.whole(OpCode::Close, &payload, [9; 4]);
        let sent = std::str::from_utf8(&payload[2..]).expect("a reason is cut at a character");
        assert!(reason.starts_with(sent) && (sent.len() == reason.len() || sent.len() >= 120));
        self.expected.push(Seen::Close(Some((code.as_u16(), sent.to_owned()))));
    }
}

fuzz_target!(|input: RoundTrip<'_>| {
    let role = if input.client { Role::Client } else { Role::Server };
    let window =
        |deflate: &RoundTripCompression| WindowBits::new(9 + deflate.window % 7).expect("9 to 15 bits are windows");
    let params = input.deflate.as_ref().map(|deflate| symmetric(deflate.takeover, window(deflate)));
    let deflater = input.deflate.as_ref().map(|deflate| {
        let deflater =
            Deflater::new(deflate.level % 10, window(deflate)).expect("zlib compresses with 9 bits and more");
        (deflater, deflate.takeover)
    });
    let mut wire = Wire { role, deflater, bytes: Vec::new(), expected: Vec::new() };
    input.items.iter().for_each(|item| wire.put(item));
    if let Some((code, reason)) = input.close {
        wire.close(CloseCode::new(code), reason);
        // Any bytes may follow a close frame.
        wire.bytes.extend_from_slice(b"\xff\xff\xff\xff");
    }
    let mut cuts: Vec<usize> = input.cuts.iter().map(|&cut| usize::from(cut) % (wire.bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let limits = Limits { fragment_cost: 0, ..Limits::default() };
    assert_eq!(decode(role, params.as_ref(), limits, &wire.bytes, &cuts), (wire.expected, None));
});
