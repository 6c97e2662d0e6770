#![no_main]
//! The same bytes give the same messages here and in tungstenite, or both refuse them. The known
//! differences, and the reasons for Ringway's behaviour (docs/conformance.md lists them too):
//!
//! - **Lengths that are not in their shortest form** are refused here, as RFC 6455 section 5.2
//!   requires; tungstenite accepts them, also those of control frames.
//! - **Close codes that must not be sent** are refused here, and answered with 1002. tungstenite
//!   also answers with 1002, but reports a regular close to its user, with 1002 instead of the
//!   peer's code.
//! - **Close code 1014** is accepted here, because it is registered with IANA; tungstenite treats
//!   it as a code that must not be sent.
//! - **When a violation is detected**: here at the byte that commits it, in tungstenite when the
//!   frame is complete. The stream is therefore padded until that frame is complete, and then both
//!   must have refused it.
//! - **The cost of a fragment** besides its payload counts towards the limit here, against endless
//!   empty fragments, but not in tungstenite. The cost is set to 0 for the comparison, and the
//!   limits are equal.
//!
//! tungstenite does not compress, so no compression is negotiated. The input is that of
//! `decoder_splits`; the cuts apply to the reads of both.

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Limits, MessageKind, ProtocolError, Role};
use ringway_fuzz::Cut;
use ringway_testkit::decoder::{Outcome, Seen, decode};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const LIMIT: usize = 2000;

/// The code and reason that tungstenite reports instead of a code that must not be sent.
const FORBIDDEN: (u16, &str) = (1002, "Protocol violation");

/// A stream that returns its bytes in pieces, and accepts all written bytes.
struct Pieces<'d> {
    rest: &'d [u8],
    /// The lengths of the pieces; the rest is one piece.
    lengths: std::vec::IntoIter<usize>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let piece = self.lengths.find(|&length| length > 0).unwrap_or(self.rest.len());
        let length = piece.min(buffer.len()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(piece);
        self.rest = rest;
        Ok(length)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The events of a stream in tungstenite, and whether it refuses the stream.
fn theirs(role: Role, stream: &[u8], cuts: &[usize]) -> (Vec<Seen>, bool) {
    let role = if role == Role::Server { TheirRole::Server } else { TheirRole::Client };
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let lengths: Vec<usize> = [0].iter().chain(cuts).zip(cuts).map(|(from, to)| to - from).collect();
    let mut socket =
        WebSocket::from_raw_socket(Pieces { rest: stream, lengths: lengths.into_iter() }, role, Some(config));
    let mut seen = Vec::new();
    loop {
        let event = match socket.read() {
            Ok(Message::Text(text)) => Seen::Message(MessageKind::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(payload)) => Seen::Message(MessageKind::Binary, payload.to_vec()),
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Seen::Pong(payload.to_vec()),
            Ok(Message::Close(close)) => {
                seen.push(Seen::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned()))));
                return (seen, false);
            }
            Ok(Message::Frame(_)) => unreachable!("reading returns messages"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (seen, false),
            Err(_) => return (seen, true),
        };
        seen.push(event);
    }
}

fn forbidden() -> Seen {
    Seen::Close(Some((FORBIDDEN.0, FORBIDDEN.1.to_owned())))
}

fuzz_target!(|data: &[u8]| {
    let Some(Cut { role, cuts, stream, .. }) = Cut::parse(data) else { return };
    let limits = Limits { max_message: LIMIT, fragment_cost: 0 };
    let (mut ours, error): Outcome = decode(role, None, limits, stream, &cuts);
    let (theirs, refused) = match error {
        None => theirs(role, stream, &cuts),
        // This padding completes the refused frame, whatever its length, unless the length itself
        // exceeds the limit.
        Some(_) => theirs(role, &[stream, &[0; LIMIT + 14]].concat(), &cuts),
    };
    match error {
        // Here, a control frame with a length of more than 7 bits counts as longer than 125 bytes,
        // whatever its value.
        Some(ProtocolError::NonMinimalLength(_) | ProtocolError::OversizedControl) => {
            assert!(theirs.starts_with(&ours), "{ours:?}, {theirs:?}");
            return;
        }
        Some(ProtocolError::ForbiddenCloseCode(_)) => {
            // Unless the reason is not UTF-8 either: tungstenite checks that first.
            if !refused {
                ours.push(forbidden());
            }
            assert_eq!(ours, theirs);
            return;
        }
        _ => {}
    }
    if let Some(last @ Seen::Close(Some((1014, _)))) = ours.last_mut() {
        *last = forbidden();
    }
    assert_eq!((ours, error.is_some()), (theirs, refused), "ours: {error:?}");
});
