//! The opening handshake (RFC 6455 section 4) in both roles, without I/O.
//!
//! Server: [`HeadScan`] detects when a growing head can be parsed, [`parse_request`] parses it,
//! [`Request::check_framing`] and [`Request::websocket`] check it, [`encode_accept`],
//! [`Refusal::encode`] or [`ResponseHead::encode`] writes the response.
//! Client: [`Target`] parses the URL, [`ClientRequest`] writes the request, [`parse_response`]
//! checks the response.

mod extension;
mod framing;
mod head;
mod host;
mod key;
mod origin;
mod request;
mod respond;
mod response;
mod subprotocol;
mod target;

pub use extension::{Extension, MalformedExtensions, parse_extensions};
pub use head::{HeadLimits, HeadScan, Headers};
pub use key::Key;
pub use origin::OriginPolicy;
pub use request::{Request, parse_request};
pub use respond::{Refusal, ResponseHead, encode_accept};
pub use response::{ClientRequest, FinalHead, HandshakeError, Response, ResponseExpectation, parse_response};
pub use subprotocol::choose_subprotocol;
pub use target::{Scheme, Target, TargetError};
