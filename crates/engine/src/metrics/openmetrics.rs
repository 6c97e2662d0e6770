//! The numbers of shards as OpenMetrics text.
//!
//! Labels are numbers of shards, codes and names of this file: never an address, nor a name of an
//! application.

use super::histogram::Histogram;
use super::process;
use super::reader::MetricsReader;
use super::snapshot::{Metrics, ShardMetrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The close codes of closed connections that have a series before the first of them occurs.
const USUAL_CLOSES: [(&str, &str); 5] =
    [("1000", "peer"), ("1001", "peer"), ("1006", "peer"), ("1006", "local"), ("1013", "local")];

/// The same for violations of the protocol.
const USUAL_VIOLATIONS: [&str; 3] = ["1002", "1007", "1009"];

/// The same for responses.
const USUAL_STATUSES: [&str; 4] = ["101", "200", "400", "503"];

impl MetricsReader {
    /// The type of [`openmetrics`](MetricsReader::openmetrics), for the header field `Content-Type`.
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// The numbers of all shards and of the process, in the text format of OpenMetrics 1.0, as a
    /// monitoring system scrapes it. Requires the feature `metrics`.
    ///
    /// The names begin with `ringway_` or `process_`; docs/operating.md lists them. Costs some tens
    /// of microseconds for each shard, and a few reads of `/proc`.
    #[must_use]
    pub fn openmetrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }
}

impl Collector for MetricsReader {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = self.read();
        let mut families = Families { encoder, shards: &metrics.shards };
        families.process_wide(&metrics)?;
        families.connections()?;
        families.messages()?;
        families.memory()?;
        families.topics()?;
        families.echo()?;
        families.event_loop()?;
        process::encode(&mut families.encoder)
    }
}

type Label = (&'static str, String);

/// Writes the families of metrics, each with the numbers of all shards.
struct Families<'e, 's> {
    encoder: DescriptorEncoder<'e>,
    shards: &'s [ShardMetrics],
}

impl Families<'_, '_> {
    fn process_wide(&mut self, metrics: &Metrics) -> fmt::Result {
        let help = "The version of the server";
        let mut family = self.encoder.encode_descriptor("ringway_build", help, None, MetricType::Info)?;
        family.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let help = "1 while a shard drains or stops, otherwise 0";
        let draining = ConstGauge::new(i64::from(metrics.is_draining()));
        draining.encode(self.encoder.encode_descriptor("ringway_draining", help, None, MetricType::Gauge)?)
    }

    fn connections(&mut self) -> fmt::Result {
        self.gauges("ringway_connections", "Connections", None, "state", |shard| {
            let counts = shard.connections;
            vec![("opening", counts.opening), ("open", counts.open), ("closing", counts.closing)]
        })?;
        self.counter("ringway_connections_accepted", "Connections accepted", None, |shard| shard.driver.accepted)?;
        let help = "Accepted connections that were refused";
        self.counters("ringway_connections_rejected", help, None, "reason", |shard| {
            let counters = &shard.counters;
            vec![
                ("limit", counters.rejected_limit),
                ("rate", counters.rejected_rate),
                ("handshakes", counters.rejected_handshakes),
                ("address", counters.rejected_address),
                ("proxy", counters.rejected_proxy),
                ("draining", counters.rejected_draining),
                ("memory", counters.memory_refusals),
            ]
        })?;
        self.closes()?;
        let help = "Time from the opening handshake to the end of a connection";
        self.histogram("ringway_connection_duration", help, |shard| shard.connection_duration)?;
        let help = "Opening handshakes of accepted connections";
        self.counters("ringway_handshakes", help, None, "result", |shard| {
            let counters = &shard.counters;
            vec![
                ("accepted", counters.handshakes_accepted),
                ("refused", counters.handshakes_refused),
                ("rejected", counters.handshakes_rejected),
                ("timeout", counters.handshakes_timed_out),
                ("tls", counters.handshakes_tls),
                ("aborted", counters.handshakes_aborted),
                ("memory", counters.memory_refusals),
            ]
        })?;
        let help = "Time from the accept to the response that accepts the upgrade";
        self.histogram("ringway_handshake_duration", help, |shard| shard.handshake_duration)?;
        let help = "Responses of HTTP by status, upgrades included";
        let usual = USUAL_STATUSES.map(|code| [("code", code.to_owned())]);
        self.codes("ringway_http_requests", help, usual, |shard| {
            shard.http_responses().map(|(code, count)| ([("code", code.to_owned())], count)).collect()
        })
    }

    fn closes(&mut self) -> fmt::Result {
        let labels = |code: &str, by: &str| [("code", code.to_owned()), ("by", by.to_owned())];
        let help = "Connections that were open and have ended, by close code and by the side that ended them";
        let usual = USUAL_CLOSES.map(|(code, by)| labels(code, by));
        self.codes("ringway_connections_closed", help, usual, |shard| {
            shard.closes().map(|(code, by, count)| (labels(code, by.as_str()), count)).collect()
        })
    }

    fn messages(&mut self) -> fmt::Result {
        let help = "Messages that were delivered to the application";
        self.counter("ringway_messages_received", help, None, ShardMetrics::messages_received)?;
        let help = "Messages that were queued for peers, deliveries of published ones included";
        self.counter("ringway_messages_sent", help, None, ShardMetrics::messages_sent)?;
        let help = "Bytes received, frames, handshakes and TLS included";
        self.counter("ringway_received", help, Some(Unit::Bytes), |shard| shard.counters.received_bytes)?;
        let help = "Bytes sent, frames, handshakes and TLS included";
        self.counter("ringway_sent", help, Some(Unit::Bytes), |shard| shard.counters.sent_bytes)?;
        let help = "Payload of messages, without compression and without published ones";
        self.histograms("ringway_message_size", help, Unit::Bytes, |shard| {
            let label = |direction: &str| vec![("direction", direction.to_owned())];
            vec![(label("received"), shard.received_size), (label("sent"), shard.sent_size)]
        })?;
        let help = "Time from a ping of the server to its pong";
        self.histogram("ringway_ping_rtt", help, |shard| shard.ping_rtt)?;
        let help = "Violations of the protocol, by the close code that answers them";
        let usual = USUAL_VIOLATIONS.map(|code| [("code", code.to_owned())]);
        self.codes("ringway_protocol_errors", help, usual, |shard| {
            shard.protocol_errors().map(|(code, count)| ([("code", code.to_owned())], count)).collect()
        })?;
        let help = "Connections whose TLS failed, in the handshake or later";
        self.counter("ringway_tls_failures", help, None, |shard| shard.counters.tls_failures)?;
        let help = "Payload of messages before compression";
        self.counter("ringway_deflate_input", help, Some(Unit::Bytes), |shard| shard.counters.deflate_input)?;
        let help = "The same messages after compression";
        self.counter("ringway_deflate_output", help, Some(Unit::Bytes), |shard| shard.counters.deflate_output)
    }

    fn memory(&mut self) -> fmt::Result {
        let bytes = || Some(Unit::Bytes);
        self.gauge("ringway_queue", "Bytes that wait for peers", bytes(), |shard| shard.queue_bytes)?;
        self.gauge("ringway_budget", "The memory budget", bytes(), |shard| shard.budget_bytes)?;
        let help = "Bytes of the memory budget that are in use";
        self.gauge("ringway_budget_used", help, bytes(), |shard| shard.budget_used_bytes)?;
        let help = "Connections on which receiving is paused";
        self.gauges("ringway_paused_connections", help, None, "by", |shard| {
            let paused = shard.paused;
            vec![("handler", paused.by_handler), ("backlog", paused.by_backlog), ("memory", paused.by_memory)]
        })?;
        let help = "Pauses of receiving because much output was queued";
        self.counter("ringway_backlog_pauses", help, None, |shard| shard.counters.backlog_pauses)?;
        let help = "Pauses of receiving because memory was short";
        self.counter("ringway_memory_pauses", help, None, |shard| shard.counters.memory_pauses)?;
        let help = "Messages handed back to the application because too much was queued";
        self.counter("ringway_messages_handed_back", help, None, |shard| shard.counters.handed_back)?;
        let help = "Accepted connections that were transferred to a shard with fewer";
        self.counter("ringway_connections_transferred", help, None, |shard| shard.counters.transferred)?;
        let help = "Connections that another shard has accepted and transferred to this one";
        self.counter("ringway_connections_adopted", help, None, |shard| shard.counters.adopted)?;
        let help = "Connections not transferred because too many were on their way to the other shard";
        self.counter("ringway_transfers_full", help, None, |shard| shard.counters.transfers_full)?;
        let help = "Pauses of connections that had used up their message or byte rate";
        self.counter("ringway_rate_pauses", help, None, |shard| shard.counters.rate_pauses)?;
        let help = "Connections that were closed because their peer did not read";
        self.counter("ringway_slow_closed", help, None, |shard| {
            let counters = &shard.counters;
            counters.write_timeouts + counters.memory_closes + counters.topic_closes
        })?;
        let help = "Connections that were closed because their peer was silent";
        self.counter("ringway_idle_closed", help, None, |shard| shard.counters.idle)?;
        let help = "Connections that were closed at their maximum age";
        self.counter("ringway_lifetime_closed", help, None, |shard| shard.counters.lifetime_closes)?;
        let help = "Connections that were closed because a message took too long";
        self.counter("ringway_message_timeouts", help, None, |shard| shard.counters.message_timeouts)?;
        let help = "Receive buffers that no connection holds";
        self.gauge("ringway_buffers_free", help, None, |shard| shard.buffers_free)?;
        let help = "How often a receive ended because no buffer was available";
        self.counter("ringway_buffers_starved", help, None, |shard| shard.driver.starved)
    }

    fn topics(&mut self) -> fmt::Result {
        self.gauge("ringway_topics", "Topics", None, |shard| shard.topics)?;
        let help = "Pairs of a connection and a topic";
        self.gauge("ringway_subscriptions", help, None, |shard| shard.subscriptions)?;
        self.counter("ringway_published", "Messages published", None, |shard| shard.counters.published)?;
        let help = "Published messages that were queued for a subscriber, once for each subscriber";
        self.counter("ringway_deliveries", help, None, |shard| shard.counters.deliveries)?;
        let help = "Published messages that were not delivered to a subscriber, by the policy that dropped them";
        self.counters("ringway_deliveries_dropped", help, None, "policy", |shard| {
            let counters = &shard.counters;
            vec![
                ("newest", counters.dropped_newest),
                ("latest", counters.dropped_latest),
                ("close", counters.dropped_close),
                ("mailbox", counters.dropped_mailbox),
            ]
        })?;
        let help = "Time to give the messages published in a turn to all subscribers of a shard";
        self.histogram("ringway_fanout_duration", help, |shard| shard.fanout_duration)?;
        let help = "Items of work of other threads that wait for the shard";
        self.gauge("ringway_mailbox_messages", help, None, |shard| shard.mailbox_messages)?;
        let help = "Published messages of other shards and threads that the shard has received";
        self.counter("ringway_mailbox_received", help, None, |shard| shard.counters.mailbox_messages)?;
        let help = "How often a mailbox was full";
        self.counter("ringway_mailbox_full", help, None, |shard| shard.counters.mailbox_full)
    }

    fn echo(&mut self) -> fmt::Result {
        let help = "TCP connections of the echo service";
        self.gauge("ringway_echo_connections", help, None, |shard| {
            shard.counters.echo_opened.saturating_sub(shard.counters.echo_closed)
        })?;
        let help = "TCP connections of the echo service that were served";
        self.counter("ringway_echo_connections_served", help, None, |shard| shard.counters.echo_opened)?;
        let help = "Bytes that the echo service has received on TCP";
        self.counter("ringway_echo_received", help, Some(Unit::Bytes), |shard| shard.counters.echo_received_bytes)?;
        let help = "Bytes that the echo service has sent back on TCP";
        self.counter("ringway_echo_sent", help, Some(Unit::Bytes), |shard| shard.counters.echo_sent_bytes)?;
        let help = "How often the echo service stopped reading a connection whose peer did not read";
        self.counter("ringway_echo_pauses", help, None, |shard| shard.counters.echo_pauses)?;
        let help = "Datagrams that the echo service has answered";
        self.counter("ringway_echo_datagrams", help, None, |shard| shard.counters.echo_datagrams)?;
        let help = "Payload of the datagrams that the echo service has answered";
        self.counter("ringway_echo_datagram", help, Some(Unit::Bytes), |shard| shard.counters.echo_datagram_bytes)?;
        let help = "Answers of the echo service that the kernel has not sent";
        self.counter("ringway_echo_datagrams_unsent", help, None, |shard| shard.counters.echo_unsent)?;
        let help = "Datagrams that the echo service has ignored";
        self.counters("ringway_echo_datagrams_ignored", help, None, "reason", |shard| {
            let counters = &shard.counters;
            vec![
                ("port", counters.echo_ignored_port),
                ("group", counters.echo_ignored_group),
                ("own", counters.echo_ignored_own),
                ("address-rate", counters.echo_ignored_address),
                ("total-rate", counters.echo_ignored_total),
                ("repeat", counters.echo_ignored_repeat),
                ("truncated", counters.echo_ignored_truncated),
            ]
        })
    }

    fn event_loop(&mut self) -> fmt::Result {
        self.counter("ringway_turns", "Turns of the event loop", None, |shard| shard.driver.turns)?;
        let help = "Duration of turns without the wait for the kernel";
        self.histogram("ringway_turn_duration", help, |shard| shard.turn_duration)?;
        let help = "CPU time of the shard's thread, without polling";
        self.seconds("ringway_busy", help, |shard| shard.busy)?;
        self.counter("ringway_completions", "Completions of the driver", None, |shard| shard.driver.completions)?;
        let help = "Completions of connections that were closed before";
        self.counter("ringway_stale_completions", help, None, |shard| shard.driver.stale)?;
        let help = "How often the completion queue was full";
        self.counter("ringway_cq_overflows", help, None, |shard| shard.driver.overflows)?;
        let help = "Sends that wrote fewer bytes than they were given";
        self.counter("ringway_short_sends", help, None, |shard| shard.driver.short_sends)?;
        let help = "How often accepting paused because no descriptor, or no slot, was left";
        self.counter("ringway_accept_pauses", help, None, |shard| shard.driver.accept_pauses)?;
        self.counter("ringway_handler_panics", "Panics of the handler", None, |shard| shard.counters.panics)?;
        let help = "How often the shard did not poll its sockets for 500 ms or more";
        self.counter("ringway_stalls", help, None, |shard| shard.counters.stalls)?;
        let help = "How often a connection used up its budget for a turn";
        self.counter("ringway_yields", help, None, |shard| shard.counters.yields)
    }

    /// Writes one number for each shard.
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        number: impl Fn(&ShardMetrics) -> u64,
    ) -> fmt::Result {
        self.family(name, help, unit, MetricType::Counter, |shard| vec![(vec![], number(shard))])
    }

    /// As [`counter`](Self::counter), with a label.
    fn counters(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        label: &'static str,
        numbers: impl Fn(&ShardMetrics) -> Vec<(&'static str, u64)>,
    ) -> fmt::Result {
        self.family(name, help, unit, MetricType::Counter, |shard| labelled(label, numbers(shard)))
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        number: impl Fn(&ShardMetrics) -> u64,
    ) -> fmt::Result {
        self.family(name, help, unit, MetricType::Gauge, |shard| vec![(vec![], number(shard))])
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        label: &'static str,
        numbers: impl Fn(&ShardMetrics) -> Vec<(&'static str, u64)>,
    ) -> fmt::Result {
        self.family(name, help, unit, MetricType::Gauge, |shard| labelled(label, numbers(shard)))
    }

    /// Writes counters by code: those that are not zero, and the usual ones.
    fn codes<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        usual: impl IntoIterator<Item = [Label; N]>,
        numbers: impl Fn(&ShardMetrics) -> Vec<([Label; N], u64)>,
    ) -> fmt::Result {
        let usual: BTreeSet<[Label; N]> = usual.into_iter().collect();
        self.family(name, help, None, MetricType::Counter, |shard| {
            let numbers = numbers(shard);
            let known: BTreeSet<&[Label; N]> = numbers.iter().map(|(labels, _)| labels).collect();
            let zeros = usual.iter().filter(|labels| !known.contains(labels)).map(|labels| (labels.to_vec(), 0));
            let zeros: Vec<_> = zeros.collect();
            numbers.iter().map(|(labels, number)| (labels.to_vec(), *number)).chain(zeros).collect()
        })
    }

    fn family(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        kind: MetricType,
        numbers: impl Fn(&ShardMetrics) -> Vec<(Vec<Label>, u64)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for shard in self.shards {
            for (labels, number) in numbers(shard) {
                let labels = of_shard(shard, labels);
                let encoder = family.encode_family(&labels)?;
                match kind {
                    MetricType::Gauge => ConstGauge::new(number).encode(encoder)?,
                    _ => ConstCounter::new(number).encode(encoder)?,
                }
            }
        }
        Ok(())
    }

    /// Writes a counter of seconds.
    fn seconds(&mut self, name: &str, help: &str, time: impl Fn(&ShardMetrics) -> Duration) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut family = self.encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for shard in self.shards {
            let labels = of_shard(shard, vec![]);
            ConstCounter::new(time(shard).as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Writes a histogram of times.
    fn histogram(&mut self, name: &str, help: &str, of: impl Fn(&ShardMetrics) -> Histogram) -> fmt::Result {
        self.histograms(name, help, Unit::Seconds, |shard| vec![(vec![], of(shard))])
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        of: impl Fn(&ShardMetrics) -> Vec<(Vec<Label>, Histogram)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for shard in self.shards {
            for (labels, histogram) in of(shard) {
                let labels = of_shard(shard, labels);
                let finite = |bound: f64| if bound.is_finite() { bound } else { f64::MAX };
                let buckets: Vec<_> = histogram.buckets().map(|(bound, count)| (finite(bound), count)).collect();
                let (sum, count) = (histogram.sum(), histogram.count());
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }
}

/// The labels of a shard's number.
fn of_shard(shard: &ShardMetrics, labels: Vec<Label>) -> Vec<Label> {
    [("shard", shard.shard.to_string())].into_iter().chain(labels).collect()
}

/// Numbers with one label.
fn labelled(label: &'static str, numbers: Vec<(&'static str, u64)>) -> Vec<(Vec<Label>, u64)> {
    numbers.into_iter().map(|(value, number)| (vec![(label, value.to_owned())], number)).collect()
}
