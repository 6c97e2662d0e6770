//! The report as Markdown: one table for each quantity, a row for each cell, a column for each
//! contestant.

use super::figures::{cpu, figure, middle_and_ends, percent, rate, ratio, time, whole};
use super::table::{ReportTable, TableFormat};
use super::{BenchReport, Entry};
use crate::bench::fanout;
use std::fmt::Write;

impl BenchReport {
    /// The report as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut out = String::new();
        for line in self.head().lines() {
            out += &format!("- {line}\n");
        }
        if !self.cells.is_empty() {
            self.write_cells(&mut out);
            self.disturbance().into_iter().for_each(|warning| out += &format!("\n{warning}\n"));
        }
        if let Some(counting) = &self.syscalls {
            let _ = writeln!(out, "\n**System calls for each message**, {}\n", counting.explain());
            if counting.counted_by.is_some() {
                out += &self.syscalls_table(TableFormat::Markdown);
            }
        }
        if !self.fanout.is_empty() {
            out += "\n**Fan-out**\n";
            out += &fanout::table(&self.fanout, TableFormat::Markdown);
        }
        if let Some(connect) = &self.connect {
            let _ = writeln!(
                out,
                "\n**Connecting**: {} connections opened, upgraded and closed; the ratio is that of server CPU time,\n\
                 theirs to ringway's.\n",
                connect.connections
            );
            let mut table =
                ReportTable::new(&["server", "handshakes/s", "server CPU µs each", "ringway's ratio"], &[0]);
            for found in &connect.contestants {
                table.row(vec![
                    found.contestant.clone(),
                    figure(found.per_second.as_ref(), |spread| middle_and_ends(spread, rate)),
                    figure(found.server_cpu_us.as_ref(), |spread| middle_and_ends(spread, cpu)),
                    figure(found.ringway_ratio.as_ref(), |spread| middle_and_ends(spread, cpu)),
                ]);
            }
            out += &table.to_markdown();
        }
        if let Some(idle) = &self.idle {
            let _ = writeln!(
                out,
                "\n**Idle connections**: growth of the server's memory ({}) from {} to {} connections.\n",
                idle.counted, idle.connections_before, idle.connections
            );
            let mut table = ReportTable::new(&["server", "bytes for each connection"], &[0]);
            for found in &idle.contestants {
                table.row(vec![
                    found.contestant.clone(),
                    figure(found.bytes_per_connection_spread.as_ref(), |spread| middle_and_ends(spread, whole)),
                ]);
            }
            out += &table.to_markdown();
        }
        let gaps = self.gaps();
        if !gaps.is_empty() {
            out += "\n`-`: without figures.\n\n";
            gaps.iter().for_each(|gap| out += &format!("- {}\n", gap.replace('\n', " ")));
        }
        if self.interrupted {
            out += "\nInterrupted: the figures are those of a part of the bench.\n";
        }
        out
    }

    fn write_cells(&self, out: &mut String) {
        let floor = |entry: &Entry| if entry.is_floor { " \\*" } else { "" };
        *out += "\nCells are connections × size × messages in flight on each. Medians, with the smallest and the\n\
                 largest round in brackets.\n\n**Messages per second** (`*`: the floor, the faster one of the raw echoes)\n\n";
        *out += &self.table(
            |_| true,
            |entry| {
                figure(entry.messages_per_second_spread.as_ref(), |spread| middle_and_ends(spread, rate)) + floor(entry)
            },
        );
        *out += "\n**Server CPU per message**, µs\n\n";
        *out += &self.table(
            |_| true,
            |entry| figure(entry.server_cpu_us_per_message_spread.as_ref(), |spread| middle_and_ends(spread, cpu)),
        );
        *out += "\n**Ratio of ringway to each**, the median of the ratios of paired rounds, above 1 where ringway is\n\
                 better: of rates (`rate`) where both servers were saturated, else of server CPU per message (`cpu`)\n\n";
        *out += &self.table(|entry| !entry.is_reference, |entry| figure(entry.ringway_ratio.as_ref(), ratio));
        *out += "\n**Busy**: server / generator, and which of them was the limit\n\n";
        *out += &self.table(
            |_| true,
            |entry| {
                let shares = entry.server_busy_share.zip(entry.generator_busy_share).zip(entry.limited_by);
                figure(shares, |((server, generator), limit)| {
                    format!("{} / {}, {limit}", percent(server), percent(generator))
                })
            },
        );
        *out += "\n**Latency**: p50 / p99\n\n";
        *out += &self.table(
            |_| true,
            |entry| figure(entry.p50_us.zip(entry.p99_us), |(p50, p99)| format!("{} / {}", time(p50), time(p99))),
        );
    }

    /// The system calls for each message, with a row for each cell.
    pub(super) fn syscalls_table(&self, format: TableFormat) -> String {
        self.cells_table(|_| true, |entry| figure(entry.syscalls_per_message, |calls| format!("{calls:.3}")))
            .format(format)
    }

    /// A table with a row for each cell and a column for each contestant that `is_in` accepts.
    fn table(&self, is_in: impl Fn(&Entry) -> bool, field: impl Fn(&Entry) -> String) -> String {
        self.cells_table(is_in, field).to_markdown()
    }

    fn cells_table(&self, is_in: impl Fn(&Entry) -> bool, field: impl Fn(&Entry) -> String) -> ReportTable {
        let first = self.by_cell().next().unwrap_or_default();
        let mut titles = vec!["cell"];
        titles.extend(first.iter().filter(|entry| is_in(entry)).map(|entry| &*entry.contestant));
        let mut table = ReportTable::new(&titles, &[0]);
        for cell in self.by_cell() {
            let mut row: Vec<String> = cell.iter().take(1).map(|entry| entry.shape().to_string()).collect();
            row.extend(cell.iter().filter(|entry| is_in(entry)).map(&field));
            table.row(row);
        }
        table
    }
}
