use super::{CompressBench, DecompressBench, Subject};
use crate::lap::Lap;
use crate::sink::Sink;
use bytes::Bytes;
use ringway_codec::{Decoder, Deflater, Event, Limits, MessageKind, Role, SpillPool, WindowBits, encode_deflated};
use std::io::{Read, Write};

pub(crate) struct Deflating {
    sink: Sink,
    takeover: bool,
    deflater: Deflater,
    out: Vec<u8>,
}

impl CompressBench for Deflating {
    const NAME: &'static str = "Ringway";

    fn new(subject: Subject, sink: Sink) -> Self {
        let deflater = Deflater::new(subject.level, WindowBits::MAX).expect("zlib has this window");
        Self { sink, takeover: subject.takeover, deflater, out: Vec::new() }
    }

    fn send(&mut self, messages: &[Bytes]) {
        for message in messages {
            encode_deflated(MessageKind::Text, message, None, &mut self.deflater, self.takeover, &mut self.out);
        }
        self.sink.write_all(&self.out).expect("memory can be written");
        self.out.clear();
    }
}

pub(crate) struct Inflating {
    stream: Lap,
    decoder: Decoder,
    pool: SpillPool,
    buffer: Vec<u8>,
    filled: usize,
    at: usize,
}

impl DecompressBench for Inflating {
    const NAME: &'static str = "Ringway";

    fn new(subject: Subject, stream: Lap) -> Self {
        let decoder = Decoder::with_deflate(Role::Server, &subject.params());
        let mut pool = SpillPool::new(Limits::default());
        // The state of a shard's pool after a large message: no later message has to grow its
        // buffer.
        pool.give(Vec::with_capacity(1 << 20));
        Self { stream, decoder, pool, buffer: vec![0; 128 << 10], filled: 0, at: 0 }
    }

    fn receive(&mut self, mut messages: usize, mut see: impl FnMut(&[u8])) {
        while messages > 0 {
            let input = &mut self.buffer[..self.filled];
            match self.decoder.next(&mut self.pool, input, &mut self.at).expect("the stream is valid") {
                Some(Event::Message(message)) => {
                    see(message.payload());
                    messages -= 1;
                }
                Some(event) => panic!("the stream contains only messages: {event:?}"),
                None => {
                    self.filled = self.stream.read(&mut self.buffer).expect("memory can be read");
                    self.at = 0;
                }
            }
        }
    }
}
