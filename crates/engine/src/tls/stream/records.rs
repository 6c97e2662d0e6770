//! The framing of records: their headers, before rustls parses them.

use crate::tls::RECORD_HEADER;
use std::ops::RangeInclusive;

/// The maximum size in bytes of the payload of a record (RFC 8446 section 5.2: 2^14 + 256; RFC 5246
/// section 6.2.3: 2^14 + 2048).
const RECORD_MAX: usize = (1 << 14) + 2048;

/// The types of records (RFC 8446 section 5.1, RFC 6520).
const RECORD_TYPES: RangeInclusive<u8> = 20..=24;

/// The first bytes of the versions that rustls parses: those of SSL 2.0, SSL 3.0 to TLS 1.3, and DTLS.
const RECORD_VERSIONS: [u8; 3] = [2, 3, 0xfe];

/// The number of bytes that the first record of `bytes` lacks; `None` if it is complete, or if rustls
/// refuses its header. Without its header, those of the header.
pub(super) fn missing(bytes: &[u8]) -> Option<usize> {
    let &[kind, major, _, high, low, ..] = bytes else { return Some(RECORD_HEADER - bytes.len()) };
    let payload = usize::from(u16::from_be_bytes([high, low]));
    if !RECORD_TYPES.contains(&kind) || !RECORD_VERSIONS.contains(&major) || payload >= RECORD_MAX {
        return None;
    }
    (RECORD_HEADER + payload).checked_sub(bytes.len()).filter(|missing| *missing > 0)
}

/// The number of bytes of the first record, if it is complete.
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, high, low, ..] = bytes else { return None };
    let len = RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
    (len <= bytes.len()).then_some(len)
}

/// Whether the bytes begin like an HTTP request. No record of TLS does: the type of its content is
/// at most 24.
pub(super) fn is_http(bytes: &[u8]) -> bool {
    let first = bytes.first_chunk::<4>();
    first.is_some_and(|first| first.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b' ' | b'/')))
}
