//! WebSocket frames, messages and the opening handshake (RFC 6455), and their compression (RFC
//! 7692), as pure state machines.
//!
//! Nothing here reads a socket or a clock or starts a thread: bytes go in, events and bytes come
//! out, so the whole crate is tested with bytes alone. Both roles are spoken.
//!
//! - [`Decoder`] walks received bytes and yields whole messages and control frames. A message that
//!   lies whole in one input is unmasked in place and never copied; one that spans inputs is
//!   assembled in a buffer of a [`SpillPool`].
//! - [`encode_server`], [`encode_client`], [`encode_deflated`], [`encode_close`] and [`Prepared`]
//!   write frames.
//! - [`deflate`] negotiates the compression of messages and performs it.
//! - [`handshake`] checks and answers the opening handshake, and performs it in the client role.
//!
//! ```
//! use ringway_codec::{Decoder, Event, Limits, OpCode, Role, SpillPool, encode_client};
//!
//! let mut received = Vec::new();
//! encode_client(OpCode::Text, b"hello", [1, 2, 3, 4], &mut received);
//!
//! let mut pool = SpillPool::new(Limits::default());
//! let mut decoder = Decoder::new(Role::Server);
//! let mut at = 0;
//! while let Some(event) = decoder.next(&mut pool, &mut received, &mut at)? {
//!     if let Event::Message(message) = event {
//!         assert_eq!(message.payload(), b"hello");
//!     }
//! }
//! # Ok::<(), ringway_codec::ProtocolError>(())
//! ```

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod close;
pub mod decoder;
pub mod deflate;
pub mod encoder;
pub mod error;
pub mod frame;
pub mod handshake;
#[allow(unsafe_code, reason = "vector loads and stores; its invariants are in UNSAFE.md")]
pub mod mask;
pub mod prepared;
pub mod spill;
pub mod utf8;

pub use close::{CloseCode, ClosePayload, CodeNotSendable};
pub use decoder::{Decoder, Event, Incoming, MessageKind, Place};
pub use deflate::{DeflateOffer, DeflateParams, DeflatePolicy, Deflater, WindowBits};
pub use encoder::{encode_client, encode_close, encode_deflated, encode_masked, encode_server};
pub use error::ProtocolError;
pub use frame::{Header, OpCode};
pub use handshake::{
    ClientRequest, HandshakeError, HeadLimits, HeadScan, Headers, Key, OriginPolicy, Refusal, Request, Response,
    ResponseExpectation, Scheme, Target, TargetError, choose_subprotocol, encode_accept, encode_response,
    parse_request, parse_response,
};
pub use prepared::Prepared;
pub use spill::{Limits, SPILL_HEADROOM, SpillPool};
pub use utf8::{InvalidUtf8, Utf8Stream};

/// Which side of the connection *we* are.
///
/// A server's decoder demands masked frames and refuses unmasked ones; a client's does the reverse
/// (RFC 6455 section 5.1).
///
/// Exhaustive: RFC 6455 has these two endpoints.
///
/// ```
/// use ringway_codec::{Decoder, Limits, ProtocolError, Role, SpillPool};
///
/// let mut unmasked = *b"\x81\x02hi";
/// let mut decoder = Decoder::new(Role::Server);
/// let result = decoder.next(&mut SpillPool::new(Limits::default()), &mut unmasked, &mut 0);
/// assert_eq!(result.err(), Some(ProtocolError::UnmaskedFrame));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We accepted the connection: what we receive is masked, what we send is not.
    Server,
    /// We opened the connection: what we send is masked, what we receive is not.
    Client,
}
