//! What the end-to-end tests share: a server in this process, and a peer that can send anything to
//! it.
//!
//! The peer does not use the codec: it builds and reads frames and requests byte by byte, so the
//! engine is not tested against its own interpretation of the protocol.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bad_input;
mod directory;
mod http;
mod namespace;
pub mod numbered;
mod peer;
mod process;
mod program;
pub mod tls;

pub use directory::TestDirectory;
pub use http::{RawRequest, RawResponse, accepting};
pub use namespace::Namespace;
pub use peer::{End, WirePeer};
pub use process::{open_files, resident_kib};
pub use program::{
    Ended, PROGRAM_WATCHDOG, ServerProcess, example, finish, guarded, program, ringway, ringway_after, run, start,
};
pub use ringway_testkit::server::{Counting, Echo, TestServer, WATCHDOG, config, with_watchdog};
pub use ringway_testkit::{Frame, LengthField, Received};
