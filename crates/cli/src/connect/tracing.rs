//! The trace of a conversation: its lines at the prompt or on standard error, and its capture file.

use super::arguments::Connect;
use super::event::Event;
use super::queue::Events;
use super::show::Show;
use super::terminal;
use crate::exit::Failure;
use crate::trace::options::capture;
use crate::trace::output::{Bounded, TraceEnd};
use crate::trace::recorder::{LineWriter, Lines, Recorder};
use crate::trace::{Finished, Report, Tracer};
use ringway::{TapEvent, WireTap};
use ringway_loadtest::size;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The maximum size of a capture file in bytes.
const MAX_CAPTURE: u64 = 1 << 30;

/// The trace of a conversation.
pub(super) struct Tracing {
    tracer: Tracer,
    /// Whether a part of it is missing, which was reported.
    is_incomplete: Arc<AtomicBool>,
}

impl Tracing {
    /// The tap, for the configuration of the client.
    pub(super) fn tap(&self) -> WireTap {
        self.tracer.tap()
    }

    /// Completes the trace, after the shard has ended. Returns whether all of it was written. What is
    /// missing was reported when it ended.
    pub(super) fn finish(self) -> bool {
        let Finished { is_read, missing } = self.tracer.finish();
        is_read && missing.is_empty() && !self.is_incomplete.load(Ordering::Acquire)
    }
}

/// Starts the trace, if one was asked for. `has_prompt`: its lines are printed above the line that is
/// being typed.
pub(super) fn start(arguments: &Connect, has_prompt: bool, events: &Arc<Events>) -> Result<Option<Tracing>, Failure> {
    let mut recorders: Vec<Box<dyn Recorder>> = Vec::new();
    if arguments.trace && has_prompt {
        recorders.push(Box::new(Lines::new(PromptLines(Arc::clone(events)))));
    } else if arguments.trace {
        recorders.push(Box::new(Lines::new(ErrorLines(Some(Bounded::new(io::stderr(), u64::MAX))))));
    }
    if let Some(path) = &arguments.pcap {
        recorders.push(Box::new(CaptureFile::new(path, capture(path, MAX_CAPTURE)?)));
    }
    if recorders.is_empty() {
        return Ok(None);
    }
    let is_incomplete = Arc::new(AtomicBool::new(false));
    let (notes, flag) = (Arc::clone(events), Arc::clone(&is_incomplete));
    let report: Report = Arc::new(move |text| {
        flag.store(true, Ordering::Release);
        let note = Event::Note(text.to_owned());
        if !has_prompt || notes.push_trace(note).is_err() {
            let _ = writeln!(io::stderr(), "ringway: {text}");
        }
    });
    let name = match &arguments.pcap {
        Some(path) if !arguments.trace => format!("the trace {}", path.display()),
        _ => "the trace".to_owned(),
    };
    // All attempts of --reconnect.
    let tracer = Tracer::start(u32::MAX, name, recorders, report)?;
    Ok(Some(Tracing { tracer, is_incomplete }))
}

/// A capture, whose errors name its file: lines are written beside it.
struct CaptureFile {
    path: String,
    packets: Box<dyn Recorder>,
}

impl CaptureFile {
    fn new(path: &Path, packets: Box<dyn Recorder>) -> Self {
        Self { path: path.display().to_string(), packets }
    }

    /// The end of the capture, with the name of the file.
    fn named(&self, end: TraceEnd) -> TraceEnd {
        let path = &self.path;
        let cause = match end {
            // The limit is that of this command.
            TraceEnd::Limit(bytes) => format!("{path} has its maximum size of {}", size(bytes as usize)),
            TraceEnd::Failed(error) => format!("{path}: {error}"),
        };
        TraceEnd::Failed(io::Error::other(cause))
    }
}

impl Recorder for CaptureFile {
    fn record(&mut self, event: &TapEvent) -> Result<(), TraceEnd> {
        self.packets.record(event).map_err(|end| self.named(end))
    }

    fn flush(&mut self) -> Result<(), TraceEnd> {
        self.packets.flush().map_err(|end| self.named(end))
    }
}

/// Writes lines to standard error, until nobody reads it.
struct ErrorLines(Option<Bounded<io::Stderr>>);

impl ErrorLines {
    fn with(&mut self, step: impl FnOnce(&mut Bounded<io::Stderr>) -> Result<(), TraceEnd>) -> Result<(), TraceEnd> {
        match self.0.as_mut().map(step) {
            Some(Err(TraceEnd::Failed(error))) if error.kind() == ErrorKind::BrokenPipe => {
                self.0 = None;
                Ok(())
            }
            result => result.unwrap_or(Ok(())),
        }
    }
}

impl LineWriter for ErrorLines {
    fn write(&mut self, lines: &str) -> Result<(), TraceEnd> {
        self.with(|out| out.write_whole(lines.as_bytes()))
    }

    fn flush(&mut self) -> Result<(), TraceEnd> {
        self.with(Bounded::flush)
    }
}

/// Prints what the prompt has not printed before its end. What follows is printed at once.
pub(super) fn end_prompt(events: &Events, show: &Show) {
    let mut text = String::new();
    events.end().iter().for_each(|event| show.event(event, &mut text));
    terminal::write(&text);
}

/// Writes lines above the prompt, and after its end to the terminal.
struct PromptLines(Arc<Events>);

impl LineWriter for PromptLines {
    fn write(&mut self, lines: &str) -> Result<(), TraceEnd> {
        if self.0.push_trace(Event::Trace(lines.to_owned())).is_err() {
            terminal::write(lines);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TraceEnd> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends as it was told.
    struct Ending(fn() -> TraceEnd);

    impl Recorder for Ending {
        fn record(&mut self, _: &TapEvent) -> Result<(), TraceEnd> {
            Err(self.0())
        }

        fn flush(&mut self) -> Result<(), TraceEnd> {
            Err(self.0())
        }
    }

    #[test]
    fn the_end_of_a_capture_names_its_file_and_no_flag_of_another_command() {
        let ended = |end| {
            let result = CaptureFile::new(Path::new("a.pcap"), Box::new(Ending(end))).flush();
            result.expect_err("it ends").to_string()
        };
        let limit = ended(|| TraceEnd::Limit(MAX_CAPTURE));
        assert_eq!(limit, "it cannot be written: a.pcap has its maximum size of 1 GiB");
        let full = ended(|| TraceEnd::Failed(ErrorKind::StorageFull.into()));
        assert_eq!(full, "it cannot be written: a.pcap: no storage space");
    }
}
