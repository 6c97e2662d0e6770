//! Compression of messages: permessage-deflate (RFC 7692).
//!
//! - [`DeflatePolicy`] holds the preferences of one side: it makes a client's offers and chooses
//!   among them as a server. [`DeflateParams`] are the parameters that both sides have agreed on.
//! - [`Deflater`] compresses messages, [`encode_deflated`](crate::encode_deflated) puts them in
//!   frames. A [`Decoder`](crate::Decoder) with these parameters inflates received messages.
//!
//! zlib (here zlib-rs) cannot compress with a window of 256 bytes (8 bits). A server declines such
//! an offer. A client that has to use such a window sends its messages uncompressed, which RFC 7692
//! section 6 allows for any message.

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

/// The registered name of the extension.
const NAME: &str = "permessage-deflate";

/// The bytes at the end of each flush of a compressor: an empty stored block without its first
/// byte. A sender removes them from a message, and a receiver appends them before it inflates the
/// message (RFC 7692 sections 7.2.1 and 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
