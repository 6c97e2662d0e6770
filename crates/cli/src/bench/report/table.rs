//! Tables, aligned for a terminal or as Markdown.

use std::fmt::Write;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum TableFormat {
    /// Aligned, for a terminal.
    Text,
    Markdown,
}

/// Rows with one field for each title.
pub(in crate::bench) struct ReportTable {
    titles: Vec<String>,
    /// The columns that are aligned left; the others are aligned right.
    left: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl ReportTable {
    pub(in crate::bench) fn new(titles: &[&str], left: &[usize]) -> Self {
        Self { titles: titles.iter().map(ToString::to_string).collect(), left: left.to_vec(), rows: Vec::new() }
    }

    pub(in crate::bench) fn row(&mut self, fields: Vec<String>) {
        debug_assert_eq!(fields.len(), self.titles.len());
        self.rows.push(fields);
    }

    pub(in crate::bench) fn format(&self, format: TableFormat) -> String {
        match format {
            TableFormat::Text => self.to_text(),
            TableFormat::Markdown => self.to_markdown(),
        }
    }

    /// Formats for a terminal, with two spaces between columns.
    pub(in crate::bench) fn to_text(&self) -> String {
        let lines = || std::iter::once(&self.titles).chain(&self.rows);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.titles.len()).map(width).collect();
        let mut out = String::new();
        for line in lines() {
            let mut text = String::new();
            for (column, field) in line.iter().enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                let width = widths[column];
                // Writing to a string cannot fail.
                let _ = if self.left.contains(&column) {
                    write!(text, "{gap}{field:<width$}")
                } else {
                    write!(text, "{gap}{field:>width$}")
                };
            }
            out += text.trim_end();
            out.push('\n');
        }
        out
    }

    pub(in crate::bench) fn to_markdown(&self) -> String {
        let line = |fields: &[String]| format!("| {} |\n", fields.join(" | ").replace('\n', " "));
        let rule = (0..self.titles.len()).map(|column| if self.left.contains(&column) { "---" } else { "---:" });
        let mut out = line(&self.titles);
        out += &format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
        self.rows.iter().for_each(|row| out += &line(row));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ReportTable {
        let mut table = ReportTable::new(&["who", "µs"], &[0]);
        table.row(vec!["a".into(), "1.25".into()]);
        table.row(vec!["bcdef".into(), "-".into()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_field() {
        assert_eq!(table().to_text(), "who      µs\na      1.25\nbcdef     -\n");
    }

    #[test]
    fn markdown_has_a_rule_below_the_titles() {
        assert_eq!(table().to_markdown(), "| who | µs |\n|---|---:|\n| a | 1.25 |\n| bcdef | - |\n");
    }
}
