//! How much of this machine's CPU time other processes use during a proof.
//!
//! The kernel's counters of all cores, minus the time of this process and of the children that it
//! has waited for. Interrupts are not counted: those of the proof itself are among them.

use std::fs;
use std::time::Instant;

/// The kernel's unit of both counters: `USER_HZ`, 100 per second on all architectures.
const TICKS_PER_SECOND: f64 = 100.0;

/// The start of a measurement.
pub(crate) struct Surroundings {
    at: Instant,
    /// The ticks of others.
    ticks: f64,
}

impl Surroundings {
    pub(crate) fn begin() -> Self {
        Self { at: Instant::now(), ticks: ticks_of_others() }
    }

    /// The CPU time of others since the start, in cores.
    pub(crate) fn cores_of_others(&self) -> f64 {
        (ticks_of_others() - self.ticks) / TICKS_PER_SECOND / self.at.elapsed().as_secs_f64()
    }
}

fn ticks_of_others() -> f64 {
    let machine = fs::read_to_string("/proc/stat").expect("the kernel has it");
    let own = fs::read_to_string("/proc/self/stat").expect("the kernel has it");
    ticks_of_machine(&machine) - ticks_of_process(&own)
}

/// User, nice, system and steal of the first line (proc_stat(5)).
fn ticks_of_machine(stat: &str) -> f64 {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).expect("all cores are on the first line");
    let columns: Vec<f64> = line.split_whitespace().filter_map(|column| column.parse().ok()).collect();
    [0, 1, 2, 7].iter().map(|at| columns[*at]).sum()
}

/// `utime`, `stime`, `cutime` and `cstime`, the columns 14 to 17 (proc_pid_stat(5)). The name in
/// column 2 can contain spaces.
fn ticks_of_process(stat: &str) -> f64 {
    let (_, behind_name) = stat.rsplit_once(')').expect("the name is in parentheses");
    behind_name.split_whitespace().skip(11).take(4).filter_map(|column| column.parse::<f64>().ok()).sum()
}

#[test]
fn the_columns_of_both_files_are_found() {
    let machine = "cpu  100 20 300 4000 50 6 7 80 9 10\ncpu0 1 2 3\n";
    assert_eq!(ticks_of_machine(machine).to_bits(), 500_f64.to_bits());
    let own = "42 (a (name) x) S 1 42 42 0 -1 4194304 5 6 7 8 10 20 30 40 20 0 4 0 9";
    assert_eq!(ticks_of_process(own).to_bits(), 100_f64.to_bits());
}

#[test]
fn the_time_of_this_process_is_not_that_of_others() {
    let began = ticks_of_process(&fs::read_to_string("/proc/self/stat").expect("the kernel has it"));
    // Both counters move in the same ticks, so the own time is found in the machine's.
    let machine = ticks_of_machine(&fs::read_to_string("/proc/stat").expect("the kernel has it"));
    while ticks_of_process(&fs::read_to_string("/proc/self/stat").expect("the kernel has it")) < began + 20.0 {}
    let after = ticks_of_machine(&fs::read_to_string("/proc/stat").expect("the kernel has it"));
    assert!(after - machine >= 18.0, "{machine} to {after}");
}
