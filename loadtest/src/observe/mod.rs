//! The observations of a run apart from its messages: the CPU time of the generator and of the
//! server, the machine, and the server's listening socket.
//!
//! Each parser is a pure function of text. A figure that cannot be read is `None`, and a sentence
//! in a list of missing sources has the reason; the [verdict](crate::verdict) depends on the
//! difference.

pub(crate) mod lookup;
pub mod processes;
pub mod server;
pub(crate) mod usage;

pub use lookup::Unknown;
pub use server::ServerIdentity;
