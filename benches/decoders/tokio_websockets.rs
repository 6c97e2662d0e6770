use super::Decode;
use crate::lap::Lap;
use crate::now::now;
use crate::wire::StreamShape;
use futures_util::StreamExt;
use ringway_codec::{OpCode, Role};
use tokio_websockets::{ClientBuilder, Limits, ServerBuilder, WebSocketStream};

pub(crate) struct TokioWebSockets(WebSocketStream<Lap>);

impl Decode for TokioWebSockets {
    const NAME: &'static str = "tokio-websockets";

    fn new(shape: StreamShape, stream: Lap, _: usize) -> Self {
        Self(match shape.role {
            Role::Server => ServerBuilder::new().limits(Limits::unlimited()).serve(stream),
            Role::Client => ClientBuilder::new().limits(Limits::unlimited()).take_over(stream),
        })
    }

    fn decode(&mut self, messages: u64, mut see: impl FnMut(OpCode, &[u8])) {
        now(async {
            for _ in 0..messages {
                let message = self.0.next().await.expect("the stream has no end").expect("the stream is valid");
                let opcode = if message.is_text() { OpCode::Text } else { OpCode::Binary };
                assert!(message.is_text() || message.is_binary(), "the stream contains only messages: {message:?}");
                see(opcode, message.as_payload());
            }
        });
    }
}
