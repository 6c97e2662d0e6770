use super::{Encode, WRITE};
use crate::sink::Sink;
use bytes::Bytes;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};
use ringway_codec::{Header, OpCode, Role, encode_client, encode_server};
use std::io::{IoSlice, Write};

/// The payload size from which a gathering write is faster than a copy.
const LARGE: usize = 4 << 10;

/// Messages are collected in one buffer, as in the engine; large unmasked ones are written without
/// a copy. The mask keys of a client come from the same generator as in the engine.
pub(crate) struct Ringway {
    sink: Sink,
    role: Role,
    out: Vec<u8>,
    random: StdRng,
}

impl Encode for Ringway {
    const NAME: &'static str = "Ringway";

    fn new(role: Role, sink: Sink) -> Self {
        Self {
            sink,
            role,
            out: Vec::new(),
            random: StdRng::try_from_rng(&mut SysRng).expect("the system has random bytes"),
        }
    }

    fn encode(&mut self, messages: u64, payload: &Bytes) {
        for _ in 0..messages {
            match self.role {
                Role::Server if payload.len() >= LARGE => self.gather(payload),
                Role::Server => encode_server(OpCode::Binary, payload, &mut self.out),
                Role::Client => {
                    encode_client(OpCode::Binary, payload, self.random.next_u32().to_ne_bytes(), &mut self.out);
                }
            }
            if self.out.len() >= WRITE {
                self.flush();
            }
        }
        self.flush();
    }
}

impl Ringway {
    fn flush(&mut self) {
        self.sink.write_all(&self.out).expect("memory can be written");
        self.out.clear();
    }

    /// Writes the frame with a gathering write, without a copy of the payload.
    fn gather(&mut self, payload: &[u8]) {
        let length = payload.len() as u64;
        let mut header = [0; Header::MAX_LEN];
        let len = Header { fin: true, opcode: OpCode::Binary, rsv1: false, mask: None, length }.encode(&mut header);
        self.out.extend_from_slice(&header[..len]);
        let slices = [IoSlice::new(&self.out), IoSlice::new(payload)];
        let written = self.sink.write_vectored(&slices).expect("memory can be written");
        assert_eq!(written, self.out.len() + payload.len(), "memory accepts all bytes");
        self.out.clear();
    }
}
