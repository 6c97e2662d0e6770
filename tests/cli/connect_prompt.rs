//! The prompt of `ringway connect`, on a pseudoterminal.

use crate::connect::serve_open;
use crate::tls::{Ca, address, text};
use ringway_tests::{Ended, Frame, Received, TestDirectory, TestServer, WirePeer, accepting, finish, guarded, program};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::thread;

/// A prompt on a terminal of its own.
struct Prompt {
    ours: File,
    /// Kept open, so that its modes can be read after the program has ended.
    theirs: Option<File>,
    child: Child,
    shown: Vec<u8>,
    /// What was found before ends here.
    at: usize,
    modes: Termios,
    _state: TestDirectory,
}

/// The script that is replaced by the program.
const EXEC: &str = "ulimit -c 0; exec \"$0\" \"$@\"";

impl Prompt {
    fn start(test: &str, url: &str, arguments: &[&str]) -> Self {
        Self::with(test, url, arguments, |_| {})
    }

    fn with(test: &str, url: &str, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        Self::in_shell(EXEC, test, url, arguments, change)
    }

    /// Runs a script of the shell, in which `"$0" "$@"` is the program.
    fn in_shell(script: &str, test: &str, url: &str, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        // The program must not keep our side open.
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudoterminal");
        grantpt(&ours).expect("it is ours");
        unlockpt(&ours).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let theirs = File::options().read(true).write(true).open(name.to_str().expect("ASCII")).expect("unlocked");
        tcsetwinsize(&theirs, Winsize { ws_row: 40, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 }).expect("a terminal");
        let modes = tcgetattr(&theirs).expect("a terminal");
        let state = TestDirectory::new(&format!("prompt-{test}"));
        // The program has the terminal as its controlling one, as in a shell.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "sh", "-c", script]).arg(program());
        command.args(["connect", url]).args(arguments);
        let same = || theirs.try_clone().expect("a descriptor");
        command.stdin(same()).stdout(same()).stderr(same());
        command.env("TERM", "xterm").env("TZ", "UTC").env("XDG_STATE_HOME", state.path()).env_remove("NO_COLOR");
        change(&mut command);
        let child = command.spawn().expect("setsid of util-linux is installed");
        Self { ours: ours.into(), theirs: Some(theirs), child, shown: Vec::new(), at: 0, modes, _state: state }
    }

    fn type_line(&mut self, line: &str) {
        self.ours.write_all(format!("{line}\r").as_bytes()).expect("the terminal takes it");
    }

    /// Waits until the text is shown, behind what was expected before.
    fn expect(&mut self, text: &str) {
        let (ours, at, shown) = (&mut self.ours, self.at, &mut self.shown);
        let found = guarded(Pid::from_child(&self.child), || {
            let (mut buffer, mut searched) = ([0; 4096], at);
            loop {
                if let Some(found) = shown[searched..].windows(text.len()).position(|part| part == text.as_bytes()) {
                    return Some(searched + found + text.len());
                }
                searched = at.max((shown.len() + 1).saturating_sub(text.len()));
                match ours.read(&mut buffer) {
                    Ok(read) if read > 0 => shown.extend_from_slice(&buffer[..read]),
                    _ => return None,
                }
            }
        });
        let behind = || String::from_utf8_lossy(&self.shown[at..]);
        self.at = found.unwrap_or_else(|| panic!("expected {text:?} in {:?}", behind()));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for the end, and checks that the terminal has its former modes.
    fn ended(self) -> (Ended, String) {
        let Self { mut ours, theirs, child, mut shown, modes, .. } = self;
        let ended = finish(child);
        let theirs = theirs.expect("it was kept");
        let now = tcgetattr(&theirs).expect("a terminal");
        let of = |modes: &Termios| (modes.input_modes, modes.output_modes, modes.local_modes);
        assert_eq!(of(&now), of(&modes), "the modes of the terminal");
        assert!(now.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        drop(theirs);
        // Ends with an error, because no process has the terminal open.
        let _ = ours.read_to_end(&mut shown);
        (ended, String::from_utf8(shown).expect("UTF-8"))
    }
}

fn echo() -> (TestServer<ringway_tests::Echo>, String) {
    let server = TestServer::echo();
    let url = format!("ws://{}/", server.address());
    (server, url)
}

#[test]
fn a_typed_line_is_sent_and_what_arrives_is_shown_with_time_and_kind() {
    let (_server, url) = echo();
    let mut prompt = Prompt::with("typed", &url, &[], |command| {
        command.env("NO_COLOR", "1");
    });
    prompt.expect(&format!("connected to {url} at "));
    prompt.expect("> ");
    prompt.type_line("hello");
    prompt.expect(" text 5 B │ hello");
    prompt.type_line("//slash");
    prompt.expect(" text 6 B │ /slash");
    prompt.type_line("/binary 00 ff 68 69");
    prompt.expect(" binary 4 B");
    prompt.expect("00000000  00 ff 68 69");
    prompt.expect("│..hi│");
    prompt.type_line("/ping are you there");
    prompt.expect(" pong 13 B, round trip ");
    prompt.expect("│ are you there");
    prompt.type_line("/json on");
    prompt.expect("JSON is indented");
    prompt.type_line("{\"a\":[1]}");
    prompt.expect("  │   \"a\": [");
    prompt.type_line("/nonsense");
    prompt.expect("/nonsense is no command, and nothing was sent: /help lists them");
    prompt.type_line("/close 1005");
    prompt.expect("1005 is no close code that may be sent");
    prompt.type_line("/help");
    prompt.expect("/binary @FILE|HEX");
    prompt.type_line("/history");
    prompt.expect("2  //slash");
    prompt.type_line("/close 4001 bye");
    prompt.expect("closed by us: 4001 (code of the application) \"bye\", clean");
    let (ended, text) = prompt.ended();
    assert_eq!(ended.status.code(), Some(0), "{text}");
    assert!(!text.contains("\x1b[3"), "NO_COLOR: {text:?}");
    assert!(text.ends_with("\x1b[?2004l\r\n"), "the prompt is finished: {text:?}");
}

#[test]
fn what_the_peer_sends_cannot_control_the_terminal() {
    let (address, served) = serve_open(|mut peer| {
        peer.send(&Frame::text("\x1b]0;title\x07\x1b[31m\u{9b}31m\u{202e}\r\nconnected to evil").unmasked());
        peer.send(&Frame::ping(b"\x1b[32m").unmasked());
        peer.masked_frame();
        peer.send(&Frame::close(1000, "\x1b[33m").unmasked());
        peer.masked_frame();
    });
    let mut prompt = Prompt::start("escapes", &format!("ws://{address}/"), &[]);
    prompt.expect("│ \\x1b]0;title\\x07\\x1b[31m\\x9b31m\\u{202e}\\r\r\n");
    prompt.expect("  │ connected to evil");
    prompt.expect("│ \\x1b[32m");
    prompt.expect("\"\\x1b[33m\"");
    served.join().expect("no panic");
    let (ended, text) = prompt.ended();
    assert_eq!(ended.status.code(), Some(0));
    // Of the program itself, the messages are cyan and never red.
    assert!(!text.contains("\x1b[31m\\") && !text.contains("\x1b]0"), "{text:?}");
}

#[test]
fn three_thousand_pasted_lines_are_all_sent() {
    let (_server, url) = echo();
    let mut prompt = Prompt::start("pasted", &url, &[]);
    prompt.expect("> ");
    let mut typing = prompt.ours.try_clone().expect("a descriptor");
    let pasting = thread::spawn(move || {
        let lines: String = (0..3000).map(|n| format!("line {n}\r")).collect();
        typing.write_all(lines.as_bytes()).expect("the terminal takes it");
    });
    for number in [0, 1499, 2999] {
        prompt.expect(&format!("│ line {number}\r\n"));
    }
    pasting.join().expect("no panic");
    prompt.ours.write_all(b"\x04").expect("the terminal takes it");
    let (ended, text) = prompt.ended();
    assert_eq!(ended.status.code(), Some(0));
    let shown: Vec<&str> = text.split("│ line ").skip(1).collect();
    assert_eq!(shown.len(), 3000);
    for (n, rest) in shown.iter().enumerate() {
        assert!(rest.starts_with(&format!("{n}\r\n")), "line {n} is in its place: {rest:?}");
    }
}

#[test]
fn the_end_of_the_conversation_ends_the_prompt() {
    for (code, exit, meaning) in [(1000, 0, "normal closure"), (1011, 1, "internal error")] {
        let (address, served) = serve_open(move |mut peer| {
            peer.send(&Frame::text("last words").unmasked());
            peer.send(&Frame::close(code, "done").unmasked());
            peer.masked_frame();
        });
        let mut prompt = Prompt::start(&format!("end-{code}"), &format!("ws://{address}/"), &[]);
        prompt.expect("│ last words");
        prompt.expect(&format!("closed by the server: {code} ({meaning}) \"done\", clean"));
        served.join().expect("no panic");
        let (ended, text) = prompt.ended();
        assert_eq!(ended.status.code(), Some(exit), "{text}");
    }
}

#[test]
fn every_signal_leaves_the_terminal_as_it_was() {
    for (signal, close, exit) in [
        (Signal::INT, Some(1000), 130),
        (Signal::TERM, Some(1001), 143),
        (Signal::HUP, Some(1001), 129),
        (Signal::QUIT, None, 131),
    ] {
        let (address, served) = serve_open(|mut peer| match peer.try_close() {
            Some(code) => {
                peer.send(&Frame::close(1000, "").unmasked());
                Some(code)
            }
            None => None,
        });
        let mut prompt = Prompt::start(&format!("signal-{exit}"), &format!("ws://{address}/"), &[]);
        prompt.expect("> ");
        prompt.signal(signal);
        let (ended, text) = prompt.ended();
        assert_eq!(served.join().expect("no panic"), close, "{signal:?}");
        let status = ended.status.code().or(ended.status.signal().map(|signal| 128 + signal));
        assert_eq!(status, Some(exit), "{signal:?}: {text}");
    }
}

/// The code of the close frame that comes, or `None` if the connection ends without one.
trait TryClose {
    fn try_close(&mut self) -> Option<u16>;
}

impl TryClose for WirePeer {
    fn try_close(&mut self) -> Option<u16> {
        match self.skip(1) {
            // 0x88; then the length and the key, and the masked code.
            Ok(()) => {
                let rest = self.bytes(7);
                Some(u16::from_be_bytes([rest[5] ^ rest[1], rest[6] ^ rest[2]]))
            }
            Err(_) => None,
        }
    }
}

#[test]
fn keys_end_the_conversation() {
    for (key, exit) in [(b"\x03", 130), (b"\x04", 0)] {
        let (_server, url) = echo();
        let mut prompt = Prompt::start(&format!("key-{}", key[0]), &url, &[]);
        prompt.expect("> ");
        prompt.ours.write_all(key).expect("the terminal takes it");
        prompt.expect("closed by us: 1000 (normal closure), clean");
        assert_eq!(prompt.ended().0.status.code(), Some(exit), "{key:?}");
    }
}

#[test]
fn the_key_of_sigquit_ends_the_program_at_once() {
    let (_server, url) = echo();
    let mut prompt = Prompt::start("quit", &url, &[]);
    prompt.expect("> ");
    prompt.ours.write_all(b"\x1c").expect("the terminal takes it");
    assert_eq!(prompt.ended().0.status.signal(), Some(3));
}

#[test]
fn a_stopped_prompt_leaves_the_terminal_to_the_shell_and_goes_on() {
    let (_server, url) = echo();
    let script = "set -m; \"$0\" \"$@\"; stty -a; echo resuming; fg; echo \"ended with $?\"";
    let mut prompt = Prompt::in_shell(script, "stopped", &url, &[], |_| {});
    prompt.expect("Ctrl-D closes\r\n");
    prompt.expect("> ");
    prompt.ours.write_all(b"hal").expect("the terminal takes it");
    prompt.expect("hal");
    let typed = prompt.at;
    prompt.ours.write_all(b"\x1a").expect("the terminal takes it");
    prompt.expect("resuming\r\n");
    let shown = String::from_utf8_lossy(&prompt.shown[typed..prompt.at]);
    assert!(shown.starts_with("\x1b[?2004l\r"), "no bracketed paste: {shown:?}");
    for mode in ["icanon", "echo", "isig", "icrnl", "opost"] {
        assert!(shown.split_whitespace().any(|word| word == mode), "{mode}: {shown}");
    }
    prompt.expect("\x1b[?2004h");
    prompt.expect("> hal");
    prompt.type_line("f");
    prompt.expect("│ half");
    prompt.ours.write_all(b"\x04").expect("the terminal takes it");
    prompt.expect("closed by us: 1000 (normal closure), clean");
    prompt.expect("ended with 0");
    assert_eq!(prompt.ended().0.status.code(), Some(0));
}

#[test]
fn without_a_shell_to_continue_it_the_prompt_is_not_stopped() {
    let (_server, url) = echo();
    let mut prompt = Prompt::start("orphaned", &url, &[]);
    prompt.expect("> ");
    prompt.signal(Signal::TSTP);
    for line in ["one", "two"] {
        prompt.type_line(line);
        prompt.expect(&format!("│ {line}"));
    }
    prompt.ours.write_all(b"\x04").expect("the terminal takes it");
    assert_eq!(prompt.ended().0.status.code(), Some(0));
}

#[test]
fn a_terminal_that_vanishes_closes_the_connection() {
    let (address, served) = serve_open(|mut peer| {
        let code = peer.try_close();
        peer.send(&Frame::close(1001, "").unmasked());
        code
    });
    let mut prompt = Prompt::start("vanishing", &format!("ws://{address}/"), &[]);
    prompt.expect("> ");
    drop(prompt.theirs.take());
    let Prompt { ours, child, .. } = prompt;
    drop(ours);
    assert_eq!(served.join().expect("no panic"), Some(1001));
    let ended = finish(child);
    assert!(matches!(ended.status.code(), Some(1 | 129)), "{ended:?}");
}

#[test]
fn a_line_that_is_typed_without_a_connection_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    let (again, go_on) = std::sync::mpsc::channel();
    let served = thread::spawn(move || {
        let accept = || {
            let mut peer = WirePeer::accepted(listener.accept().expect("the client connects").0);
            let head = peer.head();
            peer.write(accepting(&head));
            peer
        };
        accept().reset();
        // The next connection is accepted by the kernel, and not answered yet.
        go_on.recv().expect("the test goes on");
        let mut peer = accept();
        let (frame, _) = peer.masked_frame();
        assert_eq!(peer.masked_frame().0.close_code(), Some(1000));
        peer.send(&Frame::close(1000, "").unmasked());
        frame
    });
    let mut prompt = Prompt::start("refused", &url, &["--reconnect=5"]);
    prompt.expect("connecting again in ");
    prompt.type_line("too early");
    prompt.expect("not sent: no connection is open");
    again.send(()).expect("the server waits");
    prompt.expect("connected to ");
    prompt.type_line("in time");
    prompt.ours.write_all(b"\x04").expect("the terminal takes it");
    assert_eq!(prompt.ended().0.status.code(), Some(0));
    assert_eq!(served.join().expect("no panic"), Received::text("in time"));
}

#[test]
fn a_terminal_without_cursor_movements_has_lines() {
    let (_server, url) = echo();
    let mut prompt = Prompt::with("dumb", &url, &[], |command| {
        command.env("TERM", "dumb");
    });
    prompt.expect("connected to ");
    prompt.ours.write_all(b"hello\n").expect("the terminal takes it");
    prompt.expect("text 5 B │ hello");
    prompt.ours.write_all(b"/close 4000\n").expect("the terminal takes it");
    prompt.expect("closed by us: 4000");
    let (ended, text) = prompt.ended();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!text.contains("\x1b[K") && !text.contains("\x1b[3"), "{text:?}");
}

#[test]
fn the_history_is_kept_for_the_next_prompt() {
    let (_server, url) = echo();
    let directory = TestDirectory::new("prompt-history");
    let state = |command: &mut Command| {
        command.env("XDG_STATE_HOME", directory.path());
    };
    let mut first = Prompt::with("history-1", &url, &[], state);
    first.expect("> ");
    first.type_line("remember me");
    first.expect("│ remember me");
    first.type_line(" not me");
    first.expect("│  not me");
    first.type_line("/quit");
    assert_eq!(first.ended().0.status.code(), Some(0));
    let file = directory.path().join("ringway/connect_history");
    let kept = std::fs::read_to_string(&file).expect("it was written");
    assert!(kept.contains("remember me\n") && !kept.contains("not me"), "{kept}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("it exists").permissions());
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let mut second = Prompt::with("history-2", &url, &[], state);
    second.expect("> ");
    // The arrow key: /quit, and the line before it.
    second.ours.write_all(b"\x1b[A\x1b[A\r").expect("the terminal takes it");
    second.expect("│ remember me");
    second.ours.write_all(b"\x04").expect("the terminal takes it");
    assert_eq!(second.ended().0.status.code(), Some(0));
}

#[test]
fn a_prompt_over_tls_shows_the_session_and_an_unknown_issuer_is_refused() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let server = ca.serve(&["server"], &[]);
    let root = ca.folder.write("root.pem", ca.root.pem());
    let url = format!("wss://localhost:{}/", address(&server).port());
    for (name, flags) in [("verified", &["--cacert", text(&root)][..]), ("insecure", &["-k"])] {
        let mut prompt = Prompt::start(&format!("tls-{name}"), &url, flags);
        prompt.expect(&format!("connected to {url} at "));
        prompt.expect("TLS 1.3, ");
        prompt.expect("certificate ");
        prompt.expect("> ");
        prompt.type_line("over TLS");
        prompt.expect("│ over TLS");
        prompt.type_line("/quit");
        prompt.expect("closed by us: 1000 (normal closure), clean");
        assert_eq!(prompt.ended().0.status.code(), Some(0), "{name}");
    }
    let mut prompt = Prompt::start("tls-refused", &url, &[]);
    prompt.expect(&url);
    prompt.expect("\r\n");
    let (ended, text) = prompt.ended();
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(!text.contains("connected to") && text.contains("certificate"), "{text:?}");
}
