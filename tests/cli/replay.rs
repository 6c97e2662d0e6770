//! `ringway load --replay`: recordings of `ringway connect --record` as a load.

use ringway::{Connection, Handler, Limits, Message, MessageKind, Request, Upgrade};
use ringway_tests::{Ended, TestDirectory, TestServer, config, finish, ringway, run};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Messages = Vec<(MessageKind, Vec<u8>)>;

/// The messages of each connection, in the order in which the connections opened.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Messages>>>);

impl Notes {
    fn take(&self) -> Vec<Messages> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

/// A handler that notes what it receives, and sends it back.
struct Noting(Notes);

impl Handler for Noting {
    type State = usize;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<usize> {
        let mut notes = self.0.0.lock().expect("no panic");
        notes.push(Vec::new());
        Upgrade::accept(notes.len() - 1)
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let number = *conn.state();
        self.0.0.lock().expect("no panic")[number].push((message.kind(), message.payload().to_vec()));
        conn.reply(message);
    }
}

fn noting() -> (TestServer<Noting>, Notes) {
    let notes = Notes::default();
    let of_server = notes.clone();
    (TestServer::start(config(), Limits::default(), move |_| Noting(of_server.clone())), notes)
}

fn load(server: SocketAddr, arguments: &[&str]) -> Ended {
    let common = ["load", &format!("ws://{server}/"), "-t", "1", "-q", "--format", "json"];
    run(ringway(&[&common[..], arguments].concat()))
}

fn report(ended: &Ended) -> Value {
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// The messages of a recording, from the first one, round after round.
fn rounds(of: &Messages, count: usize) -> Messages {
    of.iter().cycle().take(count).cloned().collect()
}

/// A recording of these seconds, with a number in each message.
fn recording(seconds: &[f64]) -> String {
    let line = |(number, time): (usize, &f64)| {
        format!("{}\n", json!({ "time": time, "type": "text", "data": number.to_string() }))
    };
    seconds.iter().enumerate().map(line).collect()
}

#[test]
fn a_recorded_conversation_is_a_load_with_the_same_messages_in_the_same_order() {
    let (server, notes) = noting();
    let directory = TestDirectory::new("load-replay");
    let file = directory.file("visit.jsonl");
    let path = file.to_str().expect("UTF-8");
    let url = format!("ws://{}/", server.address());
    let mut connect = ringway(&["connect", &url, "--jsonl", "--record", path, "-n", "3"]);
    let mut child =
        connect.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let input = "{\"type\":\"text\",\"data\":\"grüße\"}\n{\"type\":\"binary\",\"base64\":\"AP8B\"}\n{\"type\":\"text\",\"data\":\"\"}\n";
    child.stdin.take().expect("it is a pipe").write_all(input.as_bytes()).expect("it reads");
    let ended = finish(child);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let recorded = notes.take().remove(0);
    assert_eq!(recorded[1], (MessageKind::Binary, vec![0, 255, 1]));
    assert_eq!(recorded.len(), 3);

    // Exactly four rounds, and the first message of the fifth.
    for speed in ["1", "10", "max"] {
        let report = report(&load(server.address(), &["--replay", path, "--speed", speed, "-c", "1", "-n", "13"]));
        let messages = &report["messages"];
        assert_eq!((&messages["sent"], &messages["unsent"], &messages["arrived"]), (&13.into(), &0.into(), &13.into()));
        assert_eq!(notes.take(), [rounds(&recorded, 13)], "{speed}");
        assert_eq!(report["latency_us"]["response"], Value::Null);
    }

    // Each connection sends all of it, again and again.
    let timed = load(server.address(), &["--replay", path, "-c", "3", "-d", "300ms", "-w", "0"]);
    let report = report(&timed);
    assert_eq!(report["plan"]["populations"][0]["message"]["messages"], 3);
    assert_eq!(report["errors"], json!({}));
    let seen = notes.take();
    assert_eq!(seen.len(), 3);
    for messages in &seen {
        assert!(messages.len() > 3, "{}", messages.len());
        assert_eq!(*messages, rounds(&recorded, messages.len()));
    }
}

#[test]
fn a_replay_keeps_the_recorded_times_and_a_scenario_has_its_speed() {
    let (server, notes) = noting();
    let directory = TestDirectory::new("load-replay-times");
    // A round of 375 ms: the gap behind it is the mean one.
    std::fs::write(directory.file("a.jsonl"), recording(&[10.0, 10.2, 10.25])).expect("it is ours");
    let expected: Messages = ["0", "1", "2"].map(|text| (MessageKind::Text, text.into())).into();
    let scenario = directory.file("s.toml");
    let path = scenario.to_str().expect("UTF-8");
    for (speed, shortest) in [("", 750), ("speed = 0.5", 1_500), ("speed = \"max\"", 0)] {
        let keys =
            format!("[[populations]]\nbehaviour = \"replay\"\nrecording = \"a.jsonl\"\nconnections = 1\n{speed}\n");
        std::fs::write(&scenario, keys).expect("it is ours");
        let begun = Instant::now();
        let report = report(&load(server.address(), &["--scenario", path, "-n", "7"]));
        assert!(begun.elapsed() >= Duration::from_millis(shortest), "{speed}: {:?}", begun.elapsed());
        assert_eq!(notes.take(), [rounds(&expected, 7)], "{speed}");
        assert_eq!((&report["messages"]["sent"], &report["populations"][0]["name"]), (&7.into(), &"replay".into()));
        assert_eq!(report["latency_us"]["send_lag"].is_object(), shortest > 0, "{report}");
    }
}

#[test]
fn a_recording_that_cannot_be_replayed_ends_with_2_and_the_remedy() {
    let directory = TestDirectory::new("load-replay-bad");
    let write = |name: &str, content: &str| {
        let file = directory.file(name);
        std::fs::write(&file, content).expect("it is ours");
        file.to_str().expect("UTF-8").to_owned()
    };
    let good = write("good", &recording(&[1.0]));
    let empty = write("empty", "");
    let wrong = write("wrong", &(recording(&[1.0]) + "hello\n"));
    let untimed = write("untimed", "{\"type\":\"text\",\"data\":\"a\"}\n");
    for (arguments, named) in [
        (
            &["--replay", "/nowhere"][..],
            "--replay: /nowhere: No such file or directory (os error 2): give the path".to_owned(),
        ),
        (&["--replay", &empty], format!("--replay: {empty}: the recording has no message that was sent: give one")),
        (&["--replay", &wrong], format!("--replay: {wrong}: line 2: expected value at column 1: give a recording of")),
        (&["--replay", &untimed], "the recording has no times: replay it without waiting (--speed max)".into()),
        (&["--replay", &good, "--speed", "0"], "'0' for '--speed <FACTOR>': give a factor from 0.001".into()),
        (&["--replay", &good, "-R", "5"], "'--replay <FILE>' cannot be used with".into()),
        (&["--speed", "2"], "--replay <FILE>".into()),
        (&["--mode", "replay"], "replay needs a recording: give --replay FILE instead of a mode".into()),
    ] {
        let ended = run(ringway(&[&["load", "ws://127.0.0.1:1/"], arguments].concat()));
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(&named), "{arguments:?}: {ended:?}");
    }
}
