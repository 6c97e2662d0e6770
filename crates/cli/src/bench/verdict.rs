//! The evaluation of a cell: which side was the limit, and which ratio of two contestants the
//! rounds support.
//!
//! A ratio of rates compares two servers only if both were saturated. If one of them was not, the
//! rates depend on the speed of the generator or the latency of wake-ups; the CPU time of the
//! server per message still compares the servers. Every ratio is the median of the ratios of paired
//! rounds: the runs of a round are seconds apart, so that slow changes of the background load
//! affect both sides alike.

use super::statistics::{Spread, median};
use serde::Serialize;
use std::fmt;

/// The busy share from which a side counts as saturated.
pub(crate) const SATURATED: f64 = 0.95;

/// The minimum number of paired rounds of a ratio.
pub(crate) const MIN_PAIRS: usize = 3;

/// The result of one run of one contestant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct RoundSample {
    pub(crate) messages_per_second: f64,
    pub(crate) server_cpu_us_per_message: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The share of the window for which the server was busy: that of its busiest thread, or that
    /// of all its threads divided by the cores that they share, whichever is higher.
    pub(crate) server_busy_share: f64,
    /// The share of the window for which the generator's busiest thread was busy.
    pub(crate) generator_busy_share: f64,
    /// The largest share of the window for which a thread of the server was runnable but not
    /// running.
    pub(crate) server_waiting_share: f64,
}

/// The share of waiting for a core from which a run counts as disturbed.
pub(crate) const DISTURBED: f64 = 0.10;

/// Whether other processes ran on the core of a server with one thread: its thread waited for the
/// core in most rounds.
pub(crate) fn is_disturbed(rounds: &[Option<RoundSample>]) -> bool {
    median(rounds.iter().flatten().map(|sample| sample.server_waiting_share)).is_some_and(|share| share >= DISTURBED)
}

/// The busy shares of both sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Busy {
    pub(crate) server: f64,
    pub(crate) generator: f64,
}

impl Busy {
    /// The medians over the rounds.
    pub(crate) fn of(rounds: &[Option<RoundSample>]) -> Option<Self> {
        let measured = || rounds.iter().flatten();
        Some(Self {
            server: median(measured().map(|sample| sample.server_busy_share))?,
            generator: median(measured().map(|sample| sample.generator_busy_share))?,
        })
    }

    pub(crate) fn limit(self) -> Limit {
        match (self.server >= SATURATED, self.generator >= SATURATED) {
            (true, true) => Limit::Both,
            (true, false) => Limit::Server,
            (false, true) => Limit::Generator,
            (false, false) => Limit::Neither,
        }
    }
}

/// Which side was saturated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Limit {
    Server,
    Generator,
    Both,
    Neither,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Server => "server",
            Self::Generator => "generator",
            Self::Both => "both",
            Self::Neither => "neither",
        })
    }
}

/// The quantity of which a ratio is formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Basis {
    /// Messages per second, ours to theirs.
    Rate,
    /// CPU time of the server per message, theirs to ours.
    Cpu,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rate => "rate",
            Self::Cpu => "cpu",
        })
    }
}

/// The ratio of ours to theirs that `pairs` paired rounds support: that of rates if both servers
/// were saturated, else that of CPU per message; none with too few pairs.
pub(crate) fn basis(ours: Busy, theirs: Busy, pairs: usize) -> Option<Basis> {
    let is_server_at_limit = |busy: Busy| matches!(busy.limit(), Limit::Server | Limit::Both);
    if pairs < MIN_PAIRS {
        None
    } else if is_server_at_limit(ours) && is_server_at_limit(theirs) {
        Some(Basis::Rate)
    } else {
        Some(Basis::Cpu)
    }
}

/// A ratio of our server to another one: above 1, ours is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) by: Basis,
    /// Over the paired rounds.
    #[serde(flatten)]
    pub(crate) spread: Spread,
}

/// The pairs of samples of the rounds in which both were measured.
fn pairs<'a>(
    ours: &'a [Option<RoundSample>],
    theirs: &'a [Option<RoundSample>],
) -> Vec<(&'a RoundSample, &'a RoundSample)> {
    ours.iter().zip(theirs).filter_map(|(ours, theirs)| ours.as_ref().zip(theirs.as_ref())).collect()
}

/// Compares two contestants by paired rounds. `None` if the rounds do not support a ratio.
pub(crate) fn compare(ours: &[Option<RoundSample>], theirs: &[Option<RoundSample>]) -> Option<Ratio> {
    let pairs = pairs(ours, theirs);
    let by = basis(Busy::of(ours)?, Busy::of(theirs)?, pairs.len())?;
    let ratio = |(ours, theirs): &(&RoundSample, &RoundSample)| match by {
        Basis::Rate => ours.messages_per_second / theirs.messages_per_second,
        Basis::Cpu => theirs.server_cpu_us_per_message / ours.server_cpu_us_per_message,
    };
    let spread = Spread::of(pairs.iter().map(ratio))?;
    spread.median.is_finite().then_some(Ratio { by, spread })
}

/// The ratios of rates, ours to theirs, and of CPU time per message, theirs to ours, of the paired
/// rounds, whichever side was the limit. `None` with too few pairs.
pub(crate) fn both_ratios(ours: &[Option<RoundSample>], theirs: &[Option<RoundSample>]) -> Option<[Spread; 2]> {
    let pairs = pairs(ours, theirs);
    if pairs.len() < MIN_PAIRS {
        return None;
    }
    let rate = pairs.iter().map(|(ours, theirs)| ours.messages_per_second / theirs.messages_per_second);
    let cpu = pairs.iter().map(|(ours, theirs)| theirs.server_cpu_us_per_message / ours.server_cpu_us_per_message);
    Some([Spread::of(rate)?, Spread::of(cpu)?])
}

/// The median of the paired rounds' ratios of rates, whichever side was the limit.
pub(crate) fn rate_ratio(ours: &[Option<RoundSample>], theirs: &[Option<RoundSample>]) -> Option<f64> {
    median(pairs(ours, theirs).iter().map(|(ours, theirs)| ours.messages_per_second / theirs.messages_per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64, cpu: f64, server: f64, generator: f64) -> Option<RoundSample> {
        Some(RoundSample {
            messages_per_second: rate,
            server_cpu_us_per_message: cpu,
            p50_us: 1.0,
            p99_us: 2.0,
            server_busy_share: server,
            generator_busy_share: generator,
            server_waiting_share: 0.0,
        })
    }

    #[test]
    fn the_limit_is_the_side_that_is_saturated() {
        let limit = |server, generator| Busy { server, generator }.limit();
        assert_eq!(limit(0.95, 0.94), Limit::Server);
        assert_eq!(limit(0.94, 0.95), Limit::Generator);
        assert_eq!(limit(1.0, 1.0), Limit::Both);
        assert_eq!(limit(0.5, 0.5), Limit::Neither);
    }

    #[test]
    fn rates_are_compared_only_where_both_servers_are_saturated() {
        let (server, both) = (Busy { server: 0.99, generator: 0.7 }, Busy { server: 0.99, generator: 0.99 });
        let (generator, neither) = (Busy { server: 0.7, generator: 0.99 }, Busy { server: 0.6, generator: 0.6 });
        for (ours, theirs, expected) in [
            (server, server, Basis::Rate),
            (server, both, Basis::Rate),
            (both, both, Basis::Rate),
            (generator, server, Basis::Cpu),
            (server, generator, Basis::Cpu),
            (neither, server, Basis::Cpu),
            (neither, neither, Basis::Cpu),
            (generator, generator, Basis::Cpu),
        ] {
            assert_eq!(basis(ours, theirs, MIN_PAIRS), Some(expected), "{ours:?} {theirs:?}");
        }
        assert_eq!(basis(server, server, MIN_PAIRS - 1), None, "too few rounds");
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The machine was half as fast in the second round, for both.
        let ours = [(90.0, 1.0), (45.0, 2.0), (95.0, 1.0)].map(|(rate, cpu)| sample(rate, cpu, 1.0, 0.5));
        let theirs = [(100.0, 0.9), (50.0, 1.8), (100.0, 0.9)].map(|(rate, cpu)| sample(rate, cpu, 1.0, 0.5));
        let ratio = compare(&ours, &theirs).expect("three pairs");
        let expected = Spread { median: 0.9, min: 0.9, max: 0.95, count: 3 };
        assert_eq!((ratio.by, ratio.spread), (Basis::Rate, expected));
        let idle = theirs.map(|sample| sample.map(|sample| RoundSample { server_busy_share: 0.5, ..sample }));
        let ratio = compare(&ours, &idle).expect("three pairs");
        assert_eq!((ratio.by, ratio.spread.median), (Basis::Cpu, 0.9), "theirs takes less CPU, so it is below 1");
    }

    #[test]
    fn a_missing_round_forms_no_pair() {
        let all = [sample(1.0, 1.0, 1.0, 1.0); 4];
        let gaps = [None, sample(2.0, 1.0, 1.0, 1.0), sample(2.0, 1.0, 1.0, 1.0), sample(2.0, 1.0, 1.0, 1.0)];
        assert_eq!(compare(&all, &gaps).map(|ratio| (ratio.spread.count, ratio.spread.median)), Some((3, 0.5)));
        assert_eq!(compare(&all, &gaps[..3]), None, "two pairs are too few");
        assert_eq!(compare(&all, &[None; 4]), None);
        assert_eq!(rate_ratio(&all, &gaps[..2]), Some(0.5));
    }

    #[test]
    fn a_server_that_waits_for_its_core_is_disturbed() {
        let waiting = |shares: [f64; 3]| {
            let rounds = shares.map(|server_waiting_share| {
                sample(1.0, 1.0, 1.0, 1.0).map(|sample| RoundSample { server_waiting_share, ..sample })
            });
            is_disturbed(&rounds)
        };
        assert!(waiting([0.0, 0.1, 0.5]) && !waiting([0.0, 0.09, 0.5]) && !is_disturbed(&[None]));
    }

    #[test]
    fn a_server_that_used_no_time_has_no_ratio() {
        let none = [sample(1.0, 0.0, 0.5, 0.5); 5];
        assert_eq!(compare(&none, &none), None);
    }
}
