//! `ringway load --scenario`: the examples against `ringway serve`, and errors.

use ringway_tests::{Ended, ServerProcess, ringway, run};
use serde_json::Value;
use std::path::PathBuf;

/// The path of an example.
fn example(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../loadtest/scenarios").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// A short run of an example against a server of this test.
fn load(name: &str, server: &ServerProcess, arguments: &[&str]) -> Ended {
    let (file, url) = (example(name), format!("ws://{}/", server.address()));
    let short = ["load", "--scenario", &file, &url, "-t", "1", "-w", "0", "--format", "json"];
    run(ringway(&[&short[..], arguments].concat()))
}

fn report(ended: &Ended) -> Value {
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// The populations of a report: name, behaviour, connections that opened.
fn populations(report: &Value) -> Vec<(String, String, u64)> {
    let figures = report["populations"].as_array().expect("a list");
    let text = |one: &Value, key: &str| one[key].as_str().expect("a string").to_owned();
    let opened = |one: &Value| one["connections"]["established"].as_u64().expect("a number");
    figures.iter().map(|one| (text(one, "name"), text(one, "behaviour"), opened(one))).collect()
}

fn of(name: &str, behaviour: &str, opened: u64) -> (String, String, u64) {
    (name.into(), behaviour.into(), opened)
}

/// The number of messages of a population that were answered correctly.
fn received(report: &Value, index: usize) -> u64 {
    report["populations"][index]["messages"]["received"].as_u64().expect("a number")
}

#[test]
fn the_chat_example_runs() {
    let server = ServerProcess::with(&["--shards=1"]);
    let report = report(&load("chat.toml", &server, &["-d", "1s", "--verify", "all"]));
    let found = populations(&report);
    assert_eq!(found[..2], [of("writers", "echo", 200), of("readers", "idle", 700)]);
    assert!(found[2].0 == "visitors" && found[2].2 >= 100, "{found:?}");
    // 2000 per second, at random times.
    assert!((1_000..4_000).contains(&received(&report, 0)), "{report}");
    assert_eq!((&report["plan"]["seed"], &report["errors"]), (&7.into(), &serde_json::json!({})));
}

#[test]
fn the_feed_example_runs_and_compresses() {
    let server = ServerProcess::with(&["--shards=1", "--deflate=takeover", "--subprotocol", "feed.v1"]);
    let report = report(&load("feed.toml", &server, &["-d", "1s", "--verify", "all"]));
    assert_eq!(populations(&report), [of("clients", "request", 100), of("updates", "echo", 50)]);
    assert_eq!(report["connections"]["compressing"], 150);
    assert!(received(&report, 0) > 0 && received(&report, 1) > 0, "{report}");
    let compression = &report["compression"];
    let bytes = |key: &str| compression[key].as_u64().expect("a number") as f64;
    let ratio = bytes("payload_bytes") / bytes("compressed_bytes");
    assert!(compression["ratio"].as_f64().is_some_and(|found| (found - ratio).abs() < 1e-9), "{compression}");
    assert_eq!(report["errors"], serde_json::json!({}));
}

#[test]
fn the_mixed_example_runs_in_each_population() {
    let server = ServerProcess::with(&["--shards=1"]);
    let report = report(&load("mixed.toml", &server, &["-d", "1s", "--verify", "all"]));
    let found = populations(&report);
    let names: Vec<_> = found.iter().map(|(name, behaviour, _)| (name.as_str(), behaviour.as_str())).collect();
    let expected = [
        ("saturating", "echo"),
        ("recorded", "echo"),
        ("languages", "echo"),
        ("handshakes", "connect"),
        ("slow-reader", "slow"),
        ("listeners", "receive"),
    ];
    assert_eq!(names, expected);
    for (index, (name, ..)) in found.iter().enumerate().take(4) {
        assert!(received(&report, index) > 0, "{name}: {report}");
    }
    assert_eq!(report["errors"], serde_json::json!({}));
}

#[test]
fn a_number_of_messages_replaces_the_duration() {
    let server = ServerProcess::with(&["--shards=1"]);
    let report = report(&load("chat.toml", &server, &["-n", "50"]));
    // Writers and visitors send; readers only have pongs.
    assert_eq!((&report["plan"]["messages"], received(&report, 0) + received(&report, 2)), (&50.into(), 50));
}

#[test]
fn templates_are_verified_in_all_their_parts() {
    let server = ServerProcess::with(&["--shards=1"]);
    let url = format!("ws://{}/", server.address());
    let message =
        "{\"n\":{seq:0},\"c\":{conn},\"t\":{time:us},\"r\":\"{random:9}\",\"i\":{int:1-500},\"u\":\"{uuid}\"}";
    let load = ["load", &url, "-t", "1", "-c", "3", "-n", "300", "--verify", "all", "--format", "json"];
    let report = report(&run(ringway(&[&load[..], &["-m", message, "-p", "4"]].concat())));
    assert_eq!((&report["messages"]["received"], &report["errors"]), (&300.into(), &serde_json::json!({})));
}

#[test]
fn records_are_lines_or_have_their_length_in_front() {
    let server = ServerProcess::with(&["--shards=1"]);
    let url = format!("ws://{}/", server.address());
    let folder = std::env::temp_dir().join(format!("ringway-records-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (lines, prefixed) = (folder.join("lines.txt"), folder.join("prefixed.bin"));
    std::fs::write(&lines, "one\n\nthree\r\nlast").expect("it is written");
    std::fs::write(&prefixed, b"\0\0\0\x03one\0\0\0\0\0\0\0\x05\xff\xfe\xfd\xfc\xfb").expect("it is written");
    for (file, kind) in [(&lines, &[][..]), (&prefixed, &["-b"][..])] {
        let file = file.to_str().expect("UTF-8");
        let load = ["load", &url, "-t", "1", "-c", "2", "-n", "40", "--verify", "all", "--format", "json"];
        let report = report(&run(ringway(&[&load[..], &["--messages-from", file], kind].concat())));
        assert_eq!(
            (&report["messages"]["received"], &report["errors"]),
            (&40.into(), &serde_json::json!({})),
            "{file}"
        );
    }
    std::fs::remove_dir_all(&folder).expect("it is removed");
}

#[test]
fn an_invalid_scenario_ends_with_2_and_its_line() {
    let file = std::env::temp_dir().join(format!("ringway-scenario-{}.toml", std::process::id()));
    std::fs::write(&file, "[[targets]]\nurl = \":9\"\n\n[[populations]]\nbehaviour = \"echo\"\nrate = \"fast\"\n")
        .expect("it is written");
    let path = file.to_str().expect("UTF-8");
    let ended = run(ringway(&["load", "--scenario", path]));
    std::fs::remove_file(&file).expect("it is removed");
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    let error =
        format!("ringway: {path}:6: rate = \"fast\": give a whole number of messages per second, as 1, 500 or 10k");
    assert_eq!(ended.stderr.lines().next(), Some(error.as_str()), "{ended:?}");
}
