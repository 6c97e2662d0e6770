//! The report for a person: the answer first, then a table with a line for each check, and the
//! commands below it. The details are printed on request.

use crate::doctor::finding::{Finding, Group, State, counted};
use crate::doctor::goal::Goal;
use crate::doctor::summary::Summary;
use std::fmt::Write as _;

/// The width where standard output is not a terminal, and the range of those of terminals.
const DEFAULT_WIDTH: usize = 100;
const MIN_WIDTH: usize = 40;
const MAX_WIDTH: usize = 120;

/// The widest column of values. A longer one is continued by its line.
const MAX_VALUE: usize = 20;

/// The width of the states, with the space around them.
const STATE_WIDTH: usize = 10;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) width: usize,
    pub(crate) has_colours: bool,
    pub(crate) is_verbose: bool,
}

impl Style {
    /// The style for a terminal with this number of columns; `None` is no terminal.
    pub(crate) fn new(columns: Option<usize>, has_colours: bool, is_verbose: bool) -> Self {
        let width = columns.unwrap_or(DEFAULT_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH);
        Self { width, has_colours, is_verbose }
    }

    fn painted(&self, text: &str, code: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn state(&self, state: State) -> String {
        let code = match state {
            State::Good => "32",
            State::Note => "33",
            State::Unknown => "36",
            State::Short => "1;31",
        };
        // The padding is not part of the colour, so that columns are aligned.
        format!("  {}{}", self.painted(state.name(), code), " ".repeat(STATE_WIDTH - 2 - state.name().len()))
    }
}

/// The whole report.
pub(crate) fn print(groups: &[Group], goal: &Goal, style: &Style) -> String {
    let summary = Summary::of(groups);
    let mut text = String::new();
    for line in wrapped(&summary.headline(goal), style.width) {
        text += &format!("{}\n", style.painted(&line, "1"));
    }
    for group in groups {
        for finding in group.findings.iter().filter(|finding| finding.state == State::Short) {
            let line = format!("{}, {}: {}{}", group.name, finding.title, finding.value, needed(finding));
            append(&mut text, &style.state(State::Short), STATE_WIDTH, &line, style);
        }
    }
    let counts = format!(
        "{}, {}, {} unknown, {} good.",
        counted(summary.short.len() as u64, "short", "short"),
        counted(summary.notes as u64, "note", "notes"),
        summary.unknown,
        summary.good
    );
    text += &format!("{counts}\n");
    // The columns are as wide as their contents, within bounds, and the last one has the rest.
    let findings = || groups.iter().flat_map(|group| &group.findings);
    let titles = findings().map(|finding| finding.title.chars().count()).max().unwrap_or(0);
    let fitting = |finding: &Finding| Some(finding.value.chars().count()).filter(|width| *width <= MAX_VALUE);
    let values = findings().filter_map(fitting).max().unwrap_or(0);
    for group in groups {
        let _ = write!(text, "\n{}\n", style.painted(group.name, "1"));
        for finding in &group.findings {
            line(&mut text, finding, titles, values, style);
            below(&mut text, finding, style);
        }
    }
    let is_raising = findings().any(|finding| !finding.raises.is_empty());
    if is_raising {
        text += "\n";
        let target = goal.target.map_or(String::new(), |target| format!(" --for {target}"));
        let hint = format!(
            "`ringway doctor{target} --fix` prints the values for {} as a file of sysctl.d and a drop-in \
             of a systemd unit; -v explains each check.",
            counted(goal.connections(), "connection", "connections")
        );
        append(&mut text, "", 0, &hint, style);
    }
    text
}

fn needed(finding: &Finding) -> String {
    finding.needed.as_ref().map_or(String::new(), |needed| format!(", {needed} needed"))
}

/// The line of a check: state, title, value, and what it allows in the columns that are left.
fn line(text: &mut String, finding: &Finding, titles: usize, values: usize, style: &Style) {
    let pad = |text: &str, width: usize| format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())));
    let start = style.state(finding.state);
    let column = STATE_WIDTH + titles + 2 + values + 2;
    let is_narrow = column + 20 > style.width;
    if is_narrow {
        let all = format!("{}: {}. {}", finding.title, finding.value, finding.allows);
        return append(text, &start, STATE_WIDTH, &all, style);
    }
    if finding.value.chars().count() > values {
        let start = format!("{start}{}  ", pad(finding.title, titles));
        append(text, &start, STATE_WIDTH + titles + 2, &finding.value, style);
        return append(text, &" ".repeat(column), column, &finding.allows, style);
    }
    let start = format!("{start}{}  {}  ", pad(finding.title, titles), pad(&finding.value, values));
    append(text, &start, column, &finding.allows, style);
}

/// What is below the line of a check: its commands, unless it is good, and the details on request.
fn below(text: &mut String, finding: &Finding, style: &Style) {
    let indent = " ".repeat(STATE_WIDTH);
    if style.is_verbose {
        if !finding.detail.is_empty() {
            append(text, &indent, STATE_WIDTH, &format!("{}: {}", finding.id, finding.detail), style);
        }
        if let Some(needed) = &finding.needed {
            append(text, &indent, STATE_WIDTH, &format!("needed: {needed}"), style);
        }
    }
    // A command is not broken, so that it can be copied.
    for command in &finding.commands {
        let _ = writeln!(text, "{indent}→ {command}");
    }
}

/// Appends `words` after `start`, which ends at a column, and continues there.
fn append(text: &mut String, start: &str, column: usize, words: &str, style: &Style) {
    for (at, part) in wrapped(words, style.width.saturating_sub(column)).into_iter().enumerate() {
        let indent = " ".repeat(column);
        let start = if at == 0 { start } else { &indent };
        text.push_str(format!("{start}{part}").trim_end());
        text.push('\n');
    }
}

/// The lines of a text, broken at spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(text) {
        let last = lines.last_mut().expect("there is a line from the start");
        if last.is_empty() {
            last.push_str(&word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

/// The words of a text. The digits of a number stay together: `28 232`.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match words.last_mut() {
            Some(last)
                if last.ends_with(|c: char| c.is_ascii_digit()) && word.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                *last = format!("{last} {word}");
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}
