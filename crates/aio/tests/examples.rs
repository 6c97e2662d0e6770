//! The examples run as documented.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use tungstenite::Message;

struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(name: &str, arguments: &[&str]) -> Self {
        // Beside the folder of the tests.
        let tests = std::env::current_exe().expect("procfs");
        let path: PathBuf = tests.ancestors().nth(2).expect("target/PROFILE").join("examples").join(name);
        let mut child = Command::new(&path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo test` builds the examples", path.display()));
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// The URL of a server that has just started.
    fn url(&mut self) -> String {
        let line = self.line();
        format!("ws://{}/", line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_echo_server_echoes_and_stops() {
    let mut server = Program::start("aio-echo", &["127.0.0.1:0", "--shards", "2", "--until-eof"]);
    let (mut ws, _) = tungstenite::connect(server.url()).expect("it opens");
    ws.send(Message::text("hello")).expect("it is open");
    assert_eq!(ws.read().expect("an echo"), Message::text("hello"));
    drop(server.child.stdin.take());
    match ws.read().expect("a close") {
        Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 1001),
        other => panic!("{other:?}"),
    }
    while ws.read().is_ok() {}
    assert!(server.child.wait().expect("a child").success());
}

#[test]
fn a_line_of_the_chat_reaches_all_others() {
    let mut server = Program::start("aio-chat", &["127.0.0.1:0"]);
    let url = server.url();
    let join = |name: &str| {
        let (mut ws, _) = tungstenite::connect(&url).expect("it opens");
        ws.send(Message::text(name)).expect("it is open");
        ws
    };
    let mut ada = join("ada");
    let mut bob = join("bob");
    assert_eq!(ada.read().expect("a line"), Message::text("bob has joined"));
    bob.send(Message::text("hi")).expect("it is open");
    assert_eq!(ada.read().expect("a line"), Message::text("bob: hi"));
    let mut other = join("ada");
    assert!(matches!(other.read(), Ok(Message::Close(Some(close))) if u16::from(close.code) == 1008));
    drop(bob);
    assert_eq!(ada.read().expect("a line"), Message::text("bob has left"));
}

#[test]
fn the_client_connects_again_after_a_loss_and_loses_no_line() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let mut client = Program::start("aio-client", &[&url, "2"]);
    let server = thread::spawn(move || {
        let mut got = Vec::new();
        // The first connection is lost after the first line, which is answered.
        for max in [1, usize::MAX] {
            let (stream, _) = listener.accept().expect("a client");
            let mut ws = tungstenite::accept(stream).expect("it opens");
            for _ in 0..max {
                let Ok(line) = ws.read() else { break };
                if let Ok(text) = line.to_text()
                    && line.is_text()
                {
                    got.push(text.to_owned());
                    ws.send(line).expect("it is open");
                }
            }
        }
        got
    });
    assert_eq!(client.line(), "connected");
    assert_eq!(client.line(), "received line 0");
    assert!(client.line().contains("connecting again in 100ms"));
    assert_eq!(client.line(), "connected");
    assert_eq!(client.line(), "received line 1");
    assert!(client.child.wait().expect("a child").success());
    assert_eq!(server.join().expect("no panic"), ["line 0", "line 1"]);
}
