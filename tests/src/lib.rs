//! What the end to end tests stand on: a server in this process, and a peer that can say anything to it.
//!
//! Nothing here uses the codec: frames and requests are built byte by byte, so that the engine is not tested against
//! its own idea of the protocol.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bad_input;
mod frame;
mod http;
mod peer;
mod program;
mod server;

pub use frame::{Frame, Length, Received};
pub use http::{Request, Response};
pub use peer::{End, Peer};
pub use program::program;
pub use server::{Echo, TestServer, config, with_watchdog};

use std::time::Duration;

/// How long a test waits for anything before it fails. A watchdog: no test expects to wait that long.
pub const WATCHDOG: Duration = Duration::from_secs(30);
