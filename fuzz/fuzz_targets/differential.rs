#![no_main]
//! The same bytes give the same messages here and in tungstenite, or both refuse them. The
//! differences that are known, and why we stay with ours (docs/conformance.md lists them too):
//!
//! - **Lengths that could be shorter** are refused here, as RFC 6455 section 5.2 has it;
//!   tungstenite takes them, those of control frames as well.
//! - **Close codes that must not travel** are refused here, and answered with 1002. tungstenite
//!   answers 1002 as well, but tells its user of a close in good order, with 1002 in the place of
//!   the peer's code.
//! - **Close code 1014** is taken here, because it is registered with IANA; tungstenite takes it
//!   for one that must not travel.
//! - **When a violation is found**: here by the byte that commits it, there when the frame has come
//!   whole. So the stream is filled up here until that frame is whole, and then both must have
//!   refused it.
//! - **What a fragment costs** besides its payload is counted here, against endless empty ones;
//!   there it is not. The cost is set to 0 for the comparison, and the limits to the same size.
//!
//! tungstenite does not compress, so nothing is negotiated. Input as in `decoder_splits`; the cuts
//! are those of the reads of both.

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Limits, MessageKind, ProtocolError, Role};
use ringway_fuzz::{Cut, Outcome, Seen, decode};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const LIMIT: usize = 2000;

/// What tungstenite tells its user in the place of a code that must not travel.
const FORBIDDEN: (u16, &str) = (1002, "Protocol violation");

/// A stream that gives its bytes piece by piece, and takes all that is written.
struct Pieces<'d> {
    rest: &'d [u8],
    /// How long the pieces are; what is behind them comes at once.
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

/// What tungstenite makes of a stream, and whether it refuses it in the end.
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
        // The frame that is refused is whole with this, whatever length it announces, unless that
        // alone is too much.
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
            // Unless the reason is not UTF-8 either: they look at that first.
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
