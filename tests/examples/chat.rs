//! `chat`

use crate::process::Process;
use ringway_tests::{End, Frame, RawRequest, Received, WirePeer};
use std::net::SocketAddr;

const ORIGIN: &str = "http://chat.test";

fn start() -> (Process, SocketAddr) {
    let server = Process::start("chat", &["127.0.0.1:0", ORIGIN]);
    let address = server.address();
    (server, address)
}

fn request(target: &str) -> RawRequest {
    RawRequest::websocket().line(format!("GET {target} HTTP/1.1"))
}

fn text(peer: &mut WirePeer) -> String {
    // The server pings a peer that has been silent for long, as it may be on a busy machine.
    let frame = loop {
        let frame = peer.frame();
        if !frame.is_ping() {
            break frame;
        }
        peer.send(&Frame::pong(&frame.payload));
    };
    assert_eq!(frame.first, 0x81, "{frame:?}");
    String::from_utf8(frame.payload).expect("UTF-8")
}

/// Enters the room. Returns the shard too.
fn join_with(mut peer: WirePeer, name: &str) -> (WirePeer, String) {
    peer.write(request(&format!("/?name={name}")).with("Origin", ORIGIN).bytes());
    peer.expect_upgrade();
    let shard = text(&mut peer).strip_prefix("* welcome to shard ").expect("a welcome").to_owned();
    assert_eq!(text(&mut peer), format!("* {name} has joined"));
    (peer, shard)
}

fn join(address: SocketAddr, name: &str) -> (WirePeer, String) {
    join_with(WirePeer::connect(address), name)
}

/// Ends the connection, and waits until the server has.
fn leave(mut peer: WirePeer) {
    peer.send(&Frame::close(1000, ""));
    while !peer.frame().is_close() {}
    assert_eq!(peer.end(), End::Finished);
}

#[test]
fn a_line_reaches_members_on_another_shard() {
    let (_server, address) = start();
    let (mut ada, home) = join(address, "ada");
    // The kernel spreads connections over the shards by their ports.
    let (mut others, mut away) = (Vec::new(), None);
    for number in 0..200 {
        let name = format!("guest{number}");
        let (peer, shard) = join(address, &name);
        assert_eq!(text(&mut ada), format!("* {name} has joined"));
        if shard != home {
            away = Some((peer, name));
            break;
        }
        others.push(peer);
    }
    let (mut bob, name) = away.expect("one of 200 connections comes to the other shard");
    bob.send(&Frame::text("hello from afar"));
    assert_eq!(text(&mut bob), format!("{name}: hello from afar"), "the speaker gets it too");
    assert_eq!(text(&mut ada), format!("{name}: hello from afar"));
    ada.send(&Frame::text("welcome"));
    assert_eq!([text(&mut ada), text(&mut bob)], ["ada: welcome", "ada: welcome"]);
    leave(bob);
    assert_eq!(text(&mut ada), format!("* {name} has left"));
}

#[test]
fn pages_of_other_sites_and_clients_without_an_origin_are_refused() {
    let (_server, address) = start();
    for origin in [Some("http://evil.test"), Some("null"), None] {
        let request = request("/?name=ada");
        let request = origin.map_or(request.clone(), |origin| request.with("Origin", origin));
        let mut peer = WirePeer::connect(address);
        peer.write(request.bytes());
        assert_eq!(peer.response().status, 403, "{origin:?}");
    }
}

#[test]
fn a_name_is_letters_and_digits() {
    let (_server, address) = start();
    let long = format!("/?name={}", "a".repeat(25));
    for target in ["/", "/?name=", "/?name=*+ada", "/?name=ada%0A", "/?name=a:b", &long] {
        let mut peer = WirePeer::connect(address);
        peer.write(request(target).with("Origin", ORIGIN).bytes());
        let response = peer.response();
        assert_eq!(response.status, 400, "{target}");
        assert!(response.body.starts_with("give a name"), "{response:?}");
    }
    let (_peer, _) = join(address, "ada1815");
}

#[test]
fn invalid_lines_are_refused() {
    let (_server, address) = start();
    let (mut ada, _) = join(address, "ada");
    ada.send(&Frame::text("hi\n* bob has left"));
    assert_eq!(text(&mut ada), "* not sent: it contains control characters");
    ada.send(&Frame::text("x".repeat(4096)));
    assert_eq!(text(&mut ada), format!("ada: {}", "x".repeat(4096)));
    ada.send(&Frame::text("x".repeat(4097)));
    assert_eq!(ada.close_code(), Some(1009));
    let (mut bob, _) = join(address, "bob");
    bob.send(&Frame::binary("a"));
    while let Ok(frame) = bob.try_frame() {
        // The end of ada's connection may be reported first.
        if frame.is_close() {
            return assert_eq!(frame.close_code(), Some(1003));
        }
        assert_eq!(frame, Received::text("* ada has left"));
    }
    panic!("no close frame");
}

#[test]
fn a_member_that_says_too_much_is_read_again_in_the_next_period() {
    let (_server, address) = start();
    let (mut ada, _) = join(address, "ada");
    let lines: Vec<_> = (0..25).map(|number| format!("line {number}")).collect();
    ada.write(lines.iter().flat_map(|line| Frame::text(line).bytes()).collect::<Vec<_>>());
    for line in lines {
        assert_eq!(text(&mut ada), format!("ada: {line}"));
    }
}

/// Members that say 12 MB, while one member reads nothing: more than its queue and all buffers of
/// the kernel hold.
#[test]
fn a_slow_reader_is_told_how_much_it_has_missed() {
    const SPEAKERS: u64 = 150;
    const LINES: u64 = 20;
    let (_server, address) = start();
    let (mut slow, _) = join_with(WirePeer::connect_narrow(address), "slow");
    let long = "x".repeat(4000);
    for _ in 0..SPEAKERS {
        let (mut speaker, _) = join(address, "speaker");
        speaker.write((0..LINES).flat_map(|_| Frame::text(&long).bytes()).collect::<Vec<_>>());
        leave(speaker);
    }
    // Each has joined, spoken, and left.
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < SPEAKERS * (LINES + 2) {
        let line = text(&mut slow);
        match line.strip_prefix("* you have missed ") {
            Some(rest) => {
                missed += rest.strip_suffix(" messages").and_then(|n| n.parse::<u64>().ok()).expect("a number")
            }
            None => seen += 1,
        }
    }
    assert_eq!(seen + missed, SPEAKERS * (LINES + 2), "nothing is lost without a word");
    assert!(missed > 0 && seen > 0, "{seen} seen, {missed} missed");
    // And it gets everything again.
    slow.send(&Frame::text("here I am"));
    assert_eq!(text(&mut slow), "slow: here I am");
}

#[test]
fn lines_stay_in_their_room() {
    let (_server, address) = start();
    let enter = |name: &str, room: &str| {
        let mut peer = WirePeer::connect(address);
        peer.write(request(&format!("/?name={name}&room={room}")).with("Origin", ORIGIN).bytes());
        peer.expect_upgrade();
        assert!(text(&mut peer).starts_with("* welcome to shard "));
        assert_eq!(text(&mut peer), format!("* {name} has joined"));
        peer
    };
    let mut ada = enter("ada", "garden");
    let mut bob = enter("bob", "kitchen");
    let mut eve = enter("eve", "garden");
    assert_eq!(text(&mut ada), "* eve has joined");
    bob.send(&Frame::text("in the kitchen"));
    assert_eq!(text(&mut bob), "bob: in the kitchen");
    eve.send(&Frame::text("in the garden"));
    assert_eq!([text(&mut eve), text(&mut ada)], ["eve: in the garden", "eve: in the garden"]);
    // A room whose members have all left can be entered again.
    leave(bob);
    let mut bob = enter("bob", "kitchen");
    bob.send(&Frame::text("alone"));
    assert_eq!(text(&mut bob), "bob: alone");
}

#[test]
fn the_page_and_its_script_are_served_with_a_policy() {
    let (_server, address) = start();
    let mut peer = WirePeer::connect(address);
    for (path, content) in [("/", "<!doctype html>"), ("/chat.js", "new WebSocket")] {
        peer.write(format!("GET {path} HTTP/1.1\r\nHost: chat.test\r\n\r\n"));
        let response = peer.response();
        assert!(response.status == 200 && response.body.contains(content), "{path}: {response:?}");
        let policy = response.field("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    }
    peer.write("GET /other HTTP/1.1\r\nHost: chat.test\r\n\r\n");
    assert_eq!(peer.response().status, 404);
}

#[test]
fn an_address_must_be_given() {
    let (status, notices) = Process::start("chat", &[]).wait();
    assert_eq!(status.code(), Some(1));
    assert_eq!(notices, ["chat: give the address to listen on, such as 127.0.0.1:9001"]);
}
