//! The kernel of every CPU: words of eight bytes. The compiler vectorizes its loop for the target.

use super::kernel::Kernel;
use super::vector::{Vector, ascii_prefix, mask};

pub(super) static KERNEL: Kernel = Kernel {
    name: "portable",
    width: u64::WIDTH,
    mask: mask::<u64, false>,
    mask_seeing_ascii: mask::<u64, true>,
    ascii_prefix: ascii_prefix::<u64>,
};

// SAFETY: a u64 is eight bytes.
unsafe impl Vector for u64 {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        u64::from(word) | u64::from(word) << 32
    }

    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: the caller guarantees eight bytes.
        unsafe { at.cast::<u64>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: the caller guarantees eight bytes.
        unsafe { at.cast::<u64>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        self ^ other
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        self | other
    }

    #[inline(always)]
    unsafe fn is_ascii(self) -> bool {
        self & 0x8080_8080_8080_8080 == 0
    }
}
