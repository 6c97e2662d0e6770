//! The live view of `ringway load`: one line that is rewritten on a terminal, a line every few
//! seconds elsewhere, and none with `--quiet`; and the width of the summary.

use ringway_tests::{TestServer, finish, guarded, ringway, run, start};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A load of one thread.
fn load(server: SocketAddr, arguments: &[&str]) -> Command {
    ringway(&[&["load", &format!("ws://{server}/"), "-t", "1", "-c", "2"], arguments].concat())
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// A pseudoterminal of this many columns: the side of the test, and that of the program.
pub(crate) fn terminal(columns: u16) -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudoterminal");
    grantpt(&ours).expect("it is ours");
    unlockpt(&ours).expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let theirs = File::options().read(true).write(true).open(name.to_str().expect("ASCII")).expect("it is unlocked");
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size).expect("it is a terminal");
    (ours.into(), theirs)
}

/// Reads from a terminal into `text` until it satisfies `enough`, or until no process has it open.
pub(crate) fn read_until(terminal: &mut File, text: &mut String, enough: impl Fn(&str) -> bool) {
    let mut bytes = text.clone().into_bytes();
    let mut buffer = [0; 4096];
    while !enough(text) {
        match terminal.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            // No process has the other side open.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => break,
            Err(error) => panic!("{error}"),
        }
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }
}

/// The text of a terminal without its control sequences, one line for each time that it was
/// rewritten.
fn rewritten(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => {
                chars.find(|char| char.is_ascii_alphabetic());
            }
            '\r' | '\n' => lines.push(String::new()),
            char => lines.last_mut().expect("never empty").push(char),
        }
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

#[test]
fn on_a_terminal_one_line_is_rewritten_and_erased() {
    let server = TestServer::echo();
    let (mut ours, theirs) = terminal(80);
    let mut command = load(server.address(), &["-d", "1h", "-w", "0"]);
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(theirs);
    let child = command.spawn().expect("the program starts");
    drop(command); // It has the terminal open.
    let mut text = String::new();
    guarded(pid(&child), || {
        read_until(&mut ours, &mut text, |text| text.contains("/3600 s") && text.contains("p99"));
        kill_process(pid(&child), Signal::INT).expect("it runs");
        read_until(&mut ours, &mut text, |_| false);
    });
    let ended = finish(child);
    assert_eq!(ended.status.code(), Some(130), "{text:?}");
    assert!(!text.contains('\n'), "it is one line: {text:?}");
    let lines = rewritten(&text);
    let line = lines.iter().find(|line| line.contains("p99")).unwrap_or_else(|| panic!("{lines:?}"));
    for part in ["/3600 s  ", "/s  p50 ", "  p99 ", "  0 errors  backlog 0  2 open"] {
        assert!(line.contains(part), "{part:?} in {line:?}");
    }
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
    // ESC [ 2 K, or ESC [ J, erases it.
    let (_, end) = text.rsplit_once("open").unwrap_or_else(|| panic!("{text:?}"));
    assert!(end.contains("\u{1b}[2K") || end.contains("\u{1b}[J"), "{end:?}");
}

#[test]
fn a_narrow_terminal_cuts_the_line_instead_of_wrapping_it() {
    let server = TestServer::echo();
    let (mut ours, theirs) = terminal(30);
    let mut command = load(server.address(), &["-d", "1h", "-w", "0"]);
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(theirs);
    let child = command.spawn().expect("the program starts");
    drop(command);
    let mut text = String::new();
    guarded(pid(&child), || {
        read_until(&mut ours, &mut text, |text| text.matches("/3600 s").count() >= 3);
        kill_process(pid(&child), Signal::INT).expect("it runs");
        read_until(&mut ours, &mut text, |_| false);
    });
    finish(child);
    let lines = rewritten(&text);
    assert!(!text.contains('\n') && lines.iter().all(|line| line.chars().count() <= 30), "{lines:?}");
}

/// The first line comes after five seconds.
#[test]
fn without_a_terminal_a_line_comes_every_few_seconds() {
    let server = TestServer::echo();
    let mut child = start(load(server.address(), &["-d", "1h", "-w", "0", "-R", "100"]));
    let mut stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
    let mut line = String::new();
    guarded(pid(&child), || stderr.read_line(&mut line)).expect("UTF-8");
    kill_process(pid(&child), Signal::INT).expect("it runs");
    assert_eq!(finish(child).status.code(), Some(130));
    assert!(line.ends_with(" open\n") && !line.contains(['\r', '\u{1b}']), "{line:?}");
    for part in ["/3600 s  ", "/s  p50 ", "  p99 ", "  0 errors  backlog ", "  2 open"] {
        assert!(line.contains(part), "{part:?} in {line:?}");
    }
    // The rate is that of the whole interval: 100/s, whatever the load of this machine is now.
    let rate = line.split("  ").nth(1).and_then(|rate| rate.strip_suffix("/s")).unwrap_or_else(|| panic!("{line:?}"));
    let rate: f64 = rate.parse().unwrap_or_else(|_| panic!("{line:?}"));
    assert!((50.0..=105.0).contains(&rate), "{line:?}");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("UTF-8");
    assert!(rest.lines().count() <= 1, "{rest:?}");
}

#[test]
fn a_short_run_without_a_terminal_prints_no_line() {
    let server = TestServer::echo();
    let ended = run(load(server.address(), &["-n", "10"]));
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn quiet_turns_the_view_off_also_on_a_terminal() {
    let server = TestServer::echo();
    for flag in ["-q", "--quiet"] {
        let (mut ours, theirs) = terminal(80);
        let mut command = load(server.address(), &["-d", "500ms", "-w", "0", flag]);
        command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(theirs);
        let child = command.spawn().expect("the program starts");
        drop(command);
        let mut text = String::new();
        guarded(pid(&child), || read_until(&mut ours, &mut text, |_| false));
        assert_eq!((finish(child).status.code(), text.as_str()), (Some(0), ""), "{flag}");
    }
}

#[test]
fn the_summary_has_the_width_of_the_terminal_within_limits() {
    let server = TestServer::echo();
    for (columns, expected) in [(40, 80), (80, 80), (100, 100), (200, 120)] {
        let (mut ours, theirs) = terminal(columns);
        let mut command = load(server.address(), &["-n", "10", "-q"]);
        command.stdin(Stdio::null()).stdout(theirs).stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        drop(command);
        let mut text = String::new();
        guarded(pid(&child), || read_until(&mut ours, &mut text, |_| false));
        assert_eq!(finish(child).status.code(), Some(0));
        let longest = text.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(longest.is_some_and(|longest| longest <= expected), "{columns}: {longest:?} {text}");
        // The verdict, or the load, is longer than 80 characters.
        assert_eq!(longest.is_some_and(|longest| longest > 80), expected > 80, "{columns}: {text}");
    }
}
