//! The tables of the text: times, and populations.

use super::lines::Lines;
use crate::histogram::Quantiles;
use crate::opening::OpeningFigures;
use crate::plan::{Target, Transport};
use crate::summary::{LatencyFigures, PopulationFigures, Report};
use crate::units::{count, time};

/// The columns of a table of times.
const QUANTILES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "max", "mean"];

/// The name of the transport, for the first stage of opening.
pub(super) fn transport(report: &Report) -> &'static str {
    let is_unix = report.plan.targets.iter().all(|target| target.url.starts_with("unix:"));
    match kind(report) {
        Transport::Udp => "UDP",
        _ if is_unix => "Unix",
        _ => "TCP",
    }
}

/// What the connections speak. All targets of a plan are of one kind.
fn kind(report: &Report) -> Transport {
    report.plan.targets.first().map_or(Transport::default(), |target| Target::new(&target.url).transport())
}

/// What a message without a reply is.
pub(super) fn unanswered(report: &Report) -> &'static str {
    if kind(report) == Transport::Udp { "lost" } else { "missing" }
}

/// All times of the run: latencies, gaps, deliveries, and the stages of opening. A figure that is a
/// lower bound has the sign ≥.
pub(super) fn write_times(lines: &mut Lines, report: &Report) {
    let mut rows: Vec<(String, Quantiles)> = Vec::new();
    if !report.measured.is_zero() {
        let LatencyFigures { response, service, send_lag } = &report.latency_us;
        add(&mut rows, "response", response);
        // In a closed loop, the service time is the response time. That of connect has its own row.
        if send_lag.is_some() && report.populations.iter().any(|population| population.behaviour != "connect") {
            add(&mut rows, "service", service);
        }
        add(&mut rows, "send lag", send_lag);
        for population in &report.populations {
            if population.behaviour == "connect" {
                add(&mut rows, "first message", &population.latency_us.service);
            }
            // Pings are no messages, so the response times of all populations do not contain them.
            if population.behaviour == "idle" {
                add(&mut rows, "ping", &population.latency_us.response);
            }
            add(&mut rows, "gaps", &population.gaps_us);
            if let Some(reach) = &population.reach {
                add(&mut rows, "first", &reach.first_us);
                add(&mut rows, "median", &reach.median_us);
                add(&mut rows, "last", &reach.last_us);
            }
        }
    }
    let OpeningFigures { connect, tls, upgrade, total } = &report.opening_us;
    // Without the protocol of WebSockets, opening has one stage.
    if kind(report) == Transport::WebSocket {
        add(&mut rows, "opening", total);
        for (stage, quantiles) in [(transport(report), connect), ("TLS", tls), ("upgrade", upgrade)] {
            add(&mut rows, &format!("  {stage}"), quantiles);
        }
    } else {
        add(&mut rows, &format!("opening {}", transport(report)), total);
    }
    if rows.is_empty() {
        return;
    }
    lines.space();
    lines.row("times", &QUANTILES.map(str::to_owned));
    for (label, quantiles) in &rows {
        lines.row(&format!("  {label}"), &cells(quantiles));
    }
}

fn add(rows: &mut Vec<(String, Quantiles)>, label: &str, quantiles: &Option<Quantiles>) {
    rows.extend(quantiles.map(|quantiles| (label.to_owned(), quantiles)));
}

fn cells(quantiles: &Quantiles) -> [String; 6] {
    let Quantiles { p50, p90, p99, p999, max, mean, .. } = *quantiles;
    // A mean that includes lower bounds is one itself.
    let mean = format!("{}{}", if quantiles.lower_bounds > 0 { "≥ " } else { "" }, time(mean));
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(|figure| bounded(quantiles, figure));
    [p50, p90, p99, p999, max, mean]
}

/// A figure with its sign.
fn bounded(quantiles: &Quantiles, figure: f64) -> String {
    format!("{}{}", if quantiles.is_lower_bound(figure) { "≥ " } else { "" }, time(figure))
}

/// One row for each population of a mix.
pub(super) fn write_populations(lines: &mut Lines, report: &Report) {
    lines.space();
    let columns = ["opened", "msg/s", unanswered(report), "p50", "p99", "max"];
    lines.row("populations", &columns.map(str::to_owned));
    for population in &report.populations {
        let connections = &population.connections;
        let opened = match population.behaviour {
            "connect" | "churn" => count(connections.established as f64),
            _ => format!("{}/{}", connections.established, connections.requested),
        };
        let messages = &population.messages;
        let missing = match is_answered(population) {
            true => messages.missing.to_string(),
            false => "-".into(),
        };
        let quantile = |figure: fn(&Quantiles) -> f64| {
            let response = population.latency_us.response.as_ref().or(population.gaps_us.as_ref());
            response.map_or_else(|| "-".into(), |quantiles| bounded(quantiles, figure(quantiles)))
        };
        let rate = if messages.per_second > 0.0 { count(messages.per_second) } else { "-".into() };
        let [p50, p99, max] = [quantile(|q| q.p50), quantile(|q| q.p99), quantile(|q| q.max)];
        lines.row(&format!("  {}", population.name), &[opened, rate, missing, p50, p99, max]);
    }
}

/// Whether replies were expected.
fn is_answered(population: &PopulationFigures) -> bool {
    population.messages.received + population.messages.missing + population.messages.corrupted > 0
}
