//! The algorithm of all kernels, generic over the vector type.

use super::rotated;
use super::short::{SHORT, short};

/// A vector register, or a word used as one.
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

/// Masks `len` bytes from `source` to `destination`, with a key that applies to the first of them;
/// with `ASCII`, returns whether the result is ASCII.
///
/// The first and the last vector are unaligned and may overlap the vectors between them, which are
/// aligned in the destination. They are read before the first write and written after all others,
/// so that masking in place is correct. So is moving towards the front: what an iteration writes is
/// not behind what it has read, and all later reads are.
///
/// # Safety
///
/// `len` bytes must be readable at `source` and writable at `destination`. If the two overlap, the
/// destination must not begin behind the source. The CPU must have the instructions of `V`. When a vector is wider than
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
        // SAFETY: guaranteed by the caller: with wider vectors `len` is not so small.
        return unsafe { short::<ASCII>(source, destination, len, key) };
    }
    let end = len - width;
    // SAFETY: `at <= end` holds wherever a vector is read or written at `at`, and `at <= end - 3 *
    // width` where four are; a vector at `end` ends at `len`. No iteration reads bytes that an
    // earlier one has written: `at` only grows, the destination is not behind the source, and the
    // first and last vectors are written after both loops.
    unsafe {
        let first = V::load(source).xor(V::splat(key));
        let last = V::load(source.add(end)).xor(V::splat(rotated(key, end)));
        let mut seen = first.or(last);

        // From 1 to `width`, so that the first vector covers the bytes before it.
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

/// Returns the number of ASCII bytes before the first vector, or group of four, with another byte:
/// `len` if all are ASCII. 0 if `len` is less than a vector.
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
        // From 1 to `width`: the first vector covers the bytes before it.
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
