//! Seccomp filters from the forms in which deployments have them.

use ringway_tests::program;
use seccompiler::{TargetArch, compile_from_json};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A file of the folder `deploy`.
pub(crate) fn deployed(path: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A filter in the form that seccompiler reads: `matched` for calls that match one of the rules,
/// `other` for all others.
pub(crate) fn filter(other: &Value, matched: &Value, rules: &[Value]) -> Value {
    json!({ "only": { "mismatch_action": other, "match_action": matched, "filter": rules } })
}

pub(crate) fn errno(number: i32) -> Value {
    json!({ "errno": number })
}

fn exists_on(call: &str, arch: TargetArch) -> bool {
    let filter = filter(&errno(1), &json!("allow"), &[json!({ "syscall": call })]);
    compile_from_json(filter.to_string().as_bytes(), arch).is_ok()
}

/// Whether this architecture has the system call.
pub(crate) fn exists(call: &str) -> bool {
    exists_on(call, TargetArch::try_from(std::env::consts::ARCH).expect("the crate knows this architecture"))
}

/// A profile of a container engine, as filters in the order in which they have to be applied: each
/// applies to the calls that apply the next one.
pub(crate) fn of_profile(profile: &Value) -> Vec<Value> {
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let default = profile["defaultErrnoRet"].as_i64().expect("a number");
    let (mut filters, mut allowed) = (Vec::new(), Vec::new());
    for group in profile["syscalls"].as_array().expect("a list of groups") {
        let names = group["names"].as_array().expect("a list of names");
        let names: Vec<&str> = names.iter().map(|name| name.as_str().expect("text")).collect();
        for name in &names {
            let known = [TargetArch::x86_64, TargetArch::aarch64].into_iter().any(|arch| exists_on(name, arch));
            assert!(known, "no architecture has the system call {name}");
        }
        let names = names.into_iter().filter(|name| exists(name));
        let rules = names.map(|name| match group["args"].as_array() {
            None => json!({ "syscall": name }),
            Some(args) => {
                json!({ "syscall": name, "args": args.iter().map(condition).collect::<Vec<_>>() })
            }
        });
        match group["action"].as_str() {
            Some("SCMP_ACT_ALLOW") => allowed.extend(rules),
            Some("SCMP_ACT_ERRNO") => {
                let rules: Vec<Value> = rules.collect();
                // The engine's filter has one action for each call. Of stacked filters, the one that
                // refuses a call takes precedence.
                allowed.extend(rules.iter().cloned());
                filters.push(filter(&json!("allow"), &json!({ "errno": group["errnoRet"] }), &rules));
            }
            other => panic!("the action {other:?} is not supported"),
        }
    }
    filters.push(filter(&json!({ "errno": default }), &json!("allow"), &allowed));
    filters
}

/// A condition on an argument: the only operator that the profile uses.
fn condition(argument: &Value) -> Value {
    assert_eq!(argument["op"], "SCMP_CMP_MASKED_EQ");
    json!({
        "index": argument["index"],
        "type": "qword",
        "op": { "masked_eq": argument["value"] },
        "val": argument["valueTwo"],
    })
}

/// The values of a directive of a systemd unit, in the order of its lines.
pub(crate) fn directives<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

/// The system calls of one group of systemd; `None` if its tool is not installed.
fn group(name: &str) -> Option<BTreeSet<String>> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", name]).output().ok()?;
    assert!(output.status.success(), "{name}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut calls = BTreeSet::new();
    for word in text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if word.starts_with('@') {
            calls.extend(group(word)?);
        } else {
            calls.insert(word.to_owned());
        }
    }
    Some(calls)
}

/// The calls that a unit allows (`SystemCallFilter=`, systemd.exec(5)); `None` without systemd.
pub(crate) fn allowed_by_unit(unit: &str) -> Option<BTreeSet<String>> {
    let lines = directives(unit, "SystemCallFilter");
    assert!(lines.first().is_some_and(|line| !line.starts_with('~')), "the filter is an allow-list");
    let mut allowed = group("@default")?;
    for line in lines {
        let (removes, words) = line.strip_prefix('~').map_or((false, line), |words| (true, words));
        for word in words.split_whitespace() {
            let calls = if word.starts_with('@') { group(word)? } else { BTreeSet::from([word.to_owned()]) };
            if removes {
                allowed.retain(|call| !calls.contains(call));
            } else {
                allowed.extend(calls);
            }
        }
    }
    Some(allowed)
}

/// `ringway` with these arguments, under the filters.
pub(crate) fn ringway_under(filters: &[Value], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_under-seccomp"));
    command.arg(Value::from(filters).to_string()).arg(program()).args(arguments);
    command
}
