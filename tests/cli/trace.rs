//! `serve --trace-frames`, `connect --trace` and `connect --pcap`: lines and captures of what goes
//! over connections.

use super::connect::serve_open;
use super::tls::Ca;
use ringway_tests::tls::RustlsPeer;
use ringway_tests::{Ended, Frame, ServerProcess, TestDirectory, WirePeer, finish, guarded, program, ringway, run};
use rustix::process::{Pid, Signal};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server whose standard output is read.
struct Tracing {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Tracing {
    fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (mut address, mut line) = (None, String::new());
        while !line.starts_with("connections") {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).expect("UTF-8"), 0, "the server has ended");
            let parsed = line.trim().split_once("listening on ws").and_then(|(_, rest)| rest.split_once("://"));
            address = address.or_else(|| parsed.and_then(|(_, address)| address.parse().ok()));
        }
        Self { child, stdout, address: address.expect("an address is printed") }
    }

    fn with(arguments: &[&str]) -> Self {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--shards=1", "--trace-frames=-", "--stop-with-stdin"];
        Self::start(ringway(&[&serve, arguments].concat()))
    }

    /// Stops the server, and returns what it has printed since it began, without the times.
    fn lines(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).expect("UTF-8");
        let ended = finish(self.child);
        assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
        let lines = text.lines().filter(|line| !line.starts_with("drained"));
        lines
            .map(|line| {
                let (time, rest) = line.split_once(' ').unwrap_or_default();
                assert!(time.len() == 16 && time.ends_with('Z'), "{line}");
                rest.to_owned()
            })
            .collect()
    }
}

/// The lines of frames.
fn frames(lines: &[String]) -> Vec<&str> {
    let frames = lines.iter().skip_while(|line| !line.starts_with("#1 >   Sec-WebSocket-Accept: "));
    frames.skip(1).map(String::as_str).collect()
}

/// The payloads of the TCP segments in a capture of IPv4 packets. Checks that the last packet is
/// whole.
fn payloads(file: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(file).expect("the capture is there");
    assert_eq!(bytes[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    let (mut payloads, mut rest) = (Vec::new(), &bytes[24..]);
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().expect("four bytes")) as usize;
        let packet = &rest[16..16 + len];
        rest = &rest[16 + len..];
        payloads.push(packet[20 + usize::from(packet[32] >> 4) * 4..].to_vec());
    }
    payloads.into_iter().filter(|payload| !payload.is_empty()).collect()
}

fn close(mut peer: WirePeer) {
    peer.send(&Frame::close(4001, "bye"));
    assert_eq!(peer.close_code(), Some(4001));
    peer.end();
}

#[test]
fn lines_show_the_handshake_and_the_frames_of_both_directions() {
    let serving = Tracing::with(&[]);
    let mut peer = WirePeer::open(serving.address);
    peer.expect_echo("hello");
    peer.send(&Frame::ping("p"));
    peer.frame();
    peer.send(&Frame::binary([0xab; 100_000]));
    peer.frame();
    close(peer);
    let lines = serving.lines();
    assert!(lines[0].starts_with("#1 * accepted from 127.0.0.1:") && lines[0].contains(" at 127.0.0.1:"), "{lines:?}");
    assert!(lines[1].starts_with("#1 < GET ") && lines.iter().any(|line| line.ends_with("101 Switching Protocols")));
    let mut shown = frames(&lines);
    let end = shown.pop().expect("the end");
    assert!(end.starts_with("#1 * ended: 4001 \"bye\", closed by the peer; "), "{end}");
    let patterns = [
        "#1 < text FIN len=5 mask=???????? \"hello\"",
        "#1 > text FIN len=5 \"hello\"",
        "#1 < ping FIN len=1 mask=???????? \"p\"",
        "#1 > pong FIN len=1 \"p\"",
        "#1 < binary FIN len=100000 mask=???????? ab ab ab ab* ab +99968 bytes",
        "#1 > binary FIN len=100000 ab ab ab ab* ab +99968 bytes",
        "#1 < close FIN len=5 mask=???????? 4001 \"bye\"",
        "#1 > close FIN len=2 4001",
    ];
    assert_eq!(shown.len(), patterns.len(), "{shown:#?}");
    for (line, pattern) in shown.iter().zip(patterns) {
        let (begin, end) = pattern.split_once('*').unwrap_or((pattern, ""));
        let fits = |text: &str, pattern: &str| {
            text.chars().zip(pattern.chars()).all(|(c, expected)| expected == '?' || c == expected)
        };
        assert!(line.len() >= begin.len() + end.len(), "{line}");
        let has_end = fits(&line[line.len() - end.len().min(line.len())..], end);
        assert!(fits(line, begin) && has_end, "{line} is not {pattern}");
    }
}

#[test]
fn lines_show_plaintext_under_tls() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let flags = ca.flags(&["server"]);
    let serving = Tracing::with(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let mut peer = RustlsPeer::connect(serving.address, ca.client(), "localhost").expect("a handshake");
    peer.upgrade().expect("a response");
    peer.write(Frame::text("secret").bytes()).expect("open");
    assert_eq!(peer.data(8).expect("an echo"), b"\x81\x06secret");
    drop(peer);
    let lines = serving.lines();
    assert!(lines[0].contains(", with TLS, on "), "{lines:?}");
    let shown = frames(&lines);
    assert!(shown[0].starts_with("#1 < text FIN len=6 mask=") && shown[0].ends_with("\"secret\""), "{shown:?}");
    assert_eq!(shown[1], "#1 > text FIN len=6 \"secret\"");
}

#[test]
fn a_capture_has_the_bytes_of_the_first_connections() {
    let folder = TestDirectory::new("captured");
    let file = folder.file("first two.pcap");
    let option = format!("--trace-frames={}", file.display());
    let serving = ServerProcess::with(&["--shards=2", &option, "--trace-connection=2"]);
    for text in ["the first", "the second", "the third"] {
        let mut peer = WirePeer::open(serving.address());
        peer.expect_echo(text);
        close(peer);
    }
    assert!(serving.announced.iter().any(|line| line.starts_with("trace        the first 2 connections, to ")));
    serving.signal(Signal::TERM);
    let (status, stderr) = serving.wait();
    assert!(status.success() && stderr.is_empty(), "{stderr}");
    let payloads = payloads(&file);
    let contains = |text: &str| payloads.iter().filter(|payload| payload.ends_with(text.as_bytes())).count();
    // The messages of the client are masked.
    assert_eq!([contains("the first"), contains("the second"), contains("the third")], [1, 1, 0]);
    let requests = payloads.iter().filter(|payload| payload.starts_with(b"GET ")).count();
    let responses = payloads.iter().filter(|payload| payload.starts_with(b"HTTP/1.1 101 ")).count();
    assert_eq!((requests, responses), (2, 2));
    let mode = fs::metadata(&file).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only the owner can read what others have sent");
}

#[test]
fn the_trace_ends_at_its_limit_and_the_server_goes_on() {
    let folder = TestDirectory::new("short-capture");
    let file = folder.file("short.pcap");
    let option = format!("--trace-frames={}", file.display());
    let mut serving = ServerProcess::with(&["--shards=1", &option, "--trace-limit=4K"]);
    let mut peer = WirePeer::open(serving.address());
    let text = "x".repeat(100);
    for _ in 0..20 {
        peer.expect_echo(&text);
    }
    let warning = serving.warning();
    assert!(warning.contains("has ended: it has reached its limit of 4096 bytes (--trace-limit)"), "{warning}");
    peer.expect_echo("it goes on");
    serving.signal(Signal::TERM);
    let (status, stderr) = serving.wait();
    let start = format!("the trace {} is not complete: it has reached its limit of 4096 bytes", file.display());
    assert!(stderr.contains(&start) && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.ends_with("Z is missing: the rest of 1 connection, and any later one\n"), "{stderr}");
    assert!(status.success(), "{status}: the server has served");
    let written = payloads(&file);
    assert!(fs::metadata(&file).expect("it exists").len() <= 4096 && written.len() > 10, "{}", written.len());
}

#[test]
fn a_trace_that_cannot_be_written_ends_and_the_server_goes_on() {
    // The disk of one is full, and the standard output of the other is closed once it serves.
    for (option, name, cause) in [
        (
            "--trace-frames=/dev/full",
            "the trace /dev/full",
            "it cannot be written: No space left on device (os error 28)",
        ),
        ("--trace-frames=-", "the trace", "its reader is gone"),
    ] {
        let mut serving = ServerProcess::with(&["--shards=1", option]);
        let mut peer = WirePeer::open(serving.address());
        peer.expect_echo("one");
        let warning = serving.warning();
        assert!(warning.ends_with(&format!(" {name} has ended: {cause}\n")), "{warning}");
        peer.expect_echo("two");
        serving.signal(Signal::TERM);
        let (status, stderr) = serving.wait();
        let last = format!("{name} is not complete: {cause}; it has no connection\n");
        assert!(stderr.ends_with(&last) && stderr.lines().count() == 1, "{stderr}");
        assert!(status.success(), "{status}: the server has served");
    }
}

#[test]
fn the_loss_behind_a_full_queue_is_reported_and_does_not_delay_messages() {
    // Nobody reads the pipe, so that its writer blocks when it is full.
    let mut serving = Tracing::with(&["--trace-limit=1G", "--max-message=16M"]);
    let mut peer = WirePeer::open(serving.address);
    let text = "y".repeat(60);
    // Some 25 MB of frames of 62 bytes are 50 MB of lines.
    let burst: Vec<u8> = (0..2000).flat_map(|_| Frame::text(text.as_str()).bytes()).collect();
    for _ in 0..100 {
        peer.write(&burst);
        for _ in 0..2000 {
            peer.frame();
        }
    }
    peer.expect_echo("still here");
    drop(peer);
    drop(serving.child.stdin.take());
    let mut printed = String::new();
    serving.stdout.read_to_string(&mut printed).expect("UTF-8");
    let ended = finish(serving.child);
    assert!(ended.status.success(), "{ended:?}");
    assert!(printed.contains(" bytes are missing: the queue of the trace was full\n"), "{}", printed.len());
    assert!(ended.stderr.contains("the trace lacks ") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
}

#[test]
fn a_server_ends_although_nobody_reads_its_trace() {
    let mut serving = Tracing::with(&[]);
    let mut peer = WirePeer::open(serving.address);
    // Its line is longer than what is sent, and a pipe holds 64 KiB.
    let burst = Frame::text("z").bytes().repeat(2000);
    peer.write(&burst);
    for _ in 0..2000 {
        peer.frame();
    }
    drop(peer);
    drop(serving.child.stdin.take());
    let ended = finish(serving.child);
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stderr.contains("the trace is not complete: nothing could be written for 5s"), "{ended:?}");
    drop(serving.stdout);
}

#[test]
fn wrong_options_are_refused_before_the_server_starts() {
    let serve = |arguments: &[&str]| run(ringway(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()));
    let error = serve(&["--trace-frames=/nonexistent/folder/a.pcap"]);
    let line = error.line(1);
    assert!(line.contains("/nonexistent/folder/a.pcap: the trace cannot be written: No such file"), "{line}");
    for arguments in [
        &["--trace-connection=2"][..],
        &["--trace-limit=1M"],
        &["--trace-frames=-", "--trace-connection=0"],
        &["--trace-frames=-", "--trace-connection=1001"],
        &["--trace-frames=-", "--trace-limit=0"],
    ] {
        assert_eq!(serve(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// A conversation that sends `hello` to the server, with these options.
fn conversation(serving: &ServerProcess, options: &[&str]) -> Ended {
    let url = format!("ws://{}/", serving.address());
    let mut command = ringway(&[&["connect", &url, "-1"], options].concat());
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(b"hello\n").expect("it reads its input");
    finish(child)
}

#[test]
fn a_conversation_through_pipes_is_traced_on_standard_error() {
    let serving = ServerProcess::with(&["--shards=1"]);
    let ended = conversation(&serving, &["--trace"]);
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(0), "hello\n"), "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().map(|line| line.split_once(" #1 ").expect("a line").1).collect();
    assert!(lines[0].starts_with(&format!("* connected to {} at 127.0.0.1:", serving.address())), "{lines:?}");
    assert_eq!((lines[1], lines.contains(&"< HTTP/1.1 101 Switching Protocols")), ("> GET / HTTP/1.1", true));
    let last = &lines[lines.len() - 5..];
    assert!(last[0].starts_with("> text FIN len=5 mask=") && last[0].ends_with(" \"hello\""), "{lines:?}");
    assert_eq!(last[1], "< text FIN len=5 \"hello\"");
    assert!(last[2].starts_with("> close FIN len=2 mask=") && last[2].ends_with(" 1000"), "{lines:?}");
    assert_eq!(last[3], "< close FIN len=2 1000");
    assert!(last[4].starts_with("* ended: 1000, closed by us; "), "{lines:?}");
}

#[test]
fn a_conversation_is_captured_and_goes_on_when_the_disk_is_full() {
    let folder = TestDirectory::new("captured-conversation");
    let file = folder.file("one.pcap");
    let serving = ServerProcess::with(&["--shards=1"]);
    let ended = conversation(&serving, &["--pcap", file.to_str().expect("UTF-8")]);
    assert_eq!((ended.status.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "hello\n", ""));
    let payloads = payloads(&file);
    assert!(payloads[0].starts_with(b"GET / HTTP/1.1\r\n") && payloads[1].starts_with(b"HTTP/1.1 101 "));
    assert_eq!(payloads[2][..2], [0x81, 0x85], "the frame of the client is masked");
    assert_eq!(payloads[3], b"\x81\x05hello");
    assert_eq!((payloads[4][0], &payloads[5][..]), (0x88, &b"\x88\x02\x03\xe8"[..]));

    let ended = conversation(&serving, &["--pcap=/dev/full"]);
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), "hello\n"), "{ended:?}");
    let cause = "ringway: the trace /dev/full has ended: it cannot be written: /dev/full: No space left";
    assert!(ended.stderr.starts_with(cause), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    let ended = conversation(&serving, &["--pcap=/nonexistent/a.pcap"]);
    assert!(ended.line(1).contains("/nonexistent/a.pcap: the trace cannot be written: "), "{ended:?}");
}

/// Reads from the terminal until it has shown each of `texts`, in any order, behind what was found
/// before.
fn read_until_each(terminal: &mut impl Read, shown: &mut (Vec<u8>, usize), texts: &[&str]) {
    let (start, mut end) = (shown.1, shown.1);
    for text in texts {
        shown.1 = start;
        read_until(terminal, shown, text);
        end = end.max(shown.1);
    }
    shown.1 = end;
}

/// Reads from the terminal until it has shown `text`, behind what was found before.
fn read_until(terminal: &mut impl Read, shown: &mut (Vec<u8>, usize), text: &str) {
    let (bytes, at) = shown;
    let mut buffer = [0; 4096];
    loop {
        if let Some(found) = bytes[*at..].windows(text.len()).position(|window| window == text.as_bytes()) {
            *at += found + text.len();
            return;
        }
        let read = terminal.read(&mut buffer).expect("a pipe");
        assert_ne!(read, 0, "{text:?} is not in {:?}", String::from_utf8_lossy(&bytes[*at..]));
        bytes.extend_from_slice(&buffer[..read]);
    }
}

#[test]
fn a_conversation_at_the_prompt_is_traced_above_the_line_that_is_typed() {
    let (is_typed, typed_line) = std::sync::mpsc::channel::<()>();
    let (address, served) = serve_open(move |mut peer| {
        typed_line.recv().expect("the test goes on");
        peer.send(&Frame::text("hello").unmasked());
        let close = peer.masked_frame().0.close_code();
        peer.send(&Frame::close(4001, "bye").unmasked());
        close
    });
    let folder = TestDirectory::new("traced-prompt");
    // script(1) runs it on a terminal, and copies what is typed and shown.
    let connect = format!("{} connect ws://{address}/ --trace", program().display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &connect, "/dev/null"]);
    command.env("TERM", "xterm").env("NO_COLOR", "1").env("XDG_STATE_HOME", folder.path());
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("script of util-linux is installed");
    let (mut typed, mut terminal) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let pid = Pid::from_child(&child);
    let mut shown = (Vec::new(), 0);
    guarded(pid, || {
        // The trace comes from a thread of its own, so it can be shown behind the first lines of the
        // conversation, and in front of them.
        let opened = [
            "< HTTP/1.1 101 Switching Protocols\r\n",
            "<   Sec-WebSocket-Accept: ",
            "connected to ws://",
            "Ctrl-D closes\r\n",
        ];
        read_until_each(&mut terminal, &mut shown, &opened);
        // Nothing is printed while it is typed. It is not finished, so what is received next appears
        // above it, and the line editor writes the prompt and the line again.
        typed.write_all(b"unfinished").expect("a pipe");
        read_until(&mut terminal, &mut shown, "unfinished");
        is_typed.send(()).expect("the server waits");
        read_until(&mut terminal, &mut shown, "< text FIN len=5 \"hello\"\r\n");
        read_until(&mut terminal, &mut shown, "> unfinished");
        typed.write_all(b"\x15/close 4001 bye\r").expect("a pipe");
        read_until(&mut terminal, &mut shown, "* ended: 4001 \"bye\", closed by us; ");
        read_until(&mut terminal, &mut shown, " sent\r\n");
    });
    drop(typed);
    let ended = finish(child);
    assert!(ended.status.success(), "{ended:?} {}", String::from_utf8_lossy(&shown.0));
    assert_eq!(served.join().expect("no panic"), Some(4001));
}
