//! Why shards could not start, or did not run to their end.

use crate::config::ConfigError;
use crate::run::placement::PlacementError;
use ringway_io::uring::{Refusal, SetupError};
use ringway_io::{BindError, OptionError};
use std::io;

/// Why shards could not start, or did not run to their end.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An option is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address could not be parsed, or the name has no address.
    #[error("cannot listen on {0:?}: {1}")]
    Address(String, #[source] io::Error),
    /// An address that cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// None of the addresses of a name can be listened on. One error for each of them.
    #[error("no address of {0:?} works: {list}", list = .1.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoAddress(String, Vec<BindError>),
    /// io_uring is unavailable.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An option of the driver is out of its range.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The shards could not be assigned to cores.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}; raise the limit of processes (`ulimit -u`)")]
    Thread(#[source] io::Error),
    /// The signals could not be watched.
    #[error("cannot watch SIGINT and SIGTERM: {0}")]
    Signals(#[source] io::Error),
    /// A shard ended before it was told to.
    #[error("shard {0} failed: {1}")]
    Shard(usize, #[source] io::Error),
    /// A handler panicked.
    #[error("shard {0} panicked")]
    Panicked(usize),
}

impl From<SetupError> for StartError {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Option(error) => error.into(),
            SetupError::Refused(refusal) => refusal.into(),
        }
    }
}
