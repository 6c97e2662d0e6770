//! One frame on the wire (RFC 6455 section 5.2).

mod header;
mod opcode;

pub use header::Header;
pub(crate) use header::{FirstByte, payload_of, server_header};
pub use opcode::OpCode;
