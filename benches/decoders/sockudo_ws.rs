use super::{Decode, READS};
use crate::lap::Lap;
use crate::wire::StreamShape;
use bytes::BytesMut;
use ringway_codec::OpCode;
use sockudo_ws::protocol::Protocol;
use sockudo_ws::{Message, Role};

/// Its state machine without its stream, all messages of a read in one call: its fastest path.
pub(crate) struct SockudoWs {
    stream: Lap,
    protocol: Protocol,
    buffer: BytesMut,
    messages: Vec<Message>,
    /// The number of `messages` that have been passed on.
    shown: usize,
    /// The size of a read in bytes.
    read: usize,
}

impl Decode for SockudoWs {
    const NAME: &'static str = "sockudo-ws";
    const READS: &'static [usize] = &READS;

    fn new(shape: StreamShape, stream: Lap, read: usize) -> Self {
        let role = match shape.role {
            ringway_codec::Role::Server => Role::Server,
            ringway_codec::Role::Client => Role::Client,
        };
        let protocol = Protocol::new(role, 16 << 20, 64 << 20);
        Self { stream, protocol, buffer: BytesMut::with_capacity(read), messages: Vec::new(), shown: 0, read }
    }

    fn decode(&mut self, messages: u64, mut see: impl FnMut(OpCode, &[u8])) {
        for _ in 0..messages {
            while self.shown == self.messages.len() {
                self.messages.clear();
                self.shown = 0;
                self.buffer.extend_from_slice(self.stream.take(self.read));
                self.protocol.process_into(&mut self.buffer, &mut self.messages).expect("the stream is valid");
            }
            match &self.messages[self.shown] {
                Message::Text(bytes) => see(OpCode::Text, bytes),
                Message::Binary(bytes) => see(OpCode::Binary, bytes),
                message => panic!("the stream contains only messages: {message:?}"),
            }
            self.shown += 1;
        }
    }
}
