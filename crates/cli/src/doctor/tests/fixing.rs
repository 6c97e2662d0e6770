//! What `--fix` prints raises what is too low: a machine with its values has nothing short.

use super::machine::Machine;
use crate::doctor::arguments::Fix;
use crate::doctor::finding::{Finding, Group, State};
use crate::doctor::goal::MachineRole;
use crate::doctor::report::fix::Fixes;
use proptest::prelude::*;
use std::collections::BTreeMap;

const OWN: &str = "/sys/fs/cgroup/system.slice/ringway.service";

/// The values of a printed file.
fn values(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with('['));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

/// The machine after its administrator has installed both files.
fn applied(mut machine: Machine, sysctl: &str, unit: &str) -> Machine {
    for (key, value) in values(sysctl) {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let before = String::from_utf8(machine.files.get(&path).expect("it was read").clone()).expect("text");
        let numbers =
            |text: &str| text.split_whitespace().map(|word| word.parse().expect("a number")).collect::<Vec<u64>>();
        let (before, after) = (numbers(&before), numbers(&value));
        if key == "net.ipv4.ip_local_port_range" {
            assert!(after[0] <= before[0] && after[1] >= before[1], "{before:?} is larger than {after:?}");
        } else {
            assert!(before.iter().zip(&after).all(|(before, after)| before <= after), "{key}: {before:?}, {after:?}");
        }
        machine = machine.with(&path, &value);
    }
    for (directive, value) in values(unit) {
        machine = match directive.as_str() {
            "LimitNOFILE" => machine.replaced("/proc/self/limits", "524288 ", &format!("{value} ")),
            "LimitMEMLOCK" => machine.replaced("/proc/self/limits", "65536 ", &format!("{value} ")),
            "MemoryMax" => machine.with(&format!("{OWN}/memory.max"), &value),
            "TasksMax" => machine.with(&format!("{OWN}/pids.max"), &value),
            other => panic!("{other} is not known"),
        };
    }
    machine
}

/// A large machine with low limits.
fn low() -> Machine {
    Machine::server()
        .with(
            "/proc/meminfo",
            "MemTotal: 1073741824 kB\nMemAvailable: 1073741824 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
        )
        .with("/proc/sys/kernel/osrelease", "6.18.0\n")
        .with("/proc/sys/fs/file-max", "100000\n")
        .with("/proc/sys/net/ipv4/tcp_tw_reuse", "0\n")
        .with("/proc/sys/net/ipv4/tcp_syncookies", "0\n")
        .with(&format!("{OWN}/memory.max"), "1073741824\n")
        .with(&format!("{OWN}/pids.max"), "3\n")
        .replaced("/proc/self/limits", "8388608              8388608", "65536                65536  ")
}

fn raised(groups: &[Group]) -> impl Iterator<Item = &Finding> {
    groups.iter().flat_map(|group| &group.findings).filter(|finding| !finding.raises.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_printed_files_leave_nothing_short(
        target in prop_oneof![Just(None), (1u64..4_000_000).prop_map(Some)],
        role in prop_oneof![Just(MachineRole::Server), Just(MachineRole::Client), Just(MachineRole::Both)],
    ) {
        // One address has 64 512 ports.
        let addresses = target.unwrap_or(4_000_000).div_ceil(64_512);
        let machine = low();
        let (goal, groups) = machine.check(target, role, addresses);
        let fixes = Fixes::of(&groups);
        let (sysctl, unit) = (fixes.print(Fix::Sysctl, &goal), fixes.print(Fix::Systemd, &goal));
        let machine = applied(machine, &sysctl, &unit);
        let (goal, groups) = machine.check(target, role, addresses);
        let left: Vec<_> = raised(&groups).collect();
        prop_assert!(left.is_empty(), "{left:#?} after {sysctl}{unit}");
        let short = groups.iter().flat_map(|group| &group.findings).find(|finding| finding.state == State::Short);
        prop_assert_eq!(short, None);
        let again = Fixes::of(&groups).print(Fix::All, &goal);
        prop_assert!(values(&again).is_empty(), "{again}");
    }
}

#[test]
fn the_files_have_names_a_purpose_and_the_present_values() {
    let (goal, groups) = low().check(Some(1_000_000), MachineRole::Server, 1);
    let text = Fixes::of(&groups).print(Fix::All, &goal);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "# /etc/sysctl.d/90-ringway.conf");
    assert!(lines[1].starts_with("# For 1 000 000 connections, role server"), "{text}");
    for line in [
        "fs.file-max = 1052280",
        "# now 100 000",
        "[Service]",
        "LimitNOFILE=1000060",
        "TasksMax=20",
        "LimitMEMLOCK=585728",
    ] {
        assert!(lines.contains(&line), "{line} in {text}");
    }
    let (goal, groups) = Machine::server().check(Some(100), MachineRole::Server, 1);
    let text = Fixes::of(&groups).print(Fix::All, &goal);
    assert!(text.contains("# No sysctl has to be raised.") && values(&text).is_empty(), "{text}");
}
