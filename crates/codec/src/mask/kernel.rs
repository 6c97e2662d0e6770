//! An implementation of masking, as its callers see it.

use super::rotated;
use std::fmt;

/// An implementation of masking for one instruction set. [`kernels`](super::kernels) returns the
/// ones that this CPU can run; [`apply`] and the other functions use the first of them.
///
/// [`apply`]: super::apply
///
/// ```
/// use ringway_codec::mask;
///
/// for kernel in mask::kernels() {
///     let mut payload = *b"hello";
///     kernel.apply(&mut payload, [1, 2, 3, 4], 0);
///     kernel.apply(&mut payload, [1, 2, 3, 4], 0);
///     assert_eq!(&payload, b"hello", "{} bytes at a time", kernel.width());
/// }
/// ```
pub struct Kernel {
    pub(super) name: &'static str,
    pub(super) width: usize,
    pub(super) mask: Mask,
    pub(super) mask_seeing_ascii: Mask,
    pub(super) ascii_prefix: AsciiPrefix,
}

/// Source, destination, length, and the key as it applies to the first byte. See
/// [`super::vector::mask`] for the requirements; the length may be any.
type Mask = unsafe fn(*const u8, *mut u8, usize, u32) -> bool;

/// See [`super::vector::ascii_prefix`].
type AsciiPrefix = unsafe fn(*const u8, usize) -> usize;

impl Kernel {
    /// The name of its instruction set: `avx512`, `avx2`, `sse2`, `neon` or `portable`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The width of its vectors in bytes.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// [`apply_seeing_ascii`](super::apply_seeing_ascii) with this kernel, for any length.
    pub fn apply_seeing_ascii(&self, payload: &mut [u8], key: [u8; 4], phase: usize) -> bool {
        let at = payload.as_mut_ptr();
        let key = rotated(u32::from_ne_bytes(key), phase);
        // SAFETY: source and destination are the same slice, borrowed mutably. Only `kernels`
        // returns kernels, so the CPU can run this one.
        unsafe { self.run::<true>(at, at, payload.len(), key) }
    }

    /// [`apply`](super::apply) with this kernel, for any length.
    pub fn apply(&self, payload: &mut [u8], key: [u8; 4], phase: usize) {
        let at = payload.as_mut_ptr();
        let key = rotated(u32::from_ne_bytes(key), phase);
        // SAFETY: as in `apply_seeing_ascii`.
        unsafe { self.run::<false>(at, at, payload.len(), key) };
    }

    /// [`shift`](super::shift) with this kernel, for any length.
    ///
    /// # Panics
    ///
    /// If `by` exceeds the length.
    pub fn shift(&self, bytes: &mut [u8], by: usize, key: [u8; 4]) {
        self.shift_as::<false>(bytes, by, key);
    }

    /// [`shift_seeing_ascii`](super::shift_seeing_ascii) with this kernel, for any length.
    ///
    /// # Panics
    ///
    /// If `by` exceeds the length.
    pub fn shift_seeing_ascii(&self, bytes: &mut [u8], by: usize, key: [u8; 4]) -> bool {
        self.shift_as::<true>(bytes, by, key)
    }

    fn shift_as<const ASCII: bool>(&self, bytes: &mut [u8], by: usize, key: [u8; 4]) -> bool {
        assert!(by <= bytes.len(), "mask::shift needs bytes to move");
        let at = bytes.as_mut_ptr();
        // SAFETY: source and destination are parts of one slice, borrowed mutably, each of `len() -
        // by` bytes, and the destination is not behind the source. For the CPU see
        // `apply_seeing_ascii`.
        unsafe { self.run::<ASCII>(at.add(by), at, bytes.len() - by, u32::from_ne_bytes(key)) }
    }

    /// [`copy`](super::copy) with this kernel, for any length.
    ///
    /// # Panics
    ///
    /// If the two lengths differ.
    pub fn copy(&self, source: &[u8], destination: &mut [u8], key: [u8; 4], phase: usize) {
        assert_eq!(source.len(), destination.len(), "mask::copy needs slices of one length");
        let key = rotated(u32::from_ne_bytes(key), phase);
        // SAFETY: both slices are `source.len()` bytes and cannot overlap. For the CPU see
        // `apply_seeing_ascii`.
        unsafe { self.run::<false>(source.as_ptr(), destination.as_mut_ptr(), source.len(), key) };
    }

    /// [`ascii_prefix`](super::ascii_prefix) with this kernel.
    #[inline]
    #[must_use]
    pub fn ascii_prefix(&self, bytes: &[u8]) -> usize {
        // SAFETY: the slice can be read. For the CPU see `apply_seeing_ascii`.
        unsafe { (self.ascii_prefix)(bytes.as_ptr(), bytes.len()) }
    }

    /// # Safety
    ///
    /// That of [`super::vector::mask`], the instructions included.
    #[inline(always)]
    pub(super) unsafe fn run<const ASCII: bool>(
        &self,
        source: *const u8,
        destination: *mut u8,
        len: usize,
        key: u32,
    ) -> bool {
        let mask = if ASCII { self.mask_seeing_ascii } else { self.mask };
        // SAFETY: guaranteed by the caller.
        unsafe { mask(source, destination, len, key) }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("name", &self.name).field("width", &self.width).finish_non_exhaustive()
    }
}
