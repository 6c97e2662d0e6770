//! The content and the sizes of messages.
//!
//! The messages of a thread are functions of the seed, the connection and their number, without a
//! clock, a socket, or a file.

mod hash;
pub(crate) mod mark;
mod sizes;

pub use sizes::{Sizes, SizesError};
