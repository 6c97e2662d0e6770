//! The verdict: what limited a run, derived from figures alone.
//!
//! A load test without a verdict is misleading: a saturated generator reports its own speed as the
//! server's. Each rule needs figures that show its verdict; a figure that is missing shows nothing.
//! The rules, in their order:
//!
//! 1. Without connections or messages, nothing was measured: [`LimitedBy::Inconclusive`]. The same
//!    holds for a window of less than 100 ms, in which CPU times show nothing.
//! 2. In an open loop that kept up, neither side was the limit ([`LimitedBy::Rate`]), unless the
//!    generator's lateness is at least half of the response time (without response times: above
//!    1 ms), or it sent late and waited for a core for a quarter of the time.
//! 3. A saturated generator is the limit, unless steal, throttling or other threads on its cores
//!    took at least a tenth of its time ([`LimitedBy::Surroundings`]), or the server was full too.
//!    Two full sides that move more than a gigabyte per second over loopback are limited by the
//!    machine ([`LimitedBy::Surroundings`]); otherwise that is inconclusive.
//! 4. A full server is the limit, unless it lost time to its surroundings. With a single message in
//!    flight both sides cannot be busy at once, so if their shares exceed the window, the server
//!    polls, and its share shows nothing.
//! 5. In an open loop that fell behind while the generator sent on time and had little work, or so
//!    far that its lateness explains less than a tenth of the backlog, the answers were missing: the server or the path was the limit, whether its process is known or
//!    not, unless the server lost time to its surroundings and has no reserve. The same holds for a stream whose
//!    connections accept no more output while the generator has reserve.
//! 6. A side that lost time without being saturated, or a link near its speed:
//!    [`LimitedBy::Surroundings`]. If the server is unknown, only a generator that was starved for
//!    a quarter of the time shows it.
//! 7. In a closed loop in which both sides had reserve and all places were occupied (Little's law:
//!    messages in flight = rate × response time), [`LimitedBy::Concurrency`] if a single message
//!    was in flight, or if the round trip of the network is most of the response time. Other idle
//!    servers may wait for something other than CPU time, and more messages in flight may not help.
//! 8. Everything else is inconclusive.

mod figures;
mod sides;

pub(crate) use figures::Completion;
pub use figures::{Figures, LoadFigures, OpenFigures, PathFigures, ThreadFigures};

use crate::units::{bytes, count, time};
use serde::Serialize;
use sides::{Cause, Loss, STARVED, Side, percent};
use std::fmt;

/// What limited a run, with the evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The limit.
    pub limited_by: LimitedBy,
    /// Sentences with the figures that led to the verdict.
    pub evidence: Vec<String>,
    /// What to change, if the verdict shows it.
    pub remedy: Option<String>,
    /// The figures, and those that are missing.
    pub figures: Figures,
}

/// What limited a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LimitedBy {
    /// The server, or the network to it: the figures describe the server.
    Server,
    /// The generator: the server may be faster than the figures.
    Generator,
    /// The number of messages in flight: with more, the same server and generator are faster.
    Concurrency,
    /// The machine or other processes: steal, CPU throttling, other processes on the cores, the
    /// bandwidth of a link or of loopback.
    Surroundings,
    /// The offered rate: the server answered all messages of the schedule.
    Rate,
    /// The figures do not show it.
    Inconclusive,
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "the server",
            Self::Generator => "the generator",
            Self::Concurrency => "the number of messages in flight",
            Self::Surroundings => "the surroundings",
            Self::Rate => "the offered rate",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// The share of the due messages above which an open loop kept up, and the growth of its backlog,
/// as a share of them, below which it did.
const KEPT_UP: f64 = 0.98;

/// The send lag up to which a generator is on time, and the share of the response time that a
/// larger one may be, in an open loop that kept up.
const ON_TIME_US: f64 = 100.0;
const LATE_SHARE: f64 = 0.5;

/// The send lag from which a generator was late that fell behind, or whose messages have no response
/// time.
const LATE_US: f64 = 1000.0;

/// The share of the backlog's growth up to which the send lag explains little of it.
const EXPLAINED: f64 = 0.1;

/// The share of the response time that the network's round trip must be for
/// [`LimitedBy::Concurrency`]: with an idle server, and with an unknown one.
const PATH_SHARE: f64 = 0.5;
const PATH_SHARE_UNKNOWN: f64 = 0.8;

/// The share of places in flight that Little's law must explain.
const OCCUPIED: f64 = 0.9;

/// The rate per thread of the generator from which copying over loopback is a limit of the machine.
const LOOPBACK_BYTES: f64 = (1u64 << 30) as f64;

/// The share of a link's speed from which it is the limit. Headers are not counted.
const LINK_SHARE: f64 = 0.9;

/// The sum of busy shares with one message in flight above which one side polls.
const ALTERNATING: f64 = 1.10;

/// Derives the verdict; a pure function of the figures.
pub(crate) fn evaluate(figures: Figures) -> Verdict {
    let mut findings = Findings { evidence: Vec::new(), remedy: None };
    let limited_by = findings.limit(&figures);
    let Findings { evidence, remedy } = findings;
    Verdict { limited_by, evidence, remedy, figures }
}

/// The sentences found so far.
struct Findings {
    evidence: Vec<String>,
    remedy: Option<String>,
}

impl Findings {
    fn say(&mut self, sentence: impl Into<String>) {
        self.evidence.push(sentence.into());
    }

    fn advise(&mut self, limited_by: LimitedBy, remedy: &str) -> LimitedBy {
        self.remedy = Some(remedy.to_owned());
        limited_by
    }

    /// The verdict of a loss.
    fn blame(&mut self, limited_by: LimitedBy, loss: &Loss) -> LimitedBy {
        self.say(loss.sentence.clone());
        self.advise(limited_by, loss.remedy)
    }

    fn limit(&mut self, seen: &Figures) -> LimitedBy {
        if let Some(why) = nothing_measured(seen) {
            self.say(why);
            return LimitedBy::Inconclusive;
        }
        if let Some(length) = seen.too_short {
            let length = time(length.as_secs_f64() * 1e6);
            self.say(format!("the measured part of {length} is too short for shares of CPU time"));
            return self.advise(LimitedBy::Inconclusive, "measure for longer (-d), or more messages (-n)");
        }
        let (generator, server) = (Side::generator(seen), Side::server(seen));
        self.describe(seen, &generator);
        if let LoadFigures::Open(open) = &seen.load
            && let Some(limited_by) = self.kept_up(seen, open, &generator)
        {
            return limited_by;
        }
        if generator.is_saturated {
            return self.saturated(seen, &generator, server.as_ref());
        }
        if let Some(server) = &server
            && let Some(limited_by) = self.full_server(seen, &generator, server)
        {
            return limited_by;
        }
        let limited_by = match &seen.load {
            LoadFigures::Open(open) => self.fell_behind(seen, open, &generator, server.as_ref()),
            LoadFigures::Stream { held_back } if *held_back > 0 && generator.has_reserve => {
                self.disturbed(seen, &generator, server.as_ref()).or_else(|| {
                    self.say(format!("connections accepted no more output {held_back} times: the server did not read"));
                    Some(LimitedBy::Server)
                })
            }
            _ => self.disturbed(seen, &generator, server.as_ref()),
        };
        limited_by
            .or_else(|| self.concurrency(seen, &generator, server.as_ref()))
            .unwrap_or_else(|| self.undecided(seen, &generator, server.as_ref()))
    }

    /// The figures that every verdict names.
    fn describe(&mut self, seen: &Figures, generator: &Side) {
        let which = if seen.generator.len() == 1 { "the generator's thread" } else { "the generator's busiest thread" };
        let polling = seen.generator.iter().map(|thread| thread.polling).fold(0.0, f64::max);
        let polled =
            if polling >= 0.01 { format!(", and polled {} of the time", percent(polling)) } else { String::new() };
        match seen.generator.is_empty() {
            true => self.say("the generator's CPU time is unknown"),
            false => self.say(format!("{which} was {} busy{polled}", percent(generator.busy))),
        }
        if let Some(server) = &seen.server {
            let of = if server.cores > 0 { format!(" of {}", server.cores) } else { String::new() };
            self.say(format!(
                "the server's busiest thread was {} busy, all its threads used {:.2}{of} cores",
                percent(server.busiest),
                server.cores_used
            ));
        }
        if let LoadFigures::Open(open) = &seen.load {
            let answered = open.answered_share * 100.0;
            let done = match open.completion {
                Completion::Answered => "answered",
                Completion::Sent => "sent",
                Completion::Delivered => "delivered",
                Completion::Mixed => "completed",
            };
            let mut sentence = format!("{answered:.1} % of the {} due messages were {done}", open.offered);
            if open.backlog_growth > 0 {
                sentence += &format!(", the backlog grew by {}", open.backlog_growth);
            }
            if let Some(lag) = open.send_lag_p99_us {
                sentence += &format!(", the send lag was {} at p99", time(lag));
            }
            self.say(sentence);
            // Without an equilibrium, the rate and the mean are not those of the same messages.
            if let Some(response) = seen.response_mean_us.filter(|_| has_kept_up(open)) {
                let in_flight = open.replies_per_second * response / 1e6;
                self.say(format!(
                    "on average {} messages were due and unanswered (Little's law: {}/s × {})",
                    count(in_flight),
                    count(open.replies_per_second),
                    time(response)
                ));
            }
        }
    }

    /// The verdict of a saturated generator.
    fn saturated(&mut self, seen: &Figures, generator: &Side, server: Option<&Side>) -> LimitedBy {
        let server_is_full = server.is_some_and(Side::is_full);
        match generator.losses.first() {
            Some(loss) if server_is_full => {
                self.say(loss.sentence.clone());
                self.say("the server was saturated too");
                self.advise(LimitedBy::Inconclusive, loss.remedy)
            }
            Some(loss) if loss.cause == Cause::Surroundings => self.blame(LimitedBy::Surroundings, loss),
            Some(loss) => self.blame(LimitedBy::Generator, loss),
            None if server_is_full || server.is_some_and(|server| server.is_saturated) => {
                let threads = seen.generator.len().max(1) as f64;
                if seen.path.is_local && seen.bytes_per_second >= LOOPBACK_BYTES * threads {
                    self.say(format!(
                        "both were saturated, with {}/s over loopback in each direction: both copy each byte",
                        bytes(seen.bytes_per_second)
                    ));
                    return self.advise(LimitedBy::Surroundings, "use smaller messages, or two machines");
                }
                self.say("both were saturated");
                self.advise(
                    LimitedBy::Inconclusive,
                    "give the generator more cores (--cores, --threads) to find the slower side",
                )
            }
            None => {
                self.say(match server {
                    Some(_) => "the generator was saturated, and the server was not",
                    None => "the generator was saturated",
                });
                self.advise(LimitedBy::Generator, "give the generator more cores (--cores), or run several generators")
            }
        }
    }

    /// The verdict of an open loop that kept up with its schedule.
    fn kept_up(&mut self, seen: &Figures, open: &OpenFigures, generator: &Side) -> Option<LimitedBy> {
        if !has_kept_up(open) {
            return None;
        }
        let lag = open.send_lag_p99_us.unwrap_or(0.0);
        if lag <= ON_TIME_US || open.held_back > 0 {
            return Some(LimitedBy::Rate);
        }
        match seen.response_p99_us {
            Some(response) if lag >= LATE_SHARE * response => {
                self.say("the messages were sent late, which is most of the response time at p99");
                return Some(self.late(generator));
            }
            // There is no response time that the lag is a share of.
            None if lag > LATE_US => {
                self.say("the messages were sent late");
                return Some(self.late(generator));
            }
            None => return Some(LimitedBy::Rate),
            Some(_) => {}
        }
        // The time that a reply waits for the generator is in its response time, and not in the lag.
        if generator.waiting >= STARVED {
            self.say("the replies waited for the generator, and the response times contain that");
            return Some(self.late(generator));
        }
        Some(LimitedBy::Rate)
    }

    /// The verdict of a generator that sent late without being saturated.
    fn late(&mut self, generator: &Side) -> LimitedBy {
        match generator.losses.first() {
            Some(loss) if loss.cause == Cause::Surroundings => self.blame(LimitedBy::Surroundings, loss),
            Some(loss) => self.blame(LimitedBy::Generator, loss),
            None => self.advise(
                LimitedBy::Generator,
                "poll before sleeping (--busy-poll), use more threads (--threads), or a lower rate (--rate)",
            ),
        }
    }

    /// The verdict of a server without reserve.
    fn full_server(&mut self, seen: &Figures, generator: &Side, server: &Side) -> Option<LimitedBy> {
        if !server.is_full() && !server.is_saturated {
            return None;
        }
        if let Some(loss) = server.losses.first() {
            return Some(match loss.cause {
                Cause::Surroundings => self.blame(LimitedBy::Surroundings, loss),
                Cause::Itself => self.blame(LimitedBy::Server, loss),
                Cause::Unknown if server.is_full() => self.blame(LimitedBy::Server, loss),
                Cause::Unknown => self.blame(LimitedBy::Inconclusive, loss),
            });
        }
        if seen.load == (LoadFigures::Closed { in_flight: 1 }) && generator.busy + server.busy > ALTERNATING {
            self.say(
                "with one message in flight generator and server work in turn, so a part of the server's busy share \
                 is polling",
            );
            return Some(
                self.advise(LimitedBy::Inconclusive, "run a server without polling, or more connections (-c)"),
            );
        }
        self.say("the server was saturated");
        Some(LimitedBy::Server)
    }

    /// The verdict of an open loop that fell behind, neither side being saturated.
    fn fell_behind(
        &mut self,
        seen: &Figures,
        open: &OpenFigures,
        generator: &Side,
        server: Option<&Side>,
    ) -> Option<LimitedBy> {
        let unanswered = open.offered as f64 * (1.0 - open.answered_share);
        if open.lost_turns as f64 >= unanswered / 2.0 && open.lost_turns > 0 {
            self.say(format!("{} messages were due on connections that had ended", open.lost_turns));
            return Some(LimitedBy::Inconclusive);
        }
        let is_on_time = open.send_lag_p99_us.is_some_and(|lag| lag <= LATE_US);
        // The messages that were due within the send lag are the part of the backlog that it explains.
        let late = open.send_lag_p99_us.map(|lag| lag / 1e6 * seen.offered_per_second(open));
        let explains_little = late.is_some_and(|late| late <= EXPLAINED * open.backlog_growth as f64);
        if !is_on_time && !explains_little && open.held_back == 0 {
            open.send_lag_p99_us?;
            self.say("the messages were sent late");
            return Some(self.late(generator));
        }
        // A generator that sends on time also receives on time, even if it waits for its core now
        // and then, or often, if the backlog is far larger than what it is late by.
        let has_time = match (explains_little, is_on_time) {
            (true, _) => generator.works_little,
            (false, true) => generator.works_little && generator.waiting < STARVED,
            (false, false) => generator.has_reserve,
        };
        if !has_time {
            return self.disturbed(seen, generator, server);
        }
        if let Some(limited_by) = self.full_link(seen) {
            return Some(limited_by);
        }
        // A server that has reserve in spite of the loss does not fall behind because of it.
        let lacking = server.filter(|server| !server.has_reserve);
        if let Some(loss) = lacking.and_then(|server| server.loss(Cause::Surroundings)) {
            return Some(self.blame(LimitedBy::Surroundings, loss));
        }
        if open.held_back > 0 {
            self.say(format!(
                "connections accepted no more output {} times while the generator had reserve: the server or the \
                 network did not take the messages",
                open.held_back
            ));
        } else {
            let sent = if is_on_time { "on time" } else { "late, which explains little of the backlog," };
            self.say(format!(
                "the generator sent {sent} and had reserve: the messages waited in the server or in the network"
            ));
        }
        Some(LimitedBy::Server)
    }

    /// The verdict of a network interface that is used up.
    fn full_link(&mut self, seen: &Figures) -> Option<LimitedBy> {
        let speed = seen.path.link_bits_per_second.filter(|_| !seen.path.is_local)?;
        let used = seen.bytes_per_second * 8.0 / speed;
        if used < LINK_SHARE {
            return None;
        }
        let speed = (speed / 1e6).round();
        self.say(format!("the messages used {} of the network interface's {speed} Mbit/s", percent(used)));
        Some(self.advise(LimitedBy::Surroundings, "use smaller messages, or a faster network"))
    }

    /// The verdict of a full link, and of sides that lost time without being saturated.
    fn disturbed(&mut self, seen: &Figures, generator: &Side, server: Option<&Side>) -> Option<LimitedBy> {
        if let Some(limited_by) = self.full_link(seen) {
            return Some(limited_by);
        }
        let is_shown = server.is_some() || generator.waiting >= STARVED;
        let loss = generator.loss(Cause::Surroundings).filter(|_| is_shown);
        let loss = loss.or_else(|| server.and_then(|server| server.loss(Cause::Surroundings)))?.clone();
        Some(self.blame(LimitedBy::Surroundings, &loss))
    }

    /// The verdict of a closed loop in which both sides had reserve.
    fn concurrency(&mut self, seen: &Figures, generator: &Side, server: Option<&Side>) -> Option<LimitedBy> {
        let (LoadFigures::Closed { in_flight }, Some(response)) = (&seen.load, seen.response_mean_us) else {
            return None;
        };
        let server_has_reserve = server.map(|server| server.has_reserve);
        if !generator.has_reserve || server_has_reserve == Some(false) {
            return None;
        }
        let occupied = seen.messages_per_second * response / 1e6;
        if occupied < OCCUPIED * *in_flight as f64 {
            return None;
        }
        let round_trip = seen.path.round_trip_us.unwrap_or(0.0);
        let needed = if server_has_reserve.is_some() { PATH_SHARE } else { PATH_SHARE_UNKNOWN };
        let far = round_trip >= needed * response;
        let alone = *in_flight == 1 && server_has_reserve.is_some();
        if !(far || alone) {
            return None;
        }
        let round_trip =
            if far { format!(", of which the network's round trip is {}", time(round_trip)) } else { String::new() };
        self.say(format!(
            "{} in flight, each answered after {}{round_trip}, allow {}/s (Little's law), and no more",
            messages(*in_flight),
            time(response),
            count(*in_flight as f64 * 1e6 / response.max(1e-3))
        ));
        Some(self.advise(LimitedBy::Concurrency, "use more connections (-c), or more messages in flight (-p)"))
    }

    /// The sentences of a run whose figures show no limit.
    fn undecided(&mut self, seen: &Figures, generator: &Side, server: Option<&Side>) -> LimitedBy {
        for loss in generator.losses.iter().chain(server.iter().flat_map(|server| &server.losses)) {
            self.say(loss.sentence.clone());
        }
        if server.is_none() {
            let why = seen.missing.iter().find(|why| why.starts_with("the server's CPU time"));
            self.say(why.cloned().unwrap_or_else(|| "the server's CPU time is unknown".to_owned()));
            return self.advise(
                LimitedBy::Inconclusive,
                "run the generator where it can read the server's process, or use an open loop (--rate)",
            );
        }
        match &seen.load {
            LoadFigures::None => {
                self.say("neither was saturated; the server decides when it sends");
                return LimitedBy::Inconclusive;
            }
            LoadFigures::Closed { in_flight } => self.say(format!(
                "neither was saturated: {} in flight are too few, or the server waits for something other than its \
                 cores",
                messages(*in_flight)
            )),
            _ => self.say("neither was saturated"),
        }
        self.advise(LimitedBy::Inconclusive, "raise the number of connections (-c) or of messages in flight (-p)")
    }
}

/// Whether an open loop kept up with its schedule.
fn has_kept_up(open: &OpenFigures) -> bool {
    let growth = open.backlog_growth.max(0) as f64 / open.offered.max(1) as f64;
    open.answered_share >= KEPT_UP && growth <= 1.0 - KEPT_UP
}

fn messages(number: u64) -> String {
    if number == 1 { "1 message".to_owned() } else { format!("{number} messages") }
}

/// Why there is nothing to judge.
fn nothing_measured(seen: &Figures) -> Option<&'static str> {
    if seen.established == 0 {
        return Some("no connection was open");
    }
    (seen.messages == 0).then_some(match seen.load {
        LoadFigures::None => "no messages were sent or received: the connections were only held open",
        _ => "no message was answered while it was measured",
    })
}

#[cfg(test)]
mod tests;
