use super::{CompressBench, DecompressBench, Subject};
use crate::lap::Lap;
use crate::sink::Sink;
use bytes::{Bytes, BytesMut};
use ringway_codec::Header;
use sockudo_ws::OpCode;
use sockudo_ws::deflate::{DeflateConfig, DeflateContext};
use sockudo_ws::frame::encode_frame_with_rsv;
use std::io::{Read, Write};

fn context(subject: Subject) -> DeflateContext {
    DeflateContext::server(DeflateConfig {
        server_no_context_takeover: !subject.takeover,
        client_no_context_takeover: !subject.takeover,
        compression_level: subject.level.into(),
        compression_threshold: 0,
        ..DeflateConfig::default()
    })
}

/// Its compressor and frame encoder, called directly: its fastest path.
pub(crate) struct Deflating {
    sink: Sink,
    context: DeflateContext,
    out: BytesMut,
}

impl CompressBench for Deflating {
    const NAME: &'static str = "sockudo-ws";

    fn new(subject: Subject, sink: Sink) -> Self {
        Self { sink, context: context(subject), out: BytesMut::new() }
    }

    fn send(&mut self, messages: &[Bytes]) {
        for message in messages {
            let compressed = self.context.compress(message).expect("the message is right");
            let rsv1 = compressed.is_some();
            let payload = compressed.as_ref().unwrap_or(message);
            encode_frame_with_rsv(&mut self.out, OpCode::Text, payload, true, None, rsv1);
        }
        self.sink.write_all(&self.out).expect("memory can be written");
        self.out.clear();
    }
}

/// Its decompressor, unmasking and UTF-8 check behind Ringway's header parser. If its own parser
/// were used here too, the compiler would no longer inline it, and the case of `decoders` would
/// become slower by a third.
pub(crate) struct Inflating {
    stream: Lap,
    context: DeflateContext,
    buffer: Vec<u8>,
    filled: usize,
    at: usize,
}

impl DecompressBench for Inflating {
    const NAME: &'static str = "sockudo-ws";

    fn new(subject: Subject, stream: Lap) -> Self {
        Self { stream, context: context(subject), buffer: vec![0; 256 << 10], filled: 0, at: 0 }
    }

    fn receive(&mut self, messages: usize, mut see: impl FnMut(&[u8])) {
        for _ in 0..messages {
            if self.at == self.filled {
                // One lap per read; a lap ends with a frame.
                self.filled = self.stream.read(&mut self.buffer).expect("memory can be read");
                self.at = 0;
            }
            let input = &mut self.buffer[self.at..self.filled];
            let (header, len) = Header::parse(input).expect("the stream is valid").expect("a lap is read completely");
            let end = len + header.length as usize;
            let payload = &mut input[len..end];
            sockudo_ws::simd::apply_mask(payload, header.mask.expect("a client masks"));
            let message = self.context.decompress(payload, 64 << 20).expect("the stream is valid");
            assert!(sockudo_ws::utf8::validate_utf8(&message));
            see(&message);
            self.at += end;
        }
    }
}
