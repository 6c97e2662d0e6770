//! The algorithm of all kernels, written once over what differs between them.

use super::rotated;
use super::short::{SHORT, short};

/// A vector register, or a word that serves as one.
///
/// # Safety
///
/// `WIDTH` must be the number of bytes that `load` reads and `store` writes, and a multiple of 4.
pub(super) unsafe trait Vector: Copy {
    /// Bytes in one vector.
    const WIDTH: usize;

    /// `word` in every lane.
    ///
    /// # Safety
    ///
    /// The CPU must have the instructions of this kernel. The same holds for the other methods.
    unsafe fn splat(word: u32) -> Self;

    /// # Safety
    ///
    /// `WIDTH` bytes must be readable at `at`, at any alignment.
    unsafe fn load(at: *const u8) -> Self;

    /// # Safety
    ///
    /// `WIDTH` bytes must be writable at `at`, at any alignment.
    unsafe fn store(self, at: *mut u8);

    /// # Safety
    ///
    /// The CPU must have the instructions of this kernel.
    unsafe fn xor(self, other: Self) -> Self;

    /// # Safety
    ///
    /// The CPU must have the instructions of this kernel.
    unsafe fn or(self, other: Self) -> Self;

    /// Whether no byte has its highest bit set.
    ///
    /// # Safety
    ///
    /// The CPU must have the instructions of this kernel.
    unsafe fn is_ascii(self) -> bool;
}

/// Masks `len` bytes from `source` to `destination`, with a key that applies at the first of them;
/// with `ASCII`, says whether all that was written is ASCII.
///
/// The first and the last vector are unaligned and may overlap what lies between, which is aligned
/// in the destination. So that this also holds in place, they are read before anything is written,
/// and written after everything else.
///
/// # Safety
///
/// `len` bytes must be readable at `source` and writable at `destination`, and the two be the same
/// or not overlap. The CPU must have the instructions of `V`. When a vector is wider than
/// [`SHORT`], `len` must be at least its width.
#[inline(always)]
pub(super) unsafe fn mask<V: Vector, const ASCII: bool>(
    source: *const u8,
    destination: *mut u8,
    len: usize,
    key: u32,
) -> bool {
    let width = V::WIDTH;
    debug_assert!(width <= SHORT || len >= width, "so few bytes take a narrower vector");
    if len < width {
        // SAFETY: the caller's promise: with wider vectors `len` would not be so small.
        return unsafe { short::<ASCII>(source, destination, len, key) };
    }
    let end = len - width;
    // SAFETY: `at <= end` holds wherever a vector is read or written at `at`, and `at <= end - 3 *
    // width` where four are; a vector at `end` ends at `len`. What is read in a turn of a loop was
    // written by none before it, because `at` only grows, and the first and last vectors are
    // written after both loops.
    unsafe {
        let first = V::load(source).xor(V::splat(key));
        let last = V::load(source.add(end)).xor(V::splat(rotated(key, end)));
        let mut seen = first.or(last);

        // From 1 to `width`, so that the first vector covers what lies before it.
        let mut at = width - destination.addr() % width;
        let keys = V::splat(rotated(key, at));
        while at + 3 * width <= end {
            let a = V::load(source.add(at)).xor(keys);
            let b = V::load(source.add(at + width)).xor(keys);
            let c = V::load(source.add(at + 2 * width)).xor(keys);
            let d = V::load(source.add(at + 3 * width)).xor(keys);
            if ASCII {
                seen = seen.or(a.or(b)).or(c.or(d));
            }
            a.store(destination.add(at));
            b.store(destination.add(at + width));
            c.store(destination.add(at + 2 * width));
            d.store(destination.add(at + 3 * width));
            at += 4 * width;
        }
        while at <= end {
            let a = V::load(source.add(at)).xor(keys);
            if ASCII {
                seen = seen.or(a);
            }
            a.store(destination.add(at));
            at += width;
        }
        first.store(destination);
        last.store(destination.add(end));
        !ASCII || seen.is_ascii()
    }
}

/// How many of `len` bytes are seen to be ASCII before a vector, or four of them, have one that is
/// not: `len` when all are. 0 for what is shorter than a vector.
///
/// # Safety
///
/// `len` bytes must be readable at `source`. The CPU must have the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn ascii_prefix<V: Vector>(source: *const u8, len: usize) -> usize {
    let width = V::WIDTH;
    if len < width {
        return 0;
    }
    let end = len - width;
    // SAFETY: `at <= end` holds wherever a vector is read at `at`, and `at <= end - 3 * width`
    // where four are; a vector at `end` ends at `len`.
    unsafe {
        if !V::load(source).is_ascii() {
            return 0;
        }
        // From 1 to `width`: the first vector covers what lies before it.
        let mut at = width - source.addr() % width;
        while at + 3 * width <= end {
            let a = V::load(source.add(at)).or(V::load(source.add(at + width)));
            let b = V::load(source.add(at + 2 * width)).or(V::load(source.add(at + 3 * width)));
            if !a.or(b).is_ascii() {
                return at;
            }
            at += 4 * width;
        }
        while at <= end {
            if !V::load(source.add(at)).is_ascii() {
                return at;
            }
            at += width;
        }
        if V::load(source.add(end)).is_ascii() { len } else { at }
    }
}
