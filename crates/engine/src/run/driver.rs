//! The choice of a driver.

use super::error::StartError;
use crate::config::{Config, DriverChoice, Limits};
use ringway_io::epoll::{Epoll, EpollConfig};
use ringway_io::uring::{self, Features, Uring, UringConfig};
use std::fmt;

/// The driver of all shards.
#[derive(Debug)]
pub(super) enum SelectedDriver {
    Uring(Features),
    Epoll,
}

impl SelectedDriver {
    pub(super) fn select(choice: DriverChoice) -> Result<Self, StartError> {
        match choice {
            DriverChoice::Epoll => Ok(Self::Epoll),
            DriverChoice::Uring => Ok(Self::Uring(uring::probe()?)),
            DriverChoice::Auto => match uring::probe() {
                Ok(features) => Ok(Self::Uring(features)),
                Err(unavailable) if unavailable.is_refusal() => {
                    tracing::warn!("using epoll, because {unavailable}");
                    Ok(Self::Epoll)
                }
                Err(unavailable) => Err(unavailable.into()),
            },
        }
    }
}

impl fmt::Display for SelectedDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uring(features) => write!(f, "io_uring ({features})"),
            Self::Epoll => f.write_str("epoll"),
        }
    }
}

pub(super) fn open_uring(config: &Config, limits: &Limits) -> Result<Uring, StartError> {
    Ok(Uring::new(UringConfig {
        ring_entries: config.ring_entries,
        buffers: config.buffers,
        max_connections: limits.max_connections,
        busy_poll: config.busy_poll,
    })?)
}

pub(super) fn open_epoll(config: &Config, limits: &Limits) -> Result<Epoll, StartError> {
    Ok(Epoll::new(EpollConfig {
        buffers: config.buffers,
        max_connections: limits.max_connections,
        busy_poll: config.busy_poll,
    })?)
}
