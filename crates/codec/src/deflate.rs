//! Compression of messages: permessage-deflate (RFC 7692).
//!
//! - [`DeflatePolicy`] says what one side is ready for; it makes a client's offers, chooses among
//!   them as a server, and holds an answer against them. What both sides have agreed on is
//!   [`DeflateParams`].
//! - [`Deflater`] compresses messages, [`encode_deflated`](crate::encode_deflated) puts them in
//!   frames. A [`Decoder`](crate::Decoder) that knows the agreement inflates what comes.
//!
//! zlib (here zlib-rs) cannot compress with a window of 256 bytes (8 bits). Such an offer is
//! declined by a server; a client that is told to use one sends its messages uncompressed, as every
//! message may be (RFC 7692 section 6).

mod deflater;
mod inflater;
mod offer;
mod params;
mod policy;
mod window;

pub use deflater::Deflater;
pub(crate) use inflater::{Inflater, Stopped};
pub use offer::DeflateOffer;
pub use params::{DeflateParams, Direction};
pub use policy::DeflatePolicy;
pub(crate) use policy::verify;
pub use window::WindowBits;

/// The name under which the extension is registered.
const NAME: &str = "permessage-deflate";

/// What ends each flush of a compressor: an empty stored block without its first byte. It is taken
/// off before a message is sent and put back before it is inflated (RFC 7692 sections 7.2.1 and
/// 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
