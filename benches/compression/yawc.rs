use super::{CompressBench, DecompressBench, Subject};
use crate::lap::Lap;
use crate::now::now;
use crate::sink::Sink;
use bytes::Bytes;
use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite};
use yawc::{CompressionLevel, Frame, Options, Role, WebSocket};

fn socket<S: AsyncRead + AsyncWrite + Unpin>(subject: Subject, stream: S) -> WebSocket<S> {
    let options = Options::default()
        .with_compression_level(CompressionLevel::new(subject.level.into()))
        .with_compression_threshold(0)
        .with_utf8()
        .with_read_buffer_capacity(128 << 10)
        .with_write_buffer_capacity(16 << 10)
        .with_backpressure_boundary(16 << 10);
    let extensions = subject.header();
    WebSocket::from_stream_with_extensions(stream, Role::Server, Some(&extensions), options)
        .expect("the options are right")
}

pub(crate) struct Deflating(WebSocket<Sink>);

impl CompressBench for Deflating {
    const NAME: &'static str = "yawc";

    fn new(subject: Subject, sink: Sink) -> Self {
        Self(socket(subject, sink))
    }

    fn send(&mut self, messages: &[Bytes]) {
        now(async {
            for message in messages {
                self.0.feed(Frame::text(message.clone())).await.expect("memory can be written");
            }
            self.0.flush().await.expect("memory can be written");
        });
    }
}

pub(crate) struct Inflating(WebSocket<Lap>);

impl DecompressBench for Inflating {
    const NAME: &'static str = "yawc";

    fn new(subject: Subject, stream: Lap) -> Self {
        Self(socket(subject, stream))
    }

    fn receive(&mut self, messages: usize, mut see: impl FnMut(&[u8])) {
        now(async {
            for _ in 0..messages {
                see(self.0.next_frame().await.expect("the stream is valid").payload());
            }
        });
    }
}
