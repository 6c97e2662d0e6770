use super::{Decode, READS};
use crate::lap::Lap;
use crate::wire::StreamShape;
use ringway_codec::{Decoder, Event, Limits, OpCode, SpillPool};
use std::io::Read;

/// If a large part of a message is missing, the stream is read directly into the message. Otherwise
/// it is read into a buffer, in which messages are yielded.
pub(crate) struct Ringway {
    stream: Lap,
    decoder: Decoder,
    pool: SpillPool,
    buffer: Vec<u8>,
    filled: usize,
    at: usize,
}

impl Ringway {
    /// The minimum of missing bytes for a direct read.
    const STRAIGHT: usize = 1 << 10;
}

impl Decode for Ringway {
    const NAME: &'static str = "Ringway";
    const READS: &'static [usize] = &READS;

    fn new(shape: StreamShape, stream: Lap, read: usize) -> Self {
        let pool = SpillPool::new(Limits::default());
        Self { stream, decoder: Decoder::new(shape.role), pool, buffer: vec![0; read], filled: 0, at: 0 }
    }

    fn decode(&mut self, mut messages: u64, mut see: impl FnMut(OpCode, &[u8])) {
        const READABLE: &str = "memory can be read";
        const RIGHT: &str = "the stream is valid";
        while messages > 0 {
            let input = &mut self.buffer[..self.filled];
            match self.decoder.next(&mut self.pool, input, &mut self.at).expect(RIGHT) {
                Some(Event::Message(message)) => {
                    see(message.kind().into(), message.payload());
                    messages -= 1;
                }
                Some(event) => panic!("the stream contains only messages: {event:?}"),
                None => {
                    while let Some(room) = self.decoder.payload_room(usize::MAX).filter(|it| it.len() >= Self::STRAIGHT)
                    {
                        let len = self.stream.read(room).expect(READABLE);
                        if let Some(Event::Message(message)) =
                            self.decoder.payload_received(&mut self.pool, len).expect(RIGHT)
                        {
                            see(message.kind().into(), message.payload());
                            messages -= 1;
                        }
                    }
                    self.filled = self.stream.read(&mut self.buffer).expect(READABLE);
                    self.at = 0;
                }
            }
        }
    }
}
