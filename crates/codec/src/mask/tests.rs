use super::*;
use std::io::Write;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The widest vector.
const WIDEST: usize = 64;

/// The memory that kernels work in: aligned, so that an offset is an alignment, and with room on
/// both sides of the longest payload.
#[derive(Clone)]
#[repr(align(64))]
struct Bytes([u8; SIZE]);

/// Alignments and distances of up to two vectors in front of the longest payload, and as much behind
/// it.
const SIZE: usize = 14 * WIDEST;

impl Bytes {
    fn pattern() -> Self {
        Self(std::array::from_fn(|i| (i * 7 + i / 256 + 3) as u8))
    }
}

fn oracle(payload: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
    payload.iter().enumerate().map(|(i, byte)| byte ^ key[(i + phase) % 4]).collect()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 256 + 3) as u8).collect()
}

/// The kernel with that name; without it, prints why it is not tested.
fn kernel(name: &str) -> Option<&'static Kernel> {
    let found = kernels().into_iter().find(|kernel| kernel.name() == name);
    if found.is_none() {
        // Not with `eprintln!`, whose output the harness captures when a test passes.
        let _ = writeln!(std::io::stderr(), "NOT TESTED: this machine cannot run the kernel {name}");
    }
    found
}

/// All lengths up to four vectors, and some with which the loop over four vectors has one iteration and
/// several. Miri is a thousand times slower: it tests a sample.
fn lengths(width: usize) -> impl Iterator<Item = usize> {
    let step = if cfg!(miri) { (width / 16) | 1 } else { 1 };
    let long = [8 * width + 1, 4 * width + 1, 5 * width, 6 * width + 3, 8 * width, 9 * width + 2];
    (0..=4 * width).step_by(step).chain(long.into_iter().take(if cfg!(miri) { 1 } else { long.len() }))
}

/// All these lengths, at every alignment and phase, in place and from several alignments of the
/// source.
fn agrees_with_the_bytewise_oracle(name: &str) {
    let Some(kernel) = kernel(name) else { return };
    let width = kernel.width();
    let bytes = Bytes::pattern();
    // Miri is a thousand times slower: it tests a sample of lengths and alignments.
    let alignments: Vec<usize> = if cfg!(miri) { vec![0, 1, width - 1] } else { (0..width).collect() };
    for len in lengths(width) {
        for &alignment in &alignments {
            for phase in 0..4 {
                let said = format!("{name}: {len} bytes at {alignment}, phase {phase}");
                let range = alignment..alignment + len;
                let source = &bytes.0[range.clone()];
                let expected = oracle(source, KEY, phase);

                let mut in_place = bytes.clone();
                kernel.apply(&mut in_place.0[range.clone()], KEY, phase);
                assert_eq!(in_place.0[range.clone()], expected, "{said}");
                assert_eq!(in_place.0[..alignment], bytes.0[..alignment], "{said}: wrote before it");
                assert_eq!(in_place.0[range.end..], bytes.0[range.end..], "{said}: wrote behind it");

                for to in [0, 1, width - 1, width - alignment] {
                    let mut copied = bytes.clone();
                    kernel.copy(source, &mut copied.0[to..to + len], KEY, phase);
                    assert_eq!(copied.0[to..to + len], expected, "{said} to {to}");
                    assert_eq!(copied.0[..to], bytes.0[..to], "{said} to {to}: wrote before it");
                    assert_eq!(copied.0[to + len..], bytes.0[to + len..], "{said} to {to}: wrote behind it");
                }
            }
        }
    }
}

/// All these lengths, from several alignments and over several distances: to what overlaps the source
/// in most of its bytes, in few, or not at all.
fn shifts_towards_the_front(name: &str) {
    let Some(kernel) = kernel(name) else { return };
    let width = kernel.width();
    let bytes = Bytes::pattern();
    for len in lengths(width) {
        for by in
            [0, 4, width + 1, 1, 2, 8, width - 1, width, 2 * width].into_iter().take(if cfg!(miri) { 3 } else { 9 })
        {
            for alignment in [0, 1, width - 1] {
                let said = format!("{name}: {len} bytes at {alignment}, by {by}");
                let range = alignment..alignment + by + len;
                let expected = oracle(&bytes.0[alignment + by..range.end], KEY, 0);
                let mut shifted = bytes.clone();
                kernel.shift(&mut shifted.0[range.clone()], by, KEY);
                assert_eq!(shifted.0[alignment..alignment + len], expected, "{said}");
                assert_eq!(shifted.0[..alignment], bytes.0[..alignment], "{said}: wrote before it");
                assert_eq!(shifted.0[range.end..], bytes.0[range.end..], "{said}: wrote behind it");

                for wrong in [None, Some(0), Some(len / 2), len.checked_sub(1)] {
                    let mut text: Vec<u8> = expected.iter().map(|byte| byte & 0x7f).collect();
                    if let Some(byte) = wrong.and_then(|place| text.get_mut(place)) {
                        *byte |= 0x80;
                    }
                    let mut shifted = bytes.clone();
                    shifted.0[alignment + by..range.end].copy_from_slice(&oracle(&text, KEY, 0));
                    let seen = kernel.shift_seeing_ascii(&mut shifted.0[range.clone()], by, KEY);
                    assert_eq!(seen, text.is_ascii(), "{said}, {wrong:?}");
                    assert_eq!(shifted.0[alignment..alignment + len], text, "{said}");
                }
            }
        }
    }
}

/// One byte that is not ASCII is detected at any position; bytes outside the payload have no
/// effect.
fn sees_each_byte_that_is_not_ascii(name: &str) {
    let Some(kernel) = kernel(name) else { return };
    let width = kernel.width();
    let step = if cfg!(miri) { width / 4 + 3 } else { 1 };
    for len in (0..=4 * width + 1).step_by(step) {
        for alignment in [0, 1, width / 2, width - 1] {
            let range = alignment..alignment + len;
            let mut masked = Bytes([0xff; SIZE]);
            let text: Vec<u8> = (0..len).map(|i| (i % 128) as u8).collect();
            masked.0[range.clone()].copy_from_slice(&oracle(&text, KEY, 1));

            let mut bytes = masked.clone();
            assert!(kernel.apply_seeing_ascii(&mut bytes.0[range.clone()], KEY, 1), "{name}: {len} at {alignment}");
            assert_eq!(bytes.0[range.clone()], text);
            for place in (0..len).step_by(step) {
                let mut bytes = masked.clone();
                bytes.0[alignment + place] ^= 0x80;
                let seen = kernel.apply_seeing_ascii(&mut bytes.0[range.clone()], KEY, 1);
                assert!(!seen, "{name}: byte {place} of {len} at {alignment}");
                assert_eq!(bytes.0[alignment + place], text[place] ^ 0x80);
            }
        }
    }
}

/// The ASCII prefix ends before the first other byte, by at most four vectors, at any position;
/// bytes outside have no effect.
fn finds_the_ascii_in_front(name: &str) {
    let Some(kernel) = kernel(name) else { return };
    let width = kernel.width();
    let step = if cfg!(miri) { width / 4 + 3 } else { 1 };
    for len in (0..=6 * width).step_by(step) {
        for alignment in [0, 1, width / 2, width - 1] {
            let mut bytes = Bytes([0xff; SIZE]);
            let range = alignment..alignment + len;
            bytes.0[range.clone()].fill(b'a');
            let found = kernel.ascii_prefix(&bytes.0[range.clone()]);
            assert_eq!(found, if len < width { 0 } else { len }, "{name}: {len} at {alignment}");
            for place in (0..len).step_by(step) {
                bytes.0[alignment + place] = 0x80;
                let found = kernel.ascii_prefix(&bytes.0[range.clone()]);
                assert!(found <= place, "{name}: byte {place} of {len} at {alignment}, {found} found");
                assert!(place - found < 4 * width, "{name}: byte {place} of {len} at {alignment}, {found} found");
                bytes.0[alignment + place] = b'a';
            }
        }
    }
}

/// Payloads that fill their allocation to its last byte, so that a sanitizer or Miri detects any
/// access outside.
fn stays_inside_its_payload(name: &str) {
    let Some(kernel) = kernel(name) else { return };
    for len in lengths(kernel.width()) {
        let source = pattern(len).into_boxed_slice();
        let expected = oracle(&source, KEY, 2);
        let mut copied = vec![0; len].into_boxed_slice();
        kernel.copy(&source, &mut copied, KEY, 2);
        assert_eq!(*copied, expected, "{name}: {len}");
        let mut in_place = source.clone();
        kernel.apply(&mut in_place, KEY, 2);
        assert_eq!(*in_place, expected, "{name}: {len}");
        kernel.apply_seeing_ascii(&mut in_place, KEY, 2);
        assert_eq!(in_place, source, "{name}: {len}");
        let mut shifted = [&[0; 2], &oracle(&source, KEY, 0)[..]].concat().into_boxed_slice();
        kernel.shift(&mut shifted, 2, KEY);
        assert_eq!(shifted[..len], *source, "{name}: {len}");
        let text = vec![b'a'; len].into_boxed_slice();
        assert_eq!(kernel.ascii_prefix(&text), if len < kernel.width() { 0 } else { len }, "{name}: {len}");
    }
}

macro_rules! by_name {
    ($($name:ident)*) => {$(
        mod $name {
            #[test]
            fn agrees_with_the_bytewise_oracle() {
                super::agrees_with_the_bytewise_oracle(stringify!($name));
            }

            #[test]
            fn shifts_towards_the_front() {
                super::shifts_towards_the_front(stringify!($name));
            }

            #[test]
            fn sees_each_byte_that_is_not_ascii() {
                super::sees_each_byte_that_is_not_ascii(stringify!($name));
            }

            #[test]
            fn finds_the_ascii_in_front() {
                super::finds_the_ascii_in_front(stringify!($name));
            }

            #[test]
            fn stays_inside_its_payload() {
                super::stays_inside_its_payload(stringify!($name));
            }
        }
    )*};
}

by_name!(portable);
#[cfg(target_arch = "x86_64")]
by_name!(sse2 avx2 avx512);
#[cfg(target_arch = "aarch64")]
by_name!(neon);

#[test]
fn a_kernel_without_a_test_by_its_name_does_not_exist() {
    for kernel in kernels() {
        assert!(["portable", "sse2", "avx2", "avx512", "neon"].contains(&kernel.name()), "{kernel:?}");
        assert!(kernel.width() <= WIDEST && kernel.width().is_multiple_of(4), "{kernel:?}");
    }
}

#[test]
fn the_kernel_in_use_is_the_first_one_after_the_first_call() {
    apply(&mut [0; 100], KEY, 0);
    let first = if cfg!(miri) { "portable" } else { kernels()[0].name() };
    assert_eq!(chosen().name(), first);
}

#[test]
fn whatever_the_length_the_public_functions_agree_with_the_oracle() {
    let (longest, step) = if cfg!(miri) { (70, 7) } else { (300, 1) };
    let bytes = pattern(16 + longest);
    for len in 0..=longest {
        for alignment in (0..16).step_by(step) {
            let source = &bytes[alignment..alignment + len];
            for phase in 0..4 {
                let expected = oracle(source, KEY, phase);
                let ascii = expected.is_ascii();

                let mut in_place = bytes.clone();
                apply(&mut in_place[alignment..alignment + len], KEY, phase);
                assert_eq!(in_place[alignment..alignment + len], expected, "{len} {alignment} {phase}");
                assert_eq!(in_place[..alignment], bytes[..alignment]);
                assert_eq!(in_place[alignment + len..], bytes[alignment + len..]);

                let mut in_place = source.to_vec();
                assert_eq!(apply_seeing_ascii(&mut in_place, KEY, phase), ascii);
                assert_eq!(in_place, expected, "{len} {alignment} {phase}");

                if phase == 0 {
                    let mut shifted = bytes[..alignment + len].to_vec();
                    shift(&mut shifted, alignment, KEY);
                    assert_eq!(shifted[..len], expected, "{len} by {alignment}");

                    let mut shifted = bytes[..alignment + len].to_vec();
                    assert_eq!(shift_seeing_ascii(&mut shifted, alignment, KEY), ascii);
                    assert_eq!(shifted[..len], expected, "{len} by {alignment}");
                }

                let mut copied = vec![0; 16 + longest];
                let to = 15 - alignment;
                copy(source, &mut copied[to..to + len], KEY, phase);
                assert_eq!(copied[to..to + len], expected, "{len} {alignment} {phase}");

                let mut copied = vec![0; 16 + longest];
                assert_eq!(copy_seeing_ascii(source, &mut copied[to..to + len], KEY, phase), ascii);
                assert_eq!(copied[to..to + len], expected, "{len} {alignment} {phase}");

                let mut appended = bytes[..alignment].to_vec();
                append(&mut appended, source, KEY, phase);
                assert_eq!(appended[..alignment], bytes[..alignment]);
                assert_eq!(appended[alignment..], expected, "{len} {alignment} {phase}");

                let mut appended = bytes[..alignment].to_vec();
                assert_eq!(append_seeing_ascii(&mut appended, source, KEY, phase), ascii);
                assert_eq!(appended[alignment..], expected, "{len} {alignment} {phase}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "mask::shift needs bytes to move")]
fn no_bytes_are_moved_from_behind_the_slice() {
    shift(&mut [0; 3], 4, KEY);
}

#[test]
fn a_short_payload_is_ascii_only_if_each_of_its_bytes_is() {
    for len in (0..=SHORT + 8).step_by(if cfg!(miri) { 3 } else { 1 }) {
        let text = vec![b'a'; len];
        assert!(apply_seeing_ascii(&mut oracle(&text, KEY, 3), KEY, 3), "{len}");
        for place in 0..len {
            let mut wrong = text.clone();
            wrong[place] = 0x80;
            assert!(!apply_seeing_ascii(&mut oracle(&wrong, KEY, 3), KEY, 3), "byte {place} of {len}");
        }
    }
}

#[test]
fn pieces_masked_at_their_own_phase_equal_the_whole() {
    let payload = pattern(20_000);
    let expected = oracle(&payload, KEY, 0);
    let cuts = [0, 1, 2, 3, 4, 5, 4096, 8191, 8192, 8193, 16_385, 20_000];
    for cut in cuts.into_iter().step_by(if cfg!(miri) { 5 } else { 1 }) {
        let mut out = Vec::new();
        append(&mut out, &payload[..cut], KEY, 0);
        append(&mut out, &payload[cut..], KEY, cut);
        assert_eq!(out, expected, "cut at {cut}");
    }
}

#[test]
fn a_phase_near_the_largest_usize_is_taken_modulo_four() {
    for len in [9, 99] {
        let mut payload = pattern(len);
        let expected = oracle(&payload, KEY, 3);
        apply(&mut payload, KEY, usize::MAX);
        assert_eq!(payload, expected);
    }
}

#[test]
#[should_panic(expected = "one length")]
fn copy_refuses_slices_of_different_lengths() {
    copy(&[1], &mut [], KEY, 0);
}

#[test]
#[should_panic(expected = "one length")]
fn a_kernel_refuses_slices_of_different_lengths() {
    kernels()[0].copy(&[1], &mut [], KEY, 0);
}
