//! The opening handshake (RFC 6455 section 4) in both roles, without I/O.
//!
//! Server: [`HeadScan`] detects when a growing head can be parsed, [`parse_request`] parses it,
//! [`Request::websocket`] checks it, [`encode_accept`] or [`Refusal::encode`] writes the response.
//! Client: [`Target`] parses the URL, [`ClientRequest`] writes the request, [`parse_response`]
//! checks the response.

mod extension;
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
pub use respond::{Refusal, encode_accept, encode_response};
pub use response::{ClientRequest, HandshakeError, Response, ResponseExpectation, parse_response};
pub use subprotocol::choose_subprotocol;
pub use target::{Scheme, Target, TargetError};
