//! The messages with which the codecs are measured.

use ringway_codec::{OpCode, Role};
use std::fmt;

/// The length of a lap in bytes: small enough to stay in the second-level cache together with its
/// reader.
const LAP: usize = 256 << 10;

/// Messages of one kind and size, as one role receives or sends them.
#[derive(Clone, Copy)]
pub(crate) struct StreamShape {
    /// The role of the reader or writer.
    pub(crate) role: Role,
    pub(crate) opcode: OpCode,
    pub(crate) size: usize,
}

impl fmt::Display for StreamShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.role == Role::Server { "server" } else { "client" };
        let kind = if self.opcode == OpCode::Text { "text" } else { "binary" };
        write!(f, "{role}, {kind}, {}", bytes(self.size))
    }
}

/// A size with its unit.
pub(crate) fn bytes(size: usize) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..0x10_0000 => format!("{} KiB", size >> 10),
        _ => format!("{} MiB", size >> 20),
    }
}

impl StreamShape {
    /// The payload of message `number`: ASCII if it is text. All payloads differ.
    pub(crate) fn payload(&self, number: u64) -> Vec<u8> {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut payload: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(self.size)
        .collect();
        if self.opcode == OpCode::Text {
            payload.iter_mut().for_each(|byte| *byte = b' ' + *byte % 95);
        }
        payload
    }

    /// The number of messages of a lap.
    pub(crate) fn messages(&self) -> u64 {
        (LAP / self.size).max(1) as u64
    }
}
