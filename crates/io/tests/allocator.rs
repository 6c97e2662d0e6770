//! Memory that is freed goes back to the operating system when it is asked for. A process of its own,
//! because it looks at all of its memory.

use ringway_io::{free_to_system, purge_mimalloc};
use std::{fs, thread};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOTAL: usize = 48 << 20;

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// Buffers of this size, [`TOTAL`] bytes in sum. `before`: what was resident.
fn buffers(size: usize, before: usize) -> Vec<Vec<u8>> {
    let buffers: Vec<Vec<u8>> = (0..TOTAL.div_ceil(size)).map(|_| vec![7; size]).collect();
    let used = resident().saturating_sub(before);
    assert!(used >= TOTAL / 10 * 9, "{used} bytes are resident for {TOTAL} in buffers of {size}");
    buffers
}

fn assert_intact(buffers: &[Vec<u8>]) {
    assert!(buffers.iter().all(|buffer| buffer.iter().all(|byte| *byte == 7)));
}

/// One test, because tests of one process run at the same time.
#[test]
fn freed_memory_is_resident_no_longer() {
    for size in [1 << 10, 48 << 10, 600 << 10] {
        purge_mimalloc();
        let before = resident();
        let mut kept = buffers(size, before);
        kept.truncate(kept.len() / 16);
        purge_mimalloc();
        let left = resident().saturating_sub(before);
        assert!(left <= TOTAL / 8, "{left} of {TOTAL} bytes in buffers of {size} are still resident");
        assert_intact(&kept);
    }
    // Also of a buffer between two that are in use, without a purge.
    for size in [48 << 10, 600 << 10] {
        purge_mimalloc();
        let before = resident();
        let (mut kept, mut is_kept) = (Vec::new(), false);
        for buffer in buffers(size, before) {
            is_kept = !is_kept;
            if is_kept {
                kept.push(buffer);
            } else {
                free_to_system(buffer);
            }
        }
        let left = resident().saturating_sub(before);
        assert!(left <= TOTAL * 5 / 8, "{left} of {TOTAL} bytes in buffers of {size} are still resident");
        assert_intact(&kept);
    }
    // With and without a whole page, and with bytes of the neighbours in the same page.
    let neighbours: Vec<Vec<u8>> = (0..20_000).map(|n| vec![7; n]).collect();
    let (kept, freed): (Vec<_>, Vec<_>) = neighbours.into_iter().partition(|buffer| buffer.len() % 3 > 0);
    freed.into_iter().for_each(free_to_system);
    assert_intact(&kept);

    // Two threads that purge while each of them allocates and frees.
    let allocate_and_purge = || {
        let mut kept = Vec::new();
        for round in 0..200 {
            kept.extend((0..20).map(|n| vec![7; round * 100 + n * 1000]));
            kept.truncate(kept.len() / 2);
            purge_mimalloc();
        }
        assert_intact(&kept);
    };
    thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(allocate_and_purge)).map(|thread| thread.join().expect("bytes"))
    });
}
