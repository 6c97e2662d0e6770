use super::Decode;
use crate::lap::Lap;
use crate::now::now;
use crate::wire::StreamShape;
use fastwebsockets::{Role, WebSocket};
use ringway_codec::OpCode;

/// Reads frames, which is faster than reading messages, and does not answer control frames.
pub(crate) struct FastWebSockets(WebSocket<Lap>);

impl Decode for FastWebSockets {
    const NAME: &'static str = "fastwebsockets";

    fn new(shape: StreamShape, stream: Lap, _: usize) -> Self {
        let role = match shape.role {
            ringway_codec::Role::Server => Role::Server,
            ringway_codec::Role::Client => Role::Client,
        };
        let mut socket = WebSocket::after_handshake(stream, role);
        socket.set_auto_close(false);
        socket.set_auto_pong(false);
        Self(socket)
    }

    fn decode(&mut self, messages: u64, mut see: impl FnMut(OpCode, &[u8])) {
        now(async {
            for _ in 0..messages {
                let frame = self.0.read_frame().await.expect("the stream is valid");
                match frame.opcode {
                    fastwebsockets::OpCode::Text => see(OpCode::Text, &frame.payload),
                    fastwebsockets::OpCode::Binary => see(OpCode::Binary, &frame.payload),
                    opcode => panic!("the stream contains only messages: {opcode:?}"),
                }
            }
        });
    }
}
