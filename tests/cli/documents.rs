//! The flags that the documents name are those of the program, and all flags of `load` are named.

use ringway_tests::{ringway, run};
use std::collections::BTreeSet;

const README: &str = include_str!("../../README.md");
const BENCHMARKING: &str = include_str!("../../docs/benchmarking.md");
const CONNECT: &str = include_str!("../../docs/connect.md");
const SCENARIOS: &str = include_str!("../../docs/scenarios.md");
const TRACING: &str = include_str!("../../docs/tracing.md");

/// The flags in the long help of a command: for each its long name, and its short one or the same.
pub(crate) fn flags_of(command: &str) -> BTreeSet<(String, String)> {
    let help = run(ringway(&[command, "--help"]));
    assert!(help.status.success(), "{help:?}");
    let flags = help.stdout.lines().filter_map(|line| {
        let line = line.strip_prefix("  ")?.trim_start();
        let (short, rest) = match line.split_once(", ") {
            Some((short, rest)) if short.len() == 2 && short.starts_with('-') => (Some(short), rest),
            _ => (None, line),
        };
        let long = long_flag(rest)?;
        Some((long.to_owned(), short.unwrap_or(long).to_owned()))
    });
    let flags: BTreeSet<_> = flags.collect();
    assert!(flags.iter().any(|(long, _)| long == "--help"), "{command}: {flags:?}");
    flags
}

/// The long flag at the beginning of a text.
fn long_flag(text: &str) -> Option<&str> {
    let name = text.strip_prefix("--")?;
    let len = name.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(name.len());
    (len > 0).then(|| &text[..2 + len])
}

/// The words that begin with a hyphen. Flags have no other characters before them.
fn flags_in(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| word.starts_with('-')).map(|word| long_flag(word).unwrap_or(word))
}

/// The code of a document: the lines of blocks, and spans.
fn code_in(document: &str) -> Vec<String> {
    let mut code = Vec::new();
    for (index, part) in document.split("```").enumerate() {
        if index % 2 == 1 {
            code.extend(part.lines().skip(1).map(str::to_owned));
        } else {
            // A span can continue on the next line.
            code.extend(part.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code
}

/// The part of a command behind `load`.
fn behind_load(code: &str) -> Option<String> {
    let words: Vec<&str> = code.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
    let at = words.iter().position(|word| *word == "load")?;
    Some(words[at + 1..].join(" "))
}

#[test]
fn flags_in_the_documents_exist() {
    let load: BTreeSet<String> = flags_of("load").into_iter().flat_map(|(long, short)| [long, short]).collect();
    let mut all = load.clone();
    for command in ["serve", "connect", "bench", "doctor"] {
        all.extend(flags_of(command).into_iter().flat_map(|(long, short)| [long, short]));
    }
    let mut found = 0;
    // Pages about `load` name its flags alone, and the README those of all commands.
    for (name, document, alone) in [
        ("README.md", README, &all),
        ("benchmarking.md", BENCHMARKING, &load),
        ("scenarios.md", SCENARIOS, &load),
        ("tracing.md", TRACING, &all),
    ] {
        for code in code_in(document) {
            let (part, allowed) = match behind_load(&code) {
                Some(part) => (part, &load),
                None if code.starts_with('-') => (code.clone(), alone),
                None => continue,
            };
            for flag in flags_in(&part).filter(|flag| !["-", "--"].contains(flag)) {
                // A short flag can be written with its value, as in `-t1`.
                let is_known = allowed.contains(flag) || !flag.starts_with("--") && allowed.contains(&flag[..2]);
                assert!(is_known, "{name} names {flag}, in `{code}`");
                found += 1;
            }
        }
    }
    assert!(found >= 50, "only {found} flags are found in the documents");
}

#[test]
fn the_document_of_connect_has_its_flags_and_no_others() {
    let flags = flags_of("connect");
    let code = code_in(CONNECT);
    let of_code = |code: &String| match code.split_once("connect ") {
        Some((_, arguments)) => Some(arguments.split('#').next().unwrap_or_default().to_owned()),
        None => code.starts_with('-').then(|| code.clone()),
    };
    let named: BTreeSet<String> = code
        .iter()
        .filter_map(of_code)
        .flat_map(|part| flags_in(&part).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for (long, short) in &flags {
        assert!(long == "--help" || named.contains(long) || named.contains(short), "connect.md does not name {long}");
    }
    let known = |flag: &String| flags.iter().any(|(long, short)| long == flag || short == flag);
    let unknown: Vec<_> = named.iter().filter(|flag| !known(flag)).collect();
    assert!(unknown.is_empty(), "connect.md names {unknown:?}");
}

#[test]
fn all_flags_of_load_are_in_a_document() {
    let named: BTreeSet<String> = [README, BENCHMARKING, SCENARIOS]
        .into_iter()
        .flat_map(code_in)
        .filter_map(|code| behind_load(&code).or_else(|| code.starts_with('-').then_some(code)))
        .flat_map(|part| flags_in(&part).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let missing: Vec<_> = flags_of("load")
        .into_iter()
        .filter(|(long, short)| long != "--help" && !named.contains(long) && !named.contains(short))
        .collect();
    assert!(missing.is_empty(), "README.md, docs/benchmarking.md and docs/scenarios.md do not name {missing:?}");
}
