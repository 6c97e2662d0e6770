//! Values of flags that several commands have.

use clap::ValueEnum;
use ringway::Network;

/// The format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for a terminal
    Text,
    /// JSON with stable keys
    Json,
}

/// The system interface for sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DriverName {
    /// io_uring, or epoll where io_uring is refused
    Auto,
    /// io_uring; where it is refused, the run fails
    Uring,
    /// epoll
    Epoll,
    /// The library tokio-uring, from Linux 5.11 on; where io_uring is refused, the run fails
    TokioUring,
}

impl DriverName {
    pub(crate) fn choice(self) -> ringway::DriverChoice {
        match self {
            Self::Auto => ringway::DriverChoice::Auto,
            Self::Uring => ringway::DriverChoice::Uring,
            Self::Epoll => ringway::DriverChoice::Epoll,
            Self::TokioUring => ringway::DriverChoice::TokioUring,
        }
    }
}

/// The driver of a server that `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchDriver {
    /// io_uring
    Uring,
    /// epoll
    Epoll,
    /// The library tokio-uring
    TokioUring,
}

impl BenchDriver {
    /// The value of `--driver`.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::TokioUring => "tokio-uring",
        }
    }

    /// The name of the raw echo on it. The driver on epoll is not the floor on plain epoll.
    pub(crate) fn raw_echo(self) -> &'static str {
        match self {
            Self::Uring => "raw io_uring",
            Self::Epoll => "raw epoll driver",
            Self::TokioUring => "raw tokio-uring",
        }
    }
}

/// The shard that serves a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcceptMode {
    /// The one that the kernel chooses
    Kernel,
    /// The one with the fewest connections
    Balanced,
}

impl AcceptMode {
    pub(crate) fn choice(self) -> ringway::Accept {
        match self {
            Self::Kernel => ringway::Accept::Kernel,
            Self::Balanced => ringway::Accept::Balanced,
        }
    }
}

/// What happens at the memory limit of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MemoryPolicy {
    /// Close the slowest readers with code 1013
    CloseSlowest,
    /// Close none: queue nothing more, and read nothing more from the largest holders
    Pause,
}

impl MemoryPolicy {
    pub(crate) fn choice(self) -> ringway::OnMemoryLimit {
        match self {
            Self::CloseSlowest => ringway::OnMemoryLimit::CloseSlowest,
            Self::Pause => ringway::OnMemoryLimit::Pause,
        }
    }
}

/// The compression of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeflateMode {
    /// Off
    Off,
    /// Without context takeover: idle connections keep no memory for compression
    Shared,
    /// With context takeover: smaller messages, and some 330 KiB for each active connection
    Takeover,
}

impl DeflateMode {
    pub(crate) fn config(self) -> Option<ringway::Deflate> {
        match self {
            Self::Off => None,
            Self::Shared => Some(ringway::Deflate::shared()),
            Self::Takeover => Some(ringway::Deflate::takeover()),
        }
    }
}

/// Peers that may name the address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrustedPeers {
    Network(Network),
    Unix,
}
