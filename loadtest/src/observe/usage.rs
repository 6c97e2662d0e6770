//! The CPU time of threads between two points in time: of the calling thread, and of processes.

use serde::Serialize;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The resource use of a thread of the generator in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Time on a core.
    pub(crate) cpu: Duration,
    /// The part of it that the thread polled for events instead of sleeping.
    pub(crate) polled: Duration,
    /// Time spent runnable, waiting for a core. `None` if the kernel does not have it.
    pub(crate) delay: Option<Duration>,
    /// The length of the window.
    pub(crate) wall: Duration,
}

impl Usage {
    /// The share of the window for which the thread worked. Polling is not work.
    ///
    /// Polls are measured in wall time. A thread that polls is runnable for the whole of the poll,
    /// so the time that it was preempted in polls is part of `delay`, and the result is never below
    /// the share of work.
    pub(crate) fn busy(&self) -> f64 {
        share(self.cpu.saturating_sub(self.polled.saturating_sub(self.preempted())), self.wall)
    }

    /// The share of the window for which the thread polled, as far as it is known to be CPU time.
    pub(crate) fn polling(&self) -> f64 {
        share(self.polled.saturating_sub(self.preempted()).min(self.cpu), self.wall)
    }

    /// The share of the window for which the thread waited for a core.
    pub(crate) fn waiting(&self) -> Option<f64> {
        Some(share(self.delay?, self.wall))
    }

    /// The maximum time for which it was preempted in polls.
    fn preempted(&self) -> Duration {
        self.delay.unwrap_or_else(|| self.wall.saturating_sub(self.cpu))
    }
}

fn share(part: Duration, of: Duration) -> f64 {
    if of.is_zero() { 0.0 } else { (part.as_secs_f64() / of.as_secs_f64()).min(1.0) }
}

/// The clocks of a thread at one point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) wall: Instant,
    pub(crate) cpu: Duration,
    pub(crate) polled: Duration,
    pub(crate) delay: Option<Duration>,
}

impl Clocks {
    /// Reads the clocks of the calling thread, which takes two system calls and reads one file in
    /// `/proc`. `polled` is the time for which its driver has polled so far
    /// ([`Stats::polled`](ringway::Stats)), zero if it does not poll.
    pub(crate) fn of_this_thread(polled: Duration) -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self {
            wall: Instant::now(),
            cpu: Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec.unsigned_abs() as u32),
            polled,
            delay: schedstat_delay(&schedstat),
        }
    }

    /// The use since `begin`.
    pub(crate) fn since(&self, begin: &Self) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(begin.cpu),
            polled: self.polled.saturating_sub(begin.polled),
            delay: self.delay.zip(begin.delay).map(|(end, begin)| end.saturating_sub(begin)),
            wall: self.wall.saturating_duration_since(begin.wall),
        }
    }
}

/// The second number of a schedstat file: nanoseconds spent runnable but not running. `None` if the
/// kernel does not count them: it was built without the file, or all its numbers are 0, which those of
/// a thread that has run are not.
fn schedstat_delay(text: &str) -> Option<Duration> {
    let numbers: Vec<u64> = text.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [_, delay, _] = numbers[..] else { return None };
    numbers.iter().any(|number| *number > 0).then_some(Duration::from_nanos(delay))
}

/// The resource use of processes up to a point in time.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// The nanoseconds that each thread ran, and that it waited for a core.
    pub(crate) threads: HashMap<i32, (u64, u64)>,
    /// The CPU time of the processes with that of threads that have exited, in steps of 10 ms; zero
    /// if threads are excluded.
    pub(crate) group: Duration,
    pub(crate) rss: u64,
    /// The number of cores that they may run on; 0 if unknown.
    pub(crate) cores: usize,
}

/// The error of the difference of two [`Sample::group`].
const GROUP_ERROR: Duration = Duration::from_millis(20);

/// A thread of the server in a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerThread {
    /// Its name (`comm`); empty if it has exited.
    pub name: String,
    /// The share of the window for which it ran.
    pub busy: f64,
    /// The share of the window for which it waited for a core.
    pub waiting: f64,
}

/// The resource use of the server in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ServerUse {
    /// CPU time of all threads. That of threads that exited in the window is included if it is
    /// more than 20 ms.
    #[serde(rename = "cpu_seconds", serialize_with = "seconds")]
    pub cpu: Duration,
    /// The share of the window for which the busiest thread ran.
    pub busiest: f64,
    /// The largest share of the window for which a thread waited for a core.
    pub waiting: f64,
    /// The largest share of the window for which a thread ran or waited for a core.
    pub demand: f64,
    /// The number of threads at the end of the window.
    pub threads: usize,
    /// CPU time of all threads divided by the length of the window.
    pub cores_used: f64,
    /// The number of cores that it may run on; 0 if unknown.
    pub cores: usize,
    /// Memory at the end of the window, in bytes; 0 if it was not read.
    #[serde(rename = "rss_bytes")]
    pub rss: u64,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Sample {
    /// Whether the sample has no threads.
    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Adds the threads of another sample.
    pub(crate) fn merge(&mut self, other: Self) {
        self.group += other.group;
        self.threads.extend(other.threads);
    }

    /// The time that each thread ran since `begin`, and that it waited for a core, in nanoseconds.
    /// All time of a thread that is not in `begin` lies within the window.
    pub(crate) fn threads_since(&self, begin: &Self) -> impl Iterator<Item = (i32, u64, u64)> {
        self.threads.iter().map(|(thread, (cpu, delay))| {
            let (cpu_before, delay_before) = begin.threads.get(thread).copied().unwrap_or_default();
            (*thread, cpu.saturating_sub(cpu_before), delay.saturating_sub(delay_before))
        })
    }

    /// The `count` busiest threads since `begin`, in order.
    pub(crate) fn busiest_since(&self, begin: &Self, count: usize) -> Vec<ServerThread> {
        let wall = self.at.saturating_duration_since(begin.at).as_nanos().max(1) as f64;
        let mut threads: Vec<_> = self.threads_since(begin).collect();
        threads.sort_unstable_by_key(|(thread, ran, _)| (std::cmp::Reverse(*ran), *thread));
        threads.truncate(count);
        let name = |thread: i32| std::fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
        let share = |nanos: u64| (nanos as f64 / wall).min(1.0);
        threads
            .into_iter()
            .map(|(thread, ran, delay)| ServerThread {
                name: name(thread).trim_end().to_owned(),
                busy: share(ran),
                waiting: share(delay),
            })
            .collect()
    }

    /// The use since `begin`.
    pub(crate) fn since(&self, begin: &Self) -> ServerUse {
        let wall = self.at.saturating_duration_since(begin.at).as_nanos().max(1) as f64;
        let (mut total, mut busiest, mut waiting, mut demand) = (0u64, 0u64, 0u64, 0u64);
        for (_, ran, delay) in self.threads_since(begin) {
            total += ran;
            busiest = busiest.max(ran);
            waiting = waiting.max(delay);
            demand = demand.max(ran + delay);
        }
        // The threads are counted in nanoseconds, and the group in ticks, rounded down at both ends.
        let group = self.group.saturating_sub(begin.group).saturating_sub(GROUP_ERROR);
        let total = total.max(group.as_nanos() as u64);
        let share = |nanos: u64| (nanos as f64 / wall).min(1.0);
        ServerUse {
            cpu: Duration::from_nanos(total),
            busiest: share(busiest),
            waiting: share(waiting),
            demand: share(demand),
            threads: self.threads.len(),
            cores_used: total as f64 / wall,
            cores: self.cores,
            rss: self.rss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn polling_is_not_busy_and_preempted_polls_do_not_hide_work() {
        let usage = |cpu, polled, delay| Usage {
            cpu: millis(cpu),
            polled: millis(polled),
            delay: Some(millis(delay)),
            wall: millis(1000),
        };
        assert_eq!(usage(900, 0, 0).busy(), 0.9);
        assert_eq!((usage(900, 600, 0).busy(), usage(900, 600, 0).polling()), (0.3, 0.6));
        // Of 600 ms of polls, up to 200 ms were no CPU time.
        assert_eq!((usage(700, 600, 200).busy(), usage(700, 600, 200).waiting()), (0.3, Some(0.2)));
        // All of the delay may have been in polls, so nothing is known to be polling.
        assert_eq!((usage(500, 300, 500).busy(), usage(500, 300, 500).polling()), (0.5, 0.0));
        assert_eq!(Usage::default().busy(), 0.0);
        // Without the delay, all time without a core may have been in polls.
        let unknown = Usage { delay: None, ..usage(700, 600, 0) };
        assert_eq!((unknown.busy(), unknown.polling(), unknown.waiting()), (0.4, 0.3, None));
    }

    #[test]
    fn the_second_number_is_the_delay() {
        assert_eq!(schedstat_delay("123 456 7\n"), Some(Duration::from_nanos(456)));
        assert_eq!(schedstat_delay("123 0 7\n"), Some(Duration::ZERO));
        for unknown in ["", "0 0 0\n", "123", "a b c"] {
            assert_eq!(schedstat_delay(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn a_thread_that_computes_is_busy() {
        let read = || Clocks::of_this_thread(Duration::ZERO);
        let begin = read();
        while read().cpu < begin.cpu + millis(20) {}
        let usage = read().since(&begin);
        // These are two clocks of the kernel, which may differ by microseconds.
        let within = usage.wall >= usage.cpu * 9 / 10;
        assert!(usage.cpu >= millis(20) && within && usage.busy() > 0.0, "{usage:?}");
    }

    #[test]
    fn the_window_is_what_lies_between_two_samples() {
        let at = Instant::now();
        let group = Duration::ZERO;
        let begin = Sample { at, threads: HashMap::from([(1, (100, 0)), (2, (500, 7))]), group, rss: 1, cores: 2 };
        let end = Sample {
            at: at + Duration::from_nanos(1000),
            group,
            threads: HashMap::from([(1, (1000, 50)), (3, (300, 0))]),
            rss: 9,
            cores: 2,
        };
        let used = end.since(&begin);
        assert_eq!(used.cpu, Duration::from_nanos(1200));
        assert_eq!((used.busiest, used.waiting, used.demand), (0.9, 0.05, 0.95));
        assert_eq!((used.cores_used, used.rss, used.threads), (1.2, 9, 2));
        let busiest = end.busiest_since(&begin, 1);
        assert_eq!(busiest.iter().map(|thread| (thread.busy, thread.waiting)).collect::<Vec<_>>(), [(0.9, 0.05)]);
        assert_eq!(end.busiest_since(&begin, 9).len(), 2);
    }

    #[test]
    fn the_time_of_threads_that_have_exited_counts() {
        let at = Instant::now();
        let begin = Sample { at, threads: HashMap::from([(2, (0, 0))]), group: millis(70), rss: 0, cores: 2 };
        let end = |group| Sample {
            at: at + millis(1000),
            threads: HashMap::from([(2, (100_000_000, 0))]),
            group,
            rss: 0,
            cores: 2,
        };
        assert_eq!(end(millis(870)).since(&begin).cpu, millis(780), "thread 3 ran for 700 ms and exited");
        assert_eq!(end(millis(190)).since(&begin).cpu, millis(100), "within the error of the ticks");
    }
}
