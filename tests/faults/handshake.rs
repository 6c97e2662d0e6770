//! The opening handshake, except for the malformed requests of bad_inputs.rs.

use crate::{config, echo_server};
use ringway::{Config, ConfigError, Connection, Handler, Limits, Message, OriginPolicy, StatusCode, Upgrade};
use ringway_tests::{Echo, End, Frame, RawRequest, RawResponse, Received, TestServer, WirePeer};
use std::time::Duration;

fn with(change: impl FnOnce(Config) -> Result<Config, ConfigError>) -> TestServer<Echo> {
    let config = change(config()).expect("the options are in range");
    TestServer::start(config, Limits::default(), |_| Echo)
}

fn ask(server: &TestServer<Echo>, request: &RawRequest) -> RawResponse {
    let mut peer = WirePeer::connect(server.address());
    peer.write(request.bytes());
    peer.response()
}

#[test]
fn a_request_may_come_one_byte_at_a_time() {
    let server = echo_server();
    let mut peer = WirePeer::connect(server.address());
    peer.write_byte_by_byte(RawRequest::websocket().bytes());
    peer.expect_upgrade();
    peer.expect_echo("hello");
}

#[test]
fn frames_may_follow_the_request_directly() {
    let server = echo_server();
    let mut peer = WirePeer::connect(server.address());
    let frames = [Frame::text("first"), Frame::ping("p"), Frame::binary([9; 70_000])];
    let frames: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    peer.write([RawRequest::websocket().bytes(), frames].concat());
    peer.expect_upgrade();
    assert_eq!(peer.frame(), Received::text("first"));
    assert_eq!(peer.frame(), Received::pong("p"));
    assert_eq!(peer.frame(), Received::binary([9; 70_000]));
}

#[test]
fn header_names_and_tokens_are_matched_whatever_their_case() {
    let server = echo_server();
    let request = RawRequest::new("GET / HTTP/1.1")
        .with("HOST", "a")
        .with("upgrade", "WebSocket")
        .with("CONNECTION", "keep-alive, UPGRADE")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("SEC-WEBSOCKET-VERSION", "13");
    assert_eq!(ask(&server, &request).status, 101);
}

#[test]
fn rfc6455_4_4_the_answer_names_version_13() {
    let server = echo_server();
    let request = RawRequest::websocket().without("Sec-WebSocket-Version").with("Sec-WebSocket-Version", "7");
    let response = ask(&server, &request);
    assert_eq!((response.status, response.field("sec-websocket-version")), (426, Some("13")));
}

#[test]
fn a_request_that_is_never_finished_times_out() {
    let server = with(|config| config.handshake_timeout(Duration::from_millis(200)));
    for begun in [&b"GET / HTTP/1.1\r\nHost: a\r\n"[..], b"G", b""] {
        let mut peer = WirePeer::connect(server.address());
        peer.write(begun);
        assert_eq!(peer.response().status, 408, "after {:?}", begun.escape_ascii());
        assert_eq!(peer.end(), End::Finished);
    }
    server.wait_until_empty();
}

#[test]
fn a_request_that_arrives_slowly_has_no_longer_deadline() {
    let server = with(|config| config.handshake_timeout(Duration::from_millis(200)));
    let mut peer = WirePeer::connect(server.address());
    let mut writer = peer.writer();
    peer.write("GET / HTTP/1.1\r\n");
    // Ends when the server ends the connection, or at the limit of the head, but never with a
    // complete request.
    let trickle = std::thread::spawn(move || (0..2000).take_while(|_| writer.try_write("X: y\r\n").is_ok()).count());
    assert!(matches!(peer.response().status, 408 | 431));
    drop(peer);
    server.wait_until_empty();
    trickle.join().expect("no assertion in it");
}

#[test]
fn a_peer_that_stays_connected_after_408_is_disconnected() {
    let server =
        with(|config| config.handshake_timeout(Duration::from_millis(100))?.close_timeout(Duration::from_millis(100)));
    let mut peer = WirePeer::connect(server.address());
    assert_eq!(peer.response().status, 408);
    assert_eq!(peer.end(), End::Finished);
    // The peer never ends its own direction.
    server.wait_until_empty();
}

#[test]
fn only_listed_origins_are_accepted() {
    let server = with(|config| config.origins(OriginPolicy::List(vec!["https://example.com".into()])));
    let from = |origin: &str| ask(&server, &RawRequest::websocket().with("Origin", origin)).status;
    assert_eq!(ask(&server, &RawRequest::websocket()).status, 403);
    assert_eq!(from("https://evil.example"), 403);
    assert_eq!(from("https://example.com.evil.example"), 403);
    assert_eq!(from("null"), 403);
    assert_eq!(from("https://example.com"), 101);
    server.wait_until_empty();
}

#[test]
fn an_origin_can_be_required() {
    let server = with(|config| config.origins(OriginPolicy::Required));
    assert_eq!(ask(&server, &RawRequest::websocket()).status, 403);
    assert_eq!(ask(&server, &RawRequest::websocket().with("Origin", "https://any.example")).status, 101);
}

#[test]
fn the_clients_first_subprotocol_that_is_spoken_is_chosen() {
    let server = with(|config| config.subprotocols(["chat", "superchat"]));
    let offer = |offered: &str| {
        let response = ask(&server, &RawRequest::websocket().with("Sec-WebSocket-Protocol", offered));
        assert_eq!(response.status, 101);
        response.field("sec-websocket-protocol").map(str::to_owned)
    };
    assert_eq!(offer("superchat, chat").as_deref(), Some("superchat"));
    assert_eq!(offer("soap, chat").as_deref(), Some("chat"));
    assert_eq!(offer("soap"), None);
    assert_eq!(ask(&server, &RawRequest::websocket()).field("sec-websocket-protocol"), None);
}

/// A handler with a different answer for each path.
struct Services;

impl Handler for Services {
    type State = ();

    fn upgrade(&mut self, request: &ringway::Request<'_>) -> Upgrade<()> {
        match request.path() {
            "/chat" => Upgrade::accept(()).subprotocol("chat"),
            path => Upgrade::reject(StatusCode::NOT_FOUND, &format!("there is no {path} here")),
        }
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

#[test]
fn rfc6455_4_2_2_a_service_that_is_not_there_is_answered_404() {
    let server = TestServer::start(config(), Limits::default(), |_| Services);
    let mut peer = WirePeer::connect(server.address());
    peer.write(RawRequest::websocket().line("GET /news HTTP/1.1").bytes());
    let response = peer.response();
    assert_eq!((response.status, &*response.body), (404, "there is no /news here\n"));
    assert_eq!(peer.end(), End::Finished);
}

#[test]
fn rfc6455_4_2_2_a_subprotocol_that_was_not_offered_is_never_answered() {
    let server = TestServer::start(config(), Limits::default(), |_| Services);
    for (offered, answered) in [(Some("news, chat"), Some("chat")), (Some("Chat, news"), None), (None, None)] {
        let mut peer = WirePeer::connect(server.address());
        let request = RawRequest::websocket();
        let request = offered.map_or(request.clone(), |names| request.with("Sec-WebSocket-Protocol", names));
        peer.write(request.bytes());
        assert_eq!(peer.expect_upgrade().field("sec-websocket-protocol"), answered, "offered {offered:?}");
    }
}

#[test]
fn rfc6455_4_2_1_a_malformed_list_of_subprotocols_is_refused() {
    let server = echo_server();
    let request = RawRequest::websocket().with("Sec-WebSocket-Protocol", "super chat");
    assert_eq!(ask(&server, &request).status, 400);
}

#[test]
fn extensions_that_are_not_spoken_are_not_agreed_to() {
    let server = echo_server();
    let request = RawRequest::websocket().with("Sec-WebSocket-Extensions", "x-unknown; level=9");
    let response = ask(&server, &request);
    assert_eq!((response.status, response.field("sec-websocket-extensions")), (101, None));
}

#[test]
fn a_plain_get_is_answered_with_a_short_text() {
    let server = echo_server();
    let mut peer = WirePeer::connect(server.address());
    peer.write("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = peer.response();
    assert_eq!(response.status, 200);
    assert!(response.body.contains("Ringway") && response.body.len() < 200, "{response:?}");
    assert_eq!(response.field("connection"), Some("keep-alive"));
    // A later request of the connection opens a WebSocket.
    peer.upgrade();
    peer.expect_echo("hello");
    drop(peer);
    server.wait_until_empty();
}

#[test]
fn a_connection_of_plain_http_is_closed_when_it_is_idle() {
    let server = with(|config| config.keep_alive_timeout(Duration::from_millis(100)));
    let mut peer = WirePeer::connect(server.address());
    peer.write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(peer.head().starts_with("HTTP/1.1 200"));
    assert_eq!(peer.end(), End::Finished);
    drop(peer);
    server.wait_until_empty();
}

#[test]
fn a_plain_post_is_refused_and_its_body_does_not_destroy_the_answer() {
    let server = echo_server();
    let mut peer = WirePeer::connect(server.address());
    peer.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    peer.write([b'x'; 200_000]);
    let response = peer.response();
    assert_eq!((response.status, response.field("connection")), (413, Some("close")));
    assert_eq!(peer.end(), End::Finished);
    let mut peer = WirePeer::connect(server.address());
    peer.write("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = peer.response();
    assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD")));
    assert_eq!(peer.end(), End::Finished);
}
