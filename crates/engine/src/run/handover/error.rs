//! Why a hand-over fails.

use ringway_io::{AddressError, BindError};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why sockets cannot be handed over or taken over.
///
/// ```
/// use ringway::handover::{self, HandoverError};
///
/// let long = "a".repeat(200);
/// assert!(matches!(handover::take_over(long), Err(HandoverError::Path { .. })));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The path cannot be that of a Unix socket.
    #[error("cannot hand over at {}: {error}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Its defect.
        error: AddressError,
    },
    /// The Unix socket cannot be listened on.
    #[error("the listening sockets cannot be offered: {0}")]
    Bind(#[from] BindError),
    /// The other process does not follow the protocol.
    #[error("the other process of the hand-over {0}; run the same program at both ends")]
    Protocol(&'static str),
    /// The other process has another version of the protocol.
    #[error(
        "the other process of the hand-over has version {0} of the protocol, and this one has {1}; restart instead"
    )]
    Version(u16, u16),
    /// The other process runs as another user.
    #[error("a process of user {0} asks for the listening sockets; only the same user, or root, may")]
    User(u32),
    /// The old process has not got the confirmation in time, and goes on serving.
    #[error(
        "the former server has waited longer than its time for the confirmation, and goes on serving; end this process, \
         and find out why its start takes so long"
    )]
    Late,
    /// The new process has not confirmed in time. The text names the process.
    #[error(
        "process {0} has the listening sockets, and has not confirmed within {1:?}; end it, because it may accept \
         connections"
    )]
    Unconfirmed(i32, Duration),
    /// A shard did not pass its sockets on.
    #[error("shard {0} did not pass on its listening sockets")]
    Shard(usize),
    /// There are more than [`MAX_SOCKETS`](super::MAX_SOCKETS) sockets.
    #[error("there are {0} listening sockets, and at most {max} can be handed over; use fewer shards", max = super::MAX_SOCKETS)]
    TooMany(usize),
    /// A system call failed: the other process has ended, or has not answered in time.
    #[error("the other process of the hand-over does not answer: {0}")]
    Io(#[from] io::Error),
}
