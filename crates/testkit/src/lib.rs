//! What the tests of several crates share. It is a development dependency and is not published.
//!
//! - [`Frame`] builds frames byte by byte. It uses nothing of `ringway-codec`, so a test that
//!   decodes such a frame does not compare the codec with itself. The unit tests of the codec can
//!   use it as well: they are compiled against another instance of the codec's types than a
//!   dependency is, and no such type occurs in it.
//! - `certificates` (a feature) makes certificates and keys, and writes them to temporary files.
//! - `decoder` (a feature) drives a `ringway_codec::Decoder` over a stream that is cut anywhere.
//! - `impaired` (a feature) is a server with known faults, delays and rates, without the engine.
//! - `server` (a feature) runs a `ringway` server in the process of the test.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "certificates")]
pub mod certificates;
#[cfg(feature = "decoder")]
pub mod decoder;
mod frame;
#[cfg(feature = "impaired")]
pub mod impaired;
#[cfg(feature = "server")]
pub mod server;

pub use frame::{Frame, KEY, LengthField, Received};
