//! `authentication`

use crate::process::Process;
use ringway_tests::{End, Frame, RawRequest, RawResponse, Received, WirePeer};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

const ORIGIN: &str = "https://auth.test";

/// A server, and the file of its tokens, which is removed at the end.
struct AuthServer {
    _process: Process,
    address: SocketAddr,
    tokens: PathBuf,
}

impl AuthServer {
    fn start(name: &str, tokens: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::write(&path, tokens).expect("the folder is there");
        let process = Process::start("authentication", &["127.0.0.1:0", path.to_str().expect("UTF-8"), ORIGIN]);
        let address = process.address();
        Self { _process: process, address, tokens: path }
    }

    /// Asks with these values of the header `Authorization`.
    fn ask(&self, values: &[&str]) -> WirePeer {
        self.ask_with(&values.iter().map(|value| ("Authorization", *value)).collect::<Vec<_>>())
    }

    /// Asks with these header fields.
    fn ask_with(&self, fields: &[(&str, &str)]) -> WirePeer {
        let mut peer = WirePeer::connect(self.address);
        let request = fields.iter().fold(RawRequest::websocket(), |request, (name, value)| request.with(name, value));
        peer.write(request.bytes());
        peer
    }

    fn refusal(&self, values: &[&str]) -> RawResponse {
        let mut peer = self.ask(values);
        let response = peer.response();
        assert_eq!(peer.end(), End::Finished);
        response
    }
}

impl Drop for AuthServer {
    fn drop(&mut self) {
        // The test may have removed it.
        let _ = fs::remove_file(&self.tokens);
    }
}

fn expect_welcome(peer: &mut WirePeer, user: &str) {
    peer.expect_upgrade();
    assert_eq!(peer.frame(), Received::text(&format!("welcome, {user}")));
}

#[test]
fn the_right_token_opens_the_connection() {
    let server = AuthServer::start("right", "one ada\ntwo grace hopper\n");
    let mut ada = server.ask(&["Bearer one"]);
    expect_welcome(&mut ada, "ada");
    ada.expect_echo("hello");
    // What comes before the answer waits for it.
    let mut grace = server.ask(&["bearer two"]);
    grace.send(&Frame::text("early"));
    expect_welcome(&mut grace, "grace hopper");
    assert_eq!(grace.frame(), Received::text("early"));
}

#[test]
fn a_token_in_a_subprotocol_is_not_sent_back() {
    let server = AuthServer::start("subprotocol", "one ada\n");
    for (offer, chosen) in [("chat, bearer.one", Some("chat")), ("bearer.one", None)] {
        let mut peer = server.ask_with(&[("Sec-WebSocket-Protocol", offer)]);
        assert_eq!(peer.expect_upgrade().field("sec-websocket-protocol"), chosen);
        assert_eq!(peer.frame(), Received::text("welcome, ada"));
    }
    assert_eq!(server.ask_with(&[("Sec-WebSocket-Protocol", "chat, bearer.two")]).response().status, 401);
}

#[test]
fn a_cookie_is_accepted_from_a_listed_origin_only() {
    let server = AuthServer::start("cookie", "one ada\n");
    let cookie = ("Cookie", "theme=dark; session=one");
    expect_welcome(&mut server.ask_with(&[cookie, ("Origin", ORIGIN)]), "ada");
    for origin in [&[][..], &[("Origin", "https://evil.test")], &[("Origin", "null")]] {
        assert_eq!(server.ask_with(&[&[cookie][..], origin].concat()).response().status, 403, "{origin:?}");
    }
    let both = [cookie, ("Origin", ORIGIN), ("Authorization", "Bearer one")];
    assert_eq!(server.ask_with(&both).response().status, 401, "it is not clear which token counts");
    assert_eq!(server.ask_with(&[("Cookie", "session=two"), ("Origin", ORIGIN)]).response().status, 401);
}

#[test]
fn any_other_gets_401() {
    let server = AuthServer::start("wrong", "one ada\n empty\n");
    let long = format!("Bearer {}", "a".repeat(300));
    for values in [
        &["Bearer on"][..],
        &["Bearer onee"],
        &["Bearer "],
        &["Basic one"],
        &["Bear"],
        &[],
        &["Bearer one"; 2],
        &[&long],
    ] {
        let response = server.refusal(values);
        assert_eq!((response.status, response.field("www-authenticate")), (401, Some("Bearer")), "{values:?}");
    }
    expect_welcome(&mut server.ask(&["Bearer one"]), "ada");
}

#[test]
fn tokens_change_while_the_server_runs() {
    let server = AuthServer::start("change", "one ada\n");
    fs::write(&server.tokens, "three barbara\n").expect("it can be written");
    assert_eq!(server.refusal(&["Bearer one"]).status, 401);
    expect_welcome(&mut server.ask(&["Bearer three"]), "barbara");
    fs::remove_file(&server.tokens).expect("it is there");
    assert_eq!(server.refusal(&["Bearer three"]).status, 503);
}

#[test]
fn each_of_many_at_once_gets_its_own_answer() {
    let server = AuthServer::start("many", "one ada\ntwo grace\n");
    let values = ["Bearer one", "Bearer two", "Bearer three"];
    let mut peers: Vec<_> = (0..300).map(|number| server.ask(&[values[number % 3]])).collect();
    // Some go before they are answered.
    for peer in peers.drain(270..) {
        peer.reset();
    }
    for (number, peer) in peers.iter_mut().enumerate() {
        match number % 3 {
            0 => expect_welcome(peer, "ada"),
            1 => expect_welcome(peer, "grace"),
            _ => assert_eq!(peer.response().status, 401),
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (status, notices) = Process::start("authentication", &["127.0.0.1:0", "/nowhere/tokens"]).wait();
    assert_eq!(status.code(), Some(1));
    let begin = "authentication: cannot read the tokens in /nowhere/tokens: ";
    assert!(matches!(&notices[..], [notice] if notice.starts_with(begin)), "{notices:?}");
}
