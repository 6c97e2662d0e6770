//! The decoders: Ringway's and other people's, behind one trait. Each reads from the same stream in memory, and copies
//! from it what it asks for, as the kernel would copy it from a socket.

mod fastwebsockets;
mod ringway;
mod sockudo_ws;
mod tokio_websockets;
mod tungstenite;
mod yawc;

use crate::lap::Lap;
use crate::wire::Shape;
use ringway_benches::Contestant;
use ringway_codec::{OpCode, Role, encode_client, encode_server};
use std::hint::black_box;

/// How much is read at a time by those who can be told. Sizes of 8 to 128 KiB were tried: this one is the fastest, or as
/// fast as any, for each of them. With less, more messages of 16 KiB are cut by the end of the buffer.
const READ: usize = 128 << 10;

/// One end of a connection that receives, with the best settings that its library has.
trait Decode: Sized {
    const NAME: &'static str;

    fn new(shape: Shape, stream: Lap) -> Self;

    /// Receives so many messages and shows each one.
    fn decode(&mut self, messages: u64, see: impl FnMut(OpCode, &[u8]));
}

/// All decoders, checked, Ringway's first: a turn receives the messages of one lap.
pub(crate) fn all(shape: Shape) -> Vec<Contestant> {
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
pub(crate) fn incoming(shape: Shape) -> Lap {
    let mut bytes = Vec::new();
    for number in 0..shape.messages() {
        let payload = shape.payload(number);
        let key = (number as u32).wrapping_mul(0x9e37_79b9).to_ne_bytes();
        match shape.role {
            Role::Server => encode_client(shape.opcode, &payload, key, &mut bytes),
            Role::Client => encode_server(shape.opcode, &payload, &mut bytes),
        }
    }
    Lap::of(bytes)
}

fn decoder<D: Decode + 'static>(shape: Shape) -> Contestant {
    let messages = shape.messages();
    let mut decoder = D::new(shape, incoming(shape));
    // Twice round, so that what is kept from one lap to the next is right too.
    let mut number = 0;
    decoder.decode(2 * messages, |opcode, payload| {
        assert!(opcode == shape.opcode, "{} mistakes the kind of message {number} of {shape}", D::NAME);
        assert!(payload == shape.payload(number % messages), "{} garbles message {number} of {shape}", D::NAME);
        number += 1;
    });
    assert_eq!(number, 2 * messages, "{} loses messages of {shape}", D::NAME);
    Contestant::new(D::NAME, move || {
        decoder.decode(messages, |_, payload| {
            black_box(payload);
        });
    })
}
