//! What the machine is compared with: a number of connections, and what they cost.

use super::finding::State;
use clap::ValueEnum;

/// The bytes of user space for an idle connection of a server: the largest of three measurements of
/// `ringway bench` (docs/tuning.md).
const SERVER_BYTES: u64 = 138;

/// The bytes of user space for an idle connection of `load` (docs/doctor.md).
const CLIENT_BYTES: u64 = 1 << 10;

/// The bytes of kernel memory for an idle TCP connection, on either side: socket, inode, file,
/// directory entry and the armed receive, as the slab caches of Linux 6.18 grow (docs/doctor.md).
pub(crate) const KERNEL_BYTES: u64 = 5 << 10;

/// The share of the available memory that connections may take, in percent; the rest is for
/// messages, buffers and other programs.
pub(crate) const MEMORY_SHARE: u64 = 90;

/// The default of `serve --max-connections`, for each shard.
const MAX_PER_SHARD: u64 = 1_000_000;

/// What this machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MachineRole {
    /// It accepts the connections
    Server,
    /// It opens them, as `load` does
    Client,
    /// Both ends are on it
    Both,
}

impl MachineRole {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Both => "both",
        }
    }

    pub(crate) const fn opens(self) -> bool {
        matches!(self, Self::Client | Self::Both)
    }

    pub(crate) const fn accepts(self) -> bool {
        matches!(self, Self::Server | Self::Both)
    }

    /// The ends of a connection that are on this machine.
    pub(crate) const fn ends(self) -> u64 {
        match self {
            Self::Server | Self::Client => 1,
            Self::Both => 2,
        }
    }
}

/// What the checks compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Goal {
    /// The number of connections that `--for` names.
    pub(crate) target: Option<u64>,
    pub(crate) role: MachineRole,
    /// The source addresses of outgoing connections.
    pub(crate) addresses: u64,
    /// The number of threads that serve or load.
    pub(crate) shards: u64,
    /// The connections that the available memory holds; `None` if it is unknown.
    pub(crate) memory_holds: Option<u64>,
}

impl Goal {
    /// The number of connections that the limits are compared with: the target, or what the memory
    /// of the machine holds, up to the default of `serve --max-connections`.
    pub(crate) fn connections(&self) -> u64 {
        self.target.unwrap_or_else(|| {
            let max = MAX_PER_SHARD.saturating_mul(self.shards.max(1));
            self.memory_holds.map_or(max, |number| rounded(number, 2)).min(max)
        })
    }

    /// The threads of all programs of the goal on this machine.
    pub(crate) fn threads(&self) -> u64 {
        self.shards.saturating_mul(self.role.ends())
    }

    /// The state of a limit that is below what is needed. Without a target it is no defect.
    pub(crate) fn lacking(&self) -> State {
        if self.target.is_some() { State::Short } else { State::Note }
    }

    /// The bytes of user space that one connection takes, in all programs on this machine.
    pub(crate) fn user_bytes(&self) -> u64 {
        let of = |is_here: bool, bytes: u64| if is_here { bytes } else { 0 };
        of(self.role.accepts(), SERVER_BYTES) + of(self.role.opens(), CLIENT_BYTES)
    }

    /// The bytes of memory that one connection takes on this machine.
    pub(crate) fn bytes_per_connection(&self) -> u64 {
        KERNEL_BYTES * self.role.ends() + self.user_bytes()
    }
}

/// The number with its first two or three digits, and zeros.
pub(crate) fn rounded(number: u64, digits: u32) -> u64 {
    let (mut unit, end) = (1, 10u64.pow(digits));
    while number / unit >= end {
        unit *= 10;
    }
    number / unit * unit
}
