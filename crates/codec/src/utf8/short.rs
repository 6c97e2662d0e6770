//! Validation of short texts: the well-formedness table of Unicode (table 3-7) as an automaton that
//! consumes one byte per step.
//!
//! There is one row for each byte value, which holds the successors of all states, six bits each; a
//! state is the bit offset of its successor. A step is a load, which does not depend on the state,
//! and a shift, which does: one cycle per byte for any text, where the standard library branches.
//! The rows take 2 KiB, of which ASCII and one script use a part.

/// The start, and the end of each character.
const WHOLE: usize = 0;
/// Not UTF-8; has no other successor.
const WRONG: usize = 1;
/// One, two or three continuation bytes of any value are missing.
const ONE: usize = 2;
const TWO: usize = 3;
const THREE: usize = 4;
/// After a first byte that permits only some second bytes.
const AFTER_E0: usize = 5;
const AFTER_ED: usize = 6;
const AFTER_F0: usize = 7;
const AFTER_F4: usize = 8;
const STATES: usize = 9;

const BITS: usize = 6;

static ROWS: [u64; 256] = rows();

const fn rows() -> [u64; 256] {
    let mut rows = [0; 256];
    let mut byte = 0;
    while byte < rows.len() {
        let mut state = 0;
        while state < STATES {
            rows[byte] |= ((BITS * next(state, byte as u8)) as u64) << (BITS * state);
            state += 1;
        }
        byte += 1;
    }
    rows
}

const fn next(state: usize, byte: u8) -> usize {
    match (state, byte) {
        (WHOLE, 0x00..=0x7f) | (ONE, 0x80..=0xbf) => WHOLE,
        (WHOLE, 0xc2..=0xdf) | (TWO, 0x80..=0xbf) | (AFTER_E0, 0xa0..=0xbf) | (AFTER_ED, 0x80..=0x9f) => ONE,
        (WHOLE, 0xe1..=0xec | 0xee..=0xef)
        | (THREE, 0x80..=0xbf)
        | (AFTER_F0, 0x90..=0xbf)
        | (AFTER_F4, 0x80..=0x8f) => TWO,
        (WHOLE, 0xf1..=0xf3) => THREE,
        (WHOLE, 0xe0) => AFTER_E0,
        (WHOLE, 0xed) => AFTER_ED,
        (WHOLE, 0xf0) => AFTER_F0,
        (WHOLE, 0xf4) => AFTER_F4,
        _ => WRONG,
    }
}

/// Whether all of `bytes` is UTF-8, at one cycle per byte: for texts that are too short for a
/// vector kernel.
#[inline]
pub(super) fn is_valid(bytes: &[u8]) -> bool {
    // The bits above the low six are the row's other entries, which the shift discards.
    let end =
        bytes.iter().fold((BITS * WHOLE) as u64, |state, &byte| ROWS[usize::from(byte)].wrapping_shr(state as u32));
    end % (1 << BITS) == (BITS * WHOLE) as u64
}
