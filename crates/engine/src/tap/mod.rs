//! A wire tap: what goes over chosen connections in both directions, for programs that show or
//! record it.
//!
//! A shard copies the plaintext of a traced connection into a queue of bounded size, which another
//! thread reads. It never waits for that thread: what finds the queue full is lost, and the offsets
//! of the events show where. Received bytes are copied before the decoder unmasks them, and
//! output when it is passed to the driver, before TLS seals it.

mod event;
mod queue;
mod shard;

pub use event::{TapDirection, TapEnd, TapEvent, TapKind, TappedConnection};
pub use queue::{TapOptions, TapReader, WireTap};
pub(crate) use shard::ShardTap;
