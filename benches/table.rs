//! A table that compares Ringway's codec with those of other libraries: `cargo bench -p
//! ringway-benches --bench table`.
//!
//! Arguments after `--`: a word that selects the cases with that word in their name; `--rounds N`;
//! `--format json`. All candidates of a case take turns, and each ratio is the median of the
//! rounds' ratios. Candidates with a configurable size of reads use the fastest of several sizes;
//! the table has it in brackets.

mod compression;
mod decoders;
mod encoders;
mod lap;
mod masking;
mod now;
mod sink;
mod wire;

use compression::{Matter, Subject};
use ringway_benches::{Candidate, Figure, LANGUAGES, MEMCPY, Rounds, text_of};
use ringway_codec::{OpCode, Role};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use wire::{StreamShape, bytes};

/// The columns: the libraries, Ringway first.
const NAMES: [&str; 7] = ["Ringway", MEMCPY, "tungstenite", "fastwebsockets", "tokio-websockets", "sockudo-ws", "yawc"];

/// The unit of a case's figures.
#[derive(Clone, Copy)]
enum Unit {
    /// Millions of messages per second; a turn has this many messages.
    Messages(u64),
    /// Thousands of messages per second.
    Slow(u64),
    /// Gigabytes per second; a turn has this many bytes.
    Bytes(usize),
    /// Nanoseconds; less is better.
    Nanoseconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Messages(_) => "M/s",
            Self::Slow(_) => "k/s",
            Self::Bytes(_) => "GB/s",
            Self::Nanoseconds => "ns",
        }
    }

    fn figure(self, nanoseconds: f64) -> f64 {
        match self {
            Self::Messages(count) => count as f64 * 1e3 / nanoseconds,
            Self::Slow(count) => count as f64 * 1e6 / nanoseconds,
            Self::Bytes(count) => count as f64 / nanoseconds,
            Self::Nanoseconds => nanoseconds,
        }
    }
}

/// A task with several implementations.
struct Case {
    name: String,
    unit: Unit,
    contestants: Box<dyn Fn() -> Vec<Candidate>>,
}

fn case(name: String, unit: Unit, contestants: impl Fn() -> Vec<Candidate> + 'static) -> Case {
    Case { name, unit, contestants: Box::new(contestants) }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [16, 64, 125, 512, 4 << 10, 16 << 10, 64 << 10, 1 << 20] {
        cases.push(case(format!("unmask, {}", bytes(size)), Unit::Bytes(size), move || masking::unmask(size)));
    }
    for size in [16, 64, 125, 512, 4 << 10, 16 << 10, 64 << 10, 1 << 20] {
        cases.push(case(format!("mask and copy, {}", bytes(size)), Unit::Bytes(size), move || masking::copy(size)));
    }
    // For ASCII the check is as fast as memory; other text is checked by simdutf8.
    let sizes = |language| if language == "ASCII" { &[20, 512, 4 << 10, 64 << 10][..] } else { &[20, 512, 4 << 10] };
    for (language, pattern) in LANGUAGES {
        for &size in sizes(language) {
            let name = format!("UTF-8, {language}, {}", bytes(size));
            cases.push(case(name, Unit::Bytes(size), move || masking::check_text(&text_of(size, pattern))));
        }
    }
    for (language, pattern) in LANGUAGES {
        for &size in sizes(language) {
            let name = format!("unmask and UTF-8, {language}, {}", bytes(size));
            cases.push(case(name, Unit::Bytes(size), move || masking::unmask_text(&text_of(size, pattern))));
        }
    }
    for (name, length) in [("7 bit", 20), ("16 bit", 512), ("64 bit", 1 << 20)] {
        cases.push(case(format!("header, {name} length"), Unit::Nanoseconds, move || masking::header(length)));
    }
    for role in [Role::Server, Role::Client] {
        for opcode in [OpCode::Binary, OpCode::Text] {
            for size in [20, 512, 16 << 10] {
                let shape = StreamShape { role, opcode, size };
                let unit = Unit::Messages(shape.messages());
                cases.push(case(format!("decode, {shape}"), unit, move || decoders::all(shape)));
            }
        }
    }
    for role in [Role::Server, Role::Client] {
        for size in [20, 512, 16 << 10] {
            let shape = StreamShape { role, opcode: OpCode::Binary, size };
            let unit = Unit::Messages(shape.messages());
            cases.push(case(format!("encode, {shape}"), unit, move || encoders::all(shape)));
        }
    }
    for matter in [Matter::Json, Matter::Text] {
        for takeover in [false, true] {
            for level in [1, 6] {
                let subject = Subject { matter, takeover, level };
                let unit = Unit::Slow(subject.messages().len() as u64);
                let name = format!("deflate, {subject}, level {level}");
                cases.push(case(name, unit, move || compression::deflaters(subject)));
            }
            let subject = Subject { matter, takeover, level: 6 };
            let unit = Unit::Slow(subject.messages().len() as u64);
            cases.push(case(format!("inflate, {subject}"), unit, move || compression::inflaters(subject)));
        }
    }
    cases
}

/// The results of a case.
struct CaseResult {
    name: String,
    unit: Unit,
    figures: Vec<Figure>,
}

impl CaseResult {
    fn of(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// The ratio of Ringway's speed to memcpy's.
    fn to_memcpy(&self) -> Option<f64> {
        self.of(MEMCPY).map(|figure| figure.ratio)
    }

    /// The ratio of Ringway's speed to that of the fastest other library.
    fn to_fastest(&self) -> Option<f64> {
        let others = self.figures[1..].iter().filter(|figure| figure.name != MEMCPY);
        others.map(|figure| figure.ratio).min_by(f64::total_cmp)
    }

    fn markdown(&self) -> String {
        let figure = |name: &&str| match self.of(name) {
            Some(figure) => {
                let read = figure.read.map_or(String::new(), |read| format!(" ({})", bytes(read)));
                significant(self.unit.figure(figure.nanoseconds)) + &read
            }
            None => "–".to_owned(),
        };
        let ratio = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        let figures: Vec<String> = NAMES.iter().map(figure).collect();
        let (rival, memcpy) = (ratio(self.to_fastest()), ratio(self.to_memcpy()));
        format!("| {} | {} | {} | {memcpy} | {rival} |", self.name, self.unit.name(), figures.join(" | "))
    }

    fn json(&self) -> serde_json::Value {
        let figures = self.figures.iter().map(|figure| {
            let speed = self.unit.figure(figure.nanoseconds);
            let told = json!({ "figure": speed, "time_to_ringways": figure.ratio, "read_bytes": figure.read });
            (figure.name.to_owned(), told)
        });
        json!({
            "case": self.name,
            "unit": self.unit.name(),
            "figures": figures.collect::<serde_json::Map<_, _>>(),
            "to_memcpy": self.to_memcpy(),
            "to_fastest_rival": self.to_fastest(),
        })
    }
}

/// Three significant digits.
fn significant(figure: f64) -> String {
    match figure {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        1.0.. => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

struct TableArguments {
    rounds: Rounds,
    json: bool,
    word: String,
}

fn arguments() -> Result<TableArguments, String> {
    let rounds = Rounds { count: 15, slice: Duration::from_millis(2) };
    let mut arguments = TableArguments { rounds, json: false, word: String::new() };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            // `cargo bench` adds this option.
            "--bench" => {}
            // One pass over everything, as a smoke test.
            "--test" => arguments.rounds = Rounds { count: 1, slice: Duration::ZERO },
            "--rounds" => {
                let count = given.next().and_then(|count| count.parse().ok()).filter(|&count| count > 0);
                arguments.rounds.count = count.ok_or("--rounds needs a number of 1 or more")?;
            }
            "--format" => {
                arguments.json = match given.next().as_deref() {
                    Some("json") => true,
                    Some("text") => false,
                    _ => return Err("--format needs text or json".to_owned()),
                };
            }
            option if option.starts_with('-') => return Err(format!("unknown option {option}")),
            word => word.clone_into(&mut arguments.word),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let TableArguments { rounds, json, word } = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut cases = cases();
    cases.retain(|case| case.name.contains(&word));
    if cases.is_empty() {
        eprintln!("no name of a case contains {word}");
        return ExitCode::from(2);
    }
    if !json {
        println!("| case | | {} | to memcpy | to the fastest rival |", NAMES.join(" | "));
        println!("|---|---|{}", "---:|".repeat(NAMES.len() + 2));
    }
    let mut rows = Vec::new();
    for Case { name, unit, contestants } in cases {
        let row = CaseResult { name, unit, figures: rounds.measure(contestants()) };
        if json {
            rows.push(row.json());
        } else {
            println!("{}", row.markdown());
        }
    }
    if json {
        println!("{}", json!({ "schema_version": 1, "rounds": rounds.count, "cases": rows }));
    }
    ExitCode::SUCCESS
}
