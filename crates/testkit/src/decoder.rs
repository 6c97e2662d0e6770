//! A decoder driven over a stream that is cut anywhere, and its events as owned values.

use crate::Frame;
use ringway_codec::{
    Decoder, DeflateParams, Event, Limits, MessageKind, Place, ProtocolError, Role, SpillPool, WindowBits,
};
use std::ops::Range;

/// An event that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A message.
    Message(MessageKind, Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame, with the code and reason that it carries.
    Close(Option<(u16, String)>),
}

/// The events of a stream, and the error that ended it.
pub type Outcome = (Vec<Seen>, Option<ProtocolError>);

/// The bytes of `frame` as a decoder in `role` must receive it: masked for a server only.
#[must_use]
pub fn received_by(role: Role, frame: Frame) -> Vec<u8> {
    match role {
        Role::Server => frame.bytes(),
        Role::Client => frame.unmasked().bytes(),
    }
}

/// The same parameters for both directions.
#[must_use]
pub fn symmetric(takeover: bool, window_bits: WindowBits) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: Some(window_bits),
        client_max_window_bits: Some(window_bits),
    }
}

/// Decodes `stream`, cut at `cuts` (ascending), with a decoder that keeps its state.
pub fn feed(decoder: &mut Decoder, pool: &mut SpillPool, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut seen = Vec::new();
    for mut input in pieces(stream, cuts).map(<[u8]>::to_vec) {
        if let Err(error) = decode_input(decoder, pool, &mut input, &mut seen, None) {
            return (seen, Some(error));
        }
    }
    (seen, None)
}

/// Decodes `stream`, cut at `cuts` (ascending), with a new decoder. Each message is also converted
/// to a reply in place, and the reply is decoded in the client role.
pub fn decode(role: Role, deflate: Option<&DeflateParams>, limits: Limits, stream: &[u8], cuts: &[usize]) -> Outcome {
    decode_as(role, deflate, limits, stream, cuts, |_| None)
}

/// As [`decode`]. For the piece of each number, `direct` returns the largest read into the buffer
/// in which the message is assembled, or `None` to pass the piece as input.
pub fn decode_as(
    role: Role,
    deflate: Option<&DeflateParams>,
    limits: Limits,
    stream: &[u8],
    cuts: &[usize],
    direct: impl Fn(usize) -> Option<usize>,
) -> Outcome {
    let mut pool = SpillPool::new(limits);
    let mut decoder = deflate.map_or(Decoder::new(role), |params| Decoder::with_deflate(role, params));
    let mut seen = Vec::new();
    let mut result = Ok(());
    for (number, mut piece) in pieces(stream, cuts).enumerate() {
        if let Some(max) = direct(number) {
            result = decode_direct(&mut decoder, &mut pool, &mut piece, max, &mut seen);
        }
        result =
            result.and_then(|()| decode_input(&mut decoder, &mut pool, &mut piece.to_vec(), &mut seen, Some(role)));
        if result.is_err() {
            break;
        }
    }
    decoder.release(&mut pool);
    assert!(decoder.payload_room(1).is_none(), "a released decoder has no room for payload");
    assert!(result.is_err() || decoder.is_between_messages());
    (seen, result.err())
}

/// As [`decode`], with a limit on the bytes that each call may inflate: `allowances` in a cycle, at
/// least one of which is not 0. The unconsumed bytes of a suspended decoder stay in the input.
/// Every second time, a suspended decoder continues without more of the stream.
pub fn decode_in_steps(
    role: Role,
    deflate: Option<&DeflateParams>,
    limits: Limits,
    stream: &[u8],
    cuts: &[usize],
    allowances: &[usize],
) -> Outcome {
    assert!(allowances.iter().any(|&allowance| allowance > 0), "without an allowance nothing is inflated");
    let mut pool = SpillPool::new(limits);
    let mut decoder = deflate.map_or(Decoder::new(role), |params| Decoder::with_deflate(role, params));
    let mut allowances = allowances.iter().copied().cycle();
    let mut pieces = pieces(stream, cuts);
    let (mut seen, mut input, mut turn) = (Vec::new(), Vec::new(), 0_usize);
    let result = loop {
        turn += 1;
        if !decoder.is_suspended() || turn.is_multiple_of(2) {
            match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None if !decoder.is_suspended() => break Ok(()),
                None => {}
            }
        }
        match decode_steps(&mut decoder, &mut pool, &mut input, &mut seen, &mut allowances) {
            Ok(consumed) => drop(input.drain(..consumed)),
            Err(error) => break Err(error),
        }
    };
    decoder.release(&mut pool);
    assert!(result.is_err() || decoder.is_between_messages());
    (seen, result.err())
}

/// The pieces of a stream that is cut at `cuts`; the last one ends with the stream.
fn pieces<'d>(stream: &'d [u8], cuts: &[usize]) -> impl Iterator<Item = &'d [u8]> {
    let ends = cuts.iter().copied().chain([stream.len()]);
    let mut start = 0;
    ends.map(move |end| &stream[std::mem::replace(&mut start, end)..end])
}

/// Decodes one input to its end. `replies_of`: the role whose messages are converted to replies. Some of
/// these stay in the input, and are still there at its end; messages move behind them.
fn decode_input(
    decoder: &mut Decoder,
    pool: &mut SpillPool,
    input: &mut [u8],
    seen: &mut Vec<Seen>,
    replies_of: Option<Role>,
) -> Result<(), ProtocolError> {
    let (mut at, mut front) = (0, None);
    let mut replies = Vec::new();
    loop {
        let before = at;
        let moves = replies_of == Some(Role::Server) && !decoder.keeps_memory();
        let (event, reply) = match decoder.next_behind(pool, input, &mut at, front) {
            Ok(Some(event)) => observe(event, replies_of.is_some()),
            Ok(None) => break,
            Err(error) => {
                assert_eq!(decoder.next(pool, input, &mut at).err(), Some(error), "it stays failed");
                return Err(error);
            }
        };
        assert!(before <= at && at <= input.len());
        if let Some((place, range)) = reply {
            let mut reply = match place {
                Place::Input => {
                    assert!(front <= Some(range.start) && range.end <= at, "a message moves to what is free");
                    assert!(front.is_none_or(|front| !moves || range.start == front), "it moves to the front");
                    let reply = input[range.clone()].to_vec();
                    if !seen.len().is_multiple_of(3) {
                        front = Some(range.end);
                        replies.push((range, reply.clone()));
                    }
                    reply
                }
                Place::Spill => decoder.take_spill().expect("the message is in a spill buffer")[range].to_vec(),
            };
            assert_eq!(decode_reply(&mut reply), event);
        }
        seen.push(event);
    }
    assert_eq!(at, input.len(), "the input is consumed");
    assert!(replies.into_iter().all(|(range, reply)| input[range] == reply), "a reply was overwritten");
    Ok(())
}

/// Decodes one input until it is consumed or the decoder is suspended, with the next of
/// `allowances` for each call. Returns the number of bytes that are consumed.
fn decode_steps(
    decoder: &mut Decoder,
    pool: &mut SpillPool,
    input: &mut [u8],
    seen: &mut Vec<Seen>,
    allowances: &mut impl Iterator<Item = usize>,
) -> Result<usize, ProtocolError> {
    let mut at = 0;
    loop {
        let allowance = allowances.next().expect("a cycle of at least one");
        pool.set_inflate_allowance(allowance);
        let (was_suspended, before) = (decoder.is_suspended(), at);
        let event = decoder.next(pool, input, &mut at).map(|event| event.map(|event| observe(event, true).0));
        assert!(before <= at && at <= input.len());
        assert!(pool.inflate_allowance() <= allowance);
        match event {
            Ok(Some(event)) => seen.push(event),
            Ok(None) if decoder.is_suspended() => {
                assert_eq!(pool.inflate_allowance(), 0, "only a used allowance suspends a decoder");
                if allowance == 0 && was_suspended {
                    assert_eq!(at, before, "without an allowance a suspended decoder consumes nothing");
                }
                return Ok(at);
            }
            Ok(None) => {
                assert_eq!(at, input.len(), "the input is consumed");
                return Ok(at);
            }
            Err(error) => {
                assert!(!decoder.is_suspended(), "a failed decoder is not suspended");
                return Err(error);
            }
        }
    }
}

/// Copies `piece` to the buffer in which the message is assembled, at most `max` bytes at a time,
/// until that buffer has no more room.
fn decode_direct(
    decoder: &mut Decoder,
    pool: &mut SpillPool,
    piece: &mut &[u8],
    max: usize,
    seen: &mut Vec<Seen>,
) -> Result<(), ProtocolError> {
    while !piece.is_empty()
        && let Some(room) = decoder.payload_room(max)
    {
        assert!((1..=max).contains(&room.len()), "{} bytes of room", room.len());
        let len = room.len().min(piece.len());
        room[..len].copy_from_slice(&piece[..len]);
        *piece = &piece[len..];
        match decoder.payload_received(pool, len) {
            Ok(None) => {}
            Ok(Some(event)) => {
                let (event, reply) = observe(event, true);
                let (place, range) = reply.expect("payload completes nothing but a message");
                assert_eq!(place, Place::Spill);
                // Every second buffer is not taken: the next call returns it to the pool.
                if seen.len().is_multiple_of(2) {
                    let mut spill = decoder.take_spill().expect("the message is in a spill buffer");
                    assert_eq!(decode_reply(&mut spill[range]), event);
                }
                seen.push(event);
            }
            Err(error) => {
                assert_eq!(decoder.payload_received(pool, 0).err(), Some(error), "it stays failed");
                assert_eq!(decoder.next(pool, &mut [0x81], &mut 0).err(), Some(error), "it stays failed");
                assert!(decoder.payload_room(1).is_none(), "a failed decoder has no room for payload");
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The event with its bytes, and the place of the reply to a message if one is asked for.
fn observe(event: Event<'_>, reply: bool) -> (Seen, Option<(Place, Range<usize>)>) {
    match event {
        Event::Ping(payload) => (Seen::Ping(payload.to_vec()), None),
        Event::Pong(payload) => (Seen::Pong(payload.to_vec()), None),
        Event::Close(close) => (Seen::Close(close.map(|(code, reason)| (code.as_u16(), reason.to_owned()))), None),
        Event::Message(message) => {
            let text = (message.kind() == MessageKind::Text).then(|| std::str::from_utf8(message.payload()));
            assert_eq!(message.as_text().map(Ok), text, "a text message is UTF-8");
            let seen = Seen::Message(message.kind(), message.payload().to_vec());
            (seen, reply.then(|| message.into_server_frame()))
        }
    }
}

fn decode_reply(reply: &mut [u8]) -> Seen {
    let mut pool = SpillPool::new(Limits::default());
    let mut decoder = Decoder::new(Role::Client);
    let mut at = 0;
    let Ok(Some(Event::Message(message))) = decoder.next(&mut pool, reply, &mut at) else {
        panic!("a reply is one whole message")
    };
    assert_eq!(message.place(), Place::Input);
    let end = message.range().end;
    let seen = Seen::Message(message.kind(), message.payload().to_vec());
    assert_eq!((at, end), (reply.len(), reply.len()), "a reply is one frame");
    seen
}
