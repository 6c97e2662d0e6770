//! What goes over one connection as lines for people: the heads of its opening handshake and other
//! HTTP messages, and its frames.

use super::capture::Side;
use super::frames::{BadFrame, FrameReader, TimedLine};
use super::text::{EXCERPT, escaped, hex, quoted};
use httparse::{EMPTY_HEADER, Request, Response, Status};
use std::collections::VecDeque;
use std::mem;
use std::time::SystemTime;

/// The maximum length of a head, and of what a client sends before the response to its request for a
/// WebSocket.
const MAX_HEAD: usize = 32 * 1024;

/// The maximum number of header fields of a head.
const MAX_FIELDS: usize = 128;

/// The maximum number of requests that wait for their responses.
const MAX_REQUESTS: usize = 64;

/// Reads the bytes of one connection in both directions.
#[derive(Debug, Default)]
pub(super) struct Observer {
    client: Stage,
    server: Stage,
    offsets: [u64; 2],
    /// For each request without a response, whether it was `HEAD`.
    requests: VecDeque<bool>,
}

/// What the next bytes of a direction are.
#[derive(Debug)]
enum Stage {
    /// A head.
    Head {
        bytes: Vec<u8>,
        time: Option<SystemTime>,
    },
    /// A body of this length, of which so much is still to come; `None`: up to the end of the
    /// connection.
    Body {
        len: Option<u64>,
        left: u64,
        excerpt: Excerpt,
    },
    /// Bytes behind a request for a WebSocket, unknown until its response.
    Waiting {
        bytes: Vec<u8>,
        time: Option<SystemTime>,
    },
    Frames(FrameReader),
    /// Neither HTTP nor frames.
    Unknown {
        why: String,
        excerpt: Excerpt,
    },
}

impl Default for Stage {
    fn default() -> Self {
        Self::Head { bytes: Vec::new(), time: None }
    }
}

/// The first bytes of something.
#[derive(Debug, Default)]
struct Excerpt {
    bytes: Vec<u8>,
    time: Option<SystemTime>,
    is_reported: bool,
}

impl Excerpt {
    /// Takes bytes. Returns whether it is complete now and was not before.
    fn take(&mut self, bytes: &[u8], time: SystemTime) -> bool {
        self.time.get_or_insert(time);
        let room = EXCERPT - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.bytes.len() == EXCERPT && !mem::replace(&mut self.is_reported, true)
    }
}

/// What a head says about the bytes behind it.
enum Behind {
    Head,
    Body(Option<u64>),
    Request,
    Switched,
    Unknown(&'static str),
}

impl Observer {
    /// Takes bytes of one direction, behind `offset` others of it, and adds the lines for both.
    pub(super) fn bytes(
        &mut self,
        side: Side,
        offset: u64,
        bytes: &[u8],
        time: SystemTime,
        lines: &mut Vec<(Side, TimedLine)>,
    ) {
        let next = &mut self.offsets[side as usize];
        let lost = offset.saturating_sub(*next);
        *next = offset + bytes.len() as u64;
        if lost > 0 {
            self.lose(side, lost, time, lines);
        }
        self.read(side, bytes, time, lines);
    }

    /// Ends the trace of the connection. `totals`: the bytes that the client and the server have
    /// sent.
    pub(super) fn finish(&mut self, totals: [u64; 2], time: SystemTime, lines: &mut Vec<(Side, TimedLine)>) {
        for side in [Side::Client, Side::Server] {
            let lost = totals[side as usize].saturating_sub(self.offsets[side as usize]);
            if lost > 0 {
                self.lose(side, lost, time, lines);
            }
            let mut own = Vec::new();
            self.stage(side).finish(&mut own);
            lines.extend(own.into_iter().map(|line| (side, line)));
        }
    }

    fn stage(&mut self, side: Side) -> &mut Stage {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Handles bytes that are missing.
    fn lose(&mut self, side: Side, lost: u64, time: SystemTime, lines: &mut Vec<(Side, TimedLine)>) {
        let mut own = Vec::new();
        let stage = self.stage(side);
        let is_known = match stage {
            Stage::Frames(frames) => frames.skip(lost, &mut own),
            Stage::Body { len: Some(_), left, .. } if *left >= lost => {
                *left -= lost;
                true
            }
            Stage::Body { len: None, .. } | Stage::Unknown { .. } => true,
            _ => false,
        };
        own.push((time, format!("{lost} bytes are missing: the queue of the trace was full")));
        if !is_known {
            stage.finish(&mut own);
            *stage = Stage::Unknown { why: "behind missing bytes".to_owned(), excerpt: Excerpt::default() };
        } else if let Stage::Body { len: Some(_), left: 0, .. } = stage {
            stage.finish(&mut own);
            *stage = Stage::default();
        }
        lines.extend(own.into_iter().map(|line| (side, line)));
    }

    fn read(&mut self, side: Side, mut bytes: &[u8], time: SystemTime, lines: &mut Vec<(Side, TimedLine)>) {
        while !bytes.is_empty() {
            let mut own = Vec::new();
            let (rest, behind) = self.stage(side).read(bytes, time, &mut own);
            bytes = rest;
            lines.extend(own.into_iter().map(|line| (side, line)));
            if let Some(head) = behind {
                self.head_complete(side, &head, lines);
            }
        }
    }

    /// Handles a complete head.
    fn head_complete(&mut self, side: Side, head: &CompleteHead, lines: &mut Vec<(Side, TimedLine)>) {
        let behind = match side {
            Side::Client => self.request(&head.bytes),
            Side::Server => self.response(&head.bytes),
        };
        let mut own = Vec::new();
        let mut texts = head.bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        own.extend(texts.next().map(|line| (head.time, escaped(line))));
        let fields = texts.filter(|line| !line.is_empty());
        own.extend(fields.map(|line| (head.time, format!("  {}", escaped(line)))));
        lines.extend(own.into_iter().map(|line| (side, line)));
        *self.stage(side) = match behind {
            Behind::Head | Behind::Body(Some(0)) => Stage::default(),
            Behind::Body(len) => Stage::Body { len, left: len.unwrap_or(0), excerpt: Excerpt::default() },
            Behind::Request => Stage::Waiting { bytes: Vec::new(), time: None },
            Behind::Switched => Stage::Frames(FrameReader::default()),
            Behind::Unknown(why) => Stage::Unknown { why: why.to_owned(), excerpt: Excerpt::default() },
        };
        if side == Side::Server && !head.is_interim() {
            self.answered(matches!(behind, Behind::Switched), lines);
        }
    }

    /// Continues with what a client has sent behind its request for a WebSocket.
    fn answered(&mut self, is_switched: bool, lines: &mut Vec<(Side, TimedLine)>) {
        let Stage::Waiting { bytes, time } = &mut self.client else { return };
        let (bytes, time) = (mem::take(bytes), *time);
        self.client = if is_switched { Stage::Frames(FrameReader::default()) } else { Stage::default() };
        if let Some(time) = time {
            self.read(Side::Client, &bytes, time, lines);
        }
    }

    fn request(&mut self, head: &[u8]) -> Behind {
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let mut request = Request::new(&mut fields);
        if !matches!(request.parse(head), Ok(Status::Complete(_))) {
            return Behind::Unknown("not a valid request");
        }
        if self.requests.len() == MAX_REQUESTS {
            return Behind::Unknown("too many requests without a response");
        }
        self.requests.push_back(request.method == Some("HEAD"));
        if value(request.headers, "upgrade").is_some_and(|value| contains(value, b"websocket")) {
            return Behind::Request;
        }
        if value(request.headers, "transfer-encoding").is_some() {
            return Behind::Unknown("a body in chunks");
        }
        body_len(request.headers).map_or(Behind::Head, |len| Behind::Body(Some(len)))
    }

    fn response(&mut self, head: &[u8]) -> Behind {
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let mut response = Response::new(&mut fields);
        if !matches!(response.parse(head), Ok(Status::Complete(_))) {
            return Behind::Unknown("not a valid response");
        }
        let code = response.code.unwrap_or(0);
        if (102..200).contains(&code) || code == 100 {
            return Behind::Head;
        }
        let was_head = self.requests.pop_front().unwrap_or(false);
        match code {
            101 => Behind::Switched,
            204 | 304 => Behind::Head,
            _ if was_head => Behind::Head,
            _ if value(response.headers, "transfer-encoding").is_some() => Behind::Body(None),
            _ => Behind::Body(body_len(response.headers)),
        }
    }
}

/// A head with its empty line, and the time of its first byte.
struct CompleteHead {
    bytes: Vec<u8>,
    time: SystemTime,
}

impl CompleteHead {
    /// Whether it is a response that is followed by another one to the same request.
    fn is_interim(&self) -> bool {
        self.bytes.get(8..12).is_some_and(|status| status.starts_with(b" 1") && status != b" 101")
    }
}

fn value<'h>(fields: &[httparse::Header<'h>], name: &str) -> Option<&'h [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

fn contains(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

fn body_len(fields: &[httparse::Header<'_>]) -> Option<u64> {
    std::str::from_utf8(value(fields, "content-length")?).ok()?.trim().parse().ok()
}

impl Stage {
    /// Reads bytes. Returns those that belong to another stage, and a head that is complete.
    fn read<'b>(
        &mut self,
        bytes: &'b [u8],
        time: SystemTime,
        lines: &mut Vec<TimedLine>,
    ) -> (&'b [u8], Option<CompleteHead>) {
        match self {
            Self::Head { bytes: head, time: began } => {
                let began = *began.get_or_insert(time);
                for (at, byte) in bytes.iter().enumerate() {
                    head.push(*byte);
                    let why = match head.len() {
                        1 if !byte.is_ascii_uppercase() => "not HTTP",
                        MAX_HEAD => "a head that is too long",
                        _ if head.ends_with(b"\r\n\r\n") => {
                            let head = CompleteHead { bytes: mem::take(head), time: began };
                            return (&bytes[at + 1..], Some(head));
                        }
                        _ => continue,
                    };
                    let head = mem::take(head);
                    self.give_up(why.to_owned(), &head, began, lines);
                    return (&bytes[at + 1..], None);
                }
                (&[], None)
            }
            Self::Body { len, left, excerpt } => {
                let taken = match len {
                    Some(_) => usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len()),
                    None => bytes.len(),
                };
                if excerpt.take(&bytes[..taken], time) {
                    lines.push((excerpt.time.unwrap_or(time), body_line(excerpt, *len)));
                }
                *left = left.saturating_sub(taken as u64);
                if len.is_some() && *left == 0 {
                    self.finish(lines);
                    *self = Self::default();
                }
                (&bytes[taken..], None)
            }
            Self::Waiting { bytes: pending, time: began } => {
                let began = *began.get_or_insert(time);
                let room = MAX_HEAD - pending.len();
                let (now, rest) = bytes.split_at(bytes.len().min(room));
                pending.extend_from_slice(now);
                if pending.len() == MAX_HEAD {
                    let pending = mem::take(pending);
                    self.give_up("too much before the response".to_owned(), &pending, began, lines);
                }
                (rest, None)
            }
            Self::Frames(frames) => match frames.read(bytes, time, lines) {
                Ok(()) => (&[], None),
                Err(BadFrame { why, head, time, rest }) => {
                    self.give_up(why, &head, time, lines);
                    (rest, None)
                }
            },
            Self::Unknown { why, excerpt } => {
                if excerpt.take(bytes, time) {
                    lines.push((excerpt.time.unwrap_or(time), unknown_line(why, excerpt)));
                }
                (&[], None)
            }
        }
    }

    /// Reads no further in this direction. `bytes`: those that are not understood.
    fn give_up(&mut self, why: String, bytes: &[u8], time: SystemTime, lines: &mut Vec<TimedLine>) {
        let mut excerpt = Excerpt::default();
        if excerpt.take(bytes, time) {
            lines.push((time, unknown_line(&why, &excerpt)));
        }
        *self = Self::Unknown { why, excerpt };
    }

    /// Reports what is not complete.
    fn finish(&mut self, lines: &mut Vec<TimedLine>) {
        match self {
            Self::Head { bytes, time: Some(time) } if !bytes.is_empty() => {
                let len = bytes.len().min(EXCERPT);
                let more = (bytes.len() - len) as u64;
                lines.push((*time, format!("incomplete head {}", quoted(&bytes[..len], more))));
            }
            Self::Body { len, excerpt, .. } => {
                if let (Some(time), false) = (excerpt.time, excerpt.is_reported) {
                    lines.push((time, body_line(excerpt, *len)));
                }
            }
            Self::Frames(frames) => frames.finish(lines),
            Self::Unknown { why, excerpt } => {
                if let (Some(time), false) = (excerpt.time, excerpt.is_reported) {
                    lines.push((time, unknown_line(why, excerpt)));
                }
            }
            Self::Waiting { bytes, time: Some(time) } => {
                lines.push((*time, format!("before the response {}", hex(&bytes[..bytes.len().min(EXCERPT)], 0))));
            }
            Self::Head { .. } | Self::Waiting { time: None, .. } => {}
        }
    }
}

/// `len`: the length of the whole body.
fn body_line(excerpt: &Excerpt, len: Option<u64>) -> String {
    let more = len.map_or(0, |len| len.saturating_sub(excerpt.bytes.len() as u64));
    format!("body {}", quoted(&excerpt.bytes, more))
}

fn unknown_line(why: &str, excerpt: &Excerpt) -> String {
    format!("undecoded ({why}) {}", hex(&excerpt.bytes, 0))
}

#[cfg(test)]
mod tests;
