//! The kernel of 64-bit Arm, which always has NEON.

use super::kernel::Kernel;
use super::vector::{Vector, ascii_prefix, mask};
use std::arch::aarch64::{
    uint8x16_t, vdupq_n_u32, veorq_u8, vld1q_u8, vmaxvq_u8, vorrq_u8, vreinterpretq_u8_u32, vst1q_u8,
};

pub(super) static KERNEL: Kernel = Kernel {
    name: "neon",
    width: uint8x16_t::WIDTH,
    mask: mask::<uint8x16_t, false>,
    mask_seeing_ascii: mask::<uint8x16_t, true>,
    ascii_prefix: ascii_prefix::<uint8x16_t>,
};

// SAFETY: the vector is 16 bytes.
unsafe impl Vector for uint8x16_t {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: this file is compiled only where NEON is part of the target.
        unsafe { vreinterpretq_u8_u32(vdupq_n_u32(word)) }
    }

    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: as above, and the caller guarantees 16 bytes.
        unsafe { vld1q_u8(at) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: as above, and the caller guarantees 16 bytes.
        unsafe { vst1q_u8(at, self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        unsafe { veorq_u8(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        unsafe { vorrq_u8(self, other) }
    }

    #[inline(always)]
    unsafe fn is_ascii(self) -> bool {
        // SAFETY: as in `splat`.
        unsafe { vmaxvq_u8(self) < 0x80 }
    }
}
