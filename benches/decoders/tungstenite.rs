use super::{Decode, READS};
use crate::lap::Lap;
use crate::wire::StreamShape;
use ringway_codec::OpCode;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

pub(crate) struct Tungstenite(WebSocket<Lap>);

impl Decode for Tungstenite {
    const NAME: &'static str = "tungstenite";
    const READS: &'static [usize] = &READS;

    fn new(shape: StreamShape, stream: Lap, read: usize) -> Self {
        let role = match shape.role {
            ringway_codec::Role::Server => Role::Server,
            ringway_codec::Role::Client => Role::Client,
        };
        let config = WebSocketConfig::default().read_buffer_size(read);
        Self(WebSocket::from_raw_socket(stream, role, Some(config)))
    }

    fn decode(&mut self, messages: u64, mut see: impl FnMut(OpCode, &[u8])) {
        for _ in 0..messages {
            match self.0.read().expect("the stream is valid") {
                Message::Text(text) => see(OpCode::Text, text.as_bytes()),
                Message::Binary(bytes) => see(OpCode::Binary, &bytes),
                message => panic!("the stream contains only messages: {message:?}"),
            }
        }
    }
}
