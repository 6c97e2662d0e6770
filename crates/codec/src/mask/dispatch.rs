//! Which kernels there are, and which of them this CPU takes.

use super::{portable, rotated};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// One way to mask, made for a set of instructions. [`kernels`] gives the ones that this CPU can
/// run; [`apply`] and its like take the first of them by themselves.
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

/// From source to destination, so many bytes, with the key at the first of them. See
/// [`super::vector::mask`] for what the caller promises, but for the length, which may be any.
type Mask = unsafe fn(*const u8, *mut u8, usize, u32) -> bool;

/// See [`super::vector::ascii_prefix`].
type AsciiPrefix = unsafe fn(*const u8, usize) -> usize;

impl Kernel {
    /// The name of its instructions: `avx512`, `avx2`, `sse2`, `neon` or `portable`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How many bytes it takes at a time.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// [`apply_seeing_ascii`](super::apply_seeing_ascii) with this kernel, however short the
    /// payload.
    pub fn apply_seeing_ascii(&self, payload: &mut [u8], key: [u8; 4], phase: usize) -> bool {
        let at = payload.as_mut_ptr();
        let key = rotated(u32::from_ne_bytes(key), phase);
        // SAFETY: source and destination are the same slice, borrowed mutably. Kernels come from
        // `kernels` alone, so the CPU can run this one.
        unsafe { self.run::<true>(at, at, payload.len(), key) }
    }

    /// [`apply`](super::apply) with this kernel, however short the payload.
    pub fn apply(&self, payload: &mut [u8], key: [u8; 4], phase: usize) {
        let at = payload.as_mut_ptr();
        let key = rotated(u32::from_ne_bytes(key), phase);
        // SAFETY: as in `apply_seeing_ascii`.
        unsafe { self.run::<false>(at, at, payload.len(), key) };
    }

    /// [`copy`](super::copy) with this kernel, however short the payload.
    ///
    /// # Panics
    ///
    /// When the two lengths differ.
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
        // SAFETY: the caller's promise.
        unsafe { mask(source, destination, len, key) }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("name", &self.name).field("width", &self.width).finish_non_exhaustive()
    }
}

/// The kernels that this CPU can run, the fastest first; the first one is the one in use. The last
/// is always `portable`.
#[must_use]
pub fn kernels() -> Vec<&'static Kernel> {
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use super::x86::{AVX2, AVX512, SSE2};
        use std::arch::is_x86_feature_detected;
        // The kernel needs AVX512F alone. The CPUs that have it but not VBMI2 (Intel's before Ice
        // Lake) lower their clock for everybody on the core when 512-bit registers are in use.
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

/// The kernel in use; `UNKNOWN` until the first call. Relaxed is enough: what it points to never
/// changes, and threads that meet here store the same.
static CHOSEN: AtomicPtr<Kernel> = AtomicPtr::new(ptr::from_ref(&UNKNOWN).cast_mut());

/// Finds out which kernel to take, and passes the work on to it. So that taking a kernel is one
/// load, not a branch too.
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
    // Miri can run some of the others, but the tests of everything that is not a kernel need not
    // wait for it to.
    let kernel = if cfg!(miri) { &portable::KERNEL } else { kernels()[0] };
    CHOSEN.store(ptr::from_ref(kernel).cast_mut(), Ordering::Relaxed);
    kernel
}

/// # Safety
///
/// That of [`super::vector::mask`].
unsafe fn find_out<const ASCII: bool>(source: *const u8, destination: *mut u8, len: usize, key: u32) -> bool {
    // SAFETY: the caller's promise, and the CPU can run what `kernels` gives.
    unsafe { find_kernel().run::<ASCII>(source, destination, len, key) }
}

/// # Safety
///
/// That of [`super::vector::ascii_prefix`].
unsafe fn find_out_ascii(source: *const u8, len: usize) -> usize {
    // SAFETY: as in `find_out`.
    unsafe { (find_kernel().ascii_prefix)(source, len) }
}
