//! Masking of short payloads: overlapping words, without a loop.

use super::rotated;

/// Up to this length a payload is masked inline, because a call through a pointer would cost more
/// than the masking. Most chat messages and all empty ones are shorter.
pub(super) const SHORT: usize = 32;

const HIGH: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;

/// Masks up to [`SHORT`] bytes from `source` to `destination`; with `ASCII`, returns whether the
/// result is ASCII.
///
/// Every word is read before the first is written, so that words may overlap, and so may source and
/// destination.
///
/// # Safety
///
/// `len` must be at most [`SHORT`], and that many bytes be readable at `source` and writable at
/// `destination`.
#[inline(always)]
pub(super) unsafe fn short<const ASCII: bool>(source: *const u8, destination: *mut u8, len: usize, key: u32) -> bool {
    debug_assert!(len <= SHORT, "longer payloads take a kernel");
    if len >= 16 {
        let last = len - 16;
        // SAFETY: 16 bytes at 0 and at `len - 16` lie within `len`, and together cover up to 32
        // bytes.
        unsafe {
            let words = (source.cast::<u128>(), destination.cast::<u128>());
            let a = words.0.read_unaligned() ^ sixteen(key);
            let b = words.0.byte_add(last).read_unaligned() ^ sixteen(rotated(key, last));
            words.1.write_unaligned(a);
            words.1.byte_add(last).write_unaligned(b);
            return !ASCII || (a | b) & HIGH == 0;
        }
    }
    if len >= 8 {
        let last = len - 8;
        // SAFETY: as above, with 8 bytes up to 16.
        unsafe {
            let words = (source.cast::<u64>(), destination.cast::<u64>());
            let a = words.0.read_unaligned() ^ eight(key);
            let b = words.0.byte_add(last).read_unaligned() ^ eight(rotated(key, last));
            words.1.write_unaligned(a);
            words.1.byte_add(last).write_unaligned(b);
            return !ASCII || (a | b) & HIGH as u64 == 0;
        }
    }
    if len >= 4 {
        let last = len - 4;
        // SAFETY: as above, with 4 bytes up to 8.
        unsafe {
            let words = (source.cast::<u32>(), destination.cast::<u32>());
            let a = words.0.read_unaligned() ^ key;
            let b = words.0.byte_add(last).read_unaligned() ^ rotated(key, last);
            words.1.write_unaligned(a);
            words.1.byte_add(last).write_unaligned(b);
            return !ASCII || (a | b) & HIGH as u32 == 0;
        }
    }
    if len == 0 {
        return true;
    }
    let key = key.to_ne_bytes();
    // For 1, 2 and 3 bytes these are 0 0 0, 0 1 1 and 0 1 2.
    let (middle, last) = (len / 2, len - 1);
    // SAFETY: `middle` and `last` are below `len`, which is 1, 2 or 3.
    unsafe {
        let a = source.read() ^ key[0];
        let b = source.add(middle).read() ^ key[middle];
        let c = source.add(last).read() ^ key[last];
        destination.write(a);
        destination.add(middle).write(b);
        destination.add(last).write(c);
        !ASCII || a | b | c < 0x80
    }
}

#[inline(always)]
fn eight(key: u32) -> u64 {
    let key = u64::from(key);
    key | key << 32
}

#[inline(always)]
fn sixteen(key: u32) -> u128 {
    let key = u128::from(eight(key));
    key | key << 64
}
