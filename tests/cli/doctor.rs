//! `ringway doctor`: its text, its JSON and its files, on this machine as it is.

use crate::documents::flags_of;
use crate::live::{read_until, terminal};
use crate::schema::{check_schema, list, objects};
use crate::seccomp::{errno, filter, ringway_under};
use jsonschema::Validator;
use ringway_tests::{Ended, finish, ringway, run, start};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Stdio;

const EPERM: i32 = 1;

const DOCUMENT: &str = include_str!("../../docs/doctor.md");

fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/doctor.schema.json")).expect("the schema is JSON")
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap_or_else(|error| panic!("the schema is invalid: {error}"))
}

/// The report of a run with `--format json`, which is valid, and whose exit code is what it says.
pub(crate) fn report(ended: &Ended) -> Value {
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let errors: Vec<String> =
        validator().iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?} in {report:#}");
    let is_ready = report["summary"]["ready"] == json!(true);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(i32::from(!is_ready)), ""), "{ended:?}");
    let checks = list(&report, "checks");
    let count = |state: &str| checks.iter().filter(|check| check["state"] == state).count();
    for (key, state) in [("notes", "note"), ("unknown", "unknown"), ("good", "good")] {
        assert_eq!(report["summary"][key], count(state), "{key}");
    }
    assert_eq!((list(&report["summary"], "short").len(), is_ready), (count("short"), count("short") == 0));
    report
}

/// The arguments of a run with a report.
pub(crate) fn with_report<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["doctor", "--format=json"], arguments].concat()
}

/// The check with this name.
pub(crate) fn check<'r>(report: &'r Value, id: &str) -> &'r Value {
    let checks = list(report, "checks").iter();
    checks.clone().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id} in {report:#}"))
}

/// Whether a text has a number that can change from one run to the next.
fn is_measured(text: &str) -> bool {
    text.contains("idle connection") || text.contains("of all processes") || text.contains("dropped")
}

#[test]
fn the_first_sentence_is_the_answer_and_each_check_is_in_the_text() {
    let ended = run(ringway(&["doctor"]));
    let first = ended.stdout.lines().next().expect("a line");
    assert!(first.starts_with("This machine can serve ") && first.contains("the first limit: "), "{ended:?}");
    let report = report(&run(ringway(&with_report(&[]))));
    let verbose = run(ringway(&["doctor", "-v"]));
    for check in list(&report, "checks") {
        let (title, state) = (check["title"].as_str().expect("text"), check["state"].as_str().expect("text"));
        let has = |text: &str| text.lines().any(|line| line.trim_start().starts_with(state) && line.contains(title));
        assert!(has(&verbose.stdout), "{state} {title} in {}", verbose.stdout);
        assert!(has(&ended.stdout), "{state} {title} in {}", ended.stdout);
        // What it allows may be broken at the width of the text.
        let joined = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let allows = check["allows"].as_str().expect("text");
        assert!(
            !allows.is_empty() && (joined.contains(allows) || is_measured(allows)),
            "{title}: {allows} in {joined}"
        );
        let id = format!("{}: ", check["id"].as_str().expect("text"));
        assert!(verbose.stdout.contains(&id) && !ended.stdout.contains(&id), "{id}");
    }
    assert!(ended.stdout.lines().all(|line| !line.contains('\u{1b}')), "no colours without a terminal");
}

#[test]
fn a_target_of_one_connection_is_met_and_a_billion_are_not() {
    let one = run(ringway(&["doctor", "--for", "1"]));
    assert_eq!(one.status.code(), Some(0), "{one:?}");
    assert!(one.stdout.starts_with("This machine is ready to serve 1 connection."), "{one:?}");
    let ended = run(ringway(&["doctor", "--for", "1000m", "--role", "both"]));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let mut lines = ended.stdout.lines();
    let first = lines.next().expect("a line");
    assert!(first.starts_with("This machine is not ready to hold both ends of 1 000 000 000 connections"), "{first}");
    let short = lines.take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  short")).count();
    let report = report(&run(ringway(&with_report(&["--for", "1000m", "--role", "both"]))));
    assert!(short >= 3 && short == list(&report["summary"], "short").len(), "{ended:?}");
}

#[test]
fn the_report_is_valid_and_a_key_that_is_missing_or_not_described_is_refused() {
    for arguments in [&[][..], &["--for=10k"], &["--for=1m", "--role=client", "--addresses=20"]] {
        report(&run(ringway(&with_report(arguments))));
    }
    let mut report = report(&run(ringway(&with_report(&["--for=5m", "--role=both"]))));
    let validator = validator();
    let mut found = Vec::new();
    objects(&report, "", &mut found);
    // These are maps of names to values.
    found.retain(|(at, _)| !at.starts_with("/fix/"));
    assert!(found.len() > 30, "{found:?}");
    for (at, keys) in found {
        for key in keys {
            let removed = report.pointer_mut(&at).and_then(Value::as_object_mut).and_then(|object| object.remove(&key));
            assert!(!validator.is_valid(&report), "without {at}/{key}");
            report.pointer_mut(&at).expect("it is an object")[&key] = removed.expect("it was there");
        }
        report.pointer_mut(&at).expect("it is an object")["surprise"] = json!(0);
        assert!(!validator.is_valid(&report), "with {at}/surprise");
        report.pointer_mut(&at).and_then(Value::as_object_mut).and_then(|object| object.remove("surprise"));
        assert!(validator.is_valid(&report), "as it was: {at}");
    }
}

#[test]
fn the_schema_describes_and_requires_all_its_keys() {
    let schema = schema();
    let valid = jsonschema::meta::validate(&schema).map_err(|error| error.to_string());
    assert_eq!(valid, Ok(()));
    check_schema(&schema, "");
}

#[test]
fn the_files_have_comments_and_values_alone() {
    let both = run(ringway(&["doctor", "--for=5m", "--fix"]));
    assert_eq!((both.status.code(), both.stderr.as_str()), (Some(0), ""), "printing them is the answer: {both:?}");
    let sysctl = run(ringway(&["doctor", "--for=5m", "--fix", "sysctl"])).stdout;
    let unit = run(ringway(&["doctor", "--for=5m", "--fix=systemd"])).stdout;
    assert!(sysctl.starts_with("# /etc/sysctl.d/90-ringway.conf\n"), "{sysctl}");
    assert!(unit.starts_with("# /etc/systemd/system/ringway.service.d/limits.conf\n"), "{unit}");
    // The value of fs.file-max depends on the files that are open.
    let names = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&both.stdout), names(&format!("{sysctl}\n{unit}")));
    for line in sysctl.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
        assert!(key.starts_with("net.") || key.starts_with("fs.") || key.starts_with("kernel."), "{line}");
        assert!(value.split(' ').all(|number| number.parse::<u64>().is_ok()), "{line}");
    }
    assert!(unit.lines().any(|line| line == "[Service]"), "{unit}");
    let report = report(&run(ringway(&with_report(&["--for=5m"]))));
    assert!(report["fix"]["systemd"]["LimitNOFILE"].is_string() == unit.contains("\nLimitNOFILE="), "{unit}{report:#}");
}

/// The recording in the README has the parts and the lines of the program, with the values of its
/// machine.
#[test]
fn the_recording_in_the_readme_is_what_the_program_prints() {
    let readme = include_str!("../../README.md");
    let recorded = readme.split("$ ringway doctor\n").nth(1).and_then(|text| text.split("\n$ ringway").next());
    let recorded = recorded.expect("the README has a recording");
    let states = ["good", "note", "short", "unknown"];
    let parts = |text: &str| {
        text.lines().filter(|line| line.starts_with(char::is_alphabetic)).map(str::to_owned).collect::<Vec<_>>()
    };
    let own = run(ringway(&["doctor"])).stdout;
    let (recorded_parts, own_parts) = (parts(recorded), parts(&own));
    let names = |lines: &[String]| {
        lines.iter().filter(|line| !line.contains('.') && !line.contains('`')).cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&recorded_parts), names(&own_parts));
    assert!(recorded_parts[0].starts_with("This machine can serve about "), "{recorded}");
    let lines = |text: &str| {
        let lines = text.lines().filter(|line| states.iter().any(|state| line.trim_start().starts_with(state)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let report = report(&run(ringway(&with_report(&[]))));
    // Not every machine has these.
    let is_common = |id: &str| !matches!(id, "ring.epoll_watches" | "nic.interrupts" | "cpu.turbo");
    let common = list(&report, "checks").iter().filter(|check| is_common(check["id"].as_str().expect("text")));
    let titles: Vec<&str> = common.map(|check| check["title"].as_str().expect("text")).collect();
    let recorded = lines(recorded);
    assert_eq!(recorded.len(), titles.len(), "{recorded:#?} {titles:#?}");
    for (line, title) in recorded.iter().zip(titles) {
        assert!(
            line.trim_start().split_once(' ').is_some_and(|(_, rest)| rest.trim_start().starts_with(title)),
            "{line}: {title}"
        );
    }
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for arguments in [
        &["--for"][..],
        &["--for=0"],
        &["--for=many"],
        &["--role=router"],
        &["--addresses=0"],
        &["--fix=ufw"],
        &["--fix", "--format=json"],
        &["extra"],
    ] {
        let ended = run(ringway(&[&["doctor"], arguments].concat()));
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    }
}

#[test]
fn io_uring_refused_by_seccomp_is_short_with_its_cause() {
    let filters = [filter(&json!("allow"), &errno(EPERM), &[json!({ "syscall": "io_uring_setup" })])];
    let ended = run(ringway_under(&filters, &["doctor"]));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stdout.contains("io_uring, support: refused by a seccomp filter"), "{ended:?}");
    let report = report(&run(ringway_under(&filters, &with_report(&["--for=10"]))));
    let support = check(&report, "ring.support");
    assert_eq!((&support["state"], &support["value"]), (&"short".into(), &"refused by a seccomp filter".into()));
    assert!(support["allows"].as_str().is_some_and(|text| text.contains("epoll")), "{support}");
    assert_eq!(check(&report, "ring.seccomp")["state"], "short");
    let watches = check(&report, "ring.epoll_watches");
    assert!(watches["connections"].as_u64() > Some(0), "epoll has a limit of its own: {watches}");
    // Without the filter nothing of this is reported.
    let report = self::report(&run(ringway(&with_report(&[]))));
    assert_eq!(check(&report, "ring.seccomp")["state"], "good");
}

#[test]
fn a_terminal_has_colours_and_its_width_and_no_color_has_none() {
    for (variable, has_colours) in [("NO_COLOUR", true), ("NO_COLOR", false)] {
        let (mut ours, theirs) = terminal(64);
        let mut command = ringway(&["doctor"]);
        command.env_remove("NO_COLOR").env(variable, "1").env("TERM", "xterm");
        command.stdin(Stdio::null()).stdout(theirs).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        drop(command); // It has the terminal open.
        let mut text = String::new();
        read_until(&mut ours, &mut text, |_| false);
        child.wait().expect("it is our child");
        assert_eq!(text.contains("\u{1b}["), has_colours, "{text:?}");
        let plain = text.replace("\u{1b}[0m", "");
        let width = |line: &str| {
            let without = line
                .split('\u{1b}')
                .enumerate()
                .map(|(at, part)| if at == 0 { part } else { part.split_once('m').map_or("", |(_, rest)| rest) });
            without.map(|part| part.chars().count()).sum::<usize>()
        };
        // Commands are not broken, and neither are words.
        for line in plain.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.contains('→')) {
            assert!(width(line) <= 64 || line.trim_start().split(' ').count() <= 2, "{line:?}");
        }
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = start(ringway(&["doctor", "-v"]));
    drop(child.stdout.take());
    let ended = finish(child);
    assert_eq!(ended.stderr, "", "{ended:?}");
    assert!(matches!(ended.status.code(), Some(0 | 1)), "{ended:?}");
}

#[test]
fn the_document_has_each_check_and_each_flag() {
    let report = report(&run(ringway(&with_report(&[]))));
    let mut ids: BTreeSet<&str> = list(&report, "checks").iter().filter_map(|check| check["id"].as_str()).collect();
    // Those that only some machines have.
    ids.extend(["ring.epoll_watches", "nic.interrupts", "cpu.turbo"]);
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<&str> = rows.map(|(id, _)| id).filter(|id| id.contains('.')).collect();
    assert_eq!(documented, ids);
    let flags: BTreeSet<String> = flags_of("doctor").into_iter().flat_map(|(long, short)| [long, short]).collect();
    let named: BTreeSet<String> = DOCUMENT
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|code| code.split([' ', '\n', '=']))
        .filter(|word| word.starts_with('-') && word.len() > 1)
        .map(str::to_owned)
        .collect();
    for flag in &flags {
        assert!(flag == "--help" || flag == "-h" || named.contains(flag), "{flag} is not in docs/doctor.md");
    }
}
