//! The closing handshake (RFC 6455 section 7).

use crate::config;
use ringway::{CloseCode, CloseReason, Config, Connection, Ending, Handler, Limits, Message, Request, Shard, Upgrade};
use ringway_tests::{End, Frame, Received, TestServer, WirePeer};
use std::time::Duration;

/// A handler that echoes, closes on request, and records messages and endings.
#[derive(Default)]
struct Closing {
    messages: usize,
    endings: Vec<String>,
}

impl Handler for Closing {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        self.messages += 1;
        match message.as_text() {
            Some("close") => conn.close(CloseCode::new(4001), "bye").expect("sendable"),
            Some("close without a code") => conn.close(CloseCode::NO_STATUS, "").expect("no code"),
            Some("echo and close") => {
                conn.reply(message);
                conn.close(CloseCode::NORMAL, "").expect("sendable");
                assert!(!conn.is_open());
                conn.reply(Message::text("too late"));
                assert!(matches!(conn.send(Message::text("too late")), ringway::SendOutcome::Closed(_)));
            }
            _ => conn.reply(message),
        }
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, (): (), reason: &CloseReason) {
        let who = match reason.ending {
            Ending::Peer => "peer",
            Ending::Local => "local",
            Ending::Unanswered => "unanswered",
            _ => "other",
        };
        self.endings.push(format!("{} {:?} {who} {}", reason.code, reason.text, reason.is_clean()));
    }
}

fn start(config: Config) -> TestServer<Closing> {
    TestServer::start(config, Limits::default(), |_| Closing::default())
}

fn expect_ending(server: &TestServer<Closing>, expected: &str) {
    server.wait_until_empty();
    assert_eq!(server.on_shard(|closing, _| closing.endings.clone()), [expected]);
}

#[test]
fn rfc6455_5_5_1_a_close_is_answered_with_its_own_code_and_the_server_ends_tcp_first() {
    for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
        let server = start(config());
        let mut peer = WirePeer::open(server.address());
        peer.send(&Frame::close(code, "done"));
        assert_eq!(peer.close_code(), Some(code));
        // This end stays open: the server ends the connection.
        assert_eq!(peer.end(), End::Finished);
        expect_ending(&server, &format!("{code} \"done\" peer true"));
    }
}

#[test]
fn rfc6455_5_5_1_a_close_without_a_code_is_answered_without_one() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::new(8, ""));
    assert_eq!(peer.close_code(), None);
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "1005 \"\" peer true");
}

#[test]
fn a_close_with_the_longest_reason_is_in_order() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::close(1000, [b'r'; 123]));
    assert_eq!(peer.close_code(), Some(1000));
    assert_eq!(peer.end(), End::Finished);
}

#[test]
fn a_close_between_fragments_is_answered() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    peer.write([Frame::text("part").more().bytes(), Frame::close(1000, "").bytes()].concat());
    assert_eq!(peer.close_code(), Some(1000));
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "1000 \"\" peer true");
}

#[test]
fn everything_before_a_close_is_answered_before_it() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    let large = vec![3; 2_000_000];
    let mut writer = peer.writer();
    let bytes = [Frame::binary(&large).bytes(), Frame::ping("p").bytes(), Frame::close(1000, "").bytes()].concat();
    let writing = std::thread::spawn(move || writer.write(bytes));
    assert_eq!(peer.frame(), Received::binary(&large));
    assert_eq!(peer.frame(), Received::pong("p"));
    assert_eq!(peer.close_code(), Some(1000));
    assert_eq!(peer.end(), End::Finished);
    writing.join().expect("all was written");
}

#[test]
fn a_handler_closes_and_the_peer_answers() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::text("close"));
    let close = peer.frame();
    assert_eq!((close.close_code(), &close.payload[2..]), (Some(4001), &b"bye"[..]));
    peer.send(&Frame::close(4001, ""));
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "4001 \"bye\" local true");
}

#[test]
fn a_handler_closes_without_a_code() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::text("close without a code"));
    assert_eq!(peer.frame().payload, b"");
    peer.send(&Frame::new(8, ""));
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "1005 \"\" local true");
}

#[test]
fn after_the_handlers_close_no_message_is_delivered_or_sent() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    let frames = ["echo and close", "dropped", "dropped too"].map(|text| Frame::text(text).bytes()).concat();
    peer.write([frames, Frame::ping("unanswered").bytes()].concat());
    assert_eq!(peer.frame(), Received::text("echo and close"));
    assert_eq!(peer.close_code(), Some(1000));
    peer.send(&Frame::text("dropped as well"));
    peer.send(&Frame::close(1000, ""));
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "1000 \"\" local true");
    assert_eq!(server.on_shard(|closing, _| closing.messages), 1);
}

#[test]
fn a_close_that_is_not_answered_times_out() {
    let server = start(config().close_timeout(Duration::from_millis(200)).expect("in range"));
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::text("close"));
    assert_eq!(peer.close_code(), Some(4001));
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "4001 \"bye\" unanswered false");
}

#[test]
fn a_peer_that_ends_tcp_instead_of_answering_a_close_is_closed() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::text("close"));
    assert_eq!(peer.close_code(), Some(4001));
    peer.finish();
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "4001 \"bye\" unanswered false");
}

#[test]
fn crossing_close_frames_complete_the_closing_handshake() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    peer.write([Frame::text("close").bytes(), Frame::close(3000, "mine").bytes()].concat());
    assert_eq!(peer.close_code(), Some(4001));
    assert_eq!(peer.end(), End::Finished, "one close frame from each side");
    expect_ending(&server, "4001 \"bye\" local true");
}

#[test]
fn a_violation_after_the_handlers_close_causes_no_second_close_frame() {
    let server = start(config());
    let mut peer = WirePeer::open(server.address());
    peer.write([Frame::text("close").bytes(), Frame::new(3, "").bytes()].concat());
    assert_eq!(peer.close_code(), Some(4001));
    assert_eq!(peer.end(), End::Finished);
    drop(peer);
    server.wait_until_empty();
}
