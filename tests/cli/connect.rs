//! `ringway connect` through pipes: the forms of messages, backpressure, recordings, and bad input.

use ringway_tests::{
    Echo, Ended, Frame, Received, TestDirectory, TestServer, WirePeer, accepting, finish, guarded, resident_kib,
    ringway, run, start,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

fn url(server: SocketAddr) -> String {
    format!("ws://{server}/")
}

/// Runs `connect` with this input to its end.
fn connect(url: &str, arguments: &[&str], input: &[u8]) -> (Ended, Vec<u8>) {
    let mut child = piped(url, arguments).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let mut stdout = child.stdout.take().expect("it is a pipe");
    thread::scope(|scope| {
        // Fails if the program ends before it has read all of it.
        scope.spawn(move || drop(stdin.write_all(input)));
        let reading = scope.spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).expect("a pipe");
            bytes
        });
        let ended = finish(child);
        (ended, reading.join().expect("no panic"))
    })
}

fn piped(url: &str, arguments: &[&str]) -> Command {
    let mut command = ringway(&[&["connect", url], arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn echo() -> TestServer<Echo> {
    TestServer::echo()
}

/// A server for one connection.
pub(crate) fn serve_once<R: Send + 'static>(
    serve: impl FnOnce(WirePeer) -> R + Send + 'static,
) -> (SocketAddr, JoinHandle<R>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let accept = move || serve(WirePeer::accepted(listener.accept().expect("the client connects").0));
    (address, thread::spawn(accept))
}

/// The same, after the opening handshake.
pub(crate) fn serve_open<R: Send + 'static>(
    serve: impl FnOnce(WirePeer) -> R + Send + 'static,
) -> (SocketAddr, JoinHandle<R>) {
    serve_once(|mut peer| {
        let head = peer.head();
        peer.write(accepting(&head));
        serve(peer)
    })
}

#[test]
fn lines_are_sent_and_their_answers_are_printed_without_decoration() {
    let server = echo();
    let (ended, out) = connect(&url(server.address()), &[], "a\n\ngrüße\nlast".as_bytes());
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(String::from_utf8(out).as_deref(), Ok("a\n\ngrüße\nlast\n"));
}

#[test]
fn the_connection_is_closed_with_1000_after_all_was_sent() {
    let (address, served) = serve_open(|mut peer| {
        let mut frames: Vec<Received> = (0..3).map(|_| peer.masked_frame().0).collect();
        peer.send(&Frame::close(1000, "").unmasked());
        frames.push(Received { first: 0, payload: peer.rest() });
        frames
    });
    let (ended, out) = connect(&url(address), &["--linger", "0"], b"a\nb\n");
    let frames = served.join().expect("no panic");
    assert_eq!((ended.status.code(), out.as_slice()), (Some(0), &b""[..]), "{ended:?}");
    assert_eq!(frames[..2], [Received::text("a"), Received::text("b")]);
    assert_eq!(frames[2].close_code(), Some(1000));
    assert_eq!(frames[3].payload, b"", "nothing follows the close frame");
}

#[test]
fn one_line_is_sent_and_one_message_is_printed() {
    let server = echo();
    for flag in ["-1", "--one"] {
        let (ended, out) = connect(&url(server.address()), &[flag], b"first\nsecond\n");
        assert_eq!((ended.status.code(), out.as_slice()), (Some(0), &b"first\n"[..]), "{ended:?}");
    }
}

#[test]
fn it_exits_after_the_wanted_number_of_messages_and_fails_before() {
    let server = echo();
    let lines: String = (0..1000).map(|n| format!("{n}\n")).collect();
    let (ended, out) = connect(&url(server.address()), &["-n", "3"], lines.as_bytes());
    assert_eq!((ended.status.code(), out.as_slice()), (Some(0), &b"0\n1\n2\n"[..]), "{ended:?}");
    let (address, served) = serve_open(|mut peer| {
        peer.send(&Frame::text("only").unmasked());
        peer.send(&Frame::close(1000, "").unmasked());
        peer.masked_frame()
    });
    let (ended, out) = connect(&url(address), &["-n", "3"], b"");
    served.join().expect("no panic");
    assert_eq!((ended.status.code(), out.as_slice()), (Some(1), &b"only\n"[..]));
    assert_eq!(ended.stderr, "ringway: the conversation has ended after 1 of 3 messages\n");
}

#[test]
fn binary_messages_have_their_lengths_before_them_in_both_directions() {
    let server = echo();
    let input = [&[0, 0, 0, 3, 0xff, 0, b'\n'][..], &[0, 0, 0, 0], &[0, 1, 0x11, 0x70], &[7; 70_000]].concat();
    let (ended, out) = connect(&url(server.address()), &["--binary"], &input);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    assert!(out == input, "{} of {} bytes", out.len(), input.len());
    for (input, part) in [
        (&b"\0\0\0"[..], "ends within the length of message 1: 3 of 4 bytes"),
        (b"\0\0\0\x01a\0\0\0\x09b", "ends within message 2: 1 of 9 bytes"),
        (b"text, no lengths", "message 1 of standard input has a length of 1952807028 bytes, above the maximum"),
    ] {
        let (ended, _) = connect(&url(server.address()), &["-b"], input);
        assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
        assert!(ended.stderr.contains(part), "{ended:?}");
    }
}

#[test]
fn objects_have_one_shape_in_both_directions() {
    let server = echo();
    let input = "{\"type\":\"text\",\"data\":\"a\\u001b\"}\n{\"type\":\"binary\",\"base64\":\"AP8=\"}\n{\"type\":\"ping\",\"data\":\"x\"}\n";
    let (ended, out) = connect(&url(server.address()), &["--jsonl"], input.as_bytes());
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    let out = String::from_utf8(out).expect("UTF-8");
    let objects: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let member = |name: &'static str| objects.iter().map(move |object| object[name].as_str().unwrap_or_default());
    assert_eq!(member("type").collect::<Vec<_>>(), ["text", "binary", "pong"]);
    assert_eq!(member("data").collect::<Vec<_>>(), ["a\u{1b}", "", "x"]);
    assert_eq!(objects[1]["base64"], "AP8=");
    assert!(objects.iter().all(|object| object["direction"] == "received" && object["time"].as_f64() > Some(1.7e9)));
    // What was printed is input of the same shape.
    let sent = out.replace("\"received\"", "\"sent\"");
    let (again, out) = connect(&url(server.address()), &["--jsonl"], sent.as_bytes());
    assert_eq!((again.status.code(), out.iter().filter(|byte| **byte == b'\n').count()), (Some(0), 2), "{again:?}");
    let (ended, _) =
        connect(&url(server.address()), &["--jsonl"], b"{\"type\":\"text\",\"data\":\"a\"}\n{\"typo\":1}\n");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.starts_with("ringway: line 2 of standard input: unknown field `typo`"), "{ended:?}");
}

#[test]
fn a_recording_has_what_was_sent_and_received_and_is_replayed() {
    let server = echo();
    let directory = TestDirectory::new("connect-record");
    let [first, second] = ["first", "second"].map(|name| directory.file(name).to_str().expect("UTF-8").to_owned());
    let (ended, _) = connect(&url(server.address()), &["--record", &first, "-n", "2"], b"a\nb\n");
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    let read = |path: &str| {
        let text = std::fs::read_to_string(path).expect("it was written");
        let object = |line: &str| -> Value { serde_json::from_str(line).expect("JSON") };
        let objects: Vec<Value> = text.lines().map(object).collect();
        let mut words: Vec<String> = objects
            .iter()
            .map(|it| format!("{} {} {}{}", it["direction"], it["type"], it["data"], it["code"]).replace('"', ""))
            .collect();
        // A message can be received before the check that it was sent.
        words.sort();
        words
    };
    let expected =
        ["received text anull", "received text bnull", "sent close null1000", "sent text anull", "sent text bnull"];
    assert_eq!(read(&first), expected);
    // The answers may come later than the recorded close.
    let recorded = std::fs::read_to_string(&first).expect("it was written");
    let messages: Vec<&str> = recorded.lines().filter(|line| !line.contains("\"close\"")).collect();
    std::fs::write(&first, messages.join("\n")).expect("it is ours");
    let arguments = ["--replay", &first, "--record", &second, "--speed", "10", "-n", "2"];
    let (ended, out) = connect(&url(server.address()), &arguments, b"not read");
    assert_eq!((ended.status.code(), out.as_slice()), (Some(0), &b"a\nb\n"[..]), "{ended:?}");
    assert_eq!(read(&second), expected);
}

#[test]
fn a_file_that_is_incomplete_is_named_and_fails_the_conversation() {
    let server = echo();
    for (flag, reads_output) in [("--record", true), ("--record", false), ("--pcap", true), ("--pcap", false)] {
        let mut command = piped(&url(server.address()), &[flag, "/dev/full"]);
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        let mut stdout = child.stdout.take().expect("it is a pipe");
        stdin.write_all(b"hello\n").expect("it reads");
        stdout.read_exact(&mut [0; 6]).expect("the answer");
        if !reads_output {
            drop(stdout);
        }
        drop(stdin);
        let ended = finish(child);
        assert_eq!(ended.status.code(), Some(1), "{flag}: {ended:?}");
        assert!(ended.stderr.contains("/dev/full: No space left on device"), "{flag}: {ended:?}");
    }
}

#[test]
fn what_was_not_sent_is_not_in_the_recording() {
    let directory = TestDirectory::new("connect-lost");
    let file = directory.file("lost").to_str().expect("UTF-8").to_owned();
    // It reads the first message only, and resets the connection while the second one is sent.
    let (address, served) = serve_open(|mut peer| {
        assert_eq!(peer.masked_frame().0, Received::text("first"));
        peer.send(&Frame::text("go on").unmasked());
        peer.skip(100).expect("it sends");
        peer.reset();
    });
    let mut child = piped(&url(address), &["--record", &file]).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(b"first\n").expect("it reads");
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let mut answer = [0; 6];
    stdout.read_exact(&mut answer).expect("the answer");
    // More than the kernel takes.
    let large = vec![b'x'; 64 << 20];
    let _ = stdin.write_all(&large).and_then(|()| stdin.write_all(b"\n"));
    let ended = finish(child);
    served.join().expect("no panic");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.starts_with("ringway: 1 message may not have arrived\n"), "{ended:?}");
    let recorded = std::fs::read_to_string(&file).expect("it was written");
    assert_eq!(recorded.lines().filter(|line| line.contains("\"sent\"")).count(), 1);
}

#[test]
fn what_a_server_that_closes_has_not_taken_is_not_counted_as_sent() {
    let directory = TestDirectory::new("connect-closed");
    let file = directory.file("closed").to_str().expect("UTF-8").to_owned();
    // It closes as it should, and reads nothing behind the first bytes of the second message.
    let (ended, has_ended) = std::sync::mpsc::channel::<()>();
    let (address, served) = serve_open(move |mut peer| {
        assert_eq!(peer.masked_frame().0, Received::text("first"));
        peer.skip(100).expect("it sends");
        peer.send(&Frame::close(1000, "enough").unmasked());
        let _ = has_ended.recv();
    });
    // More than the kernel takes.
    let input = [b"first\n", &vec![b'x'; 64 << 20][..], b"\nthird\n"].concat();
    let (outcome, _) = connect(&url(address), &["--record", &file], &input);
    drop(ended);
    served.join().expect("no panic");
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    let mut lines = outcome.stderr.lines();
    assert_eq!(lines.next(), Some("ringway: 1 message may not have arrived"), "{outcome:?}");
    let closed = "ringway: closed by the server: 1000 (normal closure) \"enough\", clean";
    assert_eq!(lines.next(), Some(closed), "{outcome:?}");
    assert_eq!(lines.next(), Some("ringway: 1 message was not sent"), "{outcome:?}");
    let recorded = std::fs::read_to_string(&file).expect("it was written");
    assert_eq!(recorded.lines().filter(|line| line.contains("\"sent\"")).count(), 1);
}

#[test]
fn what_a_server_has_taken_before_it_closes_is_sent() {
    for round in 0..20 {
        let (address, served) = serve_open(|mut peer| {
            let frames: Vec<_> = (0..3).map(|_| peer.masked_frame().0).collect();
            peer.send(&Frame::close(1000, "").unmasked());
            assert_eq!(peer.masked_frame().0.close_code(), Some(1000));
            frames
        });
        let (ended, _) = connect(&url(address), &["--linger", "1h"], b"a\nb\nc\n");
        assert_eq!(served.join().expect("no panic").len(), 3);
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "round {round}");
    }
}

#[test]
fn what_a_server_has_taken_is_sent_although_the_answer_to_its_ping_is_not() {
    for round in 0..20 {
        let (address, served) = serve_open(|mut peer| {
            let frames: Vec<_> = (0..3).map(|_| peer.masked_frame().0).collect();
            // In one segment, and in front of a reset: neither the pong nor the close frame arrives.
            peer.write([Frame::ping(b"there?").unmasked().bytes(), Frame::close(1000, "").unmasked().bytes()].concat());
            peer.reset();
            frames
        });
        let (ended, _) = connect(&url(address), &["--linger", "1h"], b"a\nb\nc\n");
        assert_eq!(served.join().expect("no panic").len(), 3);
        assert!(!ended.stderr.contains("may not have arrived"), "round {round}: {ended:?}");
    }
}

/// Writes to the pipe until it has taken nothing for two seconds, and returns the number of bytes.
fn fill(pipe: &mut (impl Write + std::os::fd::AsFd), chunk: &[u8], max: usize) -> usize {
    rustix::io::ioctl_fionbio(&*pipe, true).expect("a pipe");
    let mut written = 0;
    while written < max {
        let mut fds = [PollFd::new(&*pipe, PollFlags::OUT)];
        let timeout = Timespec { tv_sec: 2, tv_nsec: 0 };
        if poll(&mut fds, Some(&timeout)).expect("it is open") == 0 {
            break;
        }
        written += pipe.write(chunk).expect("it is writable");
    }
    written
}

/// The most memory that a process has had.
fn peak_kib(child: &Child) -> usize {
    resident_kib(child.id(), "VmHWM")
}

#[test]
fn a_fast_input_waits_for_a_server_that_does_not_read() {
    let (address, served) = serve_open(|peer| peer);
    let mut child = piped(&url(address), &[]).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let line = [&[b'x'; 4095][..], b"\n"].concat();
    let written = fill(&mut stdin, &line, 512 << 20);
    let peak = peak_kib(&child);
    assert!(written < 64 << 20, "{written} bytes were taken");
    assert!(peak < 64 << 10, "{peak} KiB");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let ended = finish(child);
    // Until then: the end of the connection could precede the signal.
    drop(served.join().expect("no panic"));
    assert_eq!(ended.status.code(), Some(143));
}

#[test]
fn a_slow_output_pauses_the_server() {
    let (address, served) = serve_open(|mut peer| {
        let message = Frame::text("x".repeat(4095)).unmasked().bytes();
        let mut written = 0;
        while written < 512 << 20 {
            match peer.write_some(&message) {
                0 => break,
                bytes => written += bytes,
            }
        }
        (peer, written)
    });
    let mut child = piped(&url(address), &[]).spawn().expect("the program starts");
    let (peer, written) = served.join().expect("no panic");
    let peak = peak_kib(&child);
    assert!(written < 64 << 20, "{written} bytes were taken");
    assert!(peak < 64 << 10, "{peak} KiB");
    // All of it arrives when it is read.
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let mut first = vec![0; 4096 * 1000];
    stdout.read_exact(&mut first).expect("it is there");
    assert!(first.chunks(4096).all(|line| line[..4095].iter().all(|byte| *byte == b'x') && line[4095] == b'\n'));
    peer.reset();
    drop(stdout);
    assert_eq!(finish(child).status.code(), Some(0), "nobody reads the output");
}

#[test]
fn a_closed_output_closes_the_connection_quietly() {
    let (opened, is_open) = std::sync::mpsc::channel();
    let (address, served) = serve_open(move |mut peer| {
        // The answer shows that the connection is open for the client, too.
        peer.send(&Frame::ping(b"").unmasked());
        peer.masked_frame();
        opened.send(()).expect("the test goes on");
        let (frame, _) = peer.masked_frame();
        peer.send(&Frame::close(1000, "").unmasked());
        frame.close_code()
    });
    let mut child = piped(&url(address), &[]).spawn().expect("the program starts");
    let _stdin = child.stdin.take();
    is_open.recv().expect("the server runs");
    // Nothing is written, and the end is still seen.
    drop(child.stdout.take());
    assert_eq!(served.join().expect("no panic"), Some(1000));
    let ended = finish(child);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_signal_closes_the_connection_and_is_the_exit_code() {
    for (signal, code, close) in [(Signal::INT, 130, 1000), (Signal::TERM, 143, 1001), (Signal::HUP, 129, 1001)] {
        let (address, served) = serve_open(|mut peer| {
            peer.send(&Frame::text("ready").unmasked());
            let (frame, _) = peer.masked_frame();
            peer.send(&Frame::close(1000, "").unmasked());
            frame.close_code()
        });
        let mut child = piped(&url(address), &[]).spawn().expect("the program starts");
        let _stdin = child.stdin.take();
        let mut stdout = child.stdout.take().expect("it is a pipe");
        stdout.read_exact(&mut [0; 6]).expect("the message");
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        assert_eq!((finish(child).status.code(), served.join().expect("no panic")), (Some(code), Some(close)));
    }
}

/// A server that answers the request with these bytes, and the error of `connect`.
fn refused(answer: &'static [u8]) -> Ended {
    let (address, served) = serve_once(move |mut peer| {
        peer.head();
        peer.write(answer);
    });
    let ended = run(ringway(&["connect", &format!("ws://{address}/chat")]));
    served.join().expect("no panic");
    ended
}

#[test]
fn a_server_that_refuses_is_quoted() {
    for (answer, part) in [
        (&b"HTTP/1.1 301 Moved\r\nLocation: https://example.com/ws\r\nContent-Length: 0\r\n\r\n"[..],
            "redirects to https://example.com/ws (301), which is not followed: try wss://example.com/ws"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 30\r\n\r\n<h1>no\r\n  such\x1b[2J page</h1>",
            "the server answered 404 Not Found instead of 101 Switching Protocols; it says: <h1>no such\\x1b[2J page</h1>"),
        (b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n1\r\nr\r\n0\r\n\r\n", "answered 503 Busy instead of 101 Switching Protocols; it says: later"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "answered 200 OK instead"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "is not a WebSocket server: the server's answer is not HTTP/1.1"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: eA==\r\n\r\n",
            "Sec-WebSocket-Accept does not match the key"),
        (b"", "ended the connection during the opening handshake"),
    ] {
        let ended = refused(answer);
        let line = ended.line(1);
        assert!(line.starts_with("ringway: ws://127.0.0.1:") && line.contains(part), "{line}");
    }
}

#[test]
fn a_long_refusal_is_cut() {
    let ended = refused(Box::leak([b"HTTP/1.1 500 Oops\r\n\r\n", &[b'x'; 3000][..]].concat().into_boxed_slice()));
    let line = ended.line(1);
    assert!(line.ends_with(&format!("it says: {}…", "x".repeat(300))), "{line}");
}

#[test]
fn what_cannot_be_connected_to_is_one_line() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    for (url, code, part) in [
        (format!("ws://{closed}/"), 1, "Connection refused"),
        ("ws://host.invalid/".to_owned(), 1, "cannot resolve \"host.invalid\""),
        ("unix:/nonexistent/socket:/".to_owned(), 1, "cannot connect to unix:/nonexistent/socket:/"),
    ] {
        let ended = run(ringway(&["connect", &url]));
        assert!(ended.line(code).contains(part), "{ended:?}");
    }
    let server = echo();
    let ended = run(ringway(&["connect", &format!("wss://{}/", server.address())]));
    assert!(ended.line(1).contains("is its port plain? then use ws://"), "{ended:?}");
}

#[test]
fn a_wrong_command_line_is_usage() {
    for arguments in [
        &["http://127.0.0.1:1/"][..],
        &["ws://127.0.0.1:1/", "-k"],
        &["ws://127.0.0.1:1/", "-1", "-n", "2"],
        &["ws://127.0.0.1:1/", "--binary", "--jsonl"],
        &["ws://127.0.0.1:1/", "--speed", "2"],
        &["ws://127.0.0.1:1/", "-H", "no colon"],
        &["ws://127.0.0.1:1/", "--resolve", "other:1:127.0.0.1"],
        &["9001"],
        &[],
    ] {
        let ended = run(ringway(&[&["connect"], arguments].concat()));
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
    }
    let ended = run(ringway(&["connect", "ws://127.0.0.1:1/", "--replay", "/nonexistent"]));
    assert_eq!(ended.line(1), "ringway: cannot read /nonexistent: No such file or directory (os error 2)");
}

#[test]
fn it_connects_again_after_a_loss_and_sends_the_lines_that_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let served = thread::spawn(move || {
        let accept = || {
            let mut peer = WirePeer::accepted(listener.accept().expect("the client connects").0);
            let head = peer.head();
            (peer, head)
        };
        let (first, _) = accept();
        first.reset();
        let (mut second, head) = accept();
        second.write(accepting(&head));
        let (frame, _) = second.masked_frame();
        second.send(&Frame::text("answer").unmasked());
        assert_eq!(second.masked_frame().0.close_code(), Some(1000));
        second.send(&Frame::close(1000, "").unmasked());
        frame
    });
    let (ended, out) = connect(&url(address), &["--reconnect=3", "-1"], b"hello\n");
    assert_eq!(served.join().expect("no panic"), Received::text("hello"));
    assert_eq!((ended.status.code(), out.as_slice()), (Some(0), &b"answer\n"[..]), "{ended:?}");
    assert!(ended.stderr.contains("connecting again in ") && ended.stderr.contains("attempt 1 of 3"), "{ended:?}");
}

#[test]
fn the_name_of_the_server_is_looked_up_again_for_each_attempt() {
    let directory = TestDirectory::new("connect-moved");
    let hosts = directory.file("hosts");
    std::fs::write(&hosts, "127.0.0.2 moving.test\n").expect("it is ours");
    // /etc/hosts of the program alone.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
    command.arg(&hosts);
    let mut check = Command::new("unshare");
    check.args(["--user", "--map-root-user", "--mount", "mount", "--bind"]).args([&hosts, &hosts]);
    if !check.output().is_ok_and(|output| output.status.success()) {
        return eprintln!("NOT TESTED: looking a name up again: no mount namespace of its own (unshare)");
    }
    let first = TcpListener::bind("127.0.0.2:0").expect("a free port");
    let port = first.local_addr().expect("it is bound").port();
    let second = TcpListener::bind(("127.0.0.3", port)).expect("the same port of another address");
    let served = thread::spawn(move || {
        let accept = |listener: &TcpListener| {
            let mut peer = WirePeer::accepted(listener.accept().expect("the client connects").0);
            let head = peer.head();
            peer.write(accepting(&head));
            peer
        };
        let peer = accept(&first);
        drop(first);
        std::fs::write(&hosts, "127.0.0.3 moving.test\n").expect("it is ours");
        peer.reset();
        let mut peer = accept(&second);
        peer.send(&Frame::text("moved").unmasked());
        assert_eq!(peer.masked_frame().0.close_code(), Some(1000));
        peer.send(&Frame::close(1000, "").unmasked());
    });
    command.arg(ringway_tests::program()).args([
        "connect",
        &format!("ws://moving.test:{port}/"),
        "--reconnect",
        "-n",
        "1",
    ]);
    let ended = run(command);
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(0), "moved\n"), "{ended:?}");
    served.join().expect("no panic");
}

#[test]
fn attempts_to_connect_again_are_limited() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let ended = run(ringway(&["connect", &url(closed), "--reconnect=2"]));
    assert_eq!((ended.status.code(), ended.stderr.matches("Connection refused").count()), (Some(1), 3), "{ended:?}");
    assert!(ended.stderr.contains("attempt 2 of 2"), "{ended:?}");
}

#[test]
fn a_silent_server_is_pinged_and_then_lost() {
    let (address, served) = serve_open(|mut peer| {
        let (ping, _) = peer.masked_frame();
        // No pong.
        (ping.is_ping(), peer.end())
    });
    let mut child = start(ringway(&["connect", &url(address), "--ping-interval", "100ms", "--linger", "1h"]));
    let (is_ping, _) = guarded(Pid::from_child(&child), || served.join().expect("no panic"));
    let _ = child.wait();
    let ended = finish(child);
    assert!(is_ping && ended.status.code() == Some(1), "{ended:?}");
    assert_eq!(ended.stderr, "ringway: nothing was received for 200ms: 1006 (no close frame), not clean\n");
}
