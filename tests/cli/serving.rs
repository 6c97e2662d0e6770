//! `ringway serve`: its options and their effects.

use ringway_tests::{
    End, Frame, RawRequest, Received, ServerProcess, WATCHDOG, WirePeer, guarded, ringway, ringway_after, run,
};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use std::time::Instant;

#[test]
fn it_prints_its_addresses_cores_and_driver() {
    let serving = ServerProcess::with(&["--shards", "2"]);
    let said = serving.announced.join("\n");
    assert_ne!(serving.address().port(), 0, "{said}");
    let line = |name: &str| {
        let line = serving.announced.iter().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no line of {name}: {said}")).trim()
    };
    let shards = line("shards");
    assert!(shards.starts_with("2, on core") || shards.starts_with("2, not pinned: the cgroup's CPU quota"), "{said}");
    assert!(line("driver").starts_with("io_uring"), "{said}");
    assert_eq!(line("app"), "echo");
    assert!(line("connections").contains("ulimit -n"), "{said}");
}

#[test]
fn it_echoes() {
    let serving = ServerProcess::with(&["--shards", "1"]);
    let mut peer = WirePeer::open(serving.address());
    peer.expect_echo("hello");
    peer.send(&Frame::binary([1; 100_000]));
    assert_eq!(peer.frame(), Received::binary([1; 100_000]));
    peer.send(&Frame::close(1000, ""));
    assert_eq!(peer.close_code(), Some(1000));
    assert_eq!(peer.end(), End::Finished);
}

#[test]
fn every_shard_serves() {
    let serving = ServerProcess::with(&["--shards", "4"]);
    // The kernel distributes connections by their ports. It is practically impossible that 64
    // connections reach only some of the shards.
    let mut peers: Vec<WirePeer> = (0..64).map(|_| WirePeer::open(serving.address())).collect();
    for peer in &mut peers {
        peer.expect_echo("hello");
    }
}

#[test]
fn it_listens_on_every_address_that_it_is_given() {
    let serving = ServerProcess::with(&["--listen", "127.0.0.2:0", "--listen", "[::1]:0", "--shards", "2"]);
    let addresses = serving.addresses();
    assert_eq!(addresses.len(), 3, "{:?}", serving.announced);
    for address in addresses {
        WirePeer::open(address).expect_echo("hello");
    }
}

#[test]
fn a_sink_reads_and_sends_nothing() {
    let serving = ServerProcess::with(&["--shards", "1", "--app", "sink"]);
    let mut peer = WirePeer::open(serving.address());
    peer.send(&Frame::text("swallowed"));
    peer.send(&Frame::ping("p"));
    assert_eq!(peer.frame(), Received::pong("p"));
}

#[test]
fn the_flags_have_their_effects() {
    let serving = ServerProcess::with(&[
        "--shards=1",
        "--max-message=1K",
        "--max-head=512",
        "--origin=https://example.com",
        "--subprotocol=chat",
    ]);
    let from_page = || RawRequest::websocket().with("Origin", "https://example.com");
    let mut peer = WirePeer::connect(serving.address());
    peer.write(from_page().with("Sec-WebSocket-Protocol", "soap, chat").bytes());
    assert_eq!(peer.expect_upgrade().field("sec-websocket-protocol"), Some("chat"));
    peer.send(&Frame::binary([0; 1025]));
    assert_eq!(peer.close_code(), Some(1009));
    let mut peer = WirePeer::connect(serving.address());
    peer.write(RawRequest::websocket().bytes());
    assert_eq!(peer.response().status, 403);
    let mut peer = WirePeer::connect(serving.address());
    peer.write(from_page().with("X", &"x".repeat(512)).bytes());
    assert_eq!(peer.response().status, 431);
}

/// The server's answer to an offer of compression.
fn agreed(serving: &ServerProcess, offer: &str) -> Option<String> {
    let mut peer = WirePeer::connect(serving.address());
    peer.write(RawRequest::websocket().with("Sec-WebSocket-Extensions", offer).bytes());
    peer.expect_upgrade().field("sec-websocket-extensions").map(str::to_owned)
}

#[test]
fn messages_are_compressed_where_both_sides_want_it() {
    const PMD: &str = "permessage-deflate";
    let neither = "; server_no_context_takeover; client_no_context_takeover";
    for (flag, said, answer) in [
        ("--deflate", Some("with context takeover"), Some(PMD.to_owned())),
        ("--deflate=takeover", Some("with context takeover"), Some(PMD.to_owned())),
        ("--deflate=shared", Some("without context takeover"), Some(format!("{PMD}{neither}"))),
        ("--deflate=off", None, None),
    ] {
        let serving = ServerProcess::with(&["--shards=1", flag]);
        let line = serving.announced.iter().find(|line| line.starts_with("compression"));
        assert_eq!(line.is_some(), said.is_some(), "{flag}: {line:?}");
        assert!(line.is_none_or(|line| said.is_some_and(|said| line.ends_with(said))), "{flag}: {line:?}");
        assert_eq!(agreed(&serving, PMD), answer, "{flag}");
        assert_eq!(agreed(&serving, "permessage-deflate; server_max_window_bits=8"), None, "{flag}");

        let url = format!("ws://{}/", serving.address());
        let ended =
            run(ringway(&["load", &url, "--deflate", "-c2", "-t1", "-n2000", "-s1-3000", "-w0", "--verify=all"]));
        assert_eq!(ended.status.code(), Some(0), "{flag}: {ended:?}");
        let told = if said.is_some() {
            "agreed on by 2 connections, sent messages "
        } else {
            "agreed on by 0 connections: the server"
        };
        assert!(ended.stdout.contains(told), "{flag}: {ended:?}");
    }
}

#[test]
fn the_timeouts_have_their_effects() {
    let serving = ServerProcess::with(&["--shards=1", "--handshake-timeout=200ms"]);
    let mut opening = WirePeer::connect(serving.address());
    assert_eq!(opening.response().status, 408);
    let serving = ServerProcess::with(&["--shards=1", "--idle-timeout=400ms"]);
    let mut idle = WirePeer::open(serving.address());
    assert!(idle.frame().is_ping());
    assert_eq!(idle.end(), End::Finished);
    let serving = ServerProcess::with(&["--shards=1", "--close-timeout=200ms"]);
    let mut closing = WirePeer::open(serving.address());
    closing.send(&Frame::new(3, ""));
    assert_eq!(closing.close_code(), Some(1002));
    assert_eq!(closing.end(), End::Finished);
}

#[test]
fn any_origin_can_be_required() {
    let serving = ServerProcess::with(&["--shards=1", "--require-origin"]);
    let mut peer = WirePeer::connect(serving.address());
    peer.write(RawRequest::websocket().bytes());
    assert_eq!(peer.response().status, 403);
    let mut peer = WirePeer::connect(serving.address());
    peer.write(RawRequest::websocket().with("Origin", "https://anybody.example").bytes());
    peer.expect_upgrade();
}

#[test]
fn headers_are_counted() {
    let serving = ServerProcess::with(&["--shards=1", "--max-headers=8"]);
    let with = |more: usize| (0..more).fold(RawRequest::websocket(), |request, n| request.with(&format!("X-{n}"), "y"));
    let status = |request: &RawRequest| {
        let mut peer = WirePeer::connect(serving.address());
        peer.write(request.bytes());
        peer.response().status
    };
    assert_eq!((status(&with(0)), status(&with(8))), (101, 431));
}

/// A field of a file in procfs.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

#[test]
fn shards_run_on_the_cores_that_were_named() {
    let allowed = field(&std::fs::read_to_string("/proc/self/status").expect("procfs"), "Cpus_allowed_list");
    let allowed = allowed.expect("a line says it");
    // The last core: if there are several, it is not the one that a wrong default would choose.
    let core = allowed.rsplit(['-', ',']).next().expect("a core");
    let serving = ServerProcess::with(&["--shards=3", &format!("--cores={core}")]);
    assert!(serving.announced.contains(&format!("shards       3, on core {core}")), "{:?}", serving.announced);
    let tasks = format!("/proc/{}/task", serving.pid());
    let mut shards = 0;
    for task in std::fs::read_dir(tasks).expect("procfs, and it runs") {
        let status = std::fs::read_to_string(task.expect("procfs").path().join("status")).expect("it runs");
        let name = field(&status, "Name").expect("a line says it");
        if name.strip_prefix("ringway-").is_some_and(|number| number.parse::<u32>().is_ok()) {
            shards += 1;
            assert_eq!(field(&status, "Cpus_allowed_list").as_deref(), Some(core), "{name}");
        }
    }
    assert_eq!(shards, 3);
}

#[test]
fn rings_have_the_entries_that_were_asked_for() {
    let serving = ServerProcess::with(&["--shards=2", "--ring-entries=64"]);
    let files = std::fs::read_dir(format!("/proc/{}/fdinfo", serving.pid())).expect("procfs, and it runs");
    let ring = |file: std::io::Result<std::fs::DirEntry>| {
        field(&std::fs::read_to_string(file.expect("procfs").path()).unwrap_or_default(), "SqMask")
    };
    let rings: Vec<String> = files.filter_map(ring).collect();
    assert_eq!(rings, ["0x3f", "0x3f"]);
    WirePeer::open(serving.address()).expect_echo("hello");
}

#[test]
fn without_descriptors_it_serves_open_connections_and_accepts_the_others_later() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--shards", "1"];
    let mut serving = ServerProcess::start(ringway_after("ulimit -n 100", &arguments));
    let request = RawRequest::websocket().bytes();
    let mut peers: Vec<WirePeer> = (0..150).map(|_| WirePeer::connect(serving.address())).collect();
    for peer in &mut peers {
        peer.write(&request);
    }
    let warning = serving.warning();
    assert!(warning.contains("ulimit -n"), "{warning}");
    peers[0].expect_upgrade();
    peers[0].expect_echo("served");
    // The kernel queues them in the order of their arrival.
    for peer in peers.drain(..90) {
        peer.reset();
    }
    for mut peer in peers {
        peer.expect_upgrade();
        peer.expect_echo("served in the end");
    }
    WirePeer::open(serving.address()).expect_echo("and anew");
}

/// As in `ringway serve | head -1`, which closes the pipe after the first line.
#[test]
fn a_closed_standard_output_does_not_end_it() {
    let (reader, writer) = std::io::pipe().expect("there is a descriptor left");
    drop(reader);
    let mut command = ringway(&["serve", "--listen", "127.0.0.1:0", "--shards=1"]);
    let child = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().expect("the program starts");
    let pid = Pid::from_child(&child);
    // The last step before its output is to install signal handlers, which procfs shows. A process
    // that has exited has none.
    let status = format!("/proc/{}/status", child.id());
    let deadline = Instant::now() + WATCHDOG;
    loop {
        let status = std::fs::read_to_string(&status).expect("procfs, for the child has not been waited for");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).expect("a mask"));
        if caught & 1 << (Signal::TERM.as_raw() - 1) != 0 || status.contains("State:\tZ") {
            break;
        }
        assert!(Instant::now() < deadline, "the server installs no signal handler");
        std::thread::yield_now();
    }
    // Its attempt to write is not observable, but stopping comes after it.
    kill_process(pid, Signal::TERM).expect("it is our child");
    let output = guarded(pid, || child.wait_with_output()).expect("its output can be read");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
