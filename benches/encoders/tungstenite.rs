use super::{Encode, WRITE};
use crate::sink::Sink;
use bytes::Bytes;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

pub(crate) struct Tungstenite(WebSocket<Sink>);

impl Encode for Tungstenite {
    const NAME: &'static str = "tungstenite";

    fn new(role: ringway_codec::Role, sink: Sink) -> Self {
        let role = match role {
            ringway_codec::Role::Server => Role::Server,
            ringway_codec::Role::Client => Role::Client,
        };
        let config = WebSocketConfig::default().write_buffer_size(WRITE);
        Self(WebSocket::from_raw_socket(sink, role, Some(config)))
    }

    fn encode(&mut self, messages: u64, payload: &Bytes) {
        for _ in 0..messages {
            self.0.write(Message::Binary(payload.clone())).expect("memory can be written");
        }
        self.0.flush().expect("memory can be written");
    }
}
