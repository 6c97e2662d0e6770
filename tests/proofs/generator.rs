//! The generator as a process, and the JSON that it writes.

use ringway_tests::{TestDirectory, finish, program, start};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The report of a run.
pub(crate) struct Report(Value);

/// Runs `ringway load` with these arguments, separated by spaces.
pub(crate) fn load(url: &str, arguments: &str) -> Report {
    load_by(Command::new(program()), url, arguments)
}

/// The same for a command that ends with the program.
///
/// # Panics
/// If there is no report. Errors of messages and connections are a part of it.
pub(crate) fn load_by(mut command: Command, url: &str, arguments: &str) -> Report {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let directory = TestDirectory::new(&format!("proof-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let file = directory.file("report.json");
    command.arg("load").arg(url).args(arguments.split_whitespace()).args(["--format", "json", "-o"]).arg(&file);
    let ended = finish(start(command));
    assert!(matches!(ended.status.code(), Some(0 | 1)), "{arguments}: {ended:?}");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{arguments}: {error}: {ended:?}"));
    Report(serde_json::from_str(&text).expect("JSON"))
}

impl Report {
    /// The value at a path of keys, as `messages.sent`.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn at(&self, path: &str) -> &Value {
        let pointer = format!("/{}", path.replace('.', "/"));
        self.0.pointer(&pointer).unwrap_or_else(|| panic!("no {path} in {:#}", self.0))
    }

    pub(crate) fn count(&self, path: &str) -> u64 {
        self.at(path).as_u64().unwrap_or_else(|| panic!("{path} is no count: {:#}", self.0))
    }

    pub(crate) fn number(&self, path: &str) -> f64 {
        self.at(path).as_f64().unwrap_or_else(|| panic!("{path} is no number: {:#}", self.0))
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_else(|| panic!("{path} is no text: {:#}", self.0))
    }

    /// A latency in milliseconds, as `response.p95`.
    pub(crate) fn millis(&self, latency: &str) -> f64 {
        self.number(&format!("latency_us.{latency}")) / 1000.0
    }

    /// The numbers of a key of all elements of a list.
    pub(crate) fn each(&self, list: &str, key: &str) -> Vec<f64> {
        let elements = self.at(list).as_array().expect("a list");
        elements.iter().filter_map(|element| element[key].as_f64()).collect()
    }

    /// The number of errors of a kind.
    pub(crate) fn errors(&self, kind: &str) -> u64 {
        self.0["errors"][kind]["count"].as_u64().unwrap_or(0)
    }

    /// The sum of the errors of all kinds.
    pub(crate) fn all_errors(&self) -> u64 {
        let kinds = self.at("errors").as_object().expect("an object");
        kinds.values().filter_map(|error| error["count"].as_u64()).sum()
    }

    /// The verdict.
    pub(crate) fn limited_by(&self) -> &str {
        self.text("verdict.limited_by")
    }

    /// The sentences of the verdict.
    pub(crate) fn evidence(&self) -> String {
        let sentences = self.at("verdict.evidence").as_array().expect("a list");
        sentences.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
    }
}
