//! The decoders: Ringway's and other people's, behind one trait. Each reads from the same stream in memory, and copies
//! from it what it asks for, as the kernel would copy it from a socket.

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

/// How much those who can be told read at a time, in bytes. Each takes the size that is the fastest on the machine at hand:
/// large reads leave the first level of the cache before they are unmasked, small ones cut more messages.
const READS: [usize; 9] = [512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10];

/// Where in a memory page the stream begins: also the best of these for each. A copy takes several times as long when its
/// destination, which each has from the allocator, comes right behind its source in the lower 12 bits of their addresses.
const PLACES: [usize; 4] = [0, 1 << 10, 2 << 10, 3 << 10];

/// How both are found, before a case is measured.
const CALIBRATION: Rounds = Rounds { count: 9, slice: Duration::from_millis(1) };

/// One end of a connection that receives, with the best settings that its library has.
trait Decode: Sized {
    const NAME: &'static str;

    /// How much to read at a time, for those who can be told: the sizes to try.
    const READS: &'static [usize] = &[];

    /// `read` is one of the sizes to try, if there are any.
    fn new(shape: StreamShape, stream: Lap, read: usize) -> Self;

    /// Receives so many messages and shows each one.
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

/// A lap of messages on their way to the shape's role.
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

/// The fastest of all settings.
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
    // Twice round, so that what is kept from one lap to the next is right too.
    let mut number = 0;
    decoder.decode(2 * messages, |opcode, payload| {
        assert!(opcode == shape.opcode, "{} mistakes the kind of message {number} of {shape}", D::NAME);
        assert!(payload == shape.payload(number % messages), "{} garbles message {number} of {shape}", D::NAME);
        number += 1;
    });
    assert_eq!(number, 2 * messages, "{} loses messages of {shape}", D::NAME);
    Candidate::new(D::NAME, move || {
        decoder.decode(messages, |_, payload| {
            black_box(payload);
        });
    })
}
