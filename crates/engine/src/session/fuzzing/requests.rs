//! Pipelined requests of HTTP/1.1, and what follows them, in several splits: the responses and the
//! calls of the application are the same in each.

use super::super::Session;
use super::super::application::Application;
use super::super::link::Link;
use super::super::opening::RequestHandler;
use super::{BUFFER, SLOT};
use crate::api::message::Message;
use crate::api::response::{Response, Upgrade};
use crate::config::{Config, Limits};
use crate::shard::core::{Action, Core};
use http::{HeaderMap, StatusCode};
use ringway_codec::Request;
use ringway_io::{BufferConfig, Pool, Slot};
use std::sync::Arc;
use std::time::Instant;

/// The number of cuts of a split, and the number of bytes that precede the requests: a length for
/// each cut.
const CUTS: usize = 12;

/// The maximum length of all requests of an input.
const MAX_INPUT: usize = 4096;

/// Answers by the path, and echoes messages. Records its calls.
#[derive(Default)]
struct Recording {
    calls: Vec<String>,
}

impl RequestHandler<u8> for Recording {
    fn upgrade(&mut self, _: Slot, request: &Request<'_>, _: &mut Core) -> Upgrade<u8> {
        self.calls.push(format!("upgrade {}", request.path()));
        match request.path() {
            "/reject" => Upgrade::reject(StatusCode::FORBIDDEN, "no"),
            _ => Upgrade::accept(1),
        }
    }

    fn request(&mut self, _: Slot, request: &Request<'_>, _: &mut Core) -> Response {
        let (method, path) = (request.method(), request.path());
        self.calls.push(format!("{method} {path}"));
        match path {
            "/204" => Response::new(StatusCode::NO_CONTENT, HeaderMap::new(), Vec::new()),
            "/404" => Response::text(StatusCode::NOT_FOUND, "not found"),
            "/405" => Response::method_not_allowed("GET, HEAD"),
            "/close" => Response::text(StatusCode::OK, "bye").close(),
            "/long" => Response::new(StatusCode::OK, HeaderMap::new(), vec![b'l'; 3000]),
            path => Response::text(StatusCode::OK, path),
        }
    }
}

impl Application<u8> for Recording {
    fn connected(&mut self, _: &mut Link<u8>, _: &mut Core) -> bool {
        unreachable!("a server does not connect")
    }

    fn open(&mut self, _: &mut Link<u8>, _: &mut Core) {
        self.calls.push("open".into());
    }

    fn message(&mut self, link: &mut Link<u8>, core: &mut Core, message: Message<'_>) {
        self.calls.push(format!("message {}", message.payload().escape_ascii()));
        link.reply(message, true, core);
    }

    fn ping(&mut self, _: &mut Link<u8>, _: &mut Core, payload: &[u8]) {
        self.calls.push(format!("ping {}", payload.escape_ascii()));
    }

    fn pong(&mut self, _: &mut Link<u8>, _: &mut Core, payload: &[u8]) {
        self.calls.push(format!("pong {}", payload.escape_ascii()));
    }

    fn drained(&mut self, _: &mut Link<u8>, _: &mut Core) {}
}

/// What a peer sees of a connection, and the application.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The output without the lines of the date.
    sent: String,
    calls: Vec<String>,
    /// The server has ended its direction.
    finished: bool,
    removed: bool,
}

/// Passes requests to a session in two splits: whole, and as the first bytes of `data` specify. An
/// empty line follows them: a malformed head is refused at its end at the latest, but earlier if it is
/// parsed earlier, which depends on the split.
///
/// # Panics
/// When the output or the calls differ.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "the fuzz target calls it"))]
pub fn drive_requests(data: &[u8]) {
    let Some((lengths, input)) = data.split_at_checked(CUTS) else { return };
    let input = &[&input[..input.len().min(MAX_INPUT)], b"\r\n\r\n"].concat()[..];
    let mut parts = Vec::new();
    let mut rest = input;
    // The lengths repeat, so that each is a period; 0 is the rest.
    for length in lengths.iter().cycle() {
        let len = if *length == 0 { rest.len() } else { usize::from(*length).min(rest.len()) };
        let (part, behind) = rest.split_at(len);
        parts.push(part);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    let whole = serve(std::iter::once(input));
    assert_eq!(serve(parts.into_iter()), whole, "the split changes the result");
}

/// Serves a connection that sends these parts. Between them, everything that waits is done: output is
/// sent, and turns pass.
fn serve<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let limits = Limits { max_message: 2000, max_head: 1000, max_requests: 20, ..Limits::default() };
    let buffers = BufferConfig::new().size(BUFFER as u32).and_then(|buffers| buffers.count(8)?.ready(1));
    let pool = Pool::new(&buffers.expect("in range")).expect("in range");
    let now = Instant::now();
    let mut core = Core::new(Arc::new(Config::default()), limits, now);
    let mut app = Recording::default();
    let mut session = Session::accepted(SLOT, &mut core);
    let (mut sent, mut finished, mut removal) = (Vec::new(), false, None);
    // The kernel delivers at most a buffer at a time.
    for part in parts.flat_map(|part| part.chunks(BUFFER)) {
        if removal.is_some() {
            break;
        }
        let buffer = pool.fill(part).expect("the session holds no buffer between two parts");
        removal = session.receive(buffer, &mut core, &mut app);
        loop {
            let mut is_idle = true;
            for slot in std::mem::take(&mut core.dirty) {
                assert_eq!(slot, SLOT);
                removal = removal.or_else(|| session.flush(&mut core, &mut app));
                is_idle = false;
            }
            for action in std::mem::take(&mut core.actions) {
                match action {
                    Action::Send(_, output) => {
                        sent.extend(output.chunks().flat_map(|chunk| chunk.as_slice()).copied());
                        let written = output.len();
                        session.sent(output, written, &mut core, &mut app);
                        is_idle = false;
                    }
                    Action::Finish(_) => finished = true,
                    // Bytes that arrive while a session does not receive wait in the kernel; it receives
                    // again before the next part.
                    _ => {}
                }
            }
            if removal.is_none() && !std::mem::take(&mut core.waiting).is_empty() {
                core.begin_turn(now);
                removal = session.end_wait(&mut core, &mut app);
                is_idle = false;
            }
            if is_idle || removal.is_some() {
                break;
            }
        }
    }
    let removed = removal.is_some();
    session.release(&mut core);
    assert_eq!((core.memory.held(), pool.guarded()), (0, 0), "memory or buffers are left");
    // The date can be that of the next second.
    let text = sent.escape_ascii().to_string();
    let sent = text.split("\\r\\n").filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n");
    Outcome { sent, calls: app.calls, finished, removed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UPGRADE: &str = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    /// Requests that are valid more often than arbitrary bytes, and frames behind them.
    fn request() -> impl Strategy<Value = Vec<u8>> {
        let path = "/(1|204|404|long|[a-z]{1,20})";
        let valid =
            ("GET|HEAD|POST", path).prop_map(|(method, path)| format!("{method} {path} HTTP/1.1\r\nHost: a\r\n"));
        let fields = prop_oneof![
            8 => Just("\r\n".to_owned()),
            1 => Just("Connection: close\r\n\r\n".to_owned()),
            1 => Just("Content-Length: 3\r\n\r\nabc".to_owned()),
            1 => Just("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
            1 => "[A-Z][a-z]{0,8}: [ -~]{0,30}\r\n\r\n",
        ];
        let ends = prop_oneof![
            Just("GET /close HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
            Just("GET /405 HTTP/1.1\r\n\r\n".to_owned()),
            Just(format!("GET / HTTP/1.1\r\n{UPGRADE}")),
            Just(format!("GET /reject HTTP/1.1\r\n{UPGRADE}")),
            "[ -~\r\n]{0,40}",
        ];
        let frame = ("[a-z]{0,100}", prop_oneof![Just(1u8), Just(9)]).prop_map(|(text, opcode)| {
            let mut bytes = vec![opcode | 0x80, 0x80 | text.len() as u8, 0, 0, 0, 0];
            bytes.extend_from_slice(text.as_bytes());
            bytes
        });
        prop_oneof![
            12 => (valid, fields).prop_map(|(start, fields)| (start + &fields).into_bytes()),
            2 => ends.prop_map(String::into_bytes),
            2 => frame,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn pipelined_requests_are_answered_alike_in_every_split(
            lengths in proptest::collection::vec(any::<u8>(), CUTS),
            requests in proptest::collection::vec(request(), 0..12),
        ) {
            drive_requests(&[lengths, requests.concat()].concat());
        }
    }

    #[test]
    fn a_malformed_head_is_refused_at_its_end_in_every_split() {
        for lengths in [[7, 0], [1, 1], [30, 2]] {
            drive_requests(&[&lengths.repeat(CUTS / 2), &b"GET /1 HTTP/1.1\r\nHost: \0\0\0"[..]].concat());
            drive_requests(&[&lengths.repeat(CUTS / 2), &b"\x16\x03\x01\x02"[..]].concat());
            drive_requests(&[&lengths.repeat(CUTS / 2), &b"\x16GET"[..]].concat());
        }
    }

    #[test]
    fn all_requests_are_served_and_messages_echoed() {
        let get = "GET /long HTTP/1.1\r\nHost: a\r\n\r\n";
        let input = [get.repeat(5).as_bytes(), format!("GET / HTTP/1.1\r\n{UPGRADE}").as_bytes()].concat();
        let input = [&input[..], &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']].concat();
        let outcome = serve(std::iter::once(&input[..]));
        assert_eq!(outcome.calls, [&["GET /long"; 5][..], &["upgrade /", "open", "message hi"]].concat());
        assert_eq!(outcome.sent.matches("HTTP/1.1 200 OK").count(), 5);
        assert!(outcome.sent.ends_with("\\x81\\x02hi") && !outcome.finished && !outcome.removed, "{outcome:?}");
        for length in 1..=255 {
            drive_requests(&[&[length; CUTS], &input[..]].concat());
        }
    }
}
