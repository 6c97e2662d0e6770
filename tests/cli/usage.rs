//! Help, and invalid arguments: exit code 2.

use ringway_tests::{ringway, run};

#[test]
fn help_lists_the_commands_and_each_has_its_own() {
    let help = run(ringway(&["--help"]));
    assert!(help.status.success(), "{help:?}");
    let commands: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        // Continuation lines are indented further.
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"serve"), "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let help = run(ringway(&[command, "--help"]));
        assert!(help.status.success() && help.stdout.contains("Usage: ringway"), "{command}: {help:?}");
    }
}

#[test]
fn help_explains_the_exit_codes() {
    let help = run(ringway(&["--help"]));
    assert!(help.stdout.contains("Exit codes: 0"), "{help:?}");
}

#[test]
fn the_version_is_printed() {
    let version = run(ringway(&["--version"]));
    assert!(version.status.success());
    assert_eq!(version.stdout, concat!("ringway ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn no_command_is_a_usage_error() {
    let ended = run(ringway(&[]));
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("Usage: ringway"), "{ended:?}");
}

#[test]
fn a_bad_value_is_named_with_its_flag() {
    for (flag, value) in [
        ("--shards", "0"),
        ("--shards", "some"),
        ("--cores", "first"),
        ("--cores", "0-"),
        ("--cores", "3-1"),
        ("--cores", "0,1,0"),
        ("--cores", "0,,1"),
        ("--app", "chess"),
        ("--max-message", "1x"),
        ("--max-message", "-1"),
        ("--max-connections", "many"),
        ("--handshake-timeout", "soon"),
        ("--idle-timeout", "1.5x"),
        ("--buffer-size", "99999999999999999999g"),
    ] {
        let ended = run(ringway(&["serve", "--listen", "127.0.0.1:0", &format!("{flag}={value}")]));
        assert_eq!(ended.status.code(), Some(2), "{flag} {value}: {ended:?}");
        assert!(ended.stderr.contains(&format!("'{value}'")) && ended.stderr.contains(flag), "{ended:?}");
    }
}

#[test]
fn lists_of_cores_are_refused_with_the_reason() {
    for (value, reason) in [
        ("", "name at least one core"),
        ("0,", "name at least one core"),
        ("0-3,2", "core 2 is named twice"),
        ("3-1", "write 1-3"),
        ("0;1", "as 0-3,8"),
        ("0-99999999", "core 99999999 is out of range"),
    ] {
        for arguments in [&["serve", "--cores", value][..], &["load", "ws://127.0.0.1:1/", "--cores", value]] {
            let ended = run(ringway(arguments));
            assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
            assert!(ended.stderr.contains(reason) && ended.stderr.contains("--cores"), "{arguments:?}: {ended:?}");
        }
    }
}

/// Numbers out of the range of their flag are usage errors, and are not reported as a refusal of
/// io_uring.
#[test]
fn a_value_out_of_range_is_named_with_its_flag() {
    for (flag, value) in [
        ("--buffers", "1000"),
        ("--buffers", "0"),
        ("--buffers", "100k"),
        ("--buffer-size", "10"),
        ("--buffer-size", "2M"),
        ("--max-connections", "5000m"),
        ("--max-connections", "0"),
        ("--max-headers", "0"),
        ("--max-headers", "129"),
        ("--ring-entries", "4"),
        ("--ring-entries", "1000"),
        ("--ring-entries", "65536"),
    ] {
        let ended = run(ringway(&["serve", "--listen", "127.0.0.1:0", "--shards", "1", flag, value]));
        assert_eq!(ended.status.code(), Some(2), "{flag} {value}: {ended:?}");
        assert!(ended.stderr.contains(value) && ended.stderr.contains(flag), "{flag} {value}: {ended:?}");
        assert!(!ended.stderr.contains("io_uring"), "{flag} {value}: {ended:?}");
    }
}

/// What only the engine checks: ranges that the flags do not state, and relations between options.
#[test]
fn an_option_that_the_engine_refuses_is_named_with_its_range() {
    for (arguments, expected) in [
        (&["--max-message", "2G"][..], "limits.max_message is 2147483648: give 1 to 1073741824"),
        (&["--max-head", "2M"], "limits.max_head is 2097152: give 128 to 1048576"),
        (&["--max-memory", "1K"], "limits.max_memory is 1024: give 1048576 or more"),
        (&["--max-memory", "8M"], "limits.max_memory is 8388608: give at least limits.max_message, 16777216"),
        (&["--close-limit", "2s"], "close_limit is 2s: give at least close_timeout, 5s"),
        (&["--low-water", "1M"], "limits.low_water is 1048576: give less than limits.max_buffered, 1048576"),
        (
            &["--max-lifetime", "60s", "--lifetime-jitter", "61s"],
            "lifetime_jitter is 61s: give at most max_lifetime, 60s",
        ),
        (
            &["--write-timeout", "9000h"],
            "'9000h' for '--write-timeout <TIME>': give a time, as 500ms, 1.5s or 2m, up to 365d",
        ),
    ] {
        let ended = run(ringway(&[&["serve", "--listen", "127.0.0.1:0", "--shards", "1"], arguments].concat()));
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn names_that_cannot_match_are_refused_with_the_correct_form() {
    for (flag, value, remedy) in [
        ("--origin", "example.com", "write https://example.com"),
        ("--origin", "https://example.com/", "write https://example.com"),
        ("--subprotocol", "a b", "one name"),
        ("--subprotocol", "", "one name"),
    ] {
        let ended = run(ringway(&["serve", "--listen", "127.0.0.1:0", flag, value]));
        assert_eq!(ended.status.code(), Some(2), "{flag} {value}: {ended:?}");
        assert!(ended.stderr.contains(remedy) && ended.stderr.contains(flag), "{flag} {value}: {ended:?}");
    }
}

#[test]
fn an_origin_is_required_or_listed_and_not_both() {
    let ended = run(ringway(&["serve", "--require-origin", "--origin", "https://example.com"]));
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
}

#[test]
fn help_explains_the_wildcard_of_ipv6() {
    let help = run(ringway(&["serve", "--help"]));
    let words: Vec<&str> = help.stdout.split_whitespace().collect();
    assert!(words.join(" ").contains("`[::]:80` is all of IPv6, and only that"), "{}", help.stdout);
}

#[test]
fn an_invalid_address_is_named() {
    for address in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "[::1"] {
        let ended = run(ringway(&["serve", "--listen", address]));
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(address) && ended.stderr.contains("--listen"), "{ended:?}");
    }
}

#[test]
fn an_unknown_flag_is_named() {
    let ended = run(ringway(&["serve", "--fast"]));
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("--fast"), "{ended:?}");
}

#[test]
fn flags_of_tls_that_contradict_each_other_are_refused() {
    for (arguments, text) in [
        (&["serve", "--listen", "wss://127.0.0.1:0"][..], "--listen wss://127.0.0.1:0 needs a certificate"),
        (&["serve", "--tls-cert", "a.pem"], "--tls-key"),
        (
            &["serve", "--tls-cert", "a.pem", "--tls-key", "a.key", "--tls-key", "b.key"],
            "there are 1 --tls-cert and 2 --tls-key",
        ),
        (
            &["serve", "--tls-cert", "a.pem", "--tls-key", "a.key", "--listen", "ws://127.0.0.1:0"],
            "every --listen is without TLS",
        ),
        (&["load", "--insecure", "ws://127.0.0.1:9/"], "--insecure is for TLS: give a URL with wss://"),
        (&["load", "-k", "--cacert", "ca.pem", "wss://127.0.0.1:9/"], "--cacert"),
    ] {
        let ended = run(ringway(arguments));
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(text), "{ended:?}");
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0", "--tls-cert", "/nowhere/a.pem", "--tls-key", "/nowhere/a.key"][..],
        &["load", "--cacert", "/nowhere/a.pem", "wss://127.0.0.1:9/"],
        &["load", "--insecure", "--cert", "/nowhere/a.pem", "wss://127.0.0.1:9/"],
    ] {
        let ended = run(ringway(arguments));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let text = "ringway: cannot read /nowhere/a.pem: No such file or directory (os error 2); give a PEM file";
        assert!(ended.stderr.contains(text), "{ended:?}");
    }
}
