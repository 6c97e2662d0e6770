//! The file or pipe that a trace is written to, with its bound.

use std::fmt;
use std::io::{self, BufWriter, Write};

/// Why a trace ends before the program does.
#[derive(Debug)]
pub(crate) enum TraceEnd {
    /// The bound on its size is reached.
    Limit(u64),
    /// It cannot be written.
    Failed(io::Error),
}

impl fmt::Display for TraceEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(bytes) => write!(f, "it has reached its limit of {bytes} bytes (--trace-limit)"),
            Self::Failed(error) if error.kind() == io::ErrorKind::BrokenPipe => f.write_str("its reader is gone"),
            Self::Failed(error) => write!(f, "it cannot be written: {error}"),
        }
    }
}

/// A writer of whole records, up to a number of bytes.
pub(crate) struct Bounded<W: Write> {
    out: BufWriter<W>,
    written: u64,
    max: u64,
}

impl<W: Write> Bounded<W> {
    pub(crate) fn new(out: W, max: u64) -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, out), written: 0, max }
    }

    /// Writes a record, or nothing if it would exceed the bound.
    pub(crate) fn write_whole(&mut self, record: &[u8]) -> Result<(), TraceEnd> {
        let len = record.len() as u64;
        if self.max - self.written < len {
            return Err(TraceEnd::Limit(self.max));
        }
        self.out.write_all(record).map_err(TraceEnd::Failed)?;
        self.written += len;
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), TraceEnd> {
        self.out.flush().map_err(TraceEnd::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_written_whole_or_not_at_all() {
        let mut out = Bounded::new(Vec::new(), 10);
        out.write_whole(b"12345").expect("within the limit");
        assert!(matches!(out.write_whole(b"678901"), Err(TraceEnd::Limit(10))));
        out.write_whole(b"67890").expect("exactly the limit");
        assert_eq!(out.out.into_inner().expect("memory"), b"1234567890");
    }
}
