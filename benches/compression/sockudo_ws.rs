use super::{Deflate, Inflate, Subject};
use crate::lap::Lap;
use crate::sink::Sink;
use bytes::{Bytes, BytesMut};
use sockudo_ws::Message;
use sockudo_ws::deflate::DeflateConfig;
use sockudo_ws::protocol::CompressedProtocol;
use std::io::Write;

fn protocol(subject: Subject) -> CompressedProtocol {
    let config = DeflateConfig {
        server_no_context_takeover: !subject.takeover,
        client_no_context_takeover: !subject.takeover,
        compression_level: subject.level.into(),
        compression_threshold: 0,
        ..DeflateConfig::default()
    };
    CompressedProtocol::server(16 << 20, 64 << 20, config)
}

pub(crate) struct Deflating {
    sink: Sink,
    protocol: CompressedProtocol,
    out: BytesMut,
}

impl Deflate for Deflating {
    const NAME: &'static str = "sockudo-ws";

    fn new(subject: Subject, sink: Sink) -> Self {
        Self { sink, protocol: protocol(subject), out: BytesMut::new() }
    }

    fn send(&mut self, messages: &[Bytes]) {
        for message in messages {
            let message = Message::Text(message.clone());
            self.protocol.encode_message(&message, &mut self.out).expect("the message is right");
        }
        self.sink.write_all(&self.out).expect("memory can be written");
        self.out.clear();
    }
}

pub(crate) struct Inflating {
    stream: Lap,
    protocol: CompressedProtocol,
    buffer: BytesMut,
    messages: Vec<Message>,
    /// How many of `messages` have been shown.
    shown: usize,
}

impl Inflate for Inflating {
    const NAME: &'static str = "sockudo-ws";

    fn new(subject: Subject, stream: Lap) -> Self {
        Self { stream, protocol: protocol(subject), buffer: BytesMut::new(), messages: Vec::new(), shown: 0 }
    }

    fn receive(&mut self, messages: usize, mut see: impl FnMut(&[u8])) {
        for _ in 0..messages {
            while self.shown == self.messages.len() {
                self.messages.clear();
                self.shown = 0;
                self.buffer.extend_from_slice(self.stream.take(128 << 10));
                self.protocol.process_into(&mut self.buffer, &mut self.messages).expect("the stream is right");
            }
            match &self.messages[self.shown] {
                Message::Text(bytes) => see(bytes),
                message => panic!("the stream holds text alone: {message:?}"),
            }
            self.shown += 1;
        }
    }
}
