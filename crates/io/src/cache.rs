//! The size of this machine's L2 cache, from sysfs.

use std::fs;
use std::path::Path;

/// The size that is assumed when sysfs does not report one: the smallest L2 of current server
/// cores.
const UNKNOWN: u64 = 1 << 20;

/// The L2 cache of the core that the calling thread runs on, in bytes per physical core.
pub(crate) fn l2_bytes() -> u64 {
    let cpu = rustix::thread::sched_getcpu();
    l2_of(Path::new(&format!("/sys/devices/system/cpu/cpu{cpu}"))).unwrap_or(UNKNOWN)
}

/// The L2 cache of a CPU's sysfs directory, divided by the number of physical cores that share it.
fn l2_of(cpu: &Path) -> Option<u64> {
    let threads = count(&read(&cpu.join("topology/thread_siblings_list"))?)?;
    (0..8).find_map(|index| {
        let cache = cpu.join(format!("cache/index{index}"));
        if read(&cache.join("level"))? != "2" || read(&cache.join("type"))? == "Instruction" {
            return None;
        }
        let sharing = count(&read(&cache.join("shared_cpu_list"))?)?;
        Some(bytes(&read(&cache.join("size"))?)? / (sharing / threads).max(1))
    })
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The number of CPUs in a list such as `0-3,8`.
fn count(list: &str) -> Option<u64> {
    list.split(',').try_fold(0, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(sum + last.checked_sub(first)? + 1)
    })
}

/// A size as sysfs writes it: `1024K`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'M']);
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_sizes_of_sysfs_are_parsed() {
        assert_eq!((count("0"), count("0-3,8"), count("0,64")), (Some(1), Some(5), Some(2)));
        assert_eq!((count(""), count("3-1"), count("x")), (None, None, None));
        assert_eq!((bytes("1024K"), bytes("2M"), bytes("512")), (Some(1 << 20), Some(2 << 20), Some(512)));
        assert_eq!((bytes("0K"), bytes("K"), bytes("1T")), (None, None, None));
    }

    #[test]
    fn a_cache_is_divided_by_cores_and_not_by_hardware_threads() {
        let cpu = |name: &str, siblings: &str, sharing: &str| {
            let root = std::env::temp_dir().join(format!("ringway-{}-{name}", std::process::id()));
            for (index, level) in ["1", "1", "2", "3"].iter().enumerate() {
                let cache = root.join(format!("cache/index{index}"));
                fs::create_dir_all(&cache).expect("a directory");
                let kind = if index == 1 { "Instruction" } else { "Unified" };
                for (file, text) in [("level", *level), ("type", kind), ("shared_cpu_list", sharing), ("size", "2048K")]
                {
                    fs::write(cache.join(file), format!("{text}\n")).expect("a file");
                }
            }
            fs::create_dir_all(root.join("topology")).expect("a directory");
            fs::write(root.join("topology/thread_siblings_list"), siblings).expect("a file");
            let found = l2_of(&root);
            fs::remove_dir_all(root).expect("it is there");
            found
        };
        assert_eq!(cpu("own", "0", "0"), Some(2 << 20));
        assert_eq!(cpu("threads", "0,64", "0,64"), Some(2 << 20));
        assert_eq!(cpu("cluster", "0", "0-3"), Some(512 << 10));
        assert_eq!(l2_of(Path::new("/nonexistent")), None);
    }

    #[test]
    fn the_cache_of_this_machine_has_a_plausible_size() {
        assert!((64 << 10..=1 << 30).contains(&l2_bytes()), "{}", l2_bytes());
    }
}
