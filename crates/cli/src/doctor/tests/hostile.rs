//! Whatever the files contain, the checks return findings, and the reports print them.

use super::machine::Machine;
use crate::doctor::arguments::Fix;
use crate::doctor::finding::State;
use crate::doctor::goal::MachineRole;
use crate::doctor::report::fix::Fixes;
use crate::doctor::report::json;
use crate::doctor::report::text::{self, Style};
use proptest::prelude::*;

/// Contents that a parser may not expect.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[0-9 \t,:/a-z\\-\n]{0,80}".prop_map(String::into_bytes),
        any::<u64>().prop_map(|number| format!("{number} {number} {number}\n").into_bytes()),
        Just(b"18446744073709551615 18446744073709551615 18446744073709551615 18446744073709551615".to_vec()),
        Just(b"0-1048575,0-1048575,1-2".to_vec()),
        Just(b"\x1b[2J\x1b]0;title\x07\r\n".to_vec()),
        Just(b"-1\n".to_vec()),
        Just(b"Max open files 0 0 files\nMax locked memory 0 0 bytes\n".to_vec()),
        Just(b"cpu  1 2 3 4 5 6 7 18446744073709551615\n".to_vec()),
        Just(b"MemAvailable: 18446744073709551615 kB\nMemTotal: 1 kB\n".to_vec()),
        Just(Vec::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_contents_make_a_check_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), content()), 1..40),
        target in prop_oneof![Just(None), any::<u64>().prop_map(|target| Some(target.max(1)))],
        role in prop_oneof![Just(MachineRole::Server), Just(MachineRole::Client), Just(MachineRole::Both)],
        addresses in 1u64..65_537,
        width in 0usize..300,
        (has_colours, is_verbose) in any::<(bool, bool)>(),
    ) {
        let mut machine = Machine::server();
        let paths: Vec<String> = machine.files.keys().cloned().collect();
        for (index, content) in changes {
            machine.files.insert(index.get(&paths).clone(), content);
        }
        let (goal, groups) = machine.check(target, role, addresses);
        let style = Style::new(Some(width), false, is_verbose);
        let plain = text::print(&groups, &goal, &style);
        prop_assert!(plain.chars().all(|c| c == '\n' || !c.is_control()), "{plain:?}");
        prop_assert!(plain.lines().all(|line| line == line.trim_end()), "{plain:?}");
        text::print(&groups, &goal, &Style::new(Some(width), has_colours, is_verbose));
        let report = json::print(&groups, &goal).map_err(|failure| TestCaseError::fail(failure.0))?;
        prop_assert!(serde_json::from_str::<serde_json::Value>(&report).is_ok());
        for line in Fixes::of(&groups).print(Fix::All, &goal).lines() {
            let is_value = line.contains('=') || line.starts_with('#') || line.starts_with('[');
            prop_assert!((is_value || line.is_empty()) && !line.chars().any(char::is_control), "{line:?}");
        }
        for finding in groups.iter().flat_map(|group| &group.findings) {
            prop_assert!(!finding.value.is_empty() && !finding.allows.is_empty(), "{finding:?}");
            prop_assert!(finding.state != State::Short || !finding.commands.is_empty(), "{finding:?}");
        }
    }
}
