//! The kernels, and the choice of one for this CPU.

use super::{portable, rotated};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// An implementation of masking for one instruction set. [`kernels`] returns the ones that this CPU
/// can run; [`apply`] and the other functions use the first of them.
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

/// Returns the kernels that this CPU can run, the fastest first; the first one is in use. The last
/// is always `portable`.
#[must_use]
pub fn kernels() -> Vec<&'static Kernel> {
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use super::x86::{AVX2, AVX512, SSE2};
        use std::arch::is_x86_feature_detected;
        // The kernel needs AVX512F only. CPUs with AVX512F but without VBMI2 (Intel's before Ice
        // Lake) reduce the clock of the core when 512-bit registers are in use.
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vbmi2") {
            kernels.push(&AVX512);
        }
        if is_x86_feature_detected!("avx2") {
            kernels.push(&AVX2);
        }
        kernels.push(&SSE2);
    }
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    kernels.push(&super::neon::KERNEL);
    kernels.push(&portable::KERNEL);
    kernels
}

/// The kernel in use; `UNKNOWN` until the first call. Relaxed is enough: its target is a static,
/// and concurrent threads store the same pointer.
static CHOSEN: AtomicPtr<Kernel> = AtomicPtr::new(ptr::from_ref(&UNKNOWN).cast_mut());

/// Chooses a kernel at the first call, and calls it. It makes every later choice one load without a
/// branch.
static UNKNOWN: Kernel = Kernel {
    name: "unknown",
    width: 0,
    mask: find_out::<false>,
    mask_seeing_ascii: find_out::<true>,
    ascii_prefix: find_out_ascii,
};

#[inline(always)]
pub(super) fn chosen() -> &'static Kernel {
    // SAFETY: only pointers to statics are ever stored.
    unsafe { &*CHOSEN.load(Ordering::Relaxed) }
}

#[cold]
fn find_kernel() -> &'static Kernel {
    // Miri can run some of the other kernels, but the portable one is faster there.
    let kernel = if cfg!(miri) { &portable::KERNEL } else { kernels()[0] };
    CHOSEN.store(ptr::from_ref(kernel).cast_mut(), Ordering::Relaxed);
    kernel
}

/// # Safety
///
/// That of [`super::vector::mask`].
unsafe fn find_out<const ASCII: bool>(source: *const u8, destination: *mut u8, len: usize, key: u32) -> bool {
    // SAFETY: guaranteed by the caller, and the CPU can run the kernels of `kernels`.
    unsafe { find_kernel().run::<ASCII>(source, destination, len, key) }
}

/// # Safety
///
/// That of [`super::vector::ascii_prefix`].
unsafe fn find_out_ascii(source: *const u8, len: usize) -> usize {
    // SAFETY: as in `find_out`.
    unsafe { (find_kernel().ascii_prefix)(source, len) }
}
