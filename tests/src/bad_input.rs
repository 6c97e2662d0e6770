//! Bad inputs of a peer, each with the answer that the server must give.

use crate::http::RawRequest;
use crate::{End, WirePeer};
use crate::{Frame, LengthField};
use ringway::Limits;

/// The stage at which the input is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Instead of an opening handshake.
    Opening,
    /// After the opening handshake.
    Open,
}

/// The expected answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExpectedAnswer {
    Status(u16),
    Close(u16),
    /// A fatal alert of TLS, without protection.
    Alert(u8),
}

/// A bad input.
#[derive(Clone, Debug)]
pub struct BadInput {
    /// The error, as the name of a test.
    pub name: String,
    stage: Stage,
    bytes: Vec<u8>,
    answer: ExpectedAnswer,
}

/// The maximum size of a message with [`limits`].
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The maximum size of a request's head with [`limits`].
pub const MAX_HEAD: usize = 8 * 1024;
/// The maximum number of headers with [`limits`].
pub const MAX_HEADERS: usize = 50;

/// The limits that the inputs of [`all`] exceed: low, so that the inputs are small.
#[must_use]
pub fn limits() -> Limits {
    let limits = Limits::default().max_message(MAX_MESSAGE);
    limits.and_then(|limits| limits.max_head(MAX_HEAD)?.max_headers(MAX_HEADERS)).expect("they are in range")
}

impl BadInput {
    /// The bytes to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends the input to the server that `peer` has connected to, and checks the answer and the
    /// end of the connection.
    pub fn perform(&self, peer: &mut WirePeer) {
        self.perform_with(peer, |peer, bytes| peer.write(bytes));
    }

    /// As [`perform`](Self::perform), with another way to write.
    pub fn perform_with(&self, peer: &mut WirePeer, write: impl FnOnce(&mut WirePeer, &[u8])) {
        if self.stage == Stage::Open {
            peer.upgrade();
        }
        write(peer, &self.bytes);
        match self.answer {
            ExpectedAnswer::Status(status) => {
                let response = peer.response();
                assert_eq!(response.status, status, "{}: {response:?}", self.name);
                assert_eq!(response.body.lines().count(), 1, "{}: one line says why", self.name);
            }
            ExpectedAnswer::Alert(description) => {
                assert_eq!(peer.bytes(7), [21, 3, 3, 0, 2, 2, description], "{}", self.name);
            }
            ExpectedAnswer::Close(code) => assert_eq!(peer.close_code(), Some(code), "{}", self.name),
        }
        assert_eq!(peer.end(), End::Finished, "{}: the answer must not be destroyed by a reset", self.name);
    }
}

/// All bad inputs, for a server with [`limits`].
#[must_use]
pub fn all() -> Vec<BadInput> {
    let mut all = openings();
    all.extend(framing());
    all.extend(messages());
    all.extend(closes());
    all
}

fn open(name: &str, frames: &[Frame], code: u16) -> BadInput {
    let bytes = frames.iter().flat_map(Frame::bytes).collect();
    BadInput { name: name.into(), stage: Stage::Open, bytes, answer: ExpectedAnswer::Close(code) }
}

fn opening(name: &str, bytes: impl Into<Vec<u8>>, status: u16) -> BadInput {
    BadInput { name: name.into(), stage: Stage::Opening, bytes: bytes.into(), answer: ExpectedAnswer::Status(status) }
}

fn openings() -> Vec<BadInput> {
    let request = RawRequest::websocket;
    let without = |name| request().without(name).bytes();
    let key = |key| request().without("Sec-WebSocket-Key").with("Sec-WebSocket-Key", key).bytes();
    let host = |host| request().without("Host").with("Host", host).bytes();
    let long = "a".repeat(100_000);
    let many = (0..10_000).fold(request(), |request, n| request.with(&format!("X-{n}"), "y")).bytes();
    let heavy = (0..40).fold(request(), |request, n| request.with(&format!("X-{n}"), &long[..1000])).bytes();
    let draft_76 = request().without("Sec-WebSocket-Version").without("Sec-WebSocket-Key");
    let draft_76 = draft_76.with("Sec-WebSocket-Key1", "4 @1  46546xW%0l 1 5");
    let draft_76 = draft_76.with("Sec-WebSocket-Key2", "12998 5 Y3 1  .P00").bytes();
    let hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\x5f\x1b\x7a\x00\x22\x13\x01\x13\x02\x13\x03";
    vec![
        opening("request_line_of_100_kb", request().line(format!("GET /{long} HTTP/1.1")).bytes(), 414),
        opening("request_line_without_end", format!("GET /{long}"), 414),
        opening("ten_thousand_headers", many, 431),
        opening("head_over_the_limit", heavy, 431),
        opening("header_without_end", [&b"GET / HTTP/1.1\r\nX: "[..], long.as_bytes()].concat(), 431),
        opening(
            "version_8",
            request().without("Sec-WebSocket-Version").with("Sec-WebSocket-Version", "8").bytes(),
            426,
        ),
        // The last part of the challenge follows the head.
        opening("draft_76", [&draft_76[..], b"^n:ds[4U"].concat(), 426),
        opening("version_missing", without("Sec-WebSocket-Version"), 426),
        opening("key_missing", without("Sec-WebSocket-Key"), 400),
        opening("key_twice", request().with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==").bytes(), 400),
        opening("key_of_15_bytes", key("AAAAAAAAAAAAAAAAAAAA"), 400),
        opening("key_that_is_no_base64", key("!!!!!!!!!!!!!!!!!!!!!!=="), 400),
        opening("method_post", request().line("POST /chat HTTP/1.1").bytes(), 405),
        opening("host_missing", without("Host"), 400),
        opening("host_twice", request().with("Host", "other.example.com").bytes(), 400),
        opening("host_empty", host(""), 400),
        opening("host_with_a_path", host("a b/c@d"), 400),
        opening("host_with_a_bad_port", host("a:port"), 400),
        opening("target_without_a_slash", request().line("GET foo HTTP/1.1").bytes(), 400),
        opening("target_with_a_fragment", request().line("GET /a#b HTTP/1.1").bytes(), 400),
        opening("target_that_is_an_authority", request().line("GET server.example.com:80 HTTP/1.1").bytes(), 400),
        opening("target_that_is_an_asterisk", request().line("GET * HTTP/1.1").bytes(), 400),
        opening("target_without_a_host", request().line("GET http:///chat HTTP/1.1").bytes(), 400),
        opening("connection_missing", without("Connection"), 400),
        opening("http_1_0", request().line("GET /chat HTTP/1.0").bytes(), 505),
        opening("http_2_0", request().line("GET /chat HTTP/2.0").bytes(), 505),
        opening("body", request().with("Content-Length", "3").bytes(), 413),
        // unexpected_message (RFC 8446 section 6.2): the listener has no TLS.
        BadInput { answer: ExpectedAnswer::Alert(10), ..opening("tls_client_hello", *hello, 0) },
        opening("zeros", [0; 64], 400),
        opening("high_bytes", [0xff; 64], 400),
        opening("http_2_preface", *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        opening("space_in_header_name", *b"GET / HTTP/1.1\r\nHo st: a\r\n\r\n", 400),
    ]
}

fn framing() -> Vec<BadInput> {
    let mut all = vec![
        open("rsv1", &[Frame::text("a").bits(0x40)], 1002),
        open("rsv2", &[Frame::text("a").bits(0x20)], 1002),
        open("rsv3", &[Frame::binary("a").bits(0x10)], 1002),
        open("rsv1_of_a_ping", &[Frame::ping("a").bits(0x40)], 1002),
        open("fragmented_ping", &[Frame::ping("a").more()], 1002),
        open("fragmented_close", &[Frame::close(1000, "").more()], 1002),
        open("ping_of_126_bytes", &[Frame::ping([7; 126])], 1002),
        open("close_of_126_bytes", &[Frame::close(1000, [b'a'; 124])], 1002),
        open("continuation_without_a_start", &[Frame::continuation("a")], 1002),
        open("continuation_after_a_whole_message", &[Frame::continuation("a").more()], 1002),
        open("text_inside_a_message", &[Frame::text("a").more(), Frame::text("b")], 1002),
        open("binary_inside_a_message", &[Frame::binary("a").more(), Frame::binary("b").more()], 1002),
        open("unmasked_text", &[Frame::text("a").unmasked()], 1002),
        open("unmasked_ping", &[Frame::ping("").unmasked()], 1002),
        open("unmasked_close", &[Frame::close(1000, "").unmasked()], 1002),
        open("length_of_16_bits_for_125", &[Frame::binary([0; 125]).announcing(LengthField::Medium(125))], 1002),
        open("length_of_64_bits_for_65535", &[Frame::binary("").announcing(LengthField::Long(65535))], 1002),
        open("length_with_bit_63", &[Frame::binary("").announcing(LengthField::Long(1 << 63))], 1002),
        open("length_of_all_ones", &[Frame::binary("").announcing(LengthField::Long(u64::MAX))], 1002),
    ];
    let reserved = (3..=7).chain(11..=15);
    all.extend(reserved.map(|opcode| open(&format!("opcode_{opcode}"), &[Frame::new(opcode, "a")], 1002)));
    all
}

fn messages() -> Vec<BadInput> {
    let endless = |kind: Frame| {
        let mut frames = vec![kind.more()];
        frames.resize(1100, Frame::continuation("").more());
        frames
    };
    let fragments: Vec<Frame> = (0..5)
        .map(|n| if n == 0 { Frame::binary([1; 16384]) } else { Frame::continuation([1; 16384]) }.more())
        .collect();
    vec![
        open("promise_of_2_62_bytes", &[Frame::binary("").announcing(LengthField::Long(1 << 62))], 1009),
        open("promise_of_2_63_less_1_bytes", &[Frame::text("x").announcing(LengthField::Long((1 << 63) - 1))], 1009),
        open("message_over_the_limit", &[Frame::binary("").announcing(LengthField::Long(64 * 1024 + 1))], 1009),
        open("fragments_over_the_limit", &fragments, 1009),
        open("endless_empty_fragments", &endless(Frame::text("")), 1009),
        open("text_of_a_lone_continuation_byte", &[Frame::text(b"abc\x80")], 1007),
        open("text_of_an_overlong_form", &[Frame::text(b"\xc0\xaf")], 1007),
        open("text_of_a_surrogate", &[Frame::text(b"\xed\xa0\x80")], 1007),
        open("text_beyond_unicode", &[Frame::text(b"\xf4\x90\x80\x80")], 1007),
        open("text_that_ends_in_a_character", &[Frame::text(b"ab\xe2\x82")], 1007),
        open(
            "invalid_text_in_the_second_fragment_before_the_end",
            &[Frame::text("good").more(), Frame::continuation(b"bad\xff").more()],
            1007,
        ),
        open(
            "invalid_text_before_the_end_of_its_frame",
            &[Frame::text(b"\xffbad").announcing(LengthField::Medium(1000))],
            1007,
        ),
        open(
            "text_whose_last_fragment_ends_in_a_character",
            &[Frame::text(b"\xe2").more(), Frame::continuation(b"\x82")],
            1007,
        ),
    ]
}

fn closes() -> Vec<BadInput> {
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535];
    let mut all: Vec<_> =
        codes.iter().map(|&code| open(&format!("close_code_{code}"), &[Frame::close(code, "")], 1002)).collect();
    all.push(open("close_of_1_byte", &[Frame::new(8, [3])], 1002));
    all.push(open("close_with_a_reason_that_is_no_text", &[Frame::close(1000, b"bye\xff")], 1007));
    all
}
