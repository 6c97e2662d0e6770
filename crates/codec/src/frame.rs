//! One frame on the wire (RFC 6455 section 5.2).

mod header;
mod opcode;

pub use header::Header;
pub(crate) use header::{FirstByte, server_header, server_header_len};
pub use opcode::OpCode;
