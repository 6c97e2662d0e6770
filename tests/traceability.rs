//! docs/conformance.md lists the requirements of the standards and the test of each. This test
//! compares the list with the sources: every test in it exists and runs, every requirement has a
//! test or a reason, no section is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The sections that must have rows, as the headings of the list name them.
const SECTIONS: [&str; 12] = [
    "RFC 6455 section 4",
    "RFC 6455 section 5",
    "RFC 6455 section 6",
    "RFC 6455 section 7",
    "RFC 6455 section 8",
    "RFC 6455 section 9",
    "RFC 6455 section 10",
    "RFC 9110 section 4",
    "RFC 9110 section 15",
    "RFC 9112 section 3",
    "RFC 7692 section 6",
    "RFC 7692 section 7",
];

/// The minimum length of a reason.
const MIN_REASON: usize = 10;

/// A requirement.
#[derive(Debug, PartialEq, Eq)]
struct RequirementRow<'d> {
    line: usize,
    /// The heading above it, up to its colon.
    heading: &'d str,
    section: &'d str,
    requirement: &'d str,
    role: &'d str,
    /// The entries in back quotes in the column of tests.
    tests: Vec<&'d str>,
    /// The rest of that column.
    beside: String,
    reason: &'d str,
}

/// The rows of the list, and the lines of its tables that are not rows.
fn rows(document: &str) -> (Vec<RequirementRow<'_>>, Vec<String>) {
    let (mut rows, mut errors, mut heading) = (Vec::new(), Vec::new(), "");
    for (line, text) in document.lines().enumerate().map(|(at, text)| (at + 1, text)) {
        if let Some(title) = text.strip_prefix("## ") {
            heading = title.split_once(':').map_or(title, |(section, _)| section);
        }
        let Some(cells) = text.strip_prefix('|').filter(|_| heading.starts_with("RFC ")) else { continue };
        let cells: Vec<&str> = cells.strip_suffix('|').unwrap_or(cells).split('|').map(str::trim).collect();
        let &[section, requirement, role, checked, reason] = &cells[..] else {
            errors.push(format!("line {line} has {} columns instead of 5", cells.len()));
            continue;
        };
        if section == "§" || section.chars().all(|character| character == '-') {
            continue;
        }
        let (quoted, beside): (Vec<_>, Vec<_>) = checked.split('`').enumerate().partition(|(at, _)| at % 2 == 1);
        let tests = quoted.into_iter().map(|(_, test)| test).collect();
        let beside = beside.into_iter().map(|(_, text)| text.trim()).collect();
        rows.push(RequirementRow { line, heading, section, requirement, role, tests, beside, reason });
    }
    (rows, errors)
}

/// The names of the tests in a source file, except ignored ones.
///
/// A test is a function behind `#[test]`, also inside `proptest!`; or a name between the braces of
/// `each!`, the macro that makes a test of each bad input.
fn tests(source: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let (mut is_test, mut is_ignored, mut in_each) = (false, false, false);
    for line in source.lines().map(str::trim_start) {
        if in_each {
            in_each = line != "}";
            names.extend(line.split_whitespace().filter(|name| *name != "}"));
        } else if line == "each! {" {
            in_each = true;
        } else if line.starts_with("#[test]") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_ignored = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| !line.starts_with("//")) {
            let name = rest.split(|character: char| !character.is_alphanumeric() && character != '_').next();
            if is_test && !is_ignored {
                names.extend(name);
            }
            (is_test, is_ignored) = (false, false);
        }
    }
    names
}

/// The errors of the list. `read` returns the text of a file of the repository.
fn errors(document: &str, sections: &[&str], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let (rows, mut errors) = rows(document);
    let sources: BTreeMap<&str, Option<String>> = rows
        .iter()
        .flat_map(|row| &row.tests)
        .filter_map(|test| test.split_once("::"))
        .map(|(path, _)| (path, read(path)))
        .collect();
    for row in &rows {
        let mut add = |what: String| errors.push(format!("line {}: {what}", row.line));
        let number = row.heading.rsplit(' ').next().unwrap_or_default();
        if row.section != number && !row.section.starts_with(&format!("{number}.")) {
            add(format!("section {} is listed under {}", row.section, row.heading));
        }
        if row.requirement.len() < MIN_REASON {
            add("the requirement is missing".into());
        }
        if !["client", "server", "both"].contains(&row.role) {
            add(format!("{:?} is not a role", row.role));
        }
        if row.tests.is_empty() && row.reason.len() < MIN_REASON {
            add("neither a test nor a reason".into());
        }
        if !row.beside.is_empty() {
            add(format!("{:?} is not a test", row.beside));
        }
        for test in &row.tests {
            match test.split_once("::").map(|(path, name)| (name, &sources[path])) {
                None => add(format!("{test} is not of the form path::name")),
                Some((_, None)) => add(format!("the file of {test} does not exist")),
                Some((name, Some(source))) if !tests(source).contains(name) => {
                    add(format!("{test} does not exist, or is ignored"));
                }
                Some(_) => {}
            }
        }
    }
    for section in sections {
        if !rows.iter().any(|row| row.heading == *section) {
            errors.push(format!("{section} has no rows"));
        }
    }
    errors
}

#[test]
fn every_demand_of_the_standards_has_a_test_that_exists_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let document = read("docs/conformance.md").expect("docs/conformance.md is there");
    let errors = errors(&document, &SECTIONS, read);
    assert!(errors.is_empty(), "docs/conformance.md:\n{}", errors.join("\n"));
}

const SOURCE: &str = "
    #[test]
    fn plain() {}

    proptest! {
        #[test]
        fn with_arguments(
            n in 0..9,
        ) {}
    }

    #[test]
    #[should_panic(expected = \"it\")]
    fn attributed() {}

    #[test]
    #[ignore = \"slow\"]
    fn ignored() {}

    // #[test]
    // fn commented_out() {}

    fn helper() {}

    each! {
        one two

        three
    }

    #[test]
    fn behind_each() {}
";

#[test]
fn the_tests_of_a_source_are_found() {
    let expected = ["plain", "with_arguments", "attributed", "one", "two", "three", "behind_each"];
    assert_eq!(tests(SOURCE), BTreeSet::from(expected));
}

/// The errors of a list with this row.
fn errors_about(row: &str) -> Vec<String> {
    let document =
        format!("## RFC 1 section 4: x\n| § | demand | role | checked by | why not |\n|---|---|---|---|---|\n{row}\n");
    errors(&document, &["RFC 1 section 4"], |path| (path == "a.rs").then(|| SOURCE.to_owned()))
}

#[test]
fn a_valid_row_has_no_error() {
    for row in [
        "| 4 | Do as you are told. | both | `a.rs::plain` `a.rs::three` | |",
        "| 4.1 | Do as you are told. | client | `a.rs::with_arguments` | Only half of it is tested. |",
        "| 4.1.2 | Do as you are told. | server | | There is no way to tell. |",
    ] {
        assert_eq!(errors_about(row), [""; 0], "{row}");
    }
}

#[test]
fn each_fault_of_a_row_has_its_error() {
    for (row, complaint) in [
        ("| 4.1 | Do as you are told. | both | `a.rs::plane` | |", "a.rs::plane does not exist"),
        ("| 4.1 | Do as you are told. | both | `a.rs::helper` | |", "a.rs::helper does not exist"),
        ("| 4.1 | Do as you are told. | both | `a.rs::ignored` | |", "or is ignored"),
        ("| 4.1 | Do as you are told. | both | `a.rs::commented_out` | |", "does not exist"),
        ("| 4.1 | Do as you are told. | both | `b.rs::plain` | |", "the file of b.rs::plain does not exist"),
        ("| 4.1 | Do as you are told. | both | `plain` | |", "not of the form"),
        ("| 4.1 | Do as you are told. | both | a.rs::plain | |", "is not a test"),
        ("| 4.1 | Do as you are told. | both | | |", "neither a test nor a reason"),
        ("| 4.1 | Do as you are told. | both | | none |", "neither a test nor a reason"),
        ("| 4.1 | Do as you are told. | nobody | `a.rs::plain` | |", "is not a role"),
        ("| 5.1 | Do as you are told. | both | `a.rs::plain` | |", "is listed under"),
        ("| 41 | Do as you are told. | both | `a.rs::plain` | |", "is listed under"),
        ("| 4.1 | | both | `a.rs::plain` | |", "the requirement is missing"),
        ("| 4.1 | Do as you are told. | both | `a.rs::plain` |", "4 columns"),
        ("", "RFC 1 section 4 has no rows"),
    ] {
        let errors = errors_about(row);
        assert!(errors.iter().any(|found| found.contains(complaint)), "{row}: {errors:?}");
    }
}
