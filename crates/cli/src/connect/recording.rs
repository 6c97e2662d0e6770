//! `--record`: what was sent and received, as one JSON object a line.

use super::event::{Body, Event, Verdict};
use crate::exit::Failure;
use ringway_loadtest::recording::{Record, RecordContent, RecordDirection};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The recording of a conversation, if one is wanted.
#[derive(Default)]
pub(super) struct Recorder {
    recording: Option<Recording>,
    /// Why it has ended early.
    failure: Option<String>,
}

impl Recorder {
    /// Creates the file of `--record`.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self { recording: path.map(Recording::create).transpose()?, failure: None })
    }

    /// Adds an event. Returns what the person has to know: that the recording has ended.
    pub(super) fn event(&mut self, event: &Event) -> Option<Event> {
        let result = self.recording.as_mut()?.event(event);
        self.check(result)
    }

    /// Writes what was collected. Returns as [`Recorder::event`].
    pub(super) fn flush(&mut self) -> Option<Event> {
        let result = self.recording.as_mut()?.flush();
        self.check(result)
    }

    /// The verdict: a conversation whose recording is incomplete has failed.
    pub(super) fn verdict(self, of_conversation: Verdict) -> Verdict {
        match (self.failure, of_conversation) {
            (Some(failure), Verdict::Good) => Verdict::Error(failure),
            (_, verdict) => verdict,
        }
    }

    fn check(&mut self, result: Result<(), String>) -> Option<Event> {
        let error = result.err()?;
        self.recording = None;
        self.failure = Some(error.clone());
        Some(Event::Note(error))
    }
}

/// A file that is being written.
struct Recording {
    path: PathBuf,
    file: BufWriter<File>,
    line: String,
}

impl Recording {
    /// Creates the file, or empties it.
    fn create(path: &Path) -> Result<Self, Failure> {
        match File::create(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file: BufWriter::new(file), line: String::new() }),
            Err(error) => Err(Failure(format!("cannot write {}: {error}", path.display()))),
        }
    }

    /// Adds an event, if it is one of the conversation.
    ///
    /// # Errors
    /// A line that names the file.
    fn event(&mut self, event: &Event) -> Result<(), String> {
        let received = RecordDirection::Received;
        let (at, direction, content) = match event {
            Event::Message { at, body: Body::Text(text) } => (at, received, RecordContent::Text(text.clone())),
            Event::Message { at, body: Body::Binary(bytes) } => (at, received, RecordContent::Binary(bytes.clone())),
            Event::Ping { at, payload } => (at, received, RecordContent::Ping(payload.clone())),
            Event::Pong { at, payload, .. } => (at, received, RecordContent::Pong(payload.clone())),
            Event::Sent { at, content } => (at, RecordDirection::Sent, content.clone()),
            Event::Closed(closed) if closed.clean => {
                let direction = if closed.by_server { received } else { RecordDirection::Sent };
                (&closed.at, direction, RecordContent::Close(closed.code.as_u16(), closed.reason.clone()))
            }
            _ => return Ok(()),
        };
        self.add(*at, direction, content).map_err(|error| self.failed(&error))
    }

    /// Writes what was collected.
    fn flush(&mut self) -> Result<(), String> {
        self.file.flush().map_err(|error| self.failed(&error))
    }

    fn add(&mut self, at: SystemTime, direction: RecordDirection, content: RecordContent) -> io::Result<()> {
        self.line.clear();
        Record { time: at.duration_since(UNIX_EPOCH).ok(), direction, content }.write(&mut self.line);
        self.file.write_all(self.line.as_bytes())
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("cannot write {}: {error}; the recording ends here", self.path.display())
    }
}
