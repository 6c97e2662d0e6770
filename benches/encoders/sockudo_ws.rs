use super::{Encode, WRITE};
use crate::sink::Sink;
use bytes::{Bytes, BytesMut};
use sockudo_ws::protocol::Protocol;
use sockudo_ws::{Message, Role};
use std::io::Write;

/// Its state machine without its stream: its fastest path.
pub(crate) struct SockudoWs {
    sink: Sink,
    protocol: Protocol,
    out: BytesMut,
}

impl Encode for SockudoWs {
    const NAME: &'static str = "sockudo-ws";

    fn new(role: ringway_codec::Role, sink: Sink) -> Self {
        let role = match role {
            ringway_codec::Role::Server => Role::Server,
            ringway_codec::Role::Client => Role::Client,
        };
        Self { sink, protocol: Protocol::new(role, 16 << 20, 64 << 20), out: BytesMut::new() }
    }

    fn encode(&mut self, messages: u64, payload: &Bytes) {
        for _ in 0..messages {
            let message = Message::Binary(payload.clone());
            self.protocol.encode_message(&message, &mut self.out).expect("the message is right");
            if self.out.len() >= WRITE {
                self.flush();
            }
        }
        self.flush();
    }
}

impl SockudoWs {
    fn flush(&mut self) {
        self.sink.write_all(&self.out).expect("memory can be written");
        self.out.clear();
    }
}
