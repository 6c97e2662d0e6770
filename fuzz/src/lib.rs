//! Common parts of the fuzz targets: a decoder driven over a stream with arbitrary splits, and the
//! layout of an input that defines them.

use ringway_codec::{
    Decoder, DeflateParams, Event, Limits, MessageKind, Place, ProtocolError, Role, SpillPool, WindowBits,
};
use std::ops::Range;

/// An event with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// The result of a stream: its events, and the error that ended them.
pub type Outcome = (Vec<Seen>, Option<ProtocolError>);

/// Decodes `stream`, split at `cuts` (ascending). Each message is also turned into a reply, which
/// is decoded in the other role.
pub fn decode(role: Role, deflate: Option<&DeflateParams>, limits: Limits, stream: &[u8], cuts: &[usize]) -> Outcome {
    decode_as(role, deflate, limits, stream, cuts, |_| None)
}

/// The same. `straight` returns for each piece whether it is received in the assembly buffer, as
/// far as that has room, and the maximum at a time.
pub fn decode_as(
    role: Role,
    deflate: Option<&DeflateParams>,
    limits: Limits,
    stream: &[u8],
    cuts: &[usize],
    straight: impl Fn(usize) -> Option<usize>,
) -> Outcome {
    let mut pool = SpillPool::new(limits);
    let mut decoder = deflate.map_or(Decoder::new(role), |params| Decoder::with_deflate(role, params));
    let mut seen = Vec::new();
    let mut from = 0;
    for (number, to) in cuts.iter().copied().chain([stream.len()]).enumerate() {
        let mut piece = &stream[from..to];
        from = to;
        while let Some(max) = straight(number).filter(|_| !piece.is_empty()) {
            let Some(room) = decoder.payload_room(max) else { break };
            assert!((1..=max).contains(&room.len()));
            let len = room.len().min(piece.len());
            room[..len].copy_from_slice(&piece[..len]);
            piece = &piece[len..];
            match decoder.payload_received(&mut pool, len) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    let (event, reply) = observe(event);
                    let (place, range) = reply.expect("payload completes nothing but a message");
                    assert_eq!(place, Place::Spill);
                    // Every second one is left in the buffer, which the next call returns to the
                    // pool.
                    if seen.len() % 2 == 0 {
                        let spill = decoder.take_spill().expect("the message is there");
                        assert_eq!(decode_reply(spill[range].to_vec(), limits), event);
                    }
                    seen.push(event);
                }
                Err(error) => {
                    assert_eq!(decoder.payload_received(&mut pool, 0).err(), Some(error), "it stays failed");
                    assert!(decoder.payload_room(1).is_none());
                    decoder.release(&mut pool);
                    return (seen, Some(error));
                }
            }
        }
        let mut input = piece.to_vec();
        let mut at = 0;
        loop {
            let before = at;
            match decoder.next(&mut pool, &mut input, &mut at) {
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next(&mut pool, &mut input, &mut at).err(), Some(error), "it stays failed");
                    decoder.release(&mut pool);
                    return (seen, Some(error));
                }
                Ok(Some(event)) => {
                    let (event, reply) = observe(event);
                    if let Some((place, range)) = reply {
                        let reply = match place {
                            Place::Input => input[range].to_vec(),
                            Place::Spill => decoder.take_spill().expect("the message is there")[range].to_vec(),
                        };
                        assert_eq!(decode_reply(reply, limits), event);
                    }
                    seen.push(event);
                }
            }
            assert!(before <= at && at <= input.len());
        }
        assert_eq!(at, input.len(), "the input is consumed");
    }
    decoder.release(&mut pool);
    assert!(decoder.is_between_messages());
    (seen, None)
}

/// The same as [`decode`], with an allowance of inflated bytes for each call: `allowances` in a
/// cycle, at least one of which is not 0. The unconsumed bytes of a suspended decoder stay in the
/// input; every second time it continues without more of the stream.
pub fn decode_in_steps(
    role: Role,
    deflate: Option<&DeflateParams>,
    limits: Limits,
    stream: &[u8],
    cuts: &[usize],
    allowances: &[usize],
) -> Outcome {
    let mut pool = SpillPool::new(limits);
    let mut decoder = deflate.map_or(Decoder::new(role), |params| Decoder::with_deflate(role, params));
    let mut allowances = allowances.iter().copied().cycle();
    let mut ends = cuts.iter().copied().chain([stream.len()]);
    let (mut seen, mut input, mut from, mut turn) = (Vec::new(), Vec::new(), 0, 0);
    loop {
        turn += 1;
        if !decoder.is_suspended() || turn % 2 == 0 {
            match ends.next() {
                Some(to) => input.extend_from_slice(&stream[std::mem::replace(&mut from, to)..to]),
                None if !decoder.is_suspended() => break,
                None => {}
            }
        }
        let mut at = 0;
        loop {
            let allowance = allowances.next().unwrap_or(usize::MAX);
            pool.set_inflate_allowance(allowance);
            match decoder.next(&mut pool, &mut input, &mut at) {
                Ok(Some(event)) => seen.push(observe(event).0),
                Ok(None) => break,
                Err(error) => {
                    assert!(!decoder.is_suspended());
                    decoder.release(&mut pool);
                    return (seen, Some(error));
                }
            }
        }
        if decoder.is_suspended() {
            assert_eq!(pool.inflate_allowance(), 0, "it is suspended for want of an allowance alone");
        } else {
            assert_eq!(at, input.len(), "the input is consumed");
        }
        input.drain(..at);
    }
    decoder.release(&mut pool);
    assert!(decoder.is_between_messages());
    (seen, None)
}

/// The bytes of an event, and where the reply to a message lies.
fn observe(event: Event<'_>) -> (Seen, Option<(Place, Range<usize>)>) {
    match event {
        Event::Ping(payload) => (Seen::Ping(payload.to_vec()), None),
        Event::Pong(payload) => (Seen::Pong(payload.to_vec()), None),
        Event::Close(close) => (Seen::Close(close.map(|(code, reason)| (code.as_u16(), reason.to_owned()))), None),
        Event::Message(message) => {
            let text = (message.kind() == MessageKind::Text).then(|| std::str::from_utf8(message.payload()));
            assert_eq!(message.as_text().map(Ok), text, "a text message is UTF-8");
            let seen = Seen::Message(message.kind(), message.payload().to_vec());
            (seen, Some(message.into_server_frame()))
        }
    }
}

fn decode_reply(mut reply: Vec<u8>, limits: Limits) -> Seen {
    let mut at = 0;
    let mut pool = SpillPool::new(limits);
    match Decoder::new(Role::Client).next(&mut pool, &mut reply, &mut at) {
        Ok(Some(Event::Message(message))) => {
            assert_eq!(message.place(), Place::Input);
            assert_eq!(message.range().end, at);
            Seen::Message(message.kind(), message.payload().to_vec())
        }
        other => panic!("a reply is one whole message, not {other:?}"),
    }
}

/// An input of the targets that decode: a byte of flags, a byte for the number of splits, a byte
/// for the distance between each two of them, and then the stream.
#[derive(Debug)]
pub struct Cut<'d> {
    pub role: Role,
    pub deflate: Option<DeflateParams>,
    pub limits: Limits,
    pub cuts: Vec<usize>,
    pub stream: &'d [u8],
}

impl<'d> Cut<'d> {
    pub const CLIENT: u8 = 1;
    /// The limits are tight, so that they matter.
    pub const TIGHT: u8 = 2;
    /// Messages may be compressed.
    pub const DEFLATE: u8 = 4;
    /// With context takeover.
    pub const TAKEOVER: u8 = 8;
    /// The maximum number of splits in an input.
    const MOST_CUTS: usize = 32;

    pub fn parse(data: &'d [u8]) -> Option<Self> {
        let (&[flags, count], rest) = data.split_first_chunk::<2>()?;
        let (distances, stream) = rest.split_at_checked(usize::from(count) % Self::MOST_CUTS)?;
        let mut cuts = Vec::with_capacity(distances.len());
        let mut at = 0;
        for &distance in distances {
            at = stream.len().min(at + usize::from(distance));
            cuts.push(at);
        }
        let role = if flags & Self::CLIENT == 0 { Role::Server } else { Role::Client };
        let limits = match flags & Self::TIGHT {
            0 => Limits::default(),
            _ => Limits { max_message: 200, fragment_cost: usize::from(flags >> 4) },
        };
        let params = agreed(flags & Self::TAKEOVER != 0, WindowBits::MAX);
        let deflate = (flags & Self::DEFLATE != 0).then_some(params);
        Some(Self { role, deflate, limits, cuts, stream })
    }
}

/// The same for both directions.
pub fn agreed(takeover: bool, window_bits: WindowBits) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: Some(window_bits),
        client_max_window_bits: Some(window_bits),
    }
}
