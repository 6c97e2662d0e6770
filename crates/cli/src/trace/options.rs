//! The flags of `serve` for traces.

use super::output::Bounded;
use super::recorder::{Lines, Packets, Recorder};
use super::{Report, Tracer};
use crate::exit::Failure;
use crate::values::{some_size, traced_connections};
use clap::Args;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The output on which lines are written.
const LINES: &str = "-";

#[derive(Debug, Args)]
#[command(next_help_heading = "Tracing")]
pub(crate) struct TraceOptions {
    /// Record what goes over the first connections, without TLS: to a capture file for Wireshark, or
    /// with - as lines to standard output
    #[arg(long, value_name = "FILE|-")]
    pub(crate) trace_frames: Option<PathBuf>,
    /// Number of connections to trace, up to 1000: the first ones that are accepted
    #[arg(long, value_name = "N", default_value = "16", value_parser = traced_connections, requires = "trace_frames")]
    pub(crate) trace_connection: u32,
    /// Maximum size of the trace, after which it ends and the server goes on
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = some_size, requires = "trace_frames")]
    pub(crate) trace_limit: usize,
}

impl TraceOptions {
    /// Opens the trace, if one was asked for.
    pub(crate) fn start(&self) -> Result<Option<Tracer>, Failure> {
        let Some(path) = &self.trace_frames else { return Ok(None) };
        let max = self.trace_limit as u64;
        let (name, recorder): (_, Box<dyn Recorder>) = if is_lines(path) {
            ("the trace".to_owned(), Box::new(Lines::new(Bounded::new(io::stdout(), max))))
        } else {
            (format!("the trace {}", path.display()), capture(path, max)?)
        };
        let report: Report = Arc::new(|text| tracing::warn!("{text}"));
        Ok(Some(Tracer::start(self.trace_connection, name, vec![recorder], report)?))
    }

    /// Whether the trace is written to standard output.
    pub(crate) fn is_on_stdout(&self) -> bool {
        self.trace_frames.as_deref().is_some_and(is_lines)
    }

    /// What is traced, for the announcement of the server.
    pub(crate) fn description(&self) -> Option<String> {
        let path = self.trace_frames.as_ref()?;
        let to = if is_lines(path) { "standard output".to_owned() } else { path.display().to_string() };
        Some(format!("the first {} connections, to {to}, up to {} bytes", self.trace_connection, self.trace_limit))
    }
}

fn is_lines(path: &Path) -> bool {
    path.as_os_str() == LINES
}

/// Creates a capture file. Its content is that of the connections, so only its owner can read it.
pub(crate) fn capture(path: &Path, max: u64) -> Result<Box<dyn Recorder>, Failure> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.map_err(|error| Failure(format!("{}: the trace cannot be written: {error}", path.display())))?;
    match Packets::new(Bounded::new(file, max)) {
        Ok(packets) => Ok(Box::new(packets)),
        Err(end) => Err(Failure(format!("{}: the trace cannot begin: {end}", path.display()))),
    }
}
