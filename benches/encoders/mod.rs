//! Ringway's encoder and those of other libraries behind one trait. Each writes to the same kind of
//! stream in memory, which copies the bytes.

mod fastwebsockets;
mod ringway;
mod sockudo_ws;
mod tokio_websockets;
mod tungstenite;
mod yawc;

use crate::sink::Sink;
use crate::wire::StreamShape;
use bytes::Bytes;
use ringway_benches::Candidate;
use ringway_codec::{Decoder, Event, Limits, MessageKind, Role, SpillPool};
use std::hint::black_box;
use std::rc::Rc;

/// The capacity of the write buffer, for encoders with a configurable one. Of sizes from 8 to 128
/// KiB, none is faster for any of them by more than a few percent.
const WRITE: usize = 16 << 10;

/// The sending end of a connection, with the fastest settings of its library.
trait Encode: Sized {
    const NAME: &'static str;

    fn new(role: Role, sink: Sink) -> Self;

    /// Sends the payload this many times as a binary message and flushes all bytes. `Bytes` is for
    /// libraries that take ownership of a payload: a clone does not copy it.
    fn encode(&mut self, messages: u64, payload: &Bytes);
}

/// All encoders, checked, Ringway's first: a turn sends the messages of one lap.
pub(crate) fn all(shape: StreamShape) -> Vec<Candidate> {
    vec![
        encoder::<ringway::Ringway>(shape),
        encoder::<tungstenite::Tungstenite>(shape),
        encoder::<fastwebsockets::FastWebSockets>(shape),
        encoder::<tokio_websockets::TokioWebSockets>(shape),
        encoder::<sockudo_ws::SockudoWs>(shape),
        encoder::<yawc::Yawc>(shape),
    ]
}

fn encoder<E: Encode + 'static>(shape: StreamShape) -> Candidate {
    let messages = shape.messages();
    let payload = Bytes::from(shape.payload(1));
    let written = Rc::default();
    E::new(shape.role, Sink::keeping(&written)).encode(messages, &payload);
    check(E::NAME, shape, messages, &payload, &mut written.borrow_mut());
    let mut encoder = E::new(shape.role, Sink::new());
    Candidate::new(E::NAME, move || encoder.encode(messages, black_box(&payload)))
}

/// Checks the output with Ringway's decoder.
fn check(name: &str, shape: StreamShape, messages: u64, payload: &[u8], written: &mut [u8]) {
    let other = if shape.role == Role::Server { Role::Client } else { Role::Server };
    let mut decoder = Decoder::new(other);
    let mut pool = SpillPool::new(Limits::default());
    let (mut at, mut seen) = (0, 0);
    while let Some(event) = decoder.next(&mut pool, written, &mut at).expect("the output is valid") {
        let Event::Message(message) = event else { panic!("{name} sends something other than messages: {event:?}") };
        assert_eq!(message.kind(), MessageKind::Binary, "{name} reports a wrong kind of {shape}");
        assert!(message.payload() == payload, "{name} corrupts message {seen} of {shape}");
        seen += 1;
    }
    assert_eq!(seen, messages, "{name} loses messages of {shape}");
    assert!(decoder.is_between_messages(), "{name} does not flush all of {shape}");
}
