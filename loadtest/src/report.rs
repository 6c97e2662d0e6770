//! The result of a run, as JSON and as text.

use crate::errors::CLOSE_UNANSWERED;
use crate::measure::Quantiles;
use crate::observe::usage::Usage;
use crate::opening::{OpeningFigures, StageFailures, TlsFigures};
use crate::plan::{Mode, Plan};
use crate::units::{bytes, count, size, time};
use crate::verdict::{LimitedBy, Verdict};
use ringway::placement::Assignment;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The version of the JSON schema. Adding keys does not change it; removing a key or changing its
/// meaning does.
pub const SCHEMA_VERSION: u32 = 1;

/// The result of a run. Serializes to the stable keys; the skipped fields are for the text and for
/// callers in Rust.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The URL.
    pub target: String,
    /// The traffic on the connections.
    pub mode: Mode,
    /// Connecting. It does not contribute to the other figures.
    pub connections: ConnectionFigures,
    /// The durations of the stages of connecting.
    pub opening_us: OpeningFigures,
    /// The TLS handshakes. `null` unless the URL is `wss://`.
    pub tls: Option<TlsFigures>,
    /// Messages of the measured part.
    pub messages: MessageFigures,
    /// The latency of answers.
    pub latency_us: LatencyFigures,
    /// The errors of all phases of the run, by kind.
    pub errors: BTreeMap<String, u64>,
    /// The resource use of the generator in the measured part.
    pub generator: GeneratorFigures,
    /// The resource use of the server in the measured part, if its process is known.
    pub server: Option<ServerFigures>,
    /// Which side was the limit.
    pub verdict: Verdict,
    /// Whether the run was ended early by [`Stop`](crate::Stop).
    pub interrupted: bool,
    /// The length of the measured part, to which rates and CPU times refer.
    #[serde(rename = "measured_seconds", serialize_with = "seconds")]
    pub measured: Duration,

    /// The text of the first error of each kind.
    #[serde(skip)]
    pub first_errors: BTreeMap<String, String>,
    /// The time from the first call to the last open connection.
    #[serde(skip)]
    pub connect_time: Duration,
    /// The number of latencies over a minute, which count as a minute.
    #[serde(skip)]
    pub saturated: u64,
    /// The number of connections with negotiated compression; `None` if none was offered.
    #[serde(skip)]
    pub compressing: Option<u64>,
    #[serde(skip)]
    pub(crate) load: String,
    #[serde(skip)]
    pub(crate) placement: String,
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Connecting.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ConnectionFigures {
    /// The number of the plan.
    pub requested: u64,
    /// The number that opened.
    pub established: u64,
    /// The number that failed to open. Less than the rest if the run was stopped early, or if the
    /// server accepted none of the first few hundred.
    pub failed: u64,
    /// The number of these that failed in each stage.
    pub failed_in: StageFailures,
    /// The rate, from the first call to the last open connection.
    pub per_second: f64,
}

/// Messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MessageFigures {
    /// The number of the schedule. A closed loop has no schedule: the number sent.
    pub offered: u64,
    /// The number sent in the measured part, or in flight when it began.
    pub sent: u64,
    /// The number of these that were answered correctly, even after the measured part.
    pub received: u64,
    /// The number of these that were not answered. The rest, `sent − received − missing`, was
    /// answered wrongly and counts as errors.
    pub missing: u64,
    /// The rate of answers ([`Mode::Send`]: of sent messages) within the measured part, per second.
    pub per_second: f64,
    /// The rate of payload bytes in one direction, per second.
    pub bytes_per_second: f64,
}

/// The latency of answers, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LatencyFigures {
    /// From the time at which a message was due. In a closed loop this is when it is sent. `null`
    /// if nothing was answered.
    pub response: Option<Quantiles>,
    /// From the time at which it was sent.
    pub service: Option<Quantiles>,
    /// The delay of sending. `null` in a closed loop, which has no schedule.
    pub send_lag: Option<Quantiles>,
}

/// The resource use of the generator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GeneratorFigures {
    /// The number of threads.
    pub threads: usize,
    /// The core of each thread; `null` for one that was not pinned.
    pub cores: Vec<Option<usize>>,
    /// The share of the measured part for which each thread ran, from 0 to 1.
    pub busy_share: Vec<f64>,
    /// CPU time of all threads.
    pub cpu_seconds: f64,
}

/// The resource use of the server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ServerFigures {
    /// Its process id; the lowest one if there are several.
    pub pid: u32,
    /// CPU time of all its threads.
    pub cpu_seconds: f64,
    /// Its memory at the end of the measured part.
    pub rss_bytes: u64,
    /// The share of the measured part for which its busiest thread ran, from 0 to 1.
    #[serde(skip)]
    pub busiest_thread: f64,
    /// Its CPU time divided by the length of the measured part.
    #[serde(skip)]
    pub cores_used: f64,
}

impl GeneratorFigures {
    pub(crate) fn new(usage: &[Usage], assignment: &Assignment) -> Self {
        Self {
            threads: usage.len(),
            cores: assignment.cores().to_vec(),
            busy_share: usage.iter().map(Usage::busy).collect(),
            cpu_seconds: usage.iter().map(|usage| usage.cpu).sum::<Duration>().as_secs_f64(),
        }
    }
}

impl Report {
    /// Whether the run failed: a connection did not open or was closed early, or an answer was
    /// wrong, unexpected or missing. A server that does not answer a close frame cleanly counts as
    /// an error, but not as a failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.messages.missing > 0 || self.errors.keys().any(|kind| kind != CLOSE_UNANSWERED)
    }

    /// The reason why no connection could be opened, as a sentence. `None` if one opened or none
    /// was tried.
    #[must_use]
    pub fn connect_failure(&self) -> Option<String> {
        let (kind, _) = self.errors.iter().max_by_key(|(_, count)| **count)?;
        let first = self.first_errors.get(kind).map_or("", String::as_str);
        // The usual answer of an HTTP server to a request without TLS on a port with it.
        let hint = match kind == "handshake_status_400" && self.target.starts_with("ws://") {
            true => "; if this port expects TLS, use wss://",
            false => "",
        };
        (self.connections.established == 0).then(|| {
            format!(
                "none of {} connections to {} could be opened ({kind}): {first}{hint}",
                self.connections.requested, self.target
            )
        })
    }

    /// Whether the result is inconclusive: messages were requested, but none was measured.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.mode != Mode::Idle && self.messages.per_second == 0.0
    }

    /// The CPU time of the server per message. `None` if its process is not known or no message was
    /// answered.
    #[must_use]
    pub fn server_cpu_per_message(&self) -> Option<Duration> {
        let messages = self.messages.per_second * self.measured.as_secs_f64();
        self.server
            .filter(|_| messages >= 1.0)
            .and_then(|server| Duration::try_from_secs_f64(server.cpu_seconds / messages).ok())
    }

    /// The stable keys, as one JSON object over several lines.
    ///
    /// # Panics
    /// Never: all keys are strings.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("all keys are strings")
    }

    /// The summary for a terminal; ends with a newline.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = Lines(String::new());
        lines.add("target", &self.target);
        lines.add("load", &self.load);
        lines.add("threads", &self.placement);
        self.write_connections(&mut lines);
        if let Some(compressing) = self.compressing.filter(|_| self.connections.established > 0) {
            let refused = if compressing == 0 { ": the server declines it" } else { "" };
            lines.add("compression", &format!("agreed on by {compressing} connections{refused}"));
        }
        self.write_messages(&mut lines);
        self.write_usage(&mut lines);
        if self.errors.is_empty() {
            lines.add("errors", "none");
        }
        for (index, (kind, count)) in self.errors.iter().enumerate() {
            let label = if index == 0 { "errors" } else { "" };
            let first = self.first_errors.get(kind).map_or("", String::as_str);
            lines.add(label, &format!("{count} × {kind}: {first}"));
        }
        if self.errors.contains_key("connect_no_port") {
            let advice =
                "this machine has no local port left for that address; see the sysctl net.ipv4.ip_local_port_range";
            lines.add("", advice);
        }
        if self.mode != Mode::Idle {
            let evidence = self.verdict.evidence.join("; ");
            lines.add("limited by", &format!("{}: {evidence}", self.verdict.limited_by));
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
        let mut text = format!("{} of {}", connections.established, connections.requested);
        if connections.established > 0 {
            let (took, rate) = (time(self.connect_time.as_secs_f64() * 1e6), count(connections.per_second));
            text += &format!(" in {took} ({rate}/s)");
        }
        let given_up = connections.requested - connections.established - connections.failed;
        for (number, what) in [(connections.failed, "failed"), (given_up, "given up")] {
            if number > 0 {
                text += &format!(", {number} {what}");
            }
        }
        lines.add("connections", &text);
        let transport = if self.target.starts_with("unix:") { "Unix" } else { "TCP" };
        let StageFailures { connect, tls, upgrade } = connections.failed_in;
        let stages = [(connect, transport), (tls, "TLS"), (upgrade, "upgrade")];
        let stages = stages.iter().filter(|(failed, _)| *failed > 0).map(|(failed, stage)| format!("{stage} {failed}"));
        let stages: Vec<String> = stages.collect();
        if !stages.is_empty() {
            lines.add("", &format!("failed at: {}", stages.join(", ")));
        }
        let OpeningFigures { connect, tls, upgrade, total } = &self.opening_us;
        for (label, quantiles) in [("opening", total), (transport, connect), ("TLS", tls), ("upgrade", upgrade)] {
            if let Some(quantiles) = quantiles {
                let label = if label == "opening" { label.to_owned() } else { format!("  {label}") };
                lines.add(&label, &row(quantiles));
            }
        }
        for (index, session) in self.tls.iter().flat_map(|tls| &tls.sessions).enumerate() {
            let label = if index == 0 { "tls" } else { "" };
            let (version, cipher_suite) = (session.version, session.cipher_suite);
            let (full, resumed) = (session.full, session.resumed);
            lines.add(label, &format!("{version}, {cipher_suite}: {full} full, {resumed} resumed"));
        }
    }

    fn write_messages(&self, lines: &mut Lines) {
        if self.measured.is_zero() {
            let label = if self.mode == Mode::Idle { "held" } else { "messages" };
            return lines.add(label, "nothing was measured");
        }
        if self.mode == Mode::Idle {
            return lines.add("held", &format!("for {}", time(self.measured.as_secs_f64() * 1e6)));
        }
        let messages = &self.messages;
        lines.add("messages", &format!("{}/s, {}/s", count(messages.per_second), bytes(messages.bytes_per_second)));
        let measured = time(self.measured.as_secs_f64() * 1e6);
        lines.add(
            "",
            &match self.mode {
                Mode::Send => format!("{} sent in {measured}", messages.sent),
                _ => format!(
                    "{} sent, {} answered, {} missing, in {measured}",
                    messages.sent, messages.received, messages.missing
                ),
            },
        );
        if let Some(quantiles) = &self.latency_us.response {
            lines.add("latency", &format!("{}  (closed loop)", row(quantiles)));
        }
        if self.saturated > 0 {
            lines.add("", &format!("{} answers took more than a minute and count as one", self.saturated));
        }
    }

    fn write_usage(&self, lines: &mut Lines) {
        let generator = &self.generator;
        if self.measured.is_zero() {
            return;
        }
        let shares: Vec<String> = generator.busy_share.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
        let threads =
            if generator.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", generator.threads) };
        let used = generator.cpu_seconds;
        lines.add("generator", &format!("{threads}, {} busy, {used:.2} s of CPU", shares.join(", ")));
        let Some(server) = &self.server else {
            return lines.add("server", "its process is not known");
        };
        let each = self.server_cpu_per_message();
        let each = each.map_or(String::new(), |each| format!(", {} a message", time(each.as_secs_f64() * 1e6)));
        lines.add(
            "server",
            &format!(
                "process {}, busiest thread {:.0} % busy, {:.2} s of CPU{each}, {}",
                server.pid,
                server.busiest_thread * 100.0,
                server.cpu_seconds,
                bytes(server.rss_bytes as f64)
            ),
        );
    }

    /// Which side was the limit.
    #[must_use]
    pub fn limited_by(&self) -> LimitedBy {
        self.verdict.limited_by
    }
}

/// Lines with a label and a text.
struct Lines(String);

impl Lines {
    fn add(&mut self, label: &str, text: &str) {
        let _ = writeln!(self.0, "{label:<12} {text}");
    }
}

fn row(quantiles: &Quantiles) -> String {
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        time(quantiles.p50),
        time(quantiles.p90),
        time(quantiles.p99),
        time(quantiles.p999),
        time(quantiles.max)
    )
}

/// The load of a plan, as one line.
pub(crate) fn describe(plan: &Plan, threads: usize) -> String {
    let plural = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let whole = format!(
        "{}, {}, {}",
        plan.mode,
        plural(plan.connections.into(), "connection"),
        plural(threads as u64, "thread")
    );
    if plan.mode == Mode::Idle {
        return whole;
    }
    let (min, max) = (plan.sizes.start(), plan.sizes.end());
    let size = if min == max { size(*min) } else { format!("{} to {}", size(*min), size(*max)) };
    let kind = if plan.binary { "binary" } else { "text" };
    let flight = if plan.mode == Mode::Echo { format!(", {} in flight on each", plan.pipeline) } else { String::new() };
    format!("{whole}, {kind} of {size}{flight}")
}

#[cfg(test)]
pub(crate) mod tests;
