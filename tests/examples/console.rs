//! `console`. tests/interop runs it with its page in a browser.

use crate::process::Process;
use ringway_tests::{End, Frame, RawRequest, RawResponse, Received, WirePeer};
use std::net::SocketAddr;

/// A running console, its address, and its token.
struct Console {
    process: Process,
    address: SocketAddr,
    token: String,
}

impl Console {
    fn start() -> Self {
        let process = Process::start("console", &[]);
        let line = process.line();
        let (address, token) =
            line.strip_prefix("open http://").and_then(|rest| rest.split_once("/#")).expect("the address of the page");
        let (address, token) = (address.parse().expect("an address and a port"), token.to_owned());
        Self { process, address, token }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks for the console as a page does.
    fn ask(&self, path: &str, origin: Option<&str>, subprotocols: &str) -> WirePeer {
        let request = RawRequest::websocket().line(format!("GET {path} HTTP/1.1"));
        let request = request.with("Sec-WebSocket-Protocol", subprotocols);
        let request = origin.iter().fold(request, |request, origin| request.with("Origin", origin));
        let mut peer = WirePeer::connect(self.address);
        peer.write(request.bytes());
        peer
    }

    fn refusal(&self, path: &str, origin: Option<&str>, subprotocols: &str) -> u16 {
        let mut peer = self.ask(path, origin, subprotocols);
        let status = peer.response().status;
        assert_eq!(peer.end(), End::Finished);
        status
    }

    /// A page that is attached.
    fn attach(&self) -> WirePeer {
        let subprotocols = format!("console, token.{}", self.token);
        let mut page = self.ask("/console", Some(&self.origin()), &subprotocols);
        let response = page.expect_upgrade();
        assert_eq!(response.field("sec-websocket-protocol"), Some("console"));
        assert_eq!(self.process.notice(), "* a page is attached");
        page
    }

    fn get(&self, path: &str) -> RawResponse {
        let mut peer = WirePeer::connect(self.address);
        peer.write(RawRequest::new(&format!("GET {path} HTTP/1.1")).with("Host", &self.address.to_string()).bytes());
        peer.response()
    }
}

#[test]
fn a_line_is_evaluated_by_the_page_and_its_answer_printed() {
    let mut console = Console::start();
    let mut page = console.attach();
    console.process.say("1 + 1");
    assert_eq!(page.frame(), Received::text("1 1 + 1"));
    page.send(&Frame::text("1 = 2"));
    assert_eq!(console.process.line(), "= 2");
    // Blank lines are skipped.
    console.process.say("");
    console.process.say("throw 1");
    assert_eq!(page.frame(), Received::text("2 throw 1"));
    page.send(&Frame::text("- log: before"));
    page.send(&Frame::text("2 ! 1"));
    assert_eq!(console.process.notice(), "* log: before");
    assert_eq!(console.process.line(), "! 1");
}

#[test]
fn only_the_page_of_the_server_is_accepted_and_only_with_the_token() {
    let console = Console::start();
    let (origin, good) = (console.origin(), format!("console, token.{}", console.token));
    let localhost = format!("http://localhost:{}", console.address.port());
    for origin in [None, Some("null"), Some("http://attacker.example"), Some("http://127.0.0.1:1")] {
        assert_eq!(console.refusal("/console", origin, &good), 403, "{origin:?}");
    }
    let wrong = format!("token.{}", "0".repeat(32));
    for subprotocols in ["console", "console, token.", &good[..good.len() - 1], &wrong, &format!("{good}, {wrong}")] {
        assert_eq!(console.refusal("/console", Some(&origin), subprotocols), 401, "{subprotocols}");
    }
    assert_eq!(console.refusal("/", Some(&origin), &good), 404);
    console.ask("/console", Some(&localhost), &good).expect_upgrade();
}

#[test]
fn the_page_is_served_with_a_policy_and_without_the_token() {
    let console = Console::start();
    for (path, kind) in [("/", "text/html; charset=utf-8"), ("/console.js", "text/javascript; charset=utf-8")] {
        let response = console.get(path);
        assert_eq!((response.status, response.field("content-type")), (200, Some(kind)));
        assert!(response.field("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
        assert!(!response.body.contains(&console.token), "{path}");
    }
    assert_eq!(console.get("/other").status, 404);
}

#[test]
fn without_a_page_a_line_is_answered_at_once() {
    let mut console = Console::start();
    console.process.say("1");
    assert_eq!(console.process.line(), "! no page is attached");
    let page = console.attach();
    drop(page);
    assert!(console.process.notice().starts_with("* the page is gone: "));
    console.process.say("1");
    assert_eq!(console.process.line(), "! no page is attached");
}

#[test]
fn a_page_that_leaves_or_is_replaced_ends_the_wait_for_its_answer() {
    let mut console = Console::start();
    let mut first = console.attach();
    console.process.say("never");
    assert_eq!(first.frame(), Received::text("1 never"));
    let mut second = console.attach();
    assert_eq!(console.process.line(), "! the page was replaced by another");
    assert_eq!(first.close_code(), Some(4000));
    console.process.say("never");
    assert_eq!(second.frame(), Received::text("2 never"));
    // The answer of a page that was replaced does not count.
    first.send(&Frame::text("2 = forged"));
    drop(second);
    assert_eq!(console.process.line(), "! the page is gone");
}

#[test]
fn a_page_cannot_control_the_terminal() {
    let mut console = Console::start();
    let mut page = console.attach();
    console.process.say("x");
    assert_eq!(page.frame(), Received::text("1 x"));
    page.send(&Frame::text("- \u{1b}]0;title\u{7}"));
    page.send(&Frame::text("1 = \u{1b}[2J\u{9b}1A"));
    assert_eq!(console.process.notice(), "* \\u{1b}]0;title\\u{7}");
    assert_eq!(console.process.line(), "= \\u{1b}[2J\\u{9b}1A");
}

#[test]
fn the_end_of_the_input_ends_the_console() {
    let mut console = Console::start();
    let mut page = console.attach();
    console.process.end_input();
    assert_eq!(page.close_code(), Some(1001));
    assert_eq!(page.end(), End::Finished);
    assert!(console.process.wait().0.success());
}
