//! Masking, UTF-8 validation and header parsing, compared with a copy of the same size and with the
//! public functions of other codecs. Codecs without such functions are measured as a whole in
//! `decoders`.

use ringway_benches::Candidate;
use ringway_benches::{copying, in_place, key, memcpy};
use ringway_codec::{Header, OpCode, mask, utf8};
use std::hint::black_box;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;

/// Unmasks a payload in place.
pub(crate) fn unmask(size: usize) -> Vec<Candidate> {
    let payload = vec![b'a'; size];
    vec![
        in_place("Ringway", &payload, |payload| mask::apply(payload, key(), 0)),
        memcpy(&payload),
        in_place("fastwebsockets", &payload, |payload| fastwebsockets::unmask(payload, key())),
        in_place("sockudo-ws", &payload, |payload| sockudo_ws::simd::apply_mask(payload, key())),
    ]
}

/// Masks a payload while copying it.
pub(crate) fn copy(size: usize) -> Vec<Candidate> {
    let payload = vec![b'a'; size];
    vec![
        copying("Ringway", &payload, |source, destination| mask::copy(source, destination, key(), 0)),
        memcpy(&payload),
        copying("fastwebsockets", &payload, |source, destination| {
            destination.copy_from_slice(source);
            fastwebsockets::unmask(destination, key());
        }),
        copying("sockudo-ws", &payload, |source, destination| {
            destination.copy_from_slice(source);
            sockudo_ws::simd::apply_mask(destination, key());
        }),
    ]
}

/// Unmasks a text payload in place and validates it.
pub(crate) fn unmask_text(text: &str) -> Vec<Candidate> {
    let text = text.as_bytes();
    vec![
        in_place("Ringway", text, |payload| assert!(utf8::unmask(payload, key()))),
        memcpy(text),
        in_place("fastwebsockets", text, |payload| {
            fastwebsockets::unmask(payload, key());
            assert!(simdutf8::basic::from_utf8(payload).is_ok());
        }),
        in_place("sockudo-ws", text, |payload| {
            sockudo_ws::simd::apply_mask(payload, key());
            assert!(sockudo_ws::utf8::validate_utf8(payload));
        }),
    ]
}

/// Validates text.
pub(crate) fn check_text(text: &str) -> Vec<Candidate> {
    let text = text.as_bytes();
    vec![
        in_place("Ringway", text, |text| assert!(utf8::is_valid(text))),
        memcpy(text),
        in_place("tungstenite", text, |text| assert!(std::str::from_utf8(text).is_ok())),
        in_place("fastwebsockets", text, |text| assert!(simdutf8::basic::from_utf8(text).is_ok())),
        in_place("sockudo-ws", text, |text| assert!(sockudo_ws::utf8::validate_utf8(text))),
    ]
}

/// Parses the header of a masked frame.
pub(crate) fn header(length: u64) -> Vec<Candidate> {
    let header = Header { fin: true, opcode: OpCode::Binary, rsv1: false, mask: Some([1, 2, 3, 4]), length };
    let mut bytes = [0; Header::MAX_LEN];
    let len = header.encode(&mut bytes);
    assert_eq!(Header::parse(&bytes[..len]), Ok(Some((header, len))));
    vec![
        Candidate::new("Ringway", move || {
            let parsed = Header::parse(black_box(&bytes[..len]));
            assert!(black_box(parsed).is_ok());
        }),
        Candidate::new("tungstenite", move || {
            let parsed = FrameHeader::parse(&mut Cursor::new(black_box(&bytes[..len])));
            assert!(black_box(parsed).is_ok());
        }),
    ]
}
