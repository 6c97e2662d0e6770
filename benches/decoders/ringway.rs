use super::{Decode, READ};
use crate::lap::Lap;
use crate::wire::Shape;
use ringway_codec::{Decoder, Event, Limits, OpCode, SpillPool};
use std::io::Read;

/// As the engine does it: the stream is read into a buffer, and messages are yielded in it.
pub(crate) struct Ringway {
    stream: Lap,
    decoder: Decoder,
    pool: SpillPool,
    buffer: Vec<u8>,
    filled: usize,
    at: usize,
}

impl Decode for Ringway {
    const NAME: &'static str = "Ringway";

    fn new(shape: Shape, stream: Lap) -> Self {
        let pool = SpillPool::new(Limits::default());
        Self { stream, decoder: Decoder::new(shape.role), pool, buffer: vec![0; READ], filled: 0, at: 0 }
    }

    fn decode(&mut self, mut messages: u64, mut see: impl FnMut(OpCode, &[u8])) {
        while messages > 0 {
            let input = &mut self.buffer[..self.filled];
            match self.decoder.next(&mut self.pool, input, &mut self.at).expect("the stream is right") {
                Some(Event::Message(message)) => {
                    see(message.kind().opcode(), message.payload());
                    messages -= 1;
                }
                Some(event) => panic!("the stream holds messages alone: {event:?}"),
                None => {
                    self.filled = self.stream.read(&mut self.buffer).expect("memory can be read");
                    self.at = 0;
                }
            }
        }
    }
}
