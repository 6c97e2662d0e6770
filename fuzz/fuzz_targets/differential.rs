#![no_main]
//! The same bytes give the same messages here and in tungstenite, or both refuse them. The known
//! differences, and the reasons for them (docs/conformance.md lists them too):
//!
//! - **Lengths that could be shorter** are refused here, as RFC 6455 section 5.2 requires;
//!   tungstenite accepts them, also in control frames.
//! - **Close codes that must not be sent** are refused here, and answered with 1002. tungstenite
//!   answers 1002 as well, but reports a regular close, with 1002 in place of the peer's code.
//! - **Close code 1014** is accepted here, because it is registered with IANA; tungstenite refuses
//!   it.
//! - **Detection of a violation**: here at the first invalid byte, there when the frame is
//!   complete. So the stream is extended until that frame is complete, and then both must have
//!   refused it.
//! - **The cost of a fragment** counts here against the limit, because of endless empty fragments;
//!   there it does not. The cost is set to 0 for the comparison, and the limits to the same size.
//!
//! tungstenite does not compress, so nothing is negotiated. Input as in `decoder_splits`; the
//! splits apply to the reads of both.

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Limits, MessageKind, ProtocolError, Role};
use ringway_fuzz::Cut;
use ringway_testkit::decoder::{Outcome, Seen, decode};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const LIMIT: usize = 2000;

/// The event of tungstenite for a code that must not be sent.
const FORBIDDEN: (u16, &str) = (1002, "Protocol violation");

/// A stream that returns its bytes in pieces, and accepts all writes.
struct Pieces<'d> {
    rest: &'d [u8],
    /// The lengths of the pieces; the rest is returned at once.
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

/// The events of tungstenite for a stream, and whether it refuses the stream in the end.
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
            Ok(Message::Frame(_)) => unreachable!("reading gives messages"),
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
        // This completes the refused frame, whatever length it announces, unless the length itself
        // exceeds the limit.
        Some(_) => theirs(role, &[stream, &[0; LIMIT + 14]].concat(), &cuts),
    };
    match error {
        // A control frame that announces its length in more than 7 bits is over 125 bytes here,
        // whatever it announces.
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
    assert_eq!((ours, error.is_some()), (theirs, refused), "we say {error:?}");
});
