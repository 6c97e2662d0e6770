//! `--replay`: sends what was recorded as sent, with its times.

use super::event::Command;
use super::input::command;
use super::queue::Commands;
use crate::exit::Failure;
use ringway_loadtest::recording::{Record, RecordDirection, Speed};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A recording that is being replayed.
pub(super) struct Replay {
    path: PathBuf,
    file: BufReader<File>,
    speed: Speed,
    line: u64,
}

/// The longest line: a message of 1 GiB in base64.
const MAX_LINE: u64 = 3 << 29;

impl Replay {
    pub(super) fn open(path: &Path, speed: Speed) -> Result<Self, Failure> {
        match File::open(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file: BufReader::new(file), speed, line: 0 }),
            Err(error) => Err(Failure(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Passes the recorded messages to `push` when they are due, until the recording or the
    /// conversation ends. The first one is due when the connection is open.
    pub(super) fn run(mut self, commands: &Commands, mut push: impl FnMut(Command) -> bool) {
        let mut first: Option<(Duration, Instant)> = None;
        loop {
            let (time, command) = match self.next() {
                Ok(Some(record)) => record,
                Ok(None) => (None, Command::Finish),
                Err(error) => (None, Command::Fail(error)),
            };
            if !commands.wait_for_connection() {
                return;
            }
            if let (Some(time), Speed::Times(times)) = (time, self.speed) {
                let (start, began) = *first.get_or_insert_with(|| (time, Instant::now()));
                let due = began + time.saturating_sub(start).div_f64(times);
                if !commands.wait_until(due) {
                    return;
                }
            }
            let is_last = matches!(command, Command::Finish | Command::Fail(_));
            if !push(command) || is_last {
                return;
            }
        }
    }

    /// The next command with its time; `None` at the end.
    fn next(&mut self) -> Result<Option<(Option<Duration>, Command)>, String> {
        loop {
            let mut line = String::new();
            let read = self.file.by_ref().take(MAX_LINE).read_line(&mut line);
            if read.map_err(|error| format!("cannot read {}: {error}", self.path.display()))? == 0 {
                return Ok(None);
            }
            self.line += 1;
            let wrong = |error: String| format!("line {} of {}: {error}", self.line, self.path.display());
            let record = Record::parse(line.trim_end_matches(['\n', '\r'])).map_err(wrong)?;
            if record.direction == RecordDirection::Sent {
                return Ok(Some((record.time, command(record.content).map_err(wrong)?)));
            }
        }
    }
}
