//! The masking of payloads (RFC 6455 section 5.3): `payload[i] ^= key[i % 4]`, its own inverse.
//!
//! `phase` is the offset of the slice in its payload; only `phase % 4` counts, and it is what lets
//! a payload be masked piece by piece.
//!
//! The work is done by one of several [`Kernel`]s, chosen once for the CPU at hand. What is too
//! short to be worth the call is masked inline, in overlapping words.
//!
//! This module holds all `unsafe` code of the crate; UNSAFE.md lists its invariants.

mod dispatch;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;
mod portable;
mod short;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use dispatch::{Kernel, kernels};

use dispatch::chosen;
use short::{SHORT, short};

/// Masks or unmasks `payload` in place. As fast as memory for payloads over a few hundred bytes.
#[inline]
pub fn apply(payload: &mut [u8], key: [u8; 4], phase: usize) {
    apply_as::<false>(payload, key, phase);
}

/// As [`apply`], and says whether what it has written is ASCII throughout. It costs next to nothing
/// more.
#[inline]
#[must_use]
pub fn apply_seeing_ascii(payload: &mut [u8], key: [u8; 4], phase: usize) -> bool {
    apply_as::<true>(payload, key, phase)
}

/// Writes `source`, masked or unmasked, to `destination`, in one pass.
///
/// # Panics
///
/// When the two lengths differ: a caller that mixes them up would send bytes that nobody wrote.
#[inline]
pub fn copy(source: &[u8], destination: &mut [u8], key: [u8; 4], phase: usize) {
    copy_as::<false>(source, destination, key, phase);
}

/// As [`copy`], and says whether what it has written is ASCII throughout. It costs next to nothing
/// more.
///
/// # Panics
///
/// When the two lengths differ.
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

/// As [`append`], and says whether what it has appended is ASCII throughout. It costs next to
/// nothing more.
#[inline]
#[must_use]
pub fn append_seeing_ascii(out: &mut Vec<u8>, source: &[u8], key: [u8; 4], phase: usize) -> bool {
    append_as::<true>(out, source, key, phase)
}

/// How many of `bytes` are seen to be ASCII from the first one on: all of them when that is what
/// they are, else at least those before the first other one but for four vectors (256 bytes at
/// most). 0 for what is shorter than a vector. It reads as fast as memory.
#[inline]
#[must_use]
pub fn ascii_prefix(bytes: &[u8]) -> usize {
    chosen().ascii_prefix(bytes)
}

#[inline(always)]
fn apply_as<const ASCII: bool>(payload: &mut [u8], key: [u8; 4], phase: usize) -> bool {
    let at = payload.as_mut_ptr();
    // SAFETY: source and destination are the same slice, borrowed mutably.
    unsafe { run::<ASCII>(at, at, payload.len(), key, phase) }
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
    // SAFETY: there is room for `len` bytes behind what `out` holds. They belong to `out` alone, so
    // they do not overlap `source`, and `run` writes every one of them.
    unsafe {
        let end = out.as_mut_ptr().add(out.len());
        let ascii = run::<ASCII>(source.as_ptr(), end, len, key, phase);
        out.set_len(out.len() + len);
        ascii
    }
}

/// Inline when it is short, else by the CPU's kernel. Without `ASCII` what is returned means
/// nothing.
///
/// # Safety
///
/// `len` bytes must be readable at `source` and writable at `destination`, and the two be the same
/// or not overlap.
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
        // SAFETY: the caller's promise is the one that `short` asks for.
        return unsafe { short::<ASCII>(source, destination, len, key) };
    }
    // SAFETY: the caller's promise is the one that a kernel asks for, and the chosen one suits this
    // CPU.
    unsafe { chosen().run::<ASCII>(source, destination, len, key) }
}

/// The key, as a word in memory order, as it applies `by` bytes further on.
#[inline(always)]
const fn rotated(key: u32, by: usize) -> u32 {
    let bits = (by % 4) as u32 * 8;
    if cfg!(target_endian = "little") { key.rotate_right(bits) } else { key.rotate_left(bits) }
}

#[cfg(test)]
mod tests;
