//! The report as text for a terminal. It fits on one screen, unless there are many populations or
//! errors.

use super::bars::bars;
use super::{ConnectionFigures, LatencyFigures, MessageFigures, PopulationFigures, Report, StageFailures};
use crate::histogram::{Quantiles, Recorder};
use crate::opening::OpeningFigures;
use crate::plan::{Behaviour, Load, Plan, Population};
use crate::units::{bytes, count, time};
use crate::verdict::LimitedBy;
use ringway::placement::Assignment;
use std::fmt::Write;
use std::time::Duration;

/// What only the text needs.
#[derive(Clone)]
pub(crate) struct Details {
    placement: String,
    /// The load of each population in words.
    loads: Vec<String>,
    ramp_time: Duration,
    pub(super) response: Recorder,
    /// Whether messages are sent or expected.
    pub(super) has_traffic: bool,
}

impl std::fmt::Debug for Details {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Details").field("loads", &self.loads).finish_non_exhaustive()
    }
}

impl Details {
    pub(super) fn new(plan: &Plan, assignment: &Assignment, ramp_time: Duration, response: Recorder) -> Self {
        Self {
            placement: assignment.to_string(),
            loads: plan.populations.iter().map(describe).collect(),
            ramp_time,
            response,
            has_traffic: plan
                .populations
                .iter()
                .any(|population| !matches!(population.behaviour, Behaviour::Idle { .. })),
        }
    }
}

/// The load of a population in words: `50 connections, 1 in flight on each, text of 64 B`.
fn describe(population: &Population) -> String {
    let connections = count(population.connections.into());
    let mut text = match &population.behaviour {
        Behaviour::Broadcast { publishers } => format!("{publishers} publishers, {connections} readers"),
        behaviour => format!("{behaviour}, {connections} connections"),
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

/// Lines with a label and a text.
struct Lines(String);

impl Lines {
    fn add(&mut self, label: &str, text: &str) {
        let _ = writeln!(self.0, "{label:<12} {text}");
    }
}

impl Report {
    /// The summary for a terminal; ends with a newline.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = Lines(String::new());
        for (index, target) in self.plan.targets.iter().enumerate() {
            lines.add(if index == 0 { "target" } else { "" }, &target.url);
        }
        for (index, load) in self.text.loads.iter().enumerate() {
            lines.add(if index == 0 { "load" } else { "" }, load);
        }
        lines.add("threads", &format!("{}, {}, seed {}", self.text.placement, self.plan.driver, self.plan.seed));
        self.write_connections(&mut lines);
        if self.measured.is_zero() {
            lines.add(if self.text.has_traffic { "messages" } else { "held" }, "nothing was measured");
        } else {
            self.write_messages(&mut lines);
            self.write_usage(&mut lines);
        }
        self.write_errors(&mut lines);
        if self.text.has_traffic && !self.measured.is_zero() {
            let sentences = self.verdict.evidence.join("; ");
            lines.add("limited by", &format!("{}: {sentences}", self.verdict.limited_by));
            if let Some(remedy) = &self.verdict.remedy {
                lines.add("", remedy);
            }
        }
        if self.interrupted {
            lines.add("interrupted", "the figures are those of a part of the run");
        }
        lines.0
    }

    fn write_connections(&self, lines: &mut Lines) {
        let connections = &self.connections;
        lines.add("connections", &connecting(connections, self.text.ramp_time));
        let is_unix = self.plan.targets.iter().all(|target| target.url.starts_with("unix:"));
        let transport = if is_unix { "Unix" } else { "TCP" };
        let StageFailures { connect, tls, upgrade } = connections.failed_in;
        let stages = [(connect, transport), (tls, "TLS"), (upgrade, "upgrade")];
        let stages = stages.iter().filter(|(failed, _)| *failed > 0).map(|(failed, stage)| format!("{stage} {failed}"));
        let stages: Vec<String> = stages.collect();
        if !stages.is_empty() {
            lines.add("", &format!("failed at: {}", stages.join(", ")));
        }
        let OpeningFigures { connect, tls, upgrade, total } = &self.opening_us;
        for (label, quantiles) in [("  opening", total), (transport, connect), ("TLS", tls), ("upgrade", upgrade)] {
            if let Some(quantiles) = quantiles {
                let label = if label.starts_with(' ') { label.to_owned() } else { format!("  {label}") };
                lines.add(&label, &row(quantiles));
            }
        }
        for sentence in self.ramp.sentences() {
            lines.add("", &sentence);
        }
        for (index, session) in self.tls.iter().flat_map(|tls| &tls.sessions).enumerate() {
            let label = if index == 0 { "tls" } else { "" };
            let (version, cipher_suite) = (session.version, session.cipher_suite);
            let (full, resumed) = (session.full, session.resumed);
            lines.add(label, &format!("{version}, {cipher_suite}: {full} full, {resumed} resumed"));
        }
        if let Some(compressing) = connections.compressing.filter(|_| connections.established > 0) {
            let refused = if compressing == 0 { ": the server declines it" } else { "" };
            lines.add("compression", &format!("agreed on by {compressing} connections{refused}"));
        }
    }

    fn write_messages(&self, lines: &mut Lines) {
        let measured = time(self.measured.as_secs_f64() * 1e6);
        if let [population] = self.populations.as_slice() {
            write_population(lines, population, &measured);
        } else {
            for population in &self.populations {
                lines.add(&population.name, &connecting(&population.connections, Duration::ZERO));
                write_population(lines, population, &measured);
            }
            lines.add("all", &counts(&self.messages, "answered", &measured));
        }
        let histogram = bars(&mut self.text.response.clone(), "             ");
        if !histogram.is_empty() {
            lines.0.push_str(&histogram);
        }
    }

    fn write_usage(&self, lines: &mut Lines) {
        let generator = &self.generator;
        let shares: Vec<String> = generator.threads.iter().map(|one| format!("{:.0} %", one.busy * 100.0)).collect();
        let threads = match shares.len() {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        };
        let mut text = format!("{threads}, {} busy, {:.2} s of CPU", shares.join(", "), generator.cpu_seconds);
        if let Some(late) = generator.uncertainty_us {
            let _ = write!(text, ", latencies ± {}", time(late));
        }
        lines.add("generator", &text);
        let Some(server) = &self.server else {
            return lines.add("server", "its process is not known");
        };
        let each = server.cpu_us_per_message.map_or(String::new(), |each| format!(", {} a message", time(each)));
        lines.add(
            "server",
            &format!(
                "{} ({}), busiest thread {:.0} % busy, {:.2} s of CPU{each}, {}",
                server.name,
                server.pid,
                server.busiest_thread * 100.0,
                server.cpu_seconds,
                bytes(server.rss_bytes as f64)
            ),
        );
    }

    fn write_errors(&self, lines: &mut Lines) {
        if self.errors.is_empty() {
            return lines.add("errors", "none");
        }
        for (index, (kind, error)) in self.errors.iter().enumerate() {
            let label = if index == 0 { "errors" } else { "" };
            let first = error.samples.first().map_or("", String::as_str);
            lines.add(label, &format!("{} × {kind}: {first}", error.count));
        }
        if self.errors.contains_key("connect_no_port") {
            let advice = "this machine has no local port left for that address; see the sysctl \
                          net.ipv4.ip_local_port_range, or use more local addresses (--source-ip)";
            lines.add("", advice);
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

/// Connecting in words.
fn connecting(connections: &ConnectionFigures, took: Duration) -> String {
    let mut text = format!("{} of {}", connections.established, connections.requested);
    if connections.established > 0 && !took.is_zero() {
        let _ = write!(text, " in {} ({}/s)", time(took.as_secs_f64() * 1e6), count(connections.per_second));
    }
    let given_up = connections.requested.saturating_sub(connections.established + connections.failed);
    for (number, what) in [(connections.failed, "failed"), (given_up, "given up"), (connections.dropped, "dropped")] {
        if number > 0 {
            let _ = write!(text, ", {number} {what}");
        }
    }
    text
}

fn write_population(lines: &mut Lines, population: &PopulationFigures, measured: &str) {
    let messages = &population.messages;
    if population.behaviour == "idle" && messages.sent == 0 {
        return lines.add("held", &format!("for {measured}"));
    }
    lines.add("messages", &rates(messages));
    let received = if population.reach.is_some() { "delivered" } else { "answered" };
    lines.add("", &counts(messages, received, measured));
    if population.opened_per_second > 0.0 {
        lines.add("handshakes", &format!("{}/s", count(population.opened_per_second)));
    }
    // The opening of a connection is a part of the response time of its message.
    let has_service_times = population.load == "open" || population.behaviour == "connect";
    write_latency(lines, &population.latency_us, has_service_times);
    if let Some(gaps) = &population.gaps_us {
        lines.add("between", &row(gaps));
        if messages.numbered == 0 {
            lines.add("", "no sequence numbers: missing messages are not known");
        }
    }
    if let Some(reach) = &population.reach {
        let share = format!("{:.2} %", reach.reached * 100.0);
        let mut text = format!("{} messages, each to {share} of {} readers", reach.messages, reach.readers);
        if reach.own_copies > 0 {
            let _ = write!(text, ", {} copies to publishers", reach.own_copies);
        }
        lines.add("reach", &text);
        if reach.unrecorded > 0 {
            lines.add("", &format!("{} deliveries not recorded: no median for their messages", reach.unrecorded));
        }
        let stages = [("  first", &reach.first_us), ("  median", &reach.median_us), ("  last", &reach.last_us)];
        for (label, quantiles) in stages {
            if let Some(quantiles) = quantiles {
                lines.add(label, &row(quantiles));
            }
        }
    }
}

fn rates(messages: &MessageFigures) -> String {
    let (sent, received) = (messages.bytes_sent_per_second, messages.bytes_received_per_second);
    let mut text = format!("{}/s", count(messages.per_second));
    if let Some(achieved) = messages.achieved {
        let _ = write!(text, " ({:.1} % of the schedule)", achieved * 100.0);
    }
    let _ = write!(text, ", {}/s out, {}/s in", bytes(sent), bytes(received));
    text
}

fn counts(messages: &MessageFigures, received: &str, measured: &str) -> String {
    let mut text = format!("{} sent", messages.sent);
    if messages.received + messages.missing > 0 {
        let _ = write!(text, ", {} {received}, {} missing", messages.received, messages.missing);
    }
    let rest = [
        (messages.unsent, "unsent"),
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

fn write_latency(lines: &mut Lines, latency: &LatencyFigures, is_open: bool) {
    let Some(response) = &latency.response else { return };
    if !is_open {
        return lines.add("latency", &format!("{}  (closed loop)", row(response)));
    }
    lines.add("response", &row(response));
    if let Some(service) = &latency.service {
        lines.add("service", &row(service));
    }
    if let Some(lag) = &latency.send_lag {
        lines.add("send lag", &row(lag));
    }
}

fn row(quantiles: &Quantiles) -> String {
    let bound =
        |quantile: f64| if quantiles.lower_bound_from.is_some_and(|from| quantile >= from) { "≥ " } else { "" };
    format!(
        "p50 {}{}  p90 {}{}  p99 {}{}  p99.9 {}{}  max {}{}",
        bound(0.5),
        time(quantiles.p50),
        bound(0.9),
        time(quantiles.p90),
        bound(0.99),
        time(quantiles.p99),
        bound(0.999),
        time(quantiles.p999),
        bound(1.0),
        time(quantiles.max)
    )
}
