//! Measuring side by side: the contestants take turns, in an order that changes with each round, so that whatever else
//! the machine does falls on all of them alike. What is taken is the thread's time on its core, which goes on while it works
//! alone: on a machine shared with others, time on the wall would measure them too.

use super::Candidate;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// How contestants are measured.
pub struct Rounds {
    /// How many there are.
    pub count: usize,
    /// How long a contestant works in each.
    pub slice: Duration,
}

/// What all rounds say of one contestant.
pub struct Figure {
    /// The contestant's.
    pub name: &'static str,
    /// The contestant's.
    pub read: Option<usize>,
    /// Nanoseconds of one turn: the median of the rounds.
    pub nanoseconds: f64,
    /// How many times as long as the first contestant's its turn takes: the median of each round's ratio.
    pub ratio: f64,
}

impl Rounds {
    /// What comes of all of them; the first one is the measure of the ratios.
    pub fn measure(&self, mut contestants: Vec<Candidate>) -> Vec<Figure> {
        self.take_turns(&mut contestants)
    }

    /// The one whose turn takes the least time.
    ///
    /// # Panics
    ///
    /// When there is none.
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

    /// How many calls fill a slice. Warms the contestant up on the way.
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

/// How long this thread has been at work.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
