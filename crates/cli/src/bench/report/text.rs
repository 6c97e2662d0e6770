//! The report as text for a terminal.

use super::figures::{cpu, ends, figure, middle_and_ends, rate, time, whole};
use super::table::{ReportTable, TableFormat};
use super::{BenchReport, Entry};
use crate::bench::fanout;
use ringway::placement::CoreList;
use std::fmt::Write;

/// The explanation of the table's columns.
const LEGEND: &str = "
*: the floor, the faster one of the raw echoes. CPU: the server's time per message. busy: the server's share of the
window and the generator's; limit: which of them was saturated (95 %).
ringway's: the ratio of ringway to this echo, the median of the ratios of paired rounds, above 1 where ringway is better:
by rate where both servers were saturated, else by the server's CPU time per message.
";

impl BenchReport {
    /// The report as tables for a terminal.
    pub(crate) fn to_text(&self) -> String {
        let mut out = self.head();
        out.push('\n');
        out += &self.cells_to_text();
        if !self.cells.is_empty() {
            out += LEGEND;
            self.disturbance().into_iter().for_each(|warning| out += &format!("{warning}\n"));
        }
        if let Some(counting) = &self.syscalls {
            let _ = writeln!(out, "\nsystem calls for each message: {}", counting.explain());
            if counting.counted_by.is_some() {
                out.push('\n');
                out += &self.syscalls_table(TableFormat::Text);
            }
        }
        out += &fanout::table(&self.fanout, TableFormat::Text);
        if let Some(connect) = &self.connect {
            let _ = writeln!(out, "\nconnecting: {} connections opened, upgraded and closed\n", connect.connections);
            let titles = ["", "handshakes/s", "(min–max)", "CPU µs each", "(min–max)", "ringway's, by cpu"];
            let mut table = ReportTable::new(&titles, &[0]);
            for found in &connect.contestants {
                table.row(vec![
                    found.contestant.clone(),
                    figure(found.per_second.as_ref(), |spread| rate(spread.median)),
                    figure(found.per_second.as_ref(), |spread| ends(spread, rate)),
                    figure(found.server_cpu_us.as_ref(), |spread| cpu(spread.median)),
                    figure(found.server_cpu_us.as_ref(), |spread| ends(spread, cpu)),
                    figure(found.ringway_ratio.as_ref(), |spread| middle_and_ends(spread, cpu)),
                ]);
            }
            out += &table.to_text();
        }
        if let Some(idle) = &self.idle {
            let (low, high) = (idle.connections_before, idle.connections);
            for found in &idle.contestants {
                let what = figure(found.bytes_per_connection_spread, |spread| {
                    let bytes = middle_and_ends(&spread, whole);
                    format!("{bytes} bytes of server memory for each connection, by growth from {low} to {high} held")
                });
                let _ = writeln!(out, "\nidle, {}: {what}", found.contestant);
            }
        }
        let gaps = self.gaps();
        if !gaps.is_empty() {
            out += "\n-: without figures\n";
            gaps.iter().for_each(|gap| out += &format!("   {gap}\n"));
        }
        if self.interrupted {
            out += "\ninterrupted: the figures are those of a part of the bench\n";
        }
        out
    }

    /// The description of the machine and of the method.
    pub(in crate::bench) fn head(&self) -> String {
        let (machine, plan) = (&self.machine, &self.plan);
        let list = |of: &[usize]| of.iter().copied().collect::<CoreList>();
        let mut first = vec![machine.cpu.clone(), format!("{} cores", machine.cores)];
        first.extend(Some(machine.caches_in_words()).filter(|caches| !caches.is_empty()));
        first.push(format!("Linux {}", machine.kernel));
        first.extend(machine.governor.as_ref().map(|governor| format!("governor {governor}")));
        if machine.hypervisor {
            let vendor = machine.vendor.as_ref().map_or(String::new(), |vendor| format!(" ({vendor})"));
            first.push(format!("virtual machine{vendor}"));
        }
        let placed = if machine.server_cores.is_empty() {
            "nothing is pinned, because the cgroup's CPU quota is below what this machine has".to_owned()
        } else if machine.is_shared() {
            let cores = list(&machine.server_cores);
            format!("servers and generator share core {cores}: the rates are those of the two together")
        } else {
            format!(
                "each server on core {}, generator on core {}",
                list(&machine.server_cores),
                list(&machine.generator_cores)
            )
        };
        format!(
            "{}\n{}\n{placed}\nringway {}, {}: medians of {} interleaved round{} of {:.0} ms and more\n",
            first.join(" · "),
            machine.driver,
            self.version,
            self.started,
            plan.rounds,
            if plan.rounds == 1 { "" } else { "s" },
            plan.window_seconds * 1e3
        )
    }

    fn cells_to_text(&self) -> String {
        if self.cells.is_empty() {
            return String::new();
        }
        let titles = [
            "conns × size × in flight",
            "echo",
            "messages/s",
            "(min–max)",
            "CPU µs",
            "(min–max)",
            "busy s/g",
            "limit",
            "p50",
            "p99",
            "ringway's",
            "(min–max)",
            "by",
        ];
        let mut table = ReportTable::new(&titles, &[0, 1, 7, 12]);
        for cell in self.by_cell() {
            for (at, entry) in cell.iter().enumerate() {
                let mut fields = vec![if at == 0 { entry.shape().to_string() } else { String::new() }];
                fields.extend(row(entry));
                table.row(fields);
            }
        }
        table.to_text()
    }
}

fn row(entry: &Entry) -> Vec<String> {
    let (rates, cpus) = (entry.messages_per_second_spread, entry.server_cpu_us_per_message_spread);
    let ratio = |write: fn(&crate::bench::verdict::Ratio) -> String| {
        if entry.is_reference { String::new() } else { figure(entry.ringway_ratio.as_ref(), write) }
    };
    vec![
        format!("{}{}", entry.contestant, if entry.is_floor { " *" } else { "" }),
        figure(rates, |spread| rate(spread.median)),
        figure(rates, |spread| ends(&spread, rate)),
        figure(cpus, |spread| cpu(spread.median)),
        figure(cpus, |spread| ends(&spread, cpu)),
        figure(entry.server_busy_share.zip(entry.generator_busy_share), |(server, generator)| {
            format!("{:.0}/{:.0} %", server * 100.0, generator * 100.0)
        }),
        figure(entry.limited_by, |limit| limit.to_string()),
        figure(entry.p50_us, time),
        figure(entry.p99_us, time),
        ratio(|ratio| cpu(ratio.spread.median)),
        ratio(|ratio| ends(&ratio.spread, cpu)),
        ratio(|ratio| ratio.by.to_string()),
    ]
}
