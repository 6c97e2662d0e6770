//! Masking of payloads (RFC 6455 section 5.3): `payload[i] ^= key[i % 4]`, which is its own
//! inverse.
//!
//! `phase` is the offset of the slice in its payload, of which only `phase % 4` matters: it allows
//! a payload to be masked piece by piece.
//!
//! One of several [`Kernel`]s is chosen once for the CPU. Payloads that are too short for the call
//! are masked inline, in overlapping words.
//!
//! UNSAFE.md lists the invariants of this module's `unsafe` code.

mod dispatch;
mod kernel;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;
mod portable;
mod short;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use dispatch::kernels;
pub use kernel::Kernel;

use dispatch::chosen;
use short::{SHORT, short};

/// Masks or unmasks `payload` in place. As fast as memory for payloads over a few hundred bytes.
#[inline]
pub fn apply(payload: &mut [u8], key: [u8; 4], phase: usize) {
    apply_as::<false>(payload, key, phase);
}

/// As [`apply`], and returns whether the result is ASCII. The check costs almost nothing.
#[inline]
#[must_use]
pub fn apply_seeing_ascii(payload: &mut [u8], key: [u8; 4], phase: usize) -> bool {
    apply_as::<true>(payload, key, phase)
}

/// Masks or unmasks `bytes[by..]`, and moves it to the beginning of `bytes`, in one pass. The last
/// `by` bytes are unspecified then.
///
/// # Panics
///
/// If `by` exceeds the length.
#[inline]
pub fn shift(bytes: &mut [u8], by: usize, key: [u8; 4]) {
    shift_as::<false>(bytes, by, key, 0);
}

/// As [`shift`], and returns whether the result is ASCII. The check costs almost nothing.
///
/// # Panics
///
/// If `by` exceeds the length.
#[inline]
#[must_use]
pub fn shift_seeing_ascii(bytes: &mut [u8], by: usize, key: [u8; 4]) -> bool {
    shift_as::<true>(bytes, by, key, 0)
}

/// Writes `source`, masked or unmasked, to `destination`, in one pass.
///
/// # Panics
///
/// If the two lengths differ: the rest of `destination` would keep its former content.
#[inline]
pub fn copy(source: &[u8], destination: &mut [u8], key: [u8; 4], phase: usize) {
    copy_as::<false>(source, destination, key, phase);
}

/// As [`copy`], and returns whether the result is ASCII. The check costs almost nothing.
///
/// # Panics
///
/// If the two lengths differ.
#[inline]
#[must_use]
pub fn copy_seeing_ascii(source: &[u8], destination: &mut [u8], key: [u8; 4], phase: usize) -> bool {
    copy_as::<true>(source, destination, key, phase)
}

/// Appends `source`, masked or unmasked, to `out`, in one pass. Grows `out` by at least
/// `source.len()` when its capacity is short.
#[inline]
pub fn append(out: &mut Vec<u8>, source: &[u8], key: [u8; 4], phase: usize) {
    append_as::<false>(out, source, key, phase);
}

/// As [`append`], and returns whether the appended bytes are ASCII. The check costs almost nothing.
#[inline]
#[must_use]
pub fn append_seeing_ascii(out: &mut Vec<u8>, source: &[u8], key: [u8; 4], phase: usize) -> bool {
    append_as::<true>(out, source, key, phase)
}

/// Returns the length of a prefix of `bytes` that is ASCII: all of them if they are ASCII, else at
/// least the number before the first other byte less four vectors (256 bytes at most). 0 if `bytes`
/// is shorter than a vector. Runs at memory speed.
#[inline]
#[must_use]
pub fn ascii_prefix(bytes: &[u8]) -> usize {
    chosen().ascii_prefix(bytes)
}

#[inline(always)]
fn apply_as<const ASCII: bool>(payload: &mut [u8], key: [u8; 4], phase: usize) -> bool {
    shift_as::<ASCII>(payload, 0, key, phase)
}

#[inline(always)]
fn shift_as<const ASCII: bool>(bytes: &mut [u8], by: usize, key: [u8; 4], phase: usize) -> bool {
    assert!(by <= bytes.len(), "mask::shift needs bytes to move");
    let at = bytes.as_mut_ptr();
    // SAFETY: source and destination are parts of one slice, borrowed mutably, each of `len() - by`
    // bytes. The source begins `by` bytes behind the destination.
    unsafe { run::<ASCII>(at.add(by), at, bytes.len() - by, key, phase) }
}

#[inline(always)]
fn copy_as<const ASCII: bool>(source: &[u8], destination: &mut [u8], key: [u8; 4], phase: usize) -> bool {
    assert_eq!(source.len(), destination.len(), "mask::copy needs slices of one length");
    // SAFETY: both slices are `source.len()` bytes, and two such borrows cannot overlap.
    unsafe { run::<ASCII>(source.as_ptr(), destination.as_mut_ptr(), source.len(), key, phase) }
}

#[inline(always)]
fn append_as<const ASCII: bool>(out: &mut Vec<u8>, source: &[u8], key: [u8; 4], phase: usize) -> bool {
    let len = source.len();
    out.reserve(len);
    // SAFETY: there is room for `len` bytes after the content of `out`. They belong to `out` alone,
    // so they do not overlap `source`, and `run` writes every one of them.
    unsafe {
        let end = out.as_mut_ptr().add(out.len());
        let ascii = run::<ASCII>(source.as_ptr(), end, len, key, phase);
        out.set_len(out.len() + len);
        ascii
    }
}

/// Masks inline up to `SHORT` bytes, else with the CPU's kernel. Without `ASCII` the result is
/// meaningless.
///
/// # Safety
///
/// `len` bytes must be readable at `source` and writable at `destination`. If the two overlap, the
/// destination must not begin behind the source.
#[inline(always)]
unsafe fn run<const ASCII: bool>(
    source: *const u8,
    destination: *mut u8,
    len: usize,
    key: [u8; 4],
    phase: usize,
) -> bool {
    let key = rotated(u32::from_ne_bytes(key), phase);
    if len <= SHORT {
        // SAFETY: the caller guarantees the requirements of `short`.
        return unsafe { short::<ASCII>(source, destination, len, key) };
    }
    // SAFETY: the caller guarantees the requirements of a kernel, and this CPU has the instructions
    // of the chosen one.
    unsafe { chosen().run::<ASCII>(source, destination, len, key) }
}

/// Rotates the key, a word in memory order, so that it applies `by` bytes further on.
#[inline(always)]
const fn rotated(key: u32, by: usize) -> u32 {
    let bits = (by % 4) as u32 * 8;
    if cfg!(target_endian = "little") { key.rotate_right(bits) } else { key.rotate_left(bits) }
}

#[cfg(test)]
mod tests;
