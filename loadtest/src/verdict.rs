//! The verdict: whether the server or the generator was the limit.
//!
//! A load test without a verdict is misleading: a saturated generator reports its own speed as the
//! server's.

use crate::observe::server::ServerUse;
use crate::observe::usage::Usage;
use crate::plan::Mode;
use serde::Serialize;
use std::fmt;

/// The busy share from which a thread counts as saturated.
const SATURATED: f64 = 0.95;

/// The busy share up to which a thread counts as not saturated.
const UNSATURATED: f64 = 0.80;

/// The share of waiting for a core from which a thread counts as disturbed.
const DISTURBED: f64 = 0.10;

/// Which side was the limit, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Who.
    pub limited_by: LimitedBy,
    /// Sentences with the figures that led to the verdict.
    pub evidence: Vec<String>,
}

/// Who was the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LimitedBy {
    /// The server, or the network to it: the figures describe the server.
    Server,
    /// The generator: the server may be faster than the figures.
    Generator,
    /// The figures do not show it.
    Inconclusive,
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "the server",
            Self::Generator => "the generator",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// The observations of a run.
#[derive(Clone, Debug)]
pub(crate) struct Observation<'a> {
    pub(crate) mode: Mode,
    /// Open connections.
    pub(crate) established: u64,
    /// Messages within the window.
    pub(crate) messages: u64,
    /// Connections times messages in flight.
    pub(crate) in_flight: u64,
    /// Each thread of the generator.
    pub(crate) generator: &'a [Usage],
    /// The server, if its process is known.
    pub(crate) server: Option<ServerUse>,
}

/// Derives the verdict; a pure function of the observations.
pub(crate) fn evaluate(seen: &Observation<'_>) -> Verdict {
    let mut evidence = Vec::new();
    let limited_by = limit(seen, &mut evidence);
    Verdict { limited_by, evidence }
}

fn limit(seen: &Observation<'_>, evidence: &mut Vec<String>) -> LimitedBy {
    let inconclusive = LimitedBy::Inconclusive;
    if seen.established == 0 {
        evidence.push("no connection was open".into());
        return inconclusive;
    }
    if seen.mode == Mode::Idle {
        evidence.push("no messages were sent: the connections were only held open".into());
        return inconclusive;
    }
    if seen.messages == 0 {
        evidence.push("no message was answered while it was measured".into());
        return inconclusive;
    }
    let busy = seen.generator.iter().map(Usage::busy).fold(0.0, f64::max);
    let waiting = seen.generator.iter().map(Usage::waiting).fold(0.0, f64::max);
    let thread = if seen.generator.len() == 1 { "the generator's thread" } else { "the generator's busiest thread" };
    evidence.push(format!("{thread} was {} busy", percent(busy)));
    if let Some(server) = &seen.server {
        let of = if server.cores > 0 { format!(" of {}", server.cores) } else { String::new() };
        evidence.push(format!(
            "the server's busiest thread was {} busy, all its threads used {:.2}{of} cores",
            percent(server.busiest),
            server.cores_used
        ));
    }
    let server_waiting = seen.server.map_or(0.0, |server| server.waiting);
    if waiting >= DISTURBED {
        evidence.push(format!(
            "the generator waited for a core {} of the time: other processes run on its cores; pin it to other cores (--cores)",
            percent(waiting)
        ));
        return if seen.server.is_some() && server_waiting < DISTURBED { LimitedBy::Generator } else { inconclusive };
    }
    let Some(server) = &seen.server else {
        return if busy >= SATURATED {
            evidence.push("it was saturated: give it more cores, or run several generators".into());
            LimitedBy::Generator
        } else if busy <= UNSATURATED {
            evidence.push("it was not saturated: messages waited in the server or in the network".into());
            LimitedBy::Server
        } else {
            evidence
                .push("the server's CPU time is unknown: it is on another machine or belongs to another user".into());
            inconclusive
        };
    };
    let all_cores = if server.cores > 0 { server.cores_used / server.cores as f64 } else { 0.0 };
    let server_full = server.busiest >= SATURATED || all_cores >= SATURATED;
    match (busy >= SATURATED, server_full) {
        (true, true) => {
            evidence.push("both were saturated: give the generator more cores to find the slower side".into());
            inconclusive
        }
        (true, false) => {
            evidence
                .push("the server was not saturated: give the generator more cores, or run several generators".into());
            LimitedBy::Generator
        }
        (false, true) => LimitedBy::Server,
        (false, false) if server_waiting >= DISTURBED => {
            evidence.push(format!(
                "a thread of the server waited for a core {} of the time: other processes run on its cores",
                percent(server_waiting)
            ));
            inconclusive
        }
        (false, false) => {
            evidence.push(format!(
                "neither was saturated: {} in flight are too few, or the server waits for something other than its \
                 cores; raise --connections or --pipeline",
                if seen.in_flight == 1 { "1 message".to_owned() } else { format!("{} messages", seen.in_flight) }
            ));
            inconclusive
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn thread(busy: f64, waiting: f64) -> Usage {
        let wall = Duration::from_secs(10);
        Usage { cpu: wall.mul_f64(busy), polled: Duration::ZERO, delay: wall.mul_f64(waiting), wall }
    }

    fn server(busiest: f64, cores_used: f64, waiting: f64) -> Option<ServerUse> {
        Some(ServerUse { busiest, waiting, cores_used, cores: 4, ..ServerUse::default() })
    }

    fn verdict(generator: &[Usage], server: Option<ServerUse>) -> LimitedBy {
        let verdict =
            evaluate(&Observation { mode: Mode::Echo, established: 9, messages: 1, in_flight: 100, generator, server });
        assert!(!verdict.evidence.is_empty());
        verdict.limited_by
    }

    #[test]
    fn the_one_without_a_reserve_is_the_limit() {
        use LimitedBy::{Generator, Inconclusive, Server};
        for (generator, known, expected) in [
            // The server's figures are known.
            (thread(0.60, 0.0), server(0.99, 1.0, 0.0), Server),
            (thread(0.60, 0.0), server(0.90, 3.9, 0.0), Server),
            (thread(0.99, 0.0), server(0.60, 0.6, 0.0), Generator),
            (thread(0.99, 0.0), server(0.99, 1.0, 0.0), Inconclusive),
            (thread(0.50, 0.0), server(0.50, 0.5, 0.0), Inconclusive),
            (thread(0.50, 0.0), server(0.50, 0.5, 0.4), Inconclusive),
            // The generator shared its cores.
            (thread(0.70, 0.3), server(0.60, 0.6, 0.0), Generator),
            (thread(0.70, 0.3), server(0.60, 0.6, 0.3), Inconclusive),
            // The server's figures are not known.
            (thread(0.99, 0.0), None, Generator),
            (thread(0.60, 0.0), None, Server),
            (thread(0.90, 0.0), None, Inconclusive),
            (thread(0.60, 0.2), None, Inconclusive),
        ] {
            assert_eq!(verdict(&[generator], known), expected, "{generator:?} {known:?}");
        }
    }

    #[test]
    fn the_busiest_thread_counts() {
        let threads = [thread(0.2, 0.0), thread(0.99, 0.0)];
        assert_eq!(verdict(&threads, server(0.5, 0.5, 0.0)), LimitedBy::Generator);
    }

    #[test]
    fn nothing_measured_is_inconclusive() {
        for (mode, established, why) in
            [(Mode::Idle, 1, "held open"), (Mode::Echo, 1, "no message"), (Mode::Echo, 0, "no connection")]
        {
            let (generator, server) = ([thread(0.0, 0.0)], server(0.99, 1.0, 0.0));
            let seen = Observation { mode, established, messages: 0, in_flight: 1, generator: &generator, server };
            let verdict = evaluate(&seen);
            assert_eq!(verdict.limited_by, LimitedBy::Inconclusive);
            assert!(verdict.evidence[0].contains(why), "{verdict:?}");
        }
    }

    #[test]
    fn the_evidence_names_the_figures() {
        let generator = [thread(0.61, 0.0)];
        let seen = Observation {
            mode: Mode::Echo,
            established: 1,
            messages: 9,
            in_flight: 1,
            generator: &generator,
            server: server(0.99, 1.02, 0.0),
        };
        let evidence = evaluate(&seen).evidence.join("; ");
        assert_eq!(
            evidence,
            "the generator's thread was 61 % busy; the server's busiest thread was 99 % busy, all its threads used 1.02 of 4 cores"
        );
    }
}
