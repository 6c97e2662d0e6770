//! The time of each core by use (`/proc/stat`): softirqs, steal, and the work of other processes.
//!
//! The kernel counts these times in ticks of 10 ms, most of them by sampling, so shares of a short
//! window are coarse.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

/// The times of one core since the system started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreTimes {
    /// Of threads, in user space and in the kernel.
    pub(crate) threads: Duration,
    /// In softirqs, among them the network's receive path.
    pub(crate) softirq: Duration,
    /// Taken by the hypervisor while the core had work.
    pub(crate) stolen: Duration,
}

/// The times of all cores that are online.
pub(crate) type AllCores = BTreeMap<usize, CoreTimes>;

/// Reads the times of all cores. `None` if `/proc/stat` cannot be read or has none.
pub(crate) fn read() -> Option<AllCores> {
    parse(&fs::read_to_string("/proc/stat").ok()?, procfs::ticks_per_second())
}

/// The lines of the cores in `/proc/stat`: `cpu0 user nice system idle iowait irq softirq steal …`.
pub(crate) fn parse(stat: &str, ticks_per_second: u64) -> Option<AllCores> {
    let mut cores = AllCores::new();
    for line in stat.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(core) = fields.next().and_then(|name| name.strip_prefix("cpu")?.parse().ok()) else { continue };
        let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, _irq, softirq, stolen, ..] = ticks[..] else { return None };
        let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / ticks_per_second.max(1) as f64);
        let times = CoreTimes { threads: time(user + nice + system), softirq: time(softirq), stolen: time(stolen) };
        cores.insert(core, times);
    }
    (!cores.is_empty()).then_some(cores)
}

/// A thread whose time in the window is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownThread {
    pub(crate) ran: Duration,
    /// The only core that it may run on; `None` if there are several, or if it is unknown.
    pub(crate) core: Option<usize>,
}

/// Shares of a window on the cores of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CoreShares {
    /// In softirqs, on the core where it is largest. On loopback this is the receive path of the
    /// other side.
    pub softirq: f64,
    /// Taken by the hypervisor, on the core where it is largest.
    pub stolen: f64,
    /// The time of threads of other processes, on all cores together; at most one core. This is a
    /// lower bound: a known thread without a core of its own counts in full.
    pub others: f64,
}

/// The shares on the cores `of` one side between two samples that are `wall` apart. `None` if a
/// core is not in both, or if `of` is empty.
pub(crate) fn shares(
    begin: &AllCores,
    end: &AllCores,
    of: &BTreeSet<usize>,
    wall: Duration,
    known: &[KnownThread],
) -> Option<CoreShares> {
    let mut shares = CoreShares::default();
    if of.is_empty() || wall.is_zero() {
        return None;
    }
    let share = |time: Duration| (time.as_secs_f64() / wall.as_secs_f64()).min(1.0);
    let may_run_on = |cores: &dyn Fn(&usize) -> bool| -> Duration {
        known.iter().filter(|thread| thread.core.as_ref().is_none_or(cores)).map(|thread| thread.ran).sum()
    };
    let mut all = Duration::ZERO;
    for core in of {
        let (begin, end) = (begin.get(core)?, end.get(core)?);
        let threads = end.threads.saturating_sub(begin.threads);
        all += threads;
        let ours = may_run_on(&|only| only == core);
        shares.others = shares.others.max(share(threads.saturating_sub(ours)));
        shares.softirq = shares.softirq.max(share(end.softirq.saturating_sub(begin.softirq)));
        shares.stolen = shares.stolen.max(share(end.stolen.saturating_sub(begin.stolen)));
    }
    // Threads that move between these cores are subtracted once from the sum.
    shares.others = shares.others.max(share(all.saturating_sub(may_run_on(&|only| of.contains(only)))));
    Some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  30 0 0 0 0 0 0 0 0 0\n\
                        cpu0 100 5 45 900 7 3 20 11 0 0\n\
                        cpu2 10 0 10 900 0 0 0 0 0 0\n\
                        intr 1 2 3\nctxt 7\ncpufreq 1\n";

    const fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_lines_of_cores_are_read_by_their_numbers() {
        let cores = parse(STAT, 100).expect("valid");
        let times = |threads, softirq, stolen| CoreTimes {
            threads: millis(threads),
            softirq: millis(softirq),
            stolen: millis(stolen),
        };
        assert_eq!(cores, AllCores::from([(0, times(1500, 200, 110)), (2, times(200, 0, 0))]));
        assert_eq!(parse("cpu0 1 2 3\n", 100), None, "a kernel before 2.6.11 has no steal");
        assert_eq!(parse("cpu  1 2 3 4 5 6 7 8\n", 100), None, "the sum alone does not show the cores");
        assert!(read().is_some_and(|cores| !cores.is_empty()));
    }

    #[test]
    fn others_are_what_known_threads_do_not_explain() {
        let begin = parse(STAT, 100).expect("valid");
        let mut end = begin.clone();
        let wall = millis(1000);
        let core = end.get_mut(&0).expect("it is there");
        core.threads += millis(900);
        core.softirq += millis(100);
        core.stolen += millis(50);
        let shares =
            |of: &[usize], known: &[KnownThread]| shares(&begin, &end, &of.iter().copied().collect(), wall, known);
        let thread = |ran, core| KnownThread { ran: millis(ran), core };
        let seen = shares(&[0, 2], &[thread(400, Some(0)), thread(300, Some(2))]).expect("both are there");
        assert_eq!(seen, CoreShares { softirq: 0.1, stolen: 0.05, others: 0.5 });
        assert_eq!(shares(&[0], &[thread(400, Some(0)), thread(300, None)]).map(|seen| seen.others), Some(0.2));
        assert_eq!(shares(&[0], &[thread(950, None)]).map(|seen| seen.others), Some(0.0), "never below 0");
        assert_eq!(shares(&[2], &[]).map(|seen| seen.others), Some(0.0));
        end.get_mut(&2).expect("it is there").threads += millis(900);
        let shares = |of: &[usize], known: &[KnownThread]| {
            super::shares(&begin, &end, &of.iter().copied().collect(), wall, known)
        };
        // Of 1800 ms on two cores, threads that move between them explain 1200 ms.
        assert_eq!(shares(&[0, 2], &[thread(600, None); 2]).map(|seen| seen.others), Some(0.6));
        assert_eq!(shares(&[0, 1], &[]), None, "core 1 is offline");
        assert_eq!(shares(&[], &[]), None);
    }
}
