//! What `bench` reports, for programs and for people.

use super::cell::{Cell, Protocol};
use crate::cores;
use ringway_loadtest::size;
use serde::Serialize;
use std::fmt::Write;

/// The whole report. Its keys are stable; `schema_version` changes when one goes or changes its meaning.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) schema_version: u32,
    pub(crate) machine: Machine,
    pub(crate) cells: Vec<Cell>,
    /// `None` when the bench ended before it came to that.
    pub(crate) idle: Option<Idle>,
    /// Whether a signal has ended the bench early: then cells are missing, or have fewer rounds.
    pub(crate) interrupted: bool,
}

/// What was measured on, and how.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) driver: String,
    pub(crate) server_cores: Vec<usize>,
    pub(crate) generator_cores: Vec<usize>,
    pub(crate) rounds: usize,
    pub(crate) seconds_per_run: f64,
}

/// Connections that only are.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) connections: usize,
    pub(crate) bytes_per_connection: f64,
}

impl Machine {
    /// Whether the servers and the generator had to share a core.
    fn is_shared(&self) -> bool {
        self.server_cores == self.generator_cores
    }
}

impl Report {
    /// The report as a table.
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        let machine = &self.machine;
        let list = |of: &[usize]| cores::list(of.iter().copied());
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{} · {} cores · Linux {}", machine.cpu, machine.cores, machine.kernel);
        let _ = writeln!(out, "{}", machine.driver);
        if machine.is_shared() {
            let _ = writeln!(
                out,
                "server and generator share core {}: the figures are those of the two together",
                list(&machine.server_cores)
            );
        } else {
            let _ = writeln!(
                out,
                "server on core {}, generator on core {}",
                list(&machine.server_cores),
                list(&machine.generator_cores)
            );
        }
        let _ = writeln!(
            out,
            "echo over raw TCP (the floor) and WebSocket; medians of {} interleaved round{} of {:.2} s\n",
            machine.rounds,
            if machine.rounds == 1 { "" } else { "s" },
            machine.seconds_per_run
        );
        let _ = writeln!(
            out,
            "{:>8} {:>6} {:>9}  {:>12} {:>12}  {:>7}  {:>10} {:>9}  {:>9} {:>9}",
            "", "", "", "floor", "WebSocket", "ratio", "server CPU", "floor's", "p50", "p99"
        );
        let _ = writeln!(
            out,
            "{:>8} {:>6} {:>9}  {:>12} {:>12}  {:>7}  {:>10} {:>9}  {:>9} {:>9}",
            "size", "conns", "in flight", "messages/s", "messages/s", "", "µs/message", "", "", ""
        );
        for pair in self.cells.chunks_exact(2) {
            let [tcp, ws] = pair else { continue };
            debug_assert!(tcp.protocol == Protocol::Tcp && ws.protocol == Protocol::Ws);
            let _ = writeln!(
                out,
                "{:>8} {:>6} {:>9}  {:>12} {:>12}  {:>7}  {:>10} {:>9}  {:>9} {:>9}",
                size(ws.size),
                ws.connections,
                ws.in_flight,
                figure(tcp.messages_per_second, rate),
                figure(ws.messages_per_second, rate),
                figure(ws.ratio_to_floor, |ratio| format!("{ratio:.3}")),
                figure(ws.server_cpu_us_per_message, |cpu| format!("{cpu:.2}")),
                figure(tcp.server_cpu_us_per_message, |cpu| format!("{cpu:.2}")),
                figure(ws.p50_us, time),
                figure(ws.p99_us, time)
            );
        }
        if self.has_gaps() {
            let _ = writeln!(out, "\n-: no message came back while measuring: this machine is too busy for that");
        }
        if let Some(idle) = &self.idle {
            let _ = writeln!(
                out,
                "\nidle: {} connections held, {:.0} bytes of server memory each",
                idle.connections, idle.bytes_per_connection
            );
        }
        if self.interrupted {
            let _ = writeln!(out, "\ninterrupted: the figures are those of a part of the bench");
        }
        out
    }

    /// Whether there is a cell without figures.
    pub(crate) fn has_gaps(&self) -> bool {
        self.cells.iter().any(|cell| cell.messages_per_second.is_none())
    }
}

/// What `write` makes of a figure, if there is one.
fn figure(value: Option<f64>, write: impl FnOnce(f64) -> String) -> String {
    value.map_or_else(|| "-".into(), write)
}

fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

fn time(us: f64) -> String {
    if us >= 1000.0 { format!("{:.2} ms", us / 1000.0) } else { format!("{us:.0} µs") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(generator_cores: Vec<usize>) -> Report {
        let cell = |protocol, ratio| Cell {
            protocol,
            size: 16384,
            connections: 100,
            in_flight: 1,
            messages_per_second: Some(123_456.0),
            server_cpu_us_per_message: Some(4.5),
            p50_us: Some(80.0),
            p99_us: Some(1500.0),
            ratio_to_floor: Some(ratio),
        };
        Report {
            schema_version: 1,
            machine: Machine {
                cpu: "CPU".into(),
                cores: 2,
                kernel: "6.1".into(),
                driver: "io_uring".into(),
                server_cores: vec![0],
                generator_cores,
                rounds: 3,
                seconds_per_run: 1.0,
            },
            cells: vec![cell(Protocol::Tcp, 1.0), cell(Protocol::Ws, 0.95)],
            idle: Some(Idle { connections: 10_000, bytes_per_connection: 128.0 }),
            interrupted: false,
        }
    }

    #[test]
    fn the_keys_for_programs_are_stable() {
        let json = serde_json::to_value(report(vec![1])).expect("plain data");
        let keys = |value: &serde_json::Value| {
            value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
        };
        assert_eq!(json["schema_version"], 1);
        assert_eq!(json["cells"][1]["protocol"], "ws");
        let mut cell = keys(&json["cells"][0]);
        cell.sort();
        assert_eq!(
            cell,
            [
                "connections",
                "in_flight",
                "messages_per_second",
                "p50_us",
                "p99_us",
                "protocol",
                "ratio_to_floor",
                "server_cpu_us_per_message",
                "size"
            ]
        );
        assert_eq!(keys(&json["idle"]).len(), 2);
    }

    #[test]
    fn the_table_has_a_line_for_each_shape_and_says_when_a_core_is_shared() {
        let text = report(vec![1]).to_text();
        assert!(text.contains("16 KiB") && text.contains("123.5 k") && text.contains("0.950"), "{text}");
        assert!(text.contains("1.50 ms") && text.contains("128 bytes"), "{text}");
        assert!(!text.contains("share"));
        assert!(report(vec![0]).to_text().contains("share core 0"));
    }

    #[test]
    fn a_cell_without_figures_is_a_gap_and_no_number() {
        let mut report = report(vec![1]);
        assert!(!report.has_gaps() && !report.to_text().contains("came back"));
        let ws = &mut report.cells[1];
        (ws.messages_per_second, ws.server_cpu_us_per_message) = (None, None);
        (ws.p50_us, ws.p99_us, ws.ratio_to_floor) = (None, None, None);
        assert!(report.has_gaps());
        let text = report.to_text();
        assert!(text.contains("123.5 k            -") && text.contains("-: no message came back"), "{text}");
        let json = serde_json::to_value(&report).expect("plain data");
        assert!(json["cells"][1]["p50_us"].is_null() && json["cells"][0]["p50_us"] == 80.0);
    }
}
