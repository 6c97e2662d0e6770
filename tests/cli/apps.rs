//! `ringway serve --app`: the applications, their times, and their options.

use ringway_tests::{Frame, Received, ServerProcess, WirePeer, guarded, program, ringway, run};
use rustix::process::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn app(app: &str, others: &[&str]) -> ServerProcess {
    ServerProcess::with(&[&["--app", app], others].concat())
}

/// What it prints about its application.
fn line(serving: &ServerProcess) -> &str {
    serving.announced.iter().find_map(|line| line.strip_prefix("app          ")).expect("it prints its application")
}

#[test]
fn help_lists_the_applications_with_their_options() {
    let help = run(ringway(&["serve", "--help"])).stdout;
    for word in
        ["- echo:", "- broadcast:", "- topics:", "- sink:", "- delay:5ms:", "- stall:100ms/1s:", "- push:1k:512:"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn options_that_are_not_valid_are_named_with_the_remedy() {
    for (value, remedy) in [
        ("chess", "give one of echo, broadcast, topics, sink, delay:5ms, stall:100ms/1s, push:1k:512"),
        ("echo:1", "it takes no options: give echo"),
        ("topics:1", "it takes no options: give topics"),
        ("broadcast:1", "give broadcast or broadcast:topic"),
        ("delay", "give a time, as delay:5ms"),
        ("delay:0", "give at least 1ms"),
        ("stall:1s", "give the freeze and its period, as stall:100ms/1s"),
        ("stall:1s/500ms", "1s is not shorter than 500ms"),
        ("push", "give a rate from 1 to 1000000 messages a second"),
        ("push:0", "give a rate from 1 to 1000000 messages a second"),
        ("push:10:4", "give a size from 8 to 1073741824 bytes"),
    ] {
        let ended = run(ringway(&["serve", "--listen", "127.0.0.1:0", "--app", value]));
        assert_eq!(ended.status.code(), Some(2), "{value}: {ended:?}");
        let error = format!("invalid value '{value}' for '--app <APP>': ");
        assert!(ended.stderr.contains(&error) && ended.stderr.contains(remedy), "{value}: {ended:?}");
    }
}

/// Replies that a freeze holds back leave no sooner than at its end, on all shards. The start of
/// the process is between two times that the test knows: before it was started, and after its first
/// output.
#[test]
fn a_stalling_echo_freezes_all_shards_at_fixed_times() {
    const FREEZE: Duration = Duration::from_millis(300);
    const PERIOD: Duration = Duration::from_millis(600);
    program();
    let (before, serving, after) = loop {
        let before = Instant::now();
        let serving = app("stall:300ms/600ms", &["--shards=2"]);
        let after = Instant::now();
        // On a machine that is busy starting can take longer than the freezes.
        if after - before < FREEZE / 2 {
            break (before, serving, after);
        }
    };
    assert_eq!(line(&serving), "stall, frozen for 300ms in each 600ms");
    // It is practically impossible that one shard has all of them.
    let mut peers: Vec<WirePeer> = (0..16).map(|_| WirePeer::open(serving.address())).collect();
    let (mut checked, mut between) = (0, 0);
    let mut numbers = 1..100;
    while checked < 3 {
        let number = numbers.next().expect("the test is in time for 3 of 99 freezes");
        let (first, last) = (before + number * PERIOD, after + number * PERIOD);
        // The freeze begins between these two times. A message sent between them may be held back.
        while Instant::now() < first {
            peers[0].expect_echo("between two freezes");
            between += u32::from(Instant::now() < first);
        }
        while Instant::now() < last {
            std::hint::spin_loop();
        }
        // The freeze has begun.
        peers.iter_mut().for_each(|peer| peer.send(&Frame::text("in a freeze")));
        let sent = Instant::now();
        for peer in &mut peers {
            assert_eq!(peer.frame(), Received::text("in a freeze"));
            assert!(sent >= first + FREEZE || Instant::now() >= first + FREEZE, "freeze {number} has ended too early");
        }
        // The test can be late for a freeze.
        checked += u32::from(sent < first + FREEZE);
    }
    assert!(between > 0, "there are replies between the freezes");
}

#[test]
fn delayed_replies_leave_in_order_and_not_before_their_time() {
    const DELAY: Duration = Duration::from_millis(40);
    let serving = app("delay:40ms", &["--shards=1"]);
    assert_eq!(line(&serving), "delay, 40ms from each message to its reply");
    let mut peers = [WirePeer::open(serving.address()), WirePeer::open(serving.address())];
    for round in 0..5 {
        let mut sent = Vec::new();
        for number in 0..4 {
            sent.push(Instant::now());
            for peer in &mut peers {
                peer.send(&Frame::text(format!("text {round}.{number}")));
                peer.send(&Frame::binary([round, number]));
            }
        }
        for (number, sent) in sent.into_iter().enumerate() {
            for peer in &mut peers {
                assert_eq!(peer.frame(), Received::text(&format!("text {round}.{number}")));
                assert_eq!(peer.frame(), Received::binary([round, number as u8]));
                assert!(sent.elapsed() >= DELAY, "the reply came {:?} after its message", sent.elapsed());
            }
        }
    }
}

/// More than the server holds back, and more than its outbox and the buffers of the kernel take.
#[test]
fn a_delaying_server_stops_reading_and_loses_nothing_of_a_peer_that_reads_late() {
    const COUNT: u32 = 600;
    let serving = app("delay:1ms", &["--shards=1", "--max-buffered=64K"]);
    let mut peer = WirePeer::connect_narrow(serving.address());
    peer.upgrade();
    let message = |number: u32| [&number.to_be_bytes()[..], &[7; 99_996]].concat();
    let stream: Vec<u8> = (0..COUNT).flat_map(|number| Frame::binary(message(number)).bytes()).collect();
    let mut at = 0;
    while let written @ 1.. = peer.write_some(&stream[at..]) {
        at += written;
    }
    assert!(at < stream.len(), "a server that reads all of it holds all of it");
    let mut writer = peer.writer();
    thread::scope(|scope| {
        scope.spawn(|| writer.write(&stream[at..]));
        for number in 0..COUNT {
            assert!(peer.frame() == Received::binary(message(number)), "reply {number}");
        }
    });
}

/// The check of the mark of a binary message of connection 0 of `ringway load` with the seed 0.
fn check(number: u32) -> u32 {
    let key = 0xe220_a839_7b1d_cdaf; // the first output of SplitMix64 with the seed 0
    let mut z = (u64::from(number) ^ key).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}

/// The number of a message that was pushed.
fn number(frame: &Received, size: usize) -> u32 {
    assert_eq!((frame.first, frame.payload.len()), (0x82, size));
    let word = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("4 bytes"));
    assert_eq!(word(4), check(word(0)), "the check of message {}", word(0));
    word(0)
}

#[test]
fn pushed_messages_are_numbered_and_none_comes_before_its_time() {
    let serving = app("push:200:32", &["--shards=2"]);
    assert_eq!(line(&serving), "push, 200 messages of 32 bytes a second to each connection");
    let mut peers: Vec<(Instant, WirePeer)> =
        (0..8).map(|_| (Instant::now(), WirePeer::open(serving.address()))).collect();
    for expected in 0..200 {
        for (opening, peer) in &mut peers {
            assert_eq!(number(&peer.frame(), 32), expected);
            let due = Duration::from_millis(5) * expected;
            assert!(opening.elapsed() >= due, "message {expected} came after {:?}", opening.elapsed());
        }
    }
    // What a peer sends is dropped, and pings are answered.
    let (_, peer) = &mut peers[0];
    peer.send(&Frame::text("swallowed"));
    peer.send(&Frame::ping("p"));
    let mut expected = 200;
    loop {
        let frame = peer.frame();
        if frame == Received::pong("p") {
            break;
        }
        assert_eq!(number(&frame, 32), expected);
        expected += 1;
    }
}

/// A server of an application that stops with its standard input, and prints its counts then.
struct Piped {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Piped {
    fn start(app: &str) -> Self {
        let app = format!("--app={app}");
        let mut command = ringway(&["serve", "--listen=127.0.0.1:0", "--shards=1", &app]);
        command.args(["--max-buffered=64K", "--stop-with-stdin"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut first = String::new();
        stdout.read_line(&mut first).expect("UTF-8");
        let address = first.trim().strip_prefix("listening on ws://").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("its address, not {first:?}"));
        Self { child, stdout, address }
    }

    /// Stops it, and returns the numbers of the line with its counts.
    fn counts(mut self, label: &str) -> Vec<u64> {
        let pid = Pid::from_child(&self.child);
        drop(self.child.stdin.take());
        let mut rest = String::new();
        guarded(pid, || self.stdout.read_to_string(&mut rest)).expect("UTF-8");
        assert!(guarded(pid, || self.child.wait()).expect("it is our child").success());
        let counts = rest.lines().last().and_then(|line| line.strip_prefix(label)).expect("it prints its counts");
        counts.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
    }
}

/// One connection reads all, and the other nothing until the first has received 2000 messages of
/// 16 KiB, more than the outbox and the buffers of the kernel hold.
#[test]
fn a_slow_reader_sees_gaps_and_the_server_counts_them() {
    const SIZE: usize = 16 << 10;
    let serving = Piped::start("push:2k:16K");
    let address = serving.address;

    let mut slow = WirePeer::connect_narrow(address);
    slow.upgrade();
    let mut fast = WirePeer::open(address);
    let mut received = 1_u64;
    while number(&fast.frame(), SIZE) < 2_000 {
        received += 1;
    }
    let (mut expected, mut skipped, mut of_slow) = (0, 0, 0_u64);
    while skipped == 0 {
        let next = number(&slow.frame(), SIZE);
        assert!(next >= expected, "message {next} comes after message {}", expected - 1);
        (skipped, expected, of_slow) = (skipped + next - expected, next + 1, of_slow + 1);
    }
    // The rest of both connections is not counted here.
    drop((slow, fast));
    let counts = serving.counts("pushed       ");
    assert!(
        counts[0] >= received + of_slow && counts[1] >= u64::from(skipped),
        "{counts:?}: {received} {of_slow} {skipped}"
    );
}

/// What a load against an application has counted for its only population.
fn loaded(serving: &ServerProcess, flags: &[&str]) -> Value {
    let address = serving.address().to_string();
    let ended = run(ringway(&[&["load", &address, "--format=json", "--seed=1"], flags].concat()));
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    report["populations"][0].clone()
}

#[test]
fn a_broadcast_reaches_the_connections_of_all_shards_in_order() {
    for name in ["broadcast", "broadcast:topic"] {
        let serving = app(name, &["--shards=3"]);
        assert_eq!(line(&serving), name);
        expect_a_broadcast(&serving);
    }
}

fn expect_a_broadcast(serving: &ServerProcess) {
    for kind in [&[][..], &["--binary"]] {
        let flags = ["--mode=broadcast:3", "-c12", "-t2", "-R500", "-n120"];
        let counted = loaded(serving, &[&flags, kind].concat());
        let (messages, reach) = (&counted["messages"], &counted["reach"]);
        assert_eq!((messages["sent"].as_u64(), messages["received"].as_u64()), (Some(120), Some(120 * 11)));
        for none in ["missing", "duplicated", "reordered", "unasked", "unsent"] {
            assert_eq!(messages[none].as_u64(), Some(0), "{none}: {counted}");
        }
        assert_eq!((reach["reached"].as_f64(), reach["readers"].as_u64()), (Some(1.0), Some(11)));
        assert_eq!(reach["own_copies"].as_u64(), Some(120), "the sender is a reader too");
    }
}

/// A message of text and its answer.
fn ask(peer: &mut WirePeer, command: &str, answer: &str) {
    peer.send(&Frame::text(command));
    assert_eq!(peer.frame(), Received::text(answer));
}

#[test]
fn topics_are_subscribed_to_published_to_and_left() {
    let serving = app("topics", &["--shards=1"]);
    let mut peers: Vec<WirePeer> = (0..3).map(|_| WirePeer::open(serving.address())).collect();
    let [one, two, three] = &mut peers[..] else { panic!("three") };
    ask(one, "sub news", "ok sub news");
    ask(two, "sub news", "ok sub news");
    ask(two, "sub news", "ok sub news");
    ask(two, "sub sport", "ok sub sport");
    // A publisher is a subscriber too if it has subscribed, and only then.
    two.send(&Frame::text("pub news\nfirst\nsecond line"));
    for peer in [&mut *one, &mut *two] {
        assert_eq!(peer.frame(), Received::text("msg news\nfirst\nsecond line"));
    }
    three.send(&Frame::binary(b"pub sport\n\x00\xff"));
    assert_eq!(two.frame(), Received::binary(b"msg sport\n\x00\xff"));
    ask(two, "unsub news", "ok unsub news");
    one.send(&Frame::text("pub news\nfor one"));
    assert_eq!(one.frame(), Received::text("msg news\nfor one"));
    // What is no command has an answer, and the subscriptions and the order are as before.
    ask(two, "hello", "err unknown command: send sub TOPIC, unsub TOPIC or pub TOPIC");
    ask(two, "pub sport", "err no payload: put it behind the first line of pub");
    two.send(&Frame::text("pub sport\nafter errors"));
    assert_eq!(two.frame(), Received::text("msg sport\nafter errors"));
    // The publisher that is no subscriber has received nothing.
    three.send(&Frame::ping("p"));
    assert_eq!(three.frame(), Received::pong("p"));
}

#[test]
fn a_broadcast_counts_what_it_skips_for_a_slow_reader() {
    let serving = Piped::start("broadcast");
    let address = serving.address;
    let mut slow = WirePeer::connect_narrow(address);
    slow.upgrade();
    let mut sender = WirePeer::open(address);
    // The sender reads its own copies, so that it is not slow. 16 MiB are more than the outbox and
    // the buffers of the kernel hold for the other one.
    const MESSAGES: u64 = 1024;
    let payload = vec![b'x'; 16 << 10];
    for _ in 0..MESSAGES {
        sender.send(&Frame::binary(&payload));
        assert_eq!(sender.frame().payload.len(), payload.len());
    }
    drop((slow, sender));
    let counts = serving.counts("broadcast    ");
    let [messages, copies, missed, by_shards] = counts[..] else { panic!("four counts: {counts:?}") };
    assert_eq!((messages, copies + missed, by_shards), (MESSAGES, 2 * MESSAGES, 0));
    assert!(missed > 0 && copies > MESSAGES, "{counts:?}");
}

#[test]
fn a_load_that_receives_what_is_pushed_finds_no_gaps() {
    let serving = app("push:500", &["--shards=2"]);
    let counted = loaded(&serving, &["--mode=receive", "-c4", "-t2", "-d500ms", "-w100ms"]);
    let messages = &counted["messages"];
    let arrived = messages["per_second"].as_f64().expect("a rate") * 0.5;
    let numbered = messages["numbered"].as_u64().expect("a number");
    assert!(numbered > 0 && numbered as f64 >= arrived.floor(), "{messages}");
    for none in ["skipped", "duplicated", "reordered"] {
        assert_eq!(messages[none].as_u64(), Some(0), "{none}: {messages}");
    }
    assert!(counted["gaps_us"]["count"].as_u64().is_some_and(|count| count > 0), "{counted}");
}

#[test]
fn a_broadcast_on_a_topic_says_why_it_does_not_begin() {
    let of_topic = ["-q", "-t1", "-c4", "--mode=broadcast", "--topic=news", "-R=100", "-n=10"];
    let load = |serving: &ServerProcess| {
        let url = format!("ws://{}/", serving.address());
        run(ringway(&[&["load", &url], &of_topic[..]].concat()))
    };
    let serving = app("topics", &["--shards=1", "--max-topics=1"]);
    let mut peer = WirePeer::open(serving.address());
    ask(&mut peer, "sub sport", "ok sub sport");
    let ended = load(&serving);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("none of 4 connections"), "{ended:?}");
    assert!(ended.stderr.contains("(subscribe_refused): the server answered: err "), "{ended:?}");
    // When there is room for it, the same load is good.
    ask(&mut peer, "unsub sport", "ok unsub sport");
    assert_eq!(load(&serving).status.code(), Some(0));
    let ended = load(&app("echo", &["--shards=1"]));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("(subscribe_invalid)") && ended.stderr.contains("docs/topics.md"), "{ended:?}");
}
