//! Writes the seeds of all targets to `corpus/`: a few inputs each, from which the fuzzer starts.
//!
//!     cargo run --manifest-path fuzz/Cargo.toml --example seeds
//!
//! The seeds are in the repository; run this after a change of this file, and commit the result.

use std::path::Path;

use ringway_testkit::Frame;

/// The length of the longest frame header.
const MAX_HEADER: usize = 14;

/// A frame as a client or a server receives it.
fn received(client: bool, frame: Frame) -> Vec<u8> {
    if client { frame.unmasked().bytes() } else { frame.bytes() }
}

/// Streams for one role, valid and invalid.
fn streams(client: bool) -> Vec<(&'static str, Vec<u8>)> {
    let received = |frame| received(client, frame);
    let close = |code: u16, reason: &[u8]| received(Frame::close(code, reason));
    let long = [b'x'; 130];
    vec![
        ("text", received(Frame::text("κόσμε 𝄞".as_bytes()))),
        ("medium", received(Frame::binary(&long))),
        (
            "fragments",
            [
                received(Frame::text(b"\xe2\x82").more()),
                received(Frame::ping(b"ping")),
                received(Frame::continuation(b"").more()),
                received(Frame::pong(b"")),
                received(Frame::continuation(b"\xac")),
                close(1000, b"bye"),
            ]
            .concat(),
        ),
        ("empty_messages", [received(Frame::text(b"")), received(Frame::binary(b""))].concat()),
        ("bad_text", received(Frame::text(b"ab\xf4\x90cd"))),
        ("bad_close", close(1005, b"")),
        ("registered_close", close(1014, b"gateway")),
        ("close_without_code", received(Frame::new(8, b""))),
        ("interleaved", [received(Frame::text(b"a").more()), received(Frame::binary(b"b"))].concat()),
        ("wrong_mask", self::received(!client, Frame::text(b"hello"))),
        ("reserved", vec![0xf3, 0x85, 1, 2, 3, 4, 5]),
        ("overlong", vec![0x82, 0x7e | if client { 0 } else { 0x80 }, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("huge", vec![0x82, 0x7f | if client { 0 } else { 0x80 }, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5]),
    ]
}

fn write(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}

fn main() -> std::io::Result<()> {
    for client in [false, true] {
        let role = if client { "client" } else { "server" };
        for (name, stream) in streams(client) {
            write("frame_header", &format!("{role}_{name}"), &stream[..stream.len().min(MAX_HEADER)])?;
            for target in ["decoder_splits", "differential"] {
                let input = [&[u8::from(client), 3, 1, 2, 5][..], &stream].concat();
                write(target, &format!("{role}_{name}"), &input)?;
            }
        }
    }
    write("decoder_splits", "tight", &[&[2 + (3 << 4), 1, 7][..], &streams(false)[2].1].concat())?;

    // "Hello" twice, from RFC 7692 section 7.2.3: by itself, and as a reference to the first.
    let (hello, again) = (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &[0xf2, 0x00, 0x11, 0x00, 0x00][..]);
    let stored = &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00][..];
    let last = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00][..];
    // A final empty block without its tail; and a stored block that is shorter than its length.
    let (empty, short) = (&[0x01][..], &stored[..8]);
    for (name, first, second) in [
        ("again", hello, again),
        ("stored", stored, hello),
        ("last", last, hello),
        ("empty", empty, hello),
        ("short", short, hello),
    ] {
        for flags in [14, 15] {
            let input = [&[flags, 16, 2, first.len() as u8][..], first, second].concat();
            write("inflate", &format!("{name}_{flags}"), &input)?;
        }
        let compressed = |payload: &[u8]| Frame::text(payload).rsv1().unmasked().bytes();
        for flags in [5, 13] {
            let input = [&[flags, 2, 1, 4][..], &compressed(first), &compressed(second)].concat();
            write("decoder_splits", &format!("deflate_{name}_{flags}"), &input)?;
        }
    }
    for (name, header) in [
        ("plain", "permessage-deflate"),
        ("bits", "permessage-deflate; client_max_window_bits; server_max_window_bits=10"),
        (
            "all",
            "permessage-deflate;server_no_context_takeover;client_no_context_takeover;client_max_window_bits=\"9\"",
        ),
        ("several", "x-mux; a=b, permessage-deflate; unknown, permessage-deflate; server_max_window_bits=8"),
        ("malformed", "permessage-deflate; server_max_window_bits="),
        ("twice", "permessage-deflate; client_max_window_bits; client_max_window_bits"),
    ] {
        write("extension_negotiation", name, format!("\x7f\x07{header}").as_bytes())?;
    }

    let request = "GET /chat?x=1 HTTP/1.1\r\nHost: h:80\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for (name, more) in [
        ("plain", ""),
        ("subprotocols", "Sec-WebSocket-Protocol: soap, chat\r\n"),
        ("extensions", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"),
        ("origin", "Origin: https://example.com\r\nCookie: a=b; c=\r\n"),
        ("body", "Content-Length: 5\r\n"),
        ("old", "Sec-WebSocket-Version: 8\r\n"),
    ] {
        write("handshake_request", name, format!("\0{request}{more}\r\n\u{81}").as_bytes())?;
    }
    for (name, target, host) in [
        ("absolute", "http://real.example:8080/chat?x=1", "h"),
        ("absolute_without_path", "WSS://[::1]?x=1", ""),
        ("absolute_without_host", "http:///chat", "h"),
        ("absolute_with_user", "http://me:secret@h/", "h"),
        ("authority", "h:80", "h:80"),
        ("asterisk", "*", "h"),
        ("no_path", "foo", "h"),
        ("fragment", "/a#b", "h"),
        ("host_empty", "/", ""),
        ("host_with_path", "/", "a b/c@d"),
        ("host_in_brackets", "/", "[v1.a:b]:9001"),
        ("host_encoded", "/", "b%C3%BCcher"),
    ] {
        let request = request.replace("h:80", host).replace("/chat?x=1", target);
        write("handshake_request", name, format!("\0{request}\r\n").as_bytes())?;
    }
    write("handshake_request", "connect", b"\0CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n")?;
    write("handshake_request", "options", b"\0OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")?;
    write("handshake_request", "hosts", b"\0GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")?;
    write("handshake_request", "post", b"\x02POST http://h/p HTTP/1.0\r\n\r\n")?;
    write("handshake_request", "tls", b"\x01\x16\x03\x01\x02\x00\x01\x00")?;

    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    for (name, requests) in [
        ("several", get("/1") + &get("/404") + &get("/204") + &get("/long") + &get("/close") + &get("/2")),
        ("head", "HEAD /long HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + &get("/1")),
        ("refused", get("/1") + "nonsense\r\n\r\n" + &get("/2")),
        ("body", get("/1") + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        ("chunked", get("/1") + "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("upgrade", get("/1") + request + "\r\n"),
    ] {
        for lengths in [[1; 12], [7, 0, 1, 2, 3, 50, 5, 6, 7, 8, 9, 10]] {
            let message = Frame::text(b"hi").bytes();
            let input = [&lengths[..], requests.as_bytes(), &message].concat();
            write("pipelining", &format!("{name}_{}", lengths[0]), &input)?;
        }
    }

    let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for (name, more) in [
        ("plain", ""),
        ("subprotocol", "Sec-WebSocket-Protocol: chat\r\n"),
        ("not_offered", "Sec-WebSocket-Protocol: news\r\n"),
        ("extension", "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        ("twice", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
    ] {
        write("handshake_response", name, format!("\0{response}{more}\r\n\u{81}").as_bytes())?;
    }
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    write("handshake_response", "interim", format!("\0{interim}{response}\r\n").as_bytes())?;
    write("handshake_response", "interim_alone", format!("\0{interim}").as_bytes())?;
    write("handshake_response", "interim_refused", format!("\0{interim}HTTP/1.1 503\r\n\r\n").as_bytes())?;
    write("handshake_response", "status", b"\x00HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\nlater")?;

    // The `arbitrary` crate interprets these bytes; they only have to be long enough.
    let mixed: Vec<u8> = (0..200u32).map(|n| (n * n * 31 + n * 7) as u8).collect();
    write("round_trip", "mixed", &mixed)?;
    write("round_trip", "text", "\u{1}some text é€𝄞 that is ".repeat(6).as_bytes())
}
