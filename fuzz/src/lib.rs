//! What the fuzz targets share: a decoder driven over a stream that is cut anywhere, and the layout of an input that
//! says where.

use ringway_codec::{
    Decoder, DeflateParams, Event, Limits, MessageKind, Place, ProtocolError, Role, SpillPool, WindowBits,
};

/// An event with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// What a stream came to: its events, and the error that ended them.
pub type Outcome = (Vec<Seen>, Option<ProtocolError>);

/// Decodes `stream`, cut at `cuts` (ascending). Each message is also turned into a reply, and decoded as its receiver
/// would.
pub fn decode(role: Role, deflate: Option<&DeflateParams>, limits: Limits, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut pool = SpillPool::new(limits);
    let mut decoder = deflate.map_or(Decoder::new(role), |params| Decoder::with_deflate(role, params));
    let mut seen = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([stream.len()]) {
        let mut input = stream[from..to].to_vec();
        from = to;
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
                Ok(Some(Event::Ping(payload))) => seen.push(Seen::Ping(payload.to_vec())),
                Ok(Some(Event::Pong(payload))) => seen.push(Seen::Pong(payload.to_vec())),
                Ok(Some(Event::Close(close))) => {
                    seen.push(Seen::Close(close.map(|(code, reason)| (code.as_u16(), reason.to_owned()))));
                }
                Ok(Some(Event::Message(message))) => {
                    let event = Seen::Message(message.kind(), message.payload().to_vec());
                    assert_eq!(message.as_text().is_some(), message.kind() == MessageKind::Text);
                    let (place, range) = message.into_server_frame();
                    let reply = match place {
                        Place::Input => input[range].to_vec(),
                        Place::Spill => decoder.take_spill().expect("the message is there")[range].to_vec(),
                    };
                    assert_eq!(decode_reply(reply, limits), event);
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

/// An input of the targets that decode: a byte of flags, a byte that says how many cuts follow, a byte for the distance
/// between each two of them, and then the stream.
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
    /// With those before them.
    pub const TAKEOVER: u8 = 8;
    /// The most cuts that an input can ask for.
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
