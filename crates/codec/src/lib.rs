//! WebSocket frames, messages and the opening handshake (RFC 6455), and their compression (RFC
//! 7692), as pure state machines.
//!
//! The crate reads no socket and no clock and starts no thread: bytes go in, events and bytes come
//! out. It supports both roles, server and client.
//!
//! - [`Decoder`] walks received bytes and yields whole messages and control frames. A message that
//!   is contained in one input is unmasked in place and is not copied; one that spans inputs is
//!   assembled in a buffer of a [`SpillPool`].
//! - [`encode_server`], [`encode_client`], [`encode_deflated`], [`encode_close`] and [`Prepared`]
//!   write frames.
//! - [`deflate`] negotiates the compression of messages and performs it.
//! - [`handshake`] checks and answers the opening handshake in the server role, and performs it in
//!   the client role.
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
pub use encoder::{encode_client, encode_close, encode_deflated, encode_masked, encode_parts, encode_server};
pub use error::ProtocolError;
pub use frame::{Header, OpCode};
pub use handshake::{
    ClientRequest, FinalHead, HandshakeError, HeadLimits, HeadScan, Headers, Key, OriginPolicy, Refusal, Request,
    Response, ResponseExpectation, ResponseHead, Scheme, Target, TargetError, choose_subprotocol, encode_accept,
    parse_request, parse_response,
};
pub use prepared::{Prepared, deflated_frame};
pub use spill::{Limits, SPILL_HEADROOM, SpillPool};
pub use utf8::{InvalidUtf8, Utf8Stream};

/// The role of this endpoint in the connection.
///
/// A server's decoder requires masked frames and refuses unmasked ones; a client's decoder does the
/// reverse (RFC 6455 section 5.1).
///
/// Exhaustive: RFC 6455 defines these two roles.
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
    /// This endpoint accepted the connection: received frames are masked, sent frames are not.
    Server,
    /// This endpoint opened the connection: sent frames are masked, received frames are not.
    Client,
}
