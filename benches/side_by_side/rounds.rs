//! Side-by-side measurements: the candidates take turns in an order that changes with each round,
//! so that background load affects all of them equally. The clock is the thread's CPU time: on a
//! shared machine, wall-clock time would include other processes.

use super::Candidate;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The parameters of a measurement.
pub struct Rounds {
    /// The number of rounds.
    pub count: usize,
    /// The time of each candidate in a round.
    pub slice: Duration,
}

/// The result of one candidate over all rounds.
pub struct Figure {
    /// The candidate's.
    pub name: &'static str,
    /// The candidate's.
    pub read: Option<usize>,
    /// Nanoseconds of one turn: the median of the rounds.
    pub nanoseconds: f64,
    /// The ratio of its time to that of the first candidate: the median of the rounds' ratios.
    pub ratio: f64,
}

impl Rounds {
    /// Measures all candidates; the first one is the reference of the ratios.
    pub fn measure(&self, mut contestants: Vec<Candidate>) -> Vec<Figure> {
        self.take_turns(&mut contestants)
    }

    /// The fastest candidate.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn fastest(&self, mut candidates: Vec<Candidate>) -> Candidate {
        let figures = self.take_turns(&mut candidates);
        let least = |(_, a): &(usize, &Figure), (_, b): &(usize, &Figure)| a.nanoseconds.total_cmp(&b.nanoseconds);
        let (at, _) = figures.iter().enumerate().min_by(least).expect("there is a candidate");
        candidates.swap_remove(at)
    }

    fn take_turns(&self, contestants: &mut [Candidate]) -> Vec<Figure> {
        let calls: Vec<u32> = contestants.iter_mut().map(|contestant| self.calls(contestant)).collect();
        let mut taken = vec![Vec::with_capacity(self.count); contestants.len()];
        for round in 0..self.count {
            for at in 0..contestants.len() {
                let at = (at + round) % contestants.len();
                taken[at].push(time(&mut contestants[at], calls[at]));
            }
        }
        let figure = |(contestant, taken_by): (&Candidate, &Vec<f64>)| Figure {
            name: contestant.name,
            read: contestant.read,
            nanoseconds: median(taken_by.clone()),
            ratio: median(taken_by.iter().zip(&taken[0]).map(|(its, first)| its / first).collect()),
        };
        contestants.iter().zip(&taken).map(figure).collect()
    }

    /// The number of calls that fill a slice. Warms the candidate up.
    fn calls(&self, contestant: &mut Candidate) -> u32 {
        let mut calls = 1u32;
        loop {
            let taken = time(contestant, calls) * f64::from(calls);
            if taken >= self.slice.as_secs_f64() * 1e9 || calls > 1 << 28 {
                return calls;
            }
            calls *= 2;
        }
    }
}

/// Nanoseconds of one call.
fn time(contestant: &mut Candidate, calls: u32) -> f64 {
    let start = worked();
    for _ in 0..calls {
        contestant.turn();
    }
    (worked() - start).as_secs_f64() * 1e9 / f64::from(calls)
}

/// The CPU time of this thread.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
