//! The documents name the metrics that exist: the dashboard, and the list for operators.

use crate::exposition::Exposition;
use crate::truth::{Echo, config};
use ringway::{Server, Shards};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The metrics that a server must export, with the labels that they have besides `shard`.
const REQUIRED: &[(&str, &[&str])] = &[
    ("ringway_build_info", &["version"]),
    ("ringway_draining", &[]),
    ("ringway_connections", &["state"]),
    ("ringway_connections_accepted_total", &[]),
    ("ringway_connections_rejected_total", &["reason"]),
    ("ringway_connections_closed_total", &["code", "by"]),
    ("ringway_connection_duration_seconds", &[]),
    ("ringway_handshakes_total", &["result"]),
    ("ringway_handshake_duration_seconds", &[]),
    ("ringway_http_requests_total", &["code"]),
    ("ringway_messages_received_total", &[]),
    ("ringway_messages_sent_total", &[]),
    ("ringway_received_bytes_total", &[]),
    ("ringway_sent_bytes_total", &[]),
    ("ringway_message_size_bytes", &["direction"]),
    ("ringway_ping_rtt_seconds", &[]),
    ("ringway_protocol_errors_total", &["code"]),
    ("ringway_queue_bytes", &[]),
    ("ringway_budget_bytes", &[]),
    ("ringway_paused_connections", &["by"]),
    ("ringway_slow_closed_total", &[]),
    ("ringway_topics", &[]),
    ("ringway_subscriptions", &[]),
    ("ringway_published_total", &[]),
    ("ringway_deliveries_total", &[]),
    ("ringway_deliveries_dropped_total", &["policy"]),
    ("ringway_fanout_duration_seconds", &[]),
    ("ringway_mailbox_messages", &[]),
    ("ringway_mailbox_full_total", &[]),
    ("ringway_turns_total", &[]),
    ("ringway_turn_duration_seconds", &[]),
    ("ringway_busy_seconds_total", &[]),
    ("ringway_completions_total", &[]),
    ("ringway_stale_completions_total", &[]),
    ("ringway_cq_overflows_total", &[]),
    ("ringway_buffers_free", &[]),
    ("ringway_buffers_starved_total", &[]),
    ("ringway_short_sends_total", &[]),
    ("ringway_accept_pauses_total", &[]),
    ("ringway_handler_panics_total", &[]),
];

/// The metrics of the process.
const PROCESS: &[&str] = &[
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
    "process_threads",
];

/// The metrics of a live server of two shards.
fn exported() -> Exposition {
    let server = Server::bind("127.0.0.1:0").expect("a free port").config(config()).shards(Shards::Count(2));
    let running = server.start(|_| Echo).expect("it starts");
    let text = running.metrics_reader().openmetrics();
    running.stop();
    running.wait().expect("it ends without an error");
    Exposition::parse(&text)
}

fn document(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with("ringway_") || word.starts_with("process_")).collect()
}

#[test]
fn each_required_metric_exists_with_its_labels() {
    let exported = exported();
    for (name, labels) in REQUIRED {
        let samples: Vec<_> = exported
            .samples
            .iter()
            .filter(|sample| sample.name == *name || sample.name == format!("{name}_bucket"))
            .collect();
        assert!(!samples.is_empty(), "{name} does not exist");
        for sample in samples {
            let is_process_wide = ["ringway_build_info", "ringway_draining"].contains(name);
            let shard = (!is_process_wide).then_some("shard");
            let bound = sample.name.ends_with("_bucket").then_some("le");
            let expected: BTreeSet<&str> = labels.iter().copied().chain(shard).chain(bound).collect();
            assert_eq!(sample.labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{sample:?}");
        }
    }
    for name in PROCESS {
        assert!(exported.has(name), "{name} does not exist");
    }
}

#[test]
fn histograms_have_at_most_14_buckets_and_labels_are_codes_and_fixed_words() {
    let exported = exported();
    let mut bounds = std::collections::BTreeMap::<_, BTreeSet<&str>>::new();
    for sample in &exported.samples {
        if let Some(bound) = sample.labels.get("le") {
            bounds.entry(sample.name.as_str()).or_default().insert(bound);
        }
        for (label, value) in sample.labels.iter().filter(|(label, _)| *label != "version") {
            let is_word = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+.".contains(&byte));
            assert!(is_word && value.len() <= 20, "{label}={value} in {sample:?}");
        }
    }
    assert_eq!(bounds.len(), 6, "{bounds:?}");
    for (name, bounds) in bounds {
        assert!(bounds.len() <= 14 && bounds.contains("+Inf"), "{name}: {bounds:?}");
    }
}

#[test]
fn each_metric_of_the_dashboard_exists() {
    let board: serde_json::Value = serde_json::from_str(&document("grafana.json")).expect("it is JSON");
    let exported = exported();
    let mut expressions = Vec::new();
    for panel in board["panels"].as_array().expect("an array") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push(target["expr"].as_str().expect("an expression").to_owned());
        }
    }
    for variable in board["templating"]["list"].as_array().expect("an array") {
        expressions.extend(variable["query"]["query"].as_str().map(str::to_owned));
    }
    let used: BTreeSet<&str> = expressions.iter().flat_map(|expression| names(expression)).collect();
    assert!(used.len() > 40, "{used:?}");
    for name in used {
        assert!(exported.has(name), "docs/grafana.json uses {name}, which does not exist");
    }
}

#[test]
fn the_list_for_operators_has_each_metric_and_no_other() {
    let document = document("operating.md");
    let listed = names(&document);
    let exported = exported();
    let sample = |name: &str, kind: &str| match kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.to_owned(),
    };
    let existing: BTreeSet<String> = exported.families.iter().map(|(name, kind)| sample(name, kind)).collect();
    for name in &existing {
        assert!(listed.contains(name.as_str()), "docs/operating.md does not list {name}");
    }
    for name in listed {
        let family = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let exists = existing.contains(name) || family.is_some_and(|family| existing.contains(family));
        assert!(exists, "docs/operating.md has {name}, which does not exist");
    }
}
