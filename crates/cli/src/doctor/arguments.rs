//! The flags of `doctor`.

use super::goal::MachineRole;
use crate::choices::Format;
use crate::values::{addresses, target};
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Number of connections that the machine has to hold, as 10k or 1m; the exit code is 1 if a
    /// limit is below what they need [default: each limit is compared with what the memory holds]
    #[arg(long = "for", value_name = "N", value_parser = target)]
    pub(crate) target: Option<u64>,
    /// What the machine does with them
    #[arg(long, value_enum, default_value = "server")]
    pub(crate) role: MachineRole,
    /// Number of source addresses of outgoing connections, as with load --source-ip
    #[arg(long, value_name = "N", default_value = "1", value_parser = addresses)]
    pub(crate) addresses: u64,
    /// Print the files that raise what is too low, as a file of sysctl.d and a drop-in of a systemd
    /// unit; nothing is changed. Without WHICH: both
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, default_missing_value = "all", conflicts_with = "format")]
    pub(crate) fix: Option<Fix>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Where each value is from, what it does, and the values needed
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// The files of `--fix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fix {
    /// The file of sysctl.d
    Sysctl,
    /// The drop-in of a systemd unit
    Systemd,
    /// Both
    All,
}

/// The text below the flags.
pub(crate) const DOCTOR_HELP: &str = "\
Examples:
  ringway doctor                  what this machine allows, and which limit is the first
  ringway doctor --for 1m         whether it can serve a million connections
  ringway doctor --for 100k --role client --addresses 4
  ringway doctor --for 1m --fix sysctl > 90-ringway.conf

Nothing on the system is changed. A fact that cannot be read is `unknown`, with the reason, and no failure.

Exit codes: 0 nothing is short; 1 a limit is below the target, or io_uring is refused; 2 usage.";
