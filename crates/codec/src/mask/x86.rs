//! The kernels of x86-64: SSE2, which every CPU has, AVX2 and AVX-512.
//!
//! Trait methods cannot carry `#[target_feature]`, so they are inlined into functions that do: the
//! three of each kernel.

use super::kernel::Kernel;
use super::vector::{Vector, ascii_prefix, mask};
use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi32, _mm_storeu_si128,
    _mm_xor_si128, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi32, _mm256_storeu_si256,
    _mm256_xor_si256, _mm512_loadu_si512, _mm512_or_si512, _mm512_set1_epi32, _mm512_storeu_si512,
    _mm512_test_epi32_mask, _mm512_xor_si512,
};

pub(super) static SSE2: Kernel = Kernel {
    name: "sse2",
    width: __m128i::WIDTH,
    mask: sse2::<false>,
    mask_seeing_ascii: sse2::<true>,
    ascii_prefix: sse2_ascii,
};

pub(super) static AVX2: Kernel = Kernel {
    name: "avx2",
    width: __m256i::WIDTH,
    mask: avx2::<false>,
    mask_seeing_ascii: avx2::<true>,
    ascii_prefix: avx2_ascii,
};

pub(super) static AVX512: Kernel = Kernel {
    name: "avx512",
    width: __m512i::WIDTH,
    mask: avx512::<false>,
    mask_seeing_ascii: avx512::<true>,
    ascii_prefix: avx512_ascii,
};

/// # Safety
///
/// That of [`mask`].
#[target_feature(enable = "sse2")]
unsafe fn sse2<const ASCII: bool>(source: *const u8, destination: *mut u8, len: usize, key: u32) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { mask::<__m128i, ASCII>(source, destination, len, key) }
}

/// # Safety
///
/// That of [`mask`].
#[target_feature(enable = "avx2")]
unsafe fn avx2<const ASCII: bool>(source: *const u8, destination: *mut u8, len: usize, key: u32) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { mask::<__m256i, ASCII>(source, destination, len, key) }
}

/// # Safety
///
/// That of [`mask`].
#[target_feature(enable = "avx512f")]
unsafe fn avx512<const ASCII: bool>(source: *const u8, destination: *mut u8, len: usize, key: u32) -> bool {
    if len < __m512i::WIDTH {
        // SAFETY: guaranteed by the caller, and a CPU with AVX-512 has AVX2.
        return unsafe { mask::<__m256i, ASCII>(source, destination, len, key) };
    }
    // SAFETY: guaranteed by the caller, and there is at least one vector.
    unsafe { mask::<__m512i, ASCII>(source, destination, len, key) }
}

/// # Safety
///
/// That of [`ascii_prefix`].
#[target_feature(enable = "sse2")]
unsafe fn sse2_ascii(source: *const u8, len: usize) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { ascii_prefix::<__m128i>(source, len) }
}

/// # Safety
///
/// That of [`ascii_prefix`].
#[target_feature(enable = "avx2")]
unsafe fn avx2_ascii(source: *const u8, len: usize) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { ascii_prefix::<__m256i>(source, len) }
}

/// # Safety
///
/// That of [`ascii_prefix`].
#[target_feature(enable = "avx512f")]
unsafe fn avx512_ascii(source: *const u8, len: usize) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { ascii_prefix::<__m512i>(source, len) }
}

// SAFETY: the vector is 16 bytes.
unsafe impl Vector for __m128i {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: the caller guarantees the instructions, as in all methods of this file.
        unsafe { _mm_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: the caller guarantees 16 bytes.
        unsafe { _mm_loadu_si128(at.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: the caller guarantees 16 bytes.
        unsafe { _mm_storeu_si128(at.cast(), self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        unsafe { _mm_xor_si128(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        unsafe { _mm_or_si128(self, other) }
    }

    #[inline(always)]
    unsafe fn is_ascii(self) -> bool {
        // SAFETY: as in `splat`.
        unsafe { _mm_movemask_epi8(self) == 0 }
    }
}

// SAFETY: the vector is 32 bytes.
unsafe impl Vector for __m256i {
    const WIDTH: usize = 32;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: the caller guarantees the instructions.
        unsafe { _mm256_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: the caller guarantees 32 bytes.
        unsafe { _mm256_loadu_si256(at.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: the caller guarantees 32 bytes.
        unsafe { _mm256_storeu_si256(at.cast(), self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        unsafe { _mm256_xor_si256(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        unsafe { _mm256_or_si256(self, other) }
    }

    #[inline(always)]
    unsafe fn is_ascii(self) -> bool {
        // SAFETY: as in `splat`.
        unsafe { _mm256_movemask_epi8(self) == 0 }
    }
}

// SAFETY: the vector is 64 bytes.
unsafe impl Vector for __m512i {
    const WIDTH: usize = 64;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: the caller guarantees the instructions.
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: the caller guarantees 64 bytes.
        unsafe { _mm512_loadu_si512(at.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: the caller guarantees 64 bytes.
        unsafe { _mm512_storeu_si512(at.cast(), self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        unsafe { _mm512_xor_si512(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        unsafe { _mm512_or_si512(self, other) }
    }

    #[inline(always)]
    unsafe fn is_ascii(self) -> bool {
        // SAFETY: as in `splat`.
        unsafe { _mm512_test_epi32_mask(self, _mm512_set1_epi32(0x8080_8080_u32.cast_signed())) == 0 }
    }
}
