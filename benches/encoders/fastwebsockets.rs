use super::Encode;
use crate::now::now;
use crate::sink::Sink;
use bytes::Bytes;
use fastwebsockets::{Frame, Payload, Role, WebSocket};

/// Writes each frame immediately; large ones with a gathering write, without a copy.
pub(crate) struct FastWebSockets(WebSocket<Sink>);

impl Encode for FastWebSockets {
    const NAME: &'static str = "fastwebsockets";

    fn new(role: ringway_codec::Role, sink: Sink) -> Self {
        let role = match role {
            ringway_codec::Role::Server => Role::Server,
            ringway_codec::Role::Client => Role::Client,
        };
        let mut socket = WebSocket::after_handshake(sink, role);
        socket.set_writev(true);
        Self(socket)
    }

    fn encode(&mut self, messages: u64, payload: &Bytes) {
        now(async {
            for _ in 0..messages {
                let frame = Frame::binary(Payload::Borrowed(payload));
                self.0.write_frame(frame).await.expect("memory can be written");
            }
            self.0.flush().await.expect("memory can be written");
        });
    }
}
