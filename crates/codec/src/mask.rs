//! The masking of payloads (RFC 6455 section 5.3): `payload[i] ^= key[i % 4]`, its own inverse.
//!
//! `phase` is the offset of the slice in its payload; only `phase % 4` counts, and it is what lets a payload be masked
//! piece by piece. The loops run over fixed-size arrays, which LLVM turns into vector instructions.

/// Masks or unmasks `payload` in place. About as fast as memory for payloads over a few hundred bytes.
#[inline]
pub fn apply(payload: &mut [u8], key: [u8; 4], phase: usize) {
    let key = rotated(key, phase);
    let wide = widened(key);
    let (blocks, rest) = payload.as_chunks_mut::<16>();
    for block in blocks {
        *block = (u128::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    apply_tail(rest, key);
}

/// Writes `source`, masked or unmasked, to `destination`.
///
/// # Panics
///
/// When the two lengths differ: a caller that mixes them up would send bytes that nobody wrote.
#[inline]
pub fn copy(source: &[u8], destination: &mut [u8], key: [u8; 4], phase: usize) {
    assert_eq!(source.len(), destination.len(), "mask::copy needs slices of one length");
    let key = rotated(key, phase);
    let wide = widened(key);
    let (from, source_rest) = source.as_chunks::<16>();
    let (to, destination_rest) = destination.as_chunks_mut::<16>();
    for (from, to) in from.iter().zip(to) {
        *to = (u128::from_ne_bytes(*from) ^ wide).to_ne_bytes();
    }
    destination_rest.copy_from_slice(source_rest);
    apply_tail(destination_rest, key);
}

/// Appends `source`, masked or unmasked, to `out`. Grows `out` by at least `source.len()` when its capacity is short.
#[inline]
pub fn append(out: &mut Vec<u8>, source: &[u8], key: [u8; 4], phase: usize) {
    /// Safe code cannot write into spare capacity, so each block is copied and then masked while it is in the L1 cache.
    /// A multiple of 4, so that every block starts at the same phase.
    const BLOCK: usize = 8 * 1024;

    out.reserve(source.len());
    for block in source.chunks(BLOCK) {
        let start = out.len();
        out.extend_from_slice(block);
        apply(&mut out[start..], key, phase);
    }
}

/// The key as it applies to a slice that begins `phase` bytes into the payload.
#[inline]
fn rotated(mut key: [u8; 4], phase: usize) -> [u8; 4] {
    key.rotate_left(phase % 4);
    key
}

#[inline]
fn widened(key: [u8; 4]) -> u128 {
    let key = u128::from(u32::from_ne_bytes(key));
    key | key << 32 | key << 64 | key << 96
}

/// At most 15 bytes, in three halving steps: a loop over bytes would cost more than the rest of a small message.
#[inline]
fn apply_tail(tail: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    let (eights, tail) = tail.as_chunks_mut::<8>();
    if let Some(eight) = eights.first_mut() {
        *eight = (u64::from_ne_bytes(*eight) ^ (u64::from(word) | u64::from(word) << 32)).to_ne_bytes();
    }
    let (fours, tail) = tail.as_chunks_mut::<4>();
    if let Some(four) = fours.first_mut() {
        *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn oracle(payload: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, byte)| byte ^ key[(i + phase) % 4]).collect()
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 256 + 3) as u8).collect()
    }

    #[test]
    fn every_length_alignment_and_phase_agrees_with_the_bytewise_oracle() {
        let bytes = pattern(16 + 130);
        for len in 0..=130 {
            for alignment in 0..16 {
                let source = &bytes[alignment..alignment + len];
                for phase in 0..4 {
                    let expected = oracle(source, KEY, phase);

                    let mut in_place = bytes.clone();
                    apply(&mut in_place[alignment..alignment + len], KEY, phase);
                    assert_eq!(in_place[alignment..alignment + len], expected, "{len} {alignment} {phase}");
                    assert_eq!(in_place[..alignment], bytes[..alignment]);
                    assert_eq!(in_place[alignment + len..], bytes[alignment + len..]);

                    let mut copied = [0; 16 + 130];
                    let to = 15 - alignment;
                    copy(source, &mut copied[to..to + len], KEY, phase);
                    assert_eq!(copied[to..to + len], expected, "{len} {alignment} {phase}");

                    let mut appended = bytes[..alignment].to_vec();
                    append(&mut appended, source, KEY, phase);
                    assert_eq!(appended[..alignment], bytes[..alignment]);
                    assert_eq!(appended[alignment..], expected, "{len} {alignment} {phase}");
                }
            }
        }
    }

    #[test]
    fn pieces_masked_at_their_own_phase_equal_the_whole() {
        let payload = pattern(20_000);
        let expected = oracle(&payload, KEY, 0);
        for cut in [0, 1, 2, 3, 4, 5, 4096, 8191, 8192, 8193, 16_385, 20_000] {
            let mut out = Vec::new();
            append(&mut out, &payload[..cut], KEY, 0);
            append(&mut out, &payload[cut..], KEY, cut);
            assert_eq!(out, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_phase_near_the_largest_usize_is_taken_modulo_four() {
        let mut payload = pattern(9);
        let expected = oracle(&payload, KEY, 3);
        apply(&mut payload, KEY, usize::MAX);
        assert_eq!(payload, expected);
    }

    #[test]
    #[should_panic(expected = "one length")]
    fn copy_refuses_slices_of_different_lengths() {
        copy(&[1], &mut [], KEY, 0);
    }
}
