//! Deferred upgrades, answered from another thread.

use crate::config;
use ringway::{Config, Connection, ConnectionId, Handler, Limits, Message, Request, StatusCode, Upgrade};
use ringway_tests::{End, Frame, RawRequest, Received, TestServer, WATCHDOG, WirePeer};
use std::sync::mpsc;
use std::time::Duration;

/// A handler that defers every answer and sends the connection's id to the test.
struct Deferring {
    asked: mpsc::Sender<ConnectionId>,
    opened: usize,
}

impl Handler for Deferring {
    type State = &'static str;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Self::State> {
        self.asked.send(request.id()).expect("the test listens");
        Upgrade::defer()
    }

    fn open(&mut self, _: &mut Connection<'_, Self>) {
        self.opened += 1;
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let state = *conn.state();
        let text = format!("{state} {}", message.as_text().expect("text"));
        let _ = conn.send(Message::text(&text));
    }
}

fn start(config: Config) -> (TestServer<Deferring>, mpsc::Receiver<ConnectionId>) {
    let (asked, asking) = mpsc::channel();
    let make = move |_| Deferring { asked: asked.clone(), opened: 0 };
    (TestServer::start(config, Limits::default(), make), asking)
}

fn ask(
    server: &TestServer<Deferring>,
    asking: &mpsc::Receiver<ConnectionId>,
    behind: &[u8],
) -> (WirePeer, ConnectionId) {
    let mut peer = WirePeer::connect(server.address());
    let request = RawRequest::websocket().with("Sec-WebSocket-Protocol", "chat").bytes();
    peer.write([&request, behind].concat());
    (peer, asking.recv_timeout(WATCHDOG).expect("the handler is asked"))
}

fn answer(server: &TestServer<Deferring>, id: ConnectionId, upgrade: Upgrade<&'static str>) {
    server.on_shard(move |_, shard| shard.answer(id, upgrade));
}

#[test]
fn an_upgrade_is_accepted_from_another_thread() {
    let (server, asking) = start(config());
    let (mut peer, id) = ask(&server, &asking, b"");
    answer(&server, id, Upgrade::accept("late").subprotocol("chat"));
    assert_eq!(peer.expect_upgrade().field("sec-websocket-protocol"), Some("chat"));
    peer.send(&Frame::text("hello"));
    assert_eq!(peer.frame(), Received::text("late hello"));
}

#[test]
fn bytes_after_the_request_wait_for_the_answer() {
    let (server, asking) = start(config());
    let frames = [Frame::text("first"), Frame::text("second")].map(|frame| frame.bytes()).concat();
    let (mut peer, id) = ask(&server, &asking, &frames);
    peer.send(&Frame::text("third"));
    answer(&server, id, Upgrade::accept("late"));
    peer.expect_upgrade();
    for text in ["late first", "late second", "late third"] {
        assert_eq!(peer.frame(), Received::text(text));
    }
}

#[test]
fn an_upgrade_is_refused_from_another_thread() {
    let (server, asking) = start(config());
    let (mut peer, id) = ask(&server, &asking, &Frame::text("never read").bytes());
    answer(&server, id, Upgrade::reject(StatusCode::FORBIDDEN, "members only"));
    let response = peer.response();
    assert_eq!((response.status, response.body.as_str()), (403, "members only\n"));
    assert_eq!(peer.end(), End::Finished);
    drop(peer);
    server.wait_until_empty();
}

#[test]
fn the_first_answer_counts() {
    let (server, asking) = start(config());
    let (mut peer, id) = ask(&server, &asking, b"");
    answer(&server, id, Upgrade::accept("first"));
    answer(&server, id, Upgrade::reject(StatusCode::FORBIDDEN, "no"));
    answer(&server, id, Upgrade::accept("second"));
    peer.expect_upgrade();
    peer.send(&Frame::text("hello"));
    assert_eq!(peer.frame(), Received::text("first hello"));
    assert_eq!(server.on_shard(|deferring, _| deferring.opened), 1);
}

#[test]
fn an_answer_that_never_comes_times_out() {
    let (server, asking) = start(config().handshake_timeout(Duration::from_millis(200)).expect("in range"));
    let (mut peer, _) = ask(&server, &asking, b"");
    assert_eq!(peer.response().status, 408);
    assert_eq!(peer.end(), End::Finished);
    drop(peer);
    server.wait_until_empty();
}

#[test]
fn an_answer_that_comes_after_the_timeout_has_no_effect() {
    let (server, asking) = start(config().handshake_timeout(Duration::from_millis(200)).expect("in range"));
    let (mut peer, id) = ask(&server, &asking, b"");
    assert_eq!(peer.response().status, 408);
    // The connection lingers, because this end is still open.
    answer(&server, id, Upgrade::accept("too late"));
    assert_eq!(peer.end(), End::Finished);
    assert_eq!(server.on_shard(|deferring, _| deferring.opened), 0);
    drop(peer);
    server.wait_until_empty();
}

#[test]
fn an_answer_for_a_closed_connection_has_no_effect() {
    let (server, asking) = start(config());
    let (peer, id) = ask(&server, &asking, b"");
    peer.reset();
    answer(&server, id, Upgrade::accept("to nobody"));
    server.wait_until_empty();
    let (mut peer, id) = ask(&server, &asking, b"");
    answer(&server, id, Upgrade::accept("next"));
    peer.expect_upgrade();
}
