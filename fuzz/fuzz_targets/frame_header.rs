#![no_main]
//! A header parses as in an oracle that follows the figure of RFC 6455 section 5.2. A parsed header
//! encodes to the same bytes. A prefix either needs more bytes or gives the same result as the
//! whole.

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Header, OpCode};

/// Parses the header bit by bit; `None` if it is invalid or incomplete.
fn oracle(bytes: &[u8]) -> Option<(Header, usize)> {
    let bit = |at: usize| bytes.get(at / 8).map(|byte| byte >> (7 - at % 8) & 1 == 1);
    let number = |from: usize, bits: usize| {
        (from..from + bits).try_fold(0u64, |number, at| bit(at).map(|bit| number << 1 | u64::from(bit)))
    };
    let (fin, rsv1, opcode, masked, short) = (bit(0)?, bit(1)?, number(4, 4)?, bit(8)?, number(9, 7)?);
    let (length, end) = match short {
        126 => (number(16, 16)?, 4),
        127 => (number(16, 64)?, 10),
        _ => (short, 2),
    };
    let shortest = match length {
        0..126 => 2,
        126..65536 => 4,
        _ => 10,
    };
    let opcode = match opcode {
        0 => OpCode::Continuation,
        1 => OpCode::Text,
        2 => OpCode::Binary,
        8 => OpCode::Close,
        9 => OpCode::Ping,
        10 => OpCode::Pong,
        _ => return None,
    };
    let control = matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong);
    if bit(2)? || bit(3)? || length >> 63 == 1 || shortest != end || control && (!fin || length > 125) {
        return None;
    }
    let mask = if masked { Some(*bytes.get(end..)?.first_chunk::<4>()?) } else { None };
    Some((Header { fin, opcode, rsv1, mask, length }, end + if masked { 4 } else { 0 }))
}

fuzz_target!(|data: &[u8]| {
    let parsed = Header::parse(data);
    assert_eq!(parsed.ok().flatten(), oracle(data));
    if let Ok(Some((header, len))) = parsed {
        let mut bytes = [0; Header::MAX_LEN];
        assert_eq!(header.encode(&mut bytes), len);
        assert_eq!(header.encoded_len(), len);
        assert_eq!(bytes[..len], data[..len]);
    }
    for end in 0..data.len().min(Header::MAX_LEN) {
        match (Header::parse(&data[..end]), parsed) {
            // More bytes may complete it or make it invalid.
            (Ok(None), _) => {}
            // Otherwise the result is final.
            (known, whole) => assert_eq!(known, whole, "{end} bytes"),
        }
    }
    if data.len() >= Header::MAX_LEN {
        assert_ne!(parsed, Ok(None), "no header is longer than this");
    }
});
