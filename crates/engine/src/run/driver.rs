//! The choice of a driver.

use super::error::StartError;
use crate::config::{Config, DriverChoice, Limits};
use ringway_io::epoll::{Epoll, EpollConfig};
#[cfg(feature = "tokio-uring")]
use ringway_io::tokio_uring::{self, TokioUring, TokioUringConfig};
use ringway_io::uring::{self, Features, Uring, UringConfig};
use std::fmt;

/// The drivers that a shard can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DriverKind {
    Uring,
    Epoll,
    #[cfg(feature = "tokio-uring")]
    TokioUring,
}

/// The driver of all shards.
#[derive(Debug)]
pub(super) enum SelectedDriver {
    /// By this choice.
    Uring(Features, DriverChoice),
    Epoll,
    #[cfg(feature = "tokio-uring")]
    TokioUring,
}

impl SelectedDriver {
    pub(super) fn select(choice: DriverChoice) -> Result<Self, StartError> {
        match choice {
            DriverChoice::Epoll => Ok(Self::Epoll),
            DriverChoice::Uring => Ok(Self::Uring(uring::probe()?, choice)),
            DriverChoice::Auto => match uring::probe() {
                Ok(features) => Ok(Self::Uring(features, choice)),
                Err(unavailable) if unavailable.is_refusal() => {
                    tracing::warn!("using epoll, because {unavailable}");
                    Ok(Self::Epoll)
                }
                Err(unavailable) => Err(unavailable.into()),
            },
            #[cfg(feature = "tokio-uring")]
            DriverChoice::TokioUring => {
                tokio_uring::probe()?;
                Ok(Self::TokioUring)
            }
        }
    }

    /// Whether epoll replaces it when a shard is refused its ring.
    pub(super) fn may_be_replaced(&self) -> bool {
        matches!(self, Self::Uring(_, DriverChoice::Auto))
    }

    pub(super) fn kind(&self) -> DriverKind {
        match self {
            Self::Uring(..) => DriverKind::Uring,
            Self::Epoll => DriverKind::Epoll,
            #[cfg(feature = "tokio-uring")]
            Self::TokioUring => DriverKind::TokioUring,
        }
    }
}

impl fmt::Display for SelectedDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uring(features, _) => write!(f, "io_uring ({features})"),
            Self::Epoll => f.write_str("epoll"),
            #[cfg(feature = "tokio-uring")]
            Self::TokioUring => f.write_str("tokio-uring"),
        }
    }
}

/// A driver of the calling thread. Boxed, because their sizes differ and the value moves.
pub(super) enum OpenDriver {
    Uring(Box<Uring>),
    Epoll(Box<Epoll>),
    #[cfg(feature = "tokio-uring")]
    TokioUring(Box<TokioUring>),
}

impl DriverKind {
    /// Opens a driver for the calling thread.
    pub(super) fn open(self, config: &Config, limits: &Limits) -> Result<OpenDriver, StartError> {
        let (buffers, max_connections, busy_poll) = (config.buffers, limits.max_connections, config.busy_poll);
        Ok(match self {
            Self::Uring => {
                let ring_entries = config.ring_entries;
                let config = UringConfig { ring_entries, buffers, max_connections, busy_poll };
                OpenDriver::Uring(Box::new(Uring::new(config)?))
            }
            Self::Epoll => {
                OpenDriver::Epoll(Box::new(Epoll::new(EpollConfig { buffers, max_connections, busy_poll })?))
            }
            #[cfg(feature = "tokio-uring")]
            Self::TokioUring => {
                let config = TokioUringConfig { buffers, max_connections, busy_poll };
                OpenDriver::TokioUring(Box::new(TokioUring::new(config)?))
            }
        })
    }
}
