//! HTTP/1.1 with bytes alone: a table of requests, in every split of their bytes, and the limits.

use crate::DrainReason;
use crate::api::response::{Response, Upgrade};
use crate::config::{Config, Limits};
use crate::session::Session;
use crate::session::closing::Removal;
use crate::session::link::SessionPhase;
use crate::session::tests::{REQUEST, SLOT, SessionHarness, from_client, from_server};
use http::{HeaderMap, StatusCode};
use ringway_codec::OpCode;
use ringway_io::{Cause, Chunk};
use std::sync::Arc;
use std::time::Duration;

/// The date at which a simulation begins.
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A response as a client reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) status: u16,
    pub(super) closes: bool,
    pub(super) body: String,
    pub(super) head: String,
}

/// Reads responses, up to one that opens a WebSocket. `heads`: the numbers of those to HEAD.
pub(super) fn read_all(mut bytes: &[u8], heads: &[usize]) -> Vec<Read> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).expect("heads are ASCII");
        bytes = &bytes[end..];
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok()).expect("a status line");
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        assert!(status == 101 || field("Date").is_some(), "{head}");
        let len: usize = field("Content-Length").map_or(0, |len| len.parse().expect("a number"));
        let (body, rest) = bytes.split_at(if heads.contains(&all.len()) { 0 } else { len });
        let closes = match field("Connection").expect("each response says how the connection continues") {
            "close" | "close, Upgrade" => true,
            "keep-alive" | "Upgrade" => false,
            other => panic!("{other}"),
        };
        let body = String::from_utf8(body.to_vec()).expect("bodies are text");
        bytes = if status == 101 { &[] } else { rest };
        all.push(Read { status, closes, body, head });
    }
    all
}

pub(super) fn server() -> SessionHarness {
    SessionHarness::server(Config::default(), Limits::default())
}

/// Sends these parts, and returns the output, the calls of the handler, and whether the session has
/// ended its direction.
fn answers_in_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<String>, bool) {
    let mut harness = server();
    let mut sent = Vec::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        harness.receive(part);
        sent.extend(harness.sent());
    }
    (sent, harness.log(), harness.finished)
}

/// The same for whole bytes, after a check that the result does not depend on how they are split: at
/// each place, and into single bytes.
pub(super) fn answers(bytes: &[u8]) -> (Vec<u8>, Vec<String>, bool) {
    let whole = answers_in_parts([bytes]);
    for cut in 1..bytes.len() {
        assert_eq!(answers_in_parts([&bytes[..cut], &bytes[cut..]]), whole, "{} cut at {cut}", bytes.escape_ascii());
    }
    assert_eq!(answers_in_parts(bytes.chunks(1)), whole, "{} in single bytes", bytes.escape_ascii());
    whole
}

/// Requests, and the statuses of the responses. After the last one the connection continues, if
/// `continues`.
struct Row {
    section: &'static str,
    requests: &'static str,
    statuses: &'static [u16],
    continues: bool,
}

const fn row(section: &'static str, requests: &'static str, statuses: &'static [u16], continues: bool) -> Row {
    Row { section, requests, statuses, continues }
}

/// RFC 9112, and those parts of RFC 9110 that it rests on.
const TABLE: &[Row] = &[
    row("9112 2.1", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[200], true),
    row("9112 2.2 one empty line", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[200], false),
    row("9112 2.2 two empty lines", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[400], false),
    row("9112 2.2 bare LF", "GET / HTTP/1.1\nHost: a\n\n", &[400], false),
    row("9112 2.2 bare CR", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", &[400], false),
    row("9112 2.2 white space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", &[400], false),
    row("9112 2.3 version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", &[505], false),
    row("9112 2.3 version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", &[505], false),
    row("9112 3 two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", &[400], false),
    row("9112 3 no version", "GET /\r\n\r\n", &[400], false),
    row("9112 3.1 unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", &[501], false),
    row("9112 3.1 methods are case-sensitive", "get / HTTP/1.1\r\nHost: a\r\n\r\n", &[501], false),
    row("9112 3.2 no Host", "GET / HTTP/1.1\r\n\r\n", &[400], false),
    row("9112 3.2 two of them", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", &[400], false),
    row("9112 3.2 an invalid one", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", &[400], false),
    row("9112 3.2 an empty one", "GET / HTTP/1.1\r\nHost:\r\n\r\n", &[400], false),
    row("9112 3.2.1 no path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", &[400], false),
    row("9112 3.2.2 absolute form", "GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n", &[200], true),
    row("9112 3.2.3 authority form", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", &[405], false),
    row("9112 3.2.4 asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[200], true),
    row("9112 5.1 white space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[400], false),
    row("9112 5.2 folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", &[400], false),
    row("9110 5.5 NUL", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", &[400], false),
    row("9112 6.1 chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[411], false),
    row(
        "9112 6.1 other codings",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        &[501],
        false,
    ),
    row("9112 6.1 chunked is not last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", &[400], false),
    row("9112 6.1 in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", &[400], false),
    row("9112 6.2 length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", &[413], false),
    row("9112 6.2 no length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &[200], true),
    row(
        "9112 6.3 length and coding",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        &[400],
        false,
    ),
    row(
        "9110 10.1.1 Expect",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        &[417],
        false,
    ),
    row("9110 15.5.6", "DELETE /405 HTTP/1.1\r\nHost: a\r\n\r\n", &[405], false),
    row("9110 15.5.5", "GET /404 HTTP/1.1\r\nHost: a\r\n\r\n", &[404], true),
    row("9110 15.3.5", "GET /204 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[204, 200], true),
    row("9112 9.3 close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &[200], false),
    row("9112 9.3 close in a list", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", &[200], false),
    row("9112 9.3 HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", &[200], false),
    row(
        "9112 9.3 HTTP/1.0 with keep-alive",
        "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        &[200, 200],
        false,
    ),
    row(
        "9112 9.3.2 pipelining",
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /404 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[200, 404, 200],
        true,
    ),
    row(
        "9112 9.3.2 after close",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[200],
        false,
    ),
    row(
        "9112 9.3.2 after an error",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[200, 400],
        false,
    ),
    row("9112 2.2 an incomplete request", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHos", &[200], true),
];

fn by_path(request: &ringway_codec::Request<'_>) -> Response {
    match request.path() {
        "/405" => Response::method_not_allowed("GET, HEAD"),
        "/404" => Response::text(StatusCode::NOT_FOUND, "not found"),
        "/204" => Response::new(StatusCode::NO_CONTENT, HeaderMap::new(), b"omitted".to_vec()),
        "/101" => Response::text(StatusCode::SWITCHING_PROTOCOLS, "no"),
        "/close" => Response::text(StatusCode::OK, "bye").close(),
        path => Response::text(StatusCode::OK, path),
    }
}

#[test]
fn rfc9112_every_row_is_answered_in_every_split() {
    let run = |bytes: &mut dyn Iterator<Item = &[u8]>| {
        let mut harness = server();
        harness.app.respond = Some(by_path);
        let mut sent = Vec::new();
        for part in bytes {
            harness.receive(part);
            sent.extend(harness.sent());
        }
        (sent, harness.finished, harness.log())
    };
    for Row { section, requests, statuses, continues } in TABLE {
        let bytes = requests.as_bytes();
        let whole = run(&mut std::iter::once(bytes));
        let read = read_all(&whole.0, &[]);
        assert_eq!(read.iter().map(|response| response.status).collect::<Vec<_>>(), *statuses, "{section}");
        let closing: Vec<bool> = read.iter().map(|response| response.closes).collect();
        let expected = (0..read.len()).map(|at| at + 1 == read.len() && !continues).collect::<Vec<_>>();
        assert_eq!((closing, whole.1), (expected, !continues), "{section}: {read:?}");
        for cut in 1..bytes.len() {
            assert_eq!(run(&mut [&bytes[..cut], &bytes[cut..]].into_iter()), whole, "{section}, cut at {cut}");
        }
        assert_eq!(run(&mut bytes.chunks(1)), whole, "{section}, in single bytes");
    }
}

#[test]
fn rfc9110_9_3_2_head_has_the_head_of_get_and_the_next_response_follows_it() {
    let (sent, log, finished) = answers(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((log, finished), (vec!["HEAD /x".to_owned(), "GET /y".to_owned()], false));
    let [head, get] = &read_all(&sent, &[0])[..] else { panic!("{}", sent.escape_ascii()) };
    assert_eq!((head.body.as_str(), get.body.as_str()), ("", "hello\n"));
    assert_eq!(head.head, get.head);
    let (refused, ..) = answers(b"HEAD / HTTP/1.1\r\n\r\n");
    assert!(refused.ends_with(b"\r\n\r\n") && refused.starts_with(b"HTTP/1.1 400"), "{}", refused.escape_ascii());
}

#[test]
fn rfc9110_6_6_1_responses_have_the_date_of_their_second() {
    let mut harness = server();
    let mut head = |seconds| {
        harness.pass(Duration::from_secs(seconds));
        harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        read_all(&harness.sent(), &[]).remove(0).head
    };
    assert!(head(0).contains(&format!("\r\nDate: {DATE}\r\n")));
    assert!(head(5).contains("\r\nDate: Sun, 06 Nov 1994 08:49:42 GMT\r\n"));
    let (sent, ..) = answers(b"nonsense\r\n\r\n");
    assert!(read_all(&sent, &[])[0].head.contains(DATE), "a refusal has a date too");
}

#[test]
fn a_handler_can_end_the_connection() {
    let mut harness = server();
    harness.app.respond = Some(by_path);
    harness.receive(b"GET /close HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let read = read_all(&harness.sent(), &[]);
    assert_eq!((read.len(), read[0].closes, read[0].body.as_str(), harness.finished), (1, true, "bye\n", true));
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(harness.sent(), b"", "what follows is ignored");
    harness.removal = harness.session.ended(Cause::Finished, &mut harness.core);
    assert_eq!(harness.log(), ["GET /close"]);
    assert!(harness.release().is_none(), "the connection was never open");
}

#[test]
fn a_response_that_cannot_be_sent_is_replaced_by_500() {
    let mut harness = server();
    harness.app.respond = Some(by_path);
    harness.receive(b"GET /101 HTTP/1.1\r\nHost: a\r\n\r\n");
    let read = read_all(&harness.sent(), &[]);
    assert_eq!((read[0].status, read[0].closes), (500, true), "an informational status ends no request");
}

#[test]
fn a_websocket_can_be_opened_by_a_later_request() {
    let mut bytes = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\nHEAD /page HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    bytes.extend_from_slice(REQUEST);
    bytes.extend(from_client(OpCode::Text, b"hi"));
    let (sent, log, finished) = answers(&bytes);
    assert_eq!(log, ["GET /page", "HEAD /page", "upgrade /", "open 1", "message hi"]);
    assert!(!finished && sent.ends_with(&from_server(OpCode::Text, b"hi")), "{}", sent.escape_ascii());
    let statuses: Vec<u16> = read_all(&sent, &[1]).iter().map(|response| response.status).collect();
    assert_eq!(statuses, [200, 200, 101]);
}

#[test]
fn a_later_request_for_a_websocket_can_be_deferred() {
    let mut harness = server();
    harness.app.defer = true;
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The time of the request begins with its first byte.
    harness.pass(Duration::from_secs(14));
    assert_eq!(read_all(&harness.sent(), &[]).len(), 1);
    harness.receive(&[REQUEST, &from_client(OpCode::Text, b"early")].concat());
    harness.pass(Duration::from_secs(9));
    assert_eq!((harness.sent(), harness.receiving), (vec![], false));
    harness.removal = harness.session.answer(Upgrade::accept(9), &mut harness.core, &mut harness.app);
    harness.flush();
    assert!(harness.sent().ends_with(&from_server(OpCode::Text, b"early")));
    assert_eq!(harness.log(), ["GET /", "upgrade /", "open 9", "message early"]);

    let mut late = server();
    late.app.defer = true;
    late.receive(&[&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], REQUEST].concat());
    assert_eq!(read_all(&late.sent(), &[]).len(), 1);
    late.pass(Duration::from_millis(10_020));
    assert_eq!(read_all(&late.sent(), &[])[0].status, 408);
}

#[test]
fn a_rejected_request_for_a_websocket_ends_the_connection() {
    let mut harness = server();
    harness.app.defer = true;
    harness.receive(&[REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    let upgrade = Upgrade::reject(StatusCode::FORBIDDEN, "members only");
    harness.removal = harness.session.answer(upgrade, &mut harness.core, &mut harness.app);
    harness.flush();
    let read = read_all(&harness.sent(), &[]);
    assert_eq!((read.len(), read[0].status, read[0].body.as_str()), (1, 403, "members only\n"));
    assert!(harness.finished);
}

#[test]
fn the_number_of_requests_of_a_connection_is_limited() {
    let limits = Limits { max_requests: 3, ..Limits::default() };
    for together in [true, false] {
        let mut harness = SessionHarness::server(Config::default(), limits);
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut sent = Vec::new();
        if together {
            harness.receive(&request.repeat(5));
            sent.extend(harness.sent());
        } else {
            for _ in 0..5 {
                harness.receive(request);
                sent.extend(harness.sent());
            }
        }
        let closing: Vec<bool> = read_all(&sent, &[]).iter().map(|response| response.closes).collect();
        assert_eq!((closing, harness.finished), (vec![false, false, true], true), "together: {together}");
    }
    let mut harness = SessionHarness::server(Config::default(), limits);
    harness.receive(&[&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)[..], REQUEST].concat());
    assert_eq!(harness.log().last().map(String::as_str), Some("open 1"), "an upgrade does not count");
    assert_eq!(harness.core.http.kept_alive(), 0);
}

fn of_600_bytes(_: &ringway_codec::Request<'_>) -> Response {
    Response::new(StatusCode::OK, HeaderMap::new(), vec![b'x'; 600])
}

#[test]
fn pipelined_requests_wait_while_the_peer_does_not_read_its_responses() {
    let limits = Limits { max_buffered: 1500, ..Limits::default() };
    let mut harness = SessionHarness::server(Config::default(), limits);
    harness.app.respond = Some(of_600_bytes);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    harness.receive(&request.repeat(20));
    assert_eq!((harness.log().len(), harness.receiving), (3, false), "1500 bytes are queued");
    let queued = harness.session.link.buffered();
    assert!(queued < 2300, "{queued}");
    // Input that the driver had received before it stopped.
    harness.receive(&request.repeat(10));
    assert_eq!(harness.log().len(), 0);
    let sent = harness.sent();
    assert_eq!((read_all(&sent, &[]).len(), harness.receiving), (30, true));
    assert_eq!(harness.log().len(), 27);
}

#[test]
fn a_peer_that_does_not_read_its_responses_times_out_and_one_that_reads_slowly_does_not() {
    let config = Config { write_timeout: Duration::from_secs(20), ..Config::default() };
    let mut harness = SessionHarness::server(config, Limits::default());
    harness.app.respond = Some(of_600_bytes);
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for second in 1..100 {
        harness.probe.acknowledged = second;
        harness.pass(Duration::from_secs(1));
        assert!(harness.removal.is_none(), "the peer reads");
    }
    for _ in 0..30 {
        if harness.removal.is_none() {
            harness.pass(Duration::from_secs(1));
        }
    }
    assert!(matches!(harness.removal, Some(Removal::Closed)), "{:?}", harness.removal);
    assert_eq!(harness.core.counters.write_timeouts, 1);
    assert!(harness.release().is_none());
}

#[test]
fn a_connection_without_a_further_request_is_closed_without_a_response() {
    let mut harness = server();
    for _ in 0..2 {
        harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // The time begins when the response is sent.
        harness.pass(Duration::from_secs(10));
        assert_eq!(read_all(&harness.sent(), &[]).len(), 1);
        harness.pass(Duration::from_millis(14_900));
        assert!(!harness.finished);
    }
    harness.pass(Duration::from_millis(120));
    assert_eq!((harness.sent(), harness.finished), (vec![], true));
    harness.removal = harness.session.ended(Cause::Finished, &mut harness.core);
    assert!(harness.release().is_none());
}

#[test]
fn a_further_request_has_its_own_time_from_its_first_byte() {
    let mut harness = server();
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.sent();
    harness.pass(Duration::from_secs(14));
    harness.receive(b"GET ");
    harness.pass(Duration::from_secs(9));
    harness.receive(b"/ HTTP/1.1\r\n");
    assert!(!harness.finished);
    harness.pass(Duration::from_millis(1020));
    let read = read_all(&harness.sent(), &[]);
    assert_eq!((read[0].status, harness.finished), (408, true));
}

#[test]
fn all_requests_before_the_end_of_the_peers_direction_are_answered() {
    let mut harness = server();
    harness.receive(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    assert!(harness.session.ended(Cause::Finished, &mut harness.core).is_none(), "responses wait");
    harness.flush();
    assert_eq!(read_all(&harness.sent(), &[]).len(), 3);
    assert!(harness.release().is_none());
    let mut idle = server();
    idle.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.sent();
    idle.removal = idle.session.ended(Cause::Finished, &mut idle.core);
    assert!(idle.release().is_none());
}

#[test]
fn a_drain_sends_the_responses_that_wait_and_closes_idle_connections() {
    let mut harness = server();
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(harness.session.drain(DrainReason::Stop, &mut harness.core).is_none());
    harness.flush();
    assert_eq!((read_all(&harness.sent(), &[]).len(), harness.finished), (1, true));
    let mut idle = server();
    idle.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.sent();
    idle.removal = idle.session.drain(DrainReason::HandOver, &mut idle.core);
    assert!(idle.release().is_none(), "nothing waits");
}

#[test]
fn a_connection_holds_no_memory_between_requests() {
    let mut harness = server();
    for size in [1, 7, 1000] {
        for part in b"GET / HTTP/1.1\r\nHost: a\r\nX: some more bytes\r\n\r\n".chunks(size) {
            harness.receive(part);
        }
        harness.sent();
        assert_eq!(harness.session.held(), 0);
        assert!(!harness.session.link.has_cold(), "the state of the handshake is freed");
    }
    assert_eq!(harness.core.http.kept_alive(), 1);
    assert_eq!((harness.core.http.answered(SLOT), harness.session.link.phase()), (3, SessionPhase::Handshaking));
    assert_eq!(size_of::<Session<()>>(), 80);
    harness.removal = Some(Removal::Closed);
    harness.core.actions.clear();
    assert!(harness.release().is_none());
}

#[test]
fn a_long_shared_body_is_not_copied() {
    let body: Arc<[u8]> = vec![b'x'; 5000].into();
    thread_local!(static BODY: std::cell::RefCell<Option<Arc<[u8]>>> = const { std::cell::RefCell::new(None) });
    BODY.set(Some(Arc::clone(&body)));
    let mut harness = server();
    harness.app.respond = Some(|_| {
        let body = BODY.with_borrow(|body| body.clone().expect("it was set"));
        Response::shared(StatusCode::OK, HeaderMap::new(), body)
    });
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let output = harness.in_flight.as_ref().expect("the response is sent");
    let is_shared = |chunk: &Chunk| matches!(chunk, Chunk::Shared { bytes, .. } if Arc::ptr_eq(bytes, &body));
    assert!(output.chunks().any(is_shared), "{output:?}");
    assert_eq!(read_all(&harness.sent(), &[])[0].body.len(), 5000);
}

#[test]
fn short_of_memory_a_connection_with_much_output_is_dropped_and_another_is_refused() {
    let mut harness = server();
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(harness.session.shed(&mut harness.core).is_none());
    harness.flush();
    let statuses: Vec<u16> = read_all(&harness.sent(), &[]).iter().map(|response| response.status).collect();
    assert_eq!((statuses, harness.finished), (vec![200, 503], true));
    let mut full = server();
    full.app.respond = Some(|_| Response::new(StatusCode::OK, HeaderMap::new(), vec![b'x'; 200_000]));
    full.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    full.removal = full.session.shed(&mut full.core);
    assert!(full.release().is_none());
}
