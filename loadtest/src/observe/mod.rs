//! The observations of a run apart from its messages: the CPU time of the generator and of the
//! server, the machine, and the server's listening socket.
//!
//! Each parser is a pure function of text. A figure that cannot be read is `None`, and a sentence
//! in a list of missing sources has the reason; the [verdict](crate::verdict) depends on the
//! difference.

pub(crate) mod cores;
pub(crate) mod link;
pub(crate) mod listening;
pub(crate) mod lookup;
pub(crate) mod machine;
pub mod processes;
pub(crate) mod sampler;
pub mod server;
mod sock_diag;
pub(crate) mod throttling;
pub(crate) mod usage;
mod window;

pub use cores::CoreShares;
pub use listening::{Backlog, RampFigures, SynRetry, TcpCounters};
pub use lookup::Unknown;
pub use machine::{MachineFigures, describe_machine};
pub use server::ServerIdentity;
