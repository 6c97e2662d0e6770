//! The plaintext of received records: in place of the records, or a copy.

use crate::tls::RECORD_HEADER;
use std::mem;
use std::ops::Range;

/// Where a record can have its plaintext: behind its header, or behind that and the explicit nonce of
/// AES-GCM in TLS 1.2 (RFC 5288 section 3).
pub(super) const PLAIN_AT: [u8; 2] = [RECORD_HEADER as u8, RECORD_HEADER as u8 + 8];

/// The plaintext of received records: all of it is in one of two places.
#[derive(Debug, Default)]
pub(crate) struct Plaintext {
    /// The range of the input where it is. Later records were moved down behind the first.
    pub(crate) in_place: Range<usize>,
    /// A copy.
    pub(crate) copied: Vec<u8>,
}

impl Plaintext {
    /// Appends a copy.
    pub(super) fn append(&mut self, input: &[u8], bytes: &[u8]) {
        self.copied.extend_from_slice(&input[mem::take(&mut self.in_place)]);
        self.copied.extend_from_slice(bytes);
    }

    /// Appends plaintext that is in the input.
    pub(super) fn append_in_place(&mut self, input: &mut [u8], range: Range<usize>) {
        if !self.copied.is_empty() {
            self.copied.extend_from_slice(&input[range]);
        } else if self.in_place.is_empty() {
            self.in_place = range;
        } else {
            let (to, len) = (self.in_place.end, range.len());
            input.copy_within(range, to);
            self.in_place.end = to + len;
        }
    }
}

/// Where the plaintext of a step is.
#[derive(Debug, Default)]
pub(super) enum Opened {
    #[default]
    None,
    /// In the record at the front of the bytes. The check has its ends.
    InPlace(InPlaceCheck),
    /// A copy, and whether it is that of the record at the front of the bytes.
    Copied { bytes: Vec<u8>, is_front: bool },
}

/// The length and both ends of a plaintext, which are compared with the place where it is expected.
/// Other bytes of at least 32 have the same ends with a probability of 2⁻²⁵⁶, and shorter ones never.
#[derive(Debug)]
pub(super) struct InPlaceCheck {
    pub(super) len: usize,
    pub(super) ends: [[u8; CHECKED]; 2],
}

/// The number of bytes of each end.
pub(super) const CHECKED: usize = 16;

impl InPlaceCheck {
    pub(super) fn of(plain: &[u8]) -> Self {
        let (len, mut ends) = (plain.len().min(CHECKED), [[0; CHECKED]; 2]);
        ends[0][..len].copy_from_slice(&plain[..len]);
        ends[1][..len].copy_from_slice(&plain[plain.len() - len..]);
        Self { len: plain.len(), ends }
    }
}
