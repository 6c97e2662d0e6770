use super::{Decode, READS};
use crate::lap::Lap;
use crate::now::now;
use crate::wire::StreamShape;
use ringway_codec::OpCode;
use yawc::{Options, Role, WebSocket};

pub(crate) struct Yawc(WebSocket<Lap>);

impl Decode for Yawc {
    const NAME: &'static str = "yawc";
    const READS: &'static [usize] = &READS;

    fn new(shape: StreamShape, stream: Lap, read: usize) -> Self {
        let role = match shape.role {
            ringway_codec::Role::Server => Role::Server,
            ringway_codec::Role::Client => Role::Client,
        };
        // It checks UTF-8 only on request; the others always do.
        let options = Options::default().with_utf8().with_read_buffer_capacity(read);
        Self(WebSocket::from_stream(stream, role, options).expect("the options are right"))
    }

    fn decode(&mut self, messages: u64, mut see: impl FnMut(OpCode, &[u8])) {
        now(async {
            for _ in 0..messages {
                let frame = self.0.next_frame().await.expect("the stream is valid");
                match frame.opcode() {
                    yawc::frame::OpCode::Text => see(OpCode::Text, frame.payload()),
                    yawc::frame::OpCode::Binary => see(OpCode::Binary, frame.payload()),
                    opcode => panic!("the stream contains only messages: {opcode:?}"),
                }
            }
        });
    }
}
