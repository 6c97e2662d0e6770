//! `ringway completions`: scripts that shells accept, and completions that bash makes with them.

use ringway_tests::{ringway, run};
use std::process::Command;

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];

fn script(shell: &str) -> String {
    let ended = run(ringway(&["completions", shell]));
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{shell}");
    ended.stdout
}

/// What bash completes the last of `words` to.
fn completed_by_bash(words: &[&str]) -> Vec<String> {
    let mut command = Command::new("bash");
    command
        .args(["--norc", "--noprofile", "-c"])
        .arg(
            "eval \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
             $(complete -p ringway | sed 's/.*-F \\([^ ]*\\).*/\\1/') ringway \"${COMP_WORDS[COMP_CWORD]}\" \
             \"${COMP_WORDS[COMP_CWORD - 1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"",
        )
        .arg("bash")
        .arg(script("bash"))
        .args(words);
    let ended = run(command);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{words:?}");
    ended.stdout.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(completed_by_bash(&["ringway", "se"]), ["serve"]);
    assert_eq!(completed_by_bash(&["ringway", "serve", "--max-mess"]), ["--max-message"]);
    assert_eq!(completed_by_bash(&["ringway", "serve", "--app", "e"]), ["echo"]);
    assert_eq!(completed_by_bash(&["ringway", "completions", "z"]), ["zsh"]);
}

#[test]
fn each_shell_has_its_own_script_without_the_hidden_command() {
    let help = run(ringway(&["floor", "--help"]));
    assert!(help.status.success(), "the hidden command still exists: {help:?}");
    let scripts = SHELLS.map(script);
    for (at, (shell, script)) in SHELLS.iter().zip(&scripts).enumerate() {
        for word in ["serve", "load", "bench", "completions", "man", "max-connections"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains("floor"), "{shell}");
        assert!(!scripts[..at].contains(script), "{shell}");
    }
}

/// Checks the syntax with the shells that this machine has. Bash is one of them, since the test
/// suite needs it.
#[test]
fn the_shells_accept_the_syntax_of_their_scripts() {
    for (shell, option) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        if shell != "bash" && Command::new(shell).arg("--version").output().is_err() {
            eprintln!("NOT TESTED: the syntax of the script for {shell}, which is not installed");
            continue;
        }
        let mut command = Command::new("sh");
        command.args(["-c", "printf %s \"$1\" | exec \"$2\" \"$3\" /dev/stdin", "sh"]);
        command.arg(script(shell)).arg(shell).arg(option);
        let ended = run(command);
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    for arguments in [&["completions", "zsh"][..], &["man"]] {
        let (reader, writer) = std::io::pipe().expect("there is a descriptor left");
        drop(reader);
        let output = ringway(arguments).stdout(writer).output().expect("the program starts");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{arguments:?}");
    }
}

#[test]
fn an_unknown_shell_is_refused_with_the_list_of_shells() {
    let ended = run(ringway(&["completions", "csh"]));
    assert_eq!(ended.status.code(), Some(2));
    for word in ["csh"].iter().chain(&SHELLS) {
        assert!(ended.stderr.contains(word), "{ended:?}");
    }
}
