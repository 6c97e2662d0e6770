use super::{Encode, WRITE};
use crate::now::now;
use crate::sink::Sink;
use bytes::Bytes;
use futures_util::SinkExt;
use yawc::{Frame, Options, Role, WebSocket};

pub(crate) struct Yawc(WebSocket<Sink>);

impl Encode for Yawc {
    const NAME: &'static str = "yawc";

    fn new(role: ringway_codec::Role, sink: Sink) -> Self {
        let role = match role {
            ringway_codec::Role::Server => Role::Server,
            ringway_codec::Role::Client => Role::Client,
        };
        let options = Options::default().with_write_buffer_capacity(WRITE).with_backpressure_boundary(WRITE);
        Self(WebSocket::from_stream(sink, role, options).expect("the options are right"))
    }

    fn encode(&mut self, messages: u64, payload: &Bytes) {
        now(async {
            for _ in 0..messages {
                self.0.feed(Frame::binary(payload.clone())).await.expect("memory can be written");
            }
            self.0.flush().await.expect("memory can be written");
        });
    }
}
