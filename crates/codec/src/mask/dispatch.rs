//! The choice of a kernel for this CPU.

use super::kernel::Kernel;
use super::portable;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

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
