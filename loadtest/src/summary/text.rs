//! The report as text for a terminal. It fits on one screen, unless there are many populations or
//! errors.

mod lines;
mod tables;
#[cfg(test)]
mod tests;

use super::bars::bars;
use super::{ConnectionFigures, MessageFigures, Report};
use crate::histogram::Recorder;
use crate::opening::StageFailures;
use crate::plan::{Behaviour, Load, Plan, Population};
use crate::units::{bytes, count, time};
use crate::verdict::LimitedBy;
use lines::Lines;
use ringway::placement::Assignment;
use std::fmt::Write;
use std::time::Duration;
use tables::{transport, unanswered, write_populations, write_times};

/// The kinds of errors that are printed; the others are counted.
const ERROR_KINDS: usize = 8;

/// What only the text needs.
#[derive(Clone)]
pub(crate) struct Details {
    placement: String,
    /// The load of each population in words.
    loads: Vec<String>,
    ramp_time: Duration,
    pub(super) response: Recorder,
    /// The rate of replies, or of messages that were sent where none is expected.
    completed_per_second: f64,
    /// Whether messages are sent or expected.
    pub(super) has_traffic: bool,
}

impl std::fmt::Debug for Details {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Details").field("loads", &self.loads).finish_non_exhaustive()
    }
}

impl Details {
    pub(super) fn new(
        plan: &Plan,
        assignment: &Assignment,
        ramp_time: Duration,
        response: Recorder,
        completed_per_second: f64,
    ) -> Self {
        Self {
            placement: assignment.to_string(),
            loads: plan.populations.iter().map(describe).collect(),
            ramp_time,
            response,
            completed_per_second,
            has_traffic: plan
                .populations
                .iter()
                .any(|population| !matches!(population.behaviour, Behaviour::Idle { .. })),
        }
    }
}

/// The load of a population in words: `50 connections, 1 in flight on each, text of 64 B`.
fn describe(population: &Population) -> String {
    let mut text = match &population.behaviour {
        Behaviour::Broadcast { publishers, topic } => {
            let publishers = number((*publishers).into(), "publisher");
            let topic = topic.as_ref().map(|topic| format!(" on topic {topic}")).unwrap_or_default();
            format!("broadcast{topic}, {publishers}, {}", number(population.connections.into(), "reader"))
        }
        Behaviour::Request { think } => {
            format!("request with {think} of think time, {}", number(population.connections.into(), "connection"))
        }
        Behaviour::Churn { lifetime, .. } => {
            format!("churn with lifetimes of {lifetime}, {}", number(population.connections.into(), "connection"))
        }
        Behaviour::Replay { speed } => {
            format!("replay at speed {speed}, {}", number(population.connections.into(), "connection"))
        }
        Behaviour::Slow { bytes_per_second } => {
            let rate = bytes(*bytes_per_second as f64);
            format!("slow at {rate}/s, {}", number(population.connections.into(), "connection"))
        }
        Behaviour::Idle { ping: Some(ping) } => {
            let ping = time(ping.as_secs_f64() * 1e6);
            format!("idle with a ping each {ping}, {}", number(population.connections.into(), "connection"))
        }
        behaviour => format!("{behaviour}, {}", number(population.connections.into(), "connection")),
    };
    let behaviour = &population.behaviour;
    match &population.load {
        Load::Closed { in_flight } if behaviour.sends() && behaviour.is_answered() => {
            let _ = write!(text, ", closed loop with {in_flight} in flight on each");
        }
        Load::Open { schedule, arrivals } => {
            let _ = write!(text, ", open loop of {schedule}, {arrivals} arrivals");
        }
        Load::Closed { .. } => {}
    }
    if behaviour.sends() {
        let _ = write!(text, ", {}", population.message);
    }
    text
}

/// A number with the noun that it counts.
fn number(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", count(number as f64)) }
}

impl Report {
    /// The summary for a terminal of this many columns; ends with a newline. Lines are wrapped at
    /// spaces; tables and bars have 74 columns.
    #[must_use]
    pub fn to_text(&self, columns: usize) -> String {
        let mut lines = Lines::new(columns);
        for (index, target) in self.plan.targets.iter().enumerate() {
            let weight = if target.weight == 1 { String::new() } else { format!(", weight {}", target.weight) };
            lines.add(if index == 0 { "target" } else { "" }, &format!("{}{weight}", target.url));
        }
        for (index, load) in self.text.loads.iter().enumerate() {
            lines.part(if index == 0 { "load" } else { "" }, load);
        }
        // The features of the driver are in the JSON.
        let driver = self.plan.driver.split(" (").next().unwrap_or_default();
        lines.add("threads", &format!("{}, {driver}, seed {}", self.text.placement, self.plan.seed));
        self.write_connections(&mut lines);
        let is_measured = !self.measured.is_zero();
        if is_measured {
            self.write_messages(&mut lines);
        }
        write_times(&mut lines, self);
        if is_measured {
            let histogram = bars(&mut self.text.response.clone());
            lines.space();
            for (index, bar) in histogram.iter().enumerate() {
                lines.push(&format!("{:<13}{bar}", if index == 0 { "histogram" } else { "" }));
            }
            lines.space();
            self.write_usage(&mut lines);
        } else {
            lines.space();
            lines.add(if self.text.has_traffic { "messages" } else { "held" }, "nothing was measured");
        }
        self.write_errors(&mut lines);
        if self.text.has_traffic && is_measured {
            self.write_verdict(&mut lines);
        }
        if self.interrupted {
            lines.add("interrupted", "the figures are those of a part of the run");
        }
        lines.finish()
    }

    fn write_connections(&self, lines: &mut Lines) {
        let connections = &self.connections;
        let reconnects = self.populations.iter().any(|one| matches!(one.behaviour, "connect" | "churn"));
        lines.add("connections", &connecting(connections, self.text.ramp_time, reconnects));
        let StageFailures { connect, tls, upgrade } = connections.failed_in;
        let stages = [(connect, transport(self)), (tls, "TLS"), (upgrade, "upgrade")];
        let stages = stages.iter().filter(|(failed, _)| *failed > 0).map(|(failed, stage)| format!("{stage} {failed}"));
        let stages: Vec<String> = stages.collect();
        if !stages.is_empty() {
            lines.add("", &format!("failed at: {}", stages.join(", ")));
        }
        for sentence in self.ramp.sentences() {
            lines.item("", &sentence);
        }
        for (index, session) in self.tls.iter().flat_map(|tls| &tls.sessions).enumerate() {
            let label = if index == 0 { "tls" } else { "" };
            let (version, cipher_suite) = (session.version, session.cipher_suite);
            let (full, resumed) = (session.full, session.resumed);
            lines.add(label, &format!("{version}, {cipher_suite}: {full} full, {resumed} resumed"));
        }
        if let Some(compressing) = connections.compressing.filter(|_| connections.established > 0) {
            let refused = if compressing == 0 { ": the server declines it" } else { "" };
            let ratio = self.compression.and_then(|compression| compression.ratio);
            let ratio = ratio.map_or(String::new(), |ratio| format!(", sent messages {ratio:.2} times smaller"));
            lines.add("compression", &format!("agreed on by {compressing} connections{refused}{ratio}"));
        }
    }

    fn write_messages(&self, lines: &mut Lines) {
        let measured = time(self.measured.as_secs_f64() * 1e6);
        lines.space();
        if !self.text.has_traffic && self.messages.sent == 0 {
            lines.add("held", &format!("for {measured}"));
        } else {
            lines.add("messages", &rates(&self.messages));
            let is_delivered = self.populations.iter().all(|population| population.reach.is_some());
            let received = if is_delivered { "delivered" } else { "answered" };
            lines.add("", &counts(&self.messages, (received, unanswered(self)), &measured));
        }
        for population in &self.populations {
            if population.opened_per_second > 0.0 {
                lines.add("handshakes", &format!("{}/s ({})", count(population.opened_per_second), population.name));
            }
            if population.gaps_us.is_some() && population.messages.numbered == 0 {
                lines.add("", "no sequence numbers were received: missing messages are not known");
            }
            if let Some(reach) = &population.reach {
                let share = percent(reach.reached);
                let (messages, readers) = (number(reach.messages, "message"), number(reach.readers, "reader"));
                let mut text = format!("{messages}, each to {share} of {readers}");
                if reach.own_copies > 0 {
                    let _ = write!(text, ", {} sent back to publishers", count(reach.own_copies as f64));
                }
                if reach.unrecorded > 0 {
                    let _ = write!(text, ", {} not recorded in first, median and last", reach.unrecorded);
                }
                lines.add("reach", &text);
            }
        }
        if self.populations.len() > 1 {
            write_populations(lines, self);
        }
    }

    fn write_usage(&self, lines: &mut Lines) {
        if let Some(server) = &self.server {
            let cores = format!("{:.2} cores", server.cores_used);
            let mut text = format!("{} (process {}): {cores}", server.name, server.pid);
            let _ = write!(text, ", busiest thread {} busy", whole_percent(server.busiest_thread));
            // The kernel counts the CPU time of processes in steps of up to 10 ms.
            if let Some(each) = server.cpu_us_per_message.filter(|each| *each > 0.0) {
                let _ = write!(text, ", {} of CPU a message", time(each));
            }
            let _ = write!(text, ", {} of memory", bytes(server.rss_bytes as f64));
            lines.add("server", &text);
        } else {
            lines.add("server", "its process is not known");
        }
        let generator = &self.generator;
        let shares: Vec<String> = generator.threads.iter().map(|one| whole_percent(one.busy)).collect();
        let threads = number(shares.len() as u64, "thread");
        let mut text = format!("{threads}, {} busy", shares.join(", "));
        if self.text.completed_per_second > 0.0 {
            let messages = self.text.completed_per_second * self.measured.as_secs_f64();
            let _ = write!(text, ", {} of CPU a message", time(generator.cpu_seconds * 1e6 / messages));
        }
        if let Some(late) = generator.uncertainty_us {
            let _ = write!(text, "; response times ± {} (how late it wakes up, at p99)", time(late));
        }
        lines.add("generator", &text);
    }

    fn write_errors(&self, lines: &mut Lines) {
        let (failures, attempts) = (self.failures(), self.attempts());
        if failures > 0 && attempts > 0 {
            let share = percent((failures as f64 / attempts as f64).min(1.0));
            let allowed = percent(self.plan.max_errors);
            let text = format!("{failures} of {attempts} messages and connections, {share} (allowed: {allowed})");
            lines.add("failed", &text);
        }
        if self.errors.is_empty() {
            return lines.add("errors", "none");
        }
        let mut kinds: Vec<_> = self.errors.iter().collect();
        kinds.sort_by_key(|(_, error)| std::cmp::Reverse(error.count));
        for (index, (kind, error)) in kinds.iter().take(ERROR_KINDS).enumerate() {
            // The first ones are often equal.
            let mut samples: Vec<&str> = error.samples.iter().map(String::as_str).collect();
            samples.dedup();
            let samples = samples.join(" | ");
            lines.add(if index == 0 { "errors" } else { "" }, &format!("{} × {kind}: {samples}", error.count));
        }
        if let Some((_, rest)) = kinds.split_at_checked(ERROR_KINDS).filter(|(_, rest)| !rest.is_empty()) {
            let total: u64 = rest.iter().map(|(_, error)| error.count).sum();
            lines.add("", &format!("{total} errors of {} more kinds; --format json has all", rest.len()));
        }
        if self.errors.contains_key("connect_no_port") {
            let advice = "this machine has no local port left for that address; see the sysctl \
                          net.ipv4.ip_local_port_range, or use more local addresses (--source-ip); `ringway doctor \
                          --role client` says how many each has";
            lines.item("", advice);
        }
    }

    fn write_verdict(&self, lines: &mut Lines) {
        let verdict = &self.verdict;
        lines.space();
        lines.add("limited by", &verdict.limited_by.to_string());
        for sentence in &verdict.evidence {
            lines.item("", sentence);
        }
        if let Some(remedy) = &verdict.remedy {
            lines.add("remedy", remedy);
        }
        for (index, missing) in verdict.figures.missing.iter().enumerate() {
            lines.item(if index == 0 { "unknown" } else { "" }, missing);
        }
    }

    /// The whole distribution of response times, in the format of HdrHistogram. Empty if nothing was
    /// answered.
    #[must_use]
    pub fn distribution(&self) -> String {
        self.text.response.clone().distribution().map_or(String::new(), |distribution| distribution.to_string())
    }

    /// Whether the verdict says anything about a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.verdict.limited_by != LimitedBy::Inconclusive
    }
}

/// Connecting in words. Populations that connect again open more connections than requested.
fn connecting(connections: &ConnectionFigures, took: Duration, reconnects: bool) -> String {
    let mut text = match reconnects {
        false => format!("{} of {}", connections.established, connections.requested),
        true => format!("{} opened, up to {} at a time", connections.established, connections.requested),
    };
    if connections.established > 0 && !took.is_zero() {
        let _ = write!(text, " in {} ({}/s)", time(took.as_secs_f64() * 1e6), count(connections.per_second));
    }
    let given_up = match reconnects {
        false => connections.requested.saturating_sub(connections.established + connections.failed),
        true => 0,
    };
    for (number, what) in [(connections.failed, "failed"), (given_up, "given up"), (connections.dropped, "dropped")] {
        if number > 0 {
            let _ = write!(text, ", {number} {what}");
        }
    }
    text
}

fn rates(messages: &MessageFigures) -> String {
    let (sent, received) = (messages.bytes_sent_per_second, messages.bytes_received_per_second);
    let mut text = format!("{}/s", count(messages.per_second));
    if let Some(achieved) = messages.achieved {
        let _ = write!(text, ", {:.1} % of the schedule", achieved * 100.0);
    }
    let _ = write!(text, ", {}/s out, {}/s in", bytes(sent), bytes(received));
    text
}

fn counts(messages: &MessageFigures, (received, missing): (&str, &str), measured: &str) -> String {
    // Connections that only receive.
    let mut text = match (messages.sent + messages.offered, messages.arrived) {
        (0, arrived @ 1..) => format!("{arrived} received"),
        _ => format!("{} sent", messages.sent),
    };
    if messages.received + messages.missing > 0 {
        let _ = write!(text, ", {} {received}", messages.received);
    }
    let of_offered = |number: u64| match messages.offered {
        0 => String::new(),
        offered => format!(" ({})", percent(number as f64 / offered as f64)),
    };
    for (number, what) in [(messages.missing, missing), (messages.unsent, "unsent")] {
        if number > 0 {
            let _ = write!(text, ", {number} {what}{}", of_offered(number));
        }
    }
    let rest = [
        (messages.corrupted, "corrupted"),
        (messages.duplicated, "duplicated"),
        (messages.reordered, "reordered"),
        (messages.late, "late"),
        (messages.unasked, "unasked for"),
        (messages.fragmented, "fragmented"),
        (messages.skipped, "skipped"),
    ];
    for (number, what) in rest {
        if number > 0 {
            let _ = write!(text, ", {number} {what}");
        }
    }
    let _ = write!(text, ", in {measured}");
    text
}

/// A share with two significant digits of it or of the rest, without trailing zeros: `0.012 %`,
/// `12 %`, `99.5 %`. A share that is not 0 or 1 is never printed as one of them.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let smaller = if percent < 100.0 { percent.min(100.0 - percent) } else { percent };
    if smaller <= 0.0 {
        return "0 %".into();
    }
    let decimals = (1.0 - smaller.log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{percent:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

fn whole_percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
