//! Ringway's decoder and those of other libraries behind one trait. Each reads from the same kind
//! of stream in memory, which copies the bytes, as the kernel copies them from a socket.

mod fastwebsockets;
mod ringway;
mod sockudo_ws;
mod tokio_websockets;
mod tungstenite;
mod yawc;

use crate::lap::Lap;
use crate::wire::StreamShape;
use ringway_benches::{Candidate, Rounds};
use ringway_codec::{OpCode, Role, encode_client, encode_server};
use std::hint::black_box;
use std::time::Duration;

/// The sizes of reads to try, in bytes, for decoders with a configurable size. Each uses the
/// fastest one on this machine: large reads leave the first-level cache before they are unmasked,
/// small ones cut more messages.
const READS: [usize; 9] = [512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10];

/// The offsets of the stream in a memory page to try; each decoder uses its fastest one. A copy
/// takes several times as long if the lower 12 bits of its destination, which the allocator
/// chooses, follow those of its source closely.
const PLACES: [usize; 4] = [0, 1 << 10, 2 << 10, 3 << 10];

/// The rounds in which both are determined, before a case is measured.
const CALIBRATION: Rounds = Rounds { count: 9, slice: Duration::from_millis(1) };

/// The receiving end of a connection, with the fastest settings of its library.
trait Decode: Sized {
    const NAME: &'static str;

    /// The sizes of reads to try; empty if the size is not configurable.
    const READS: &'static [usize] = &[];

    /// `read` is one of the sizes to try.
    fn new(shape: StreamShape, stream: Lap, read: usize) -> Self;

    /// Receives this many messages and passes each payload to `see`.
    fn decode(&mut self, messages: u64, see: impl FnMut(OpCode, &[u8]));
}

/// All decoders, checked, Ringway's first: a turn receives the messages of one lap.
pub(crate) fn all(shape: StreamShape) -> Vec<Candidate> {
    vec![
        decoder::<ringway::Ringway>(shape),
        decoder::<tungstenite::Tungstenite>(shape),
        decoder::<fastwebsockets::FastWebSockets>(shape),
        decoder::<tokio_websockets::TokioWebSockets>(shape),
        decoder::<sockudo_ws::SockudoWs>(shape),
        decoder::<yawc::Yawc>(shape),
    ]
}

/// A lap of messages, as the shape's role receives them.
pub(crate) fn incoming(shape: StreamShape) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..shape.messages() {
        let payload = shape.payload(number);
        let key = (number as u32).wrapping_mul(0x9e37_79b9).to_ne_bytes();
        match shape.role {
            Role::Server => encode_client(shape.opcode, &payload, key, &mut bytes),
            Role::Client => encode_server(shape.opcode, &payload, &mut bytes),
        }
    }
    bytes
}

/// The candidate with the fastest settings.
fn decoder<D: Decode + 'static>(shape: StreamShape) -> Candidate {
    let placed = |read| PLACES.map(|place| checked::<D>(shape, read, place));
    CALIBRATION.fastest(match D::READS {
        [] => placed(0).into(),
        reads => reads.iter().flat_map(|&read| placed(read).map(|contestant| contestant.reading(read))).collect(),
    })
}

fn checked<D: Decode + 'static>(shape: StreamShape, read: usize, place: usize) -> Candidate {
    let messages = shape.messages();
    let mut decoder = D::new(shape, Lap::of(&incoming(shape), place), read);
    // Two laps, to check the state that is kept between laps.
    let mut number = 0;
    decoder.decode(2 * messages, |opcode, payload| {
        assert!(opcode == shape.opcode, "{} reports a wrong kind of message {number} of {shape}", D::NAME);
        assert!(payload == shape.payload(number % messages), "{} corrupts message {number} of {shape}", D::NAME);
        number += 1;
    });
    assert_eq!(number, 2 * messages, "{} loses messages of {shape}", D::NAME);
    Candidate::new(D::NAME, move || {
        decoder.decode(messages, |_, payload| {
            black_box(payload);
        });
    })
}
