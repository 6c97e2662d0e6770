//! What a process occupies, as the kernel counts it.

/// The number of its open descriptors. For this process, the one that reads the directory counts
/// each time.
///
/// # Panics
/// If the process does not run.
#[must_use]
pub fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

/// A line of its memory in KiB: `VmRSS`, what is resident, or `VmHWM`, the maximum of it
/// (proc_pid_status(5)).
///
/// # Panics
/// If the process does not run.
#[must_use]
pub fn resident_kib(pid: u32, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("a line has it").trim().trim_end_matches(" kB").parse().expect("a number")
}
