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
use crate::trace::{Report, Tracer};
use std::io::{self, Write};
use std::sync::Arc;

/// The maximum size of a capture file in bytes.
const MAX_CAPTURE: u64 = 1 << 30;

/// Starts the trace, if one was asked for. `has_prompt`: its lines are printed above the line that is
/// being typed.
pub(super) fn start(arguments: &Connect, has_prompt: bool, events: &Arc<Events>) -> Result<Option<Tracer>, Failure> {
    let mut recorders: Vec<Box<dyn Recorder>> = Vec::new();
    if arguments.trace && has_prompt {
        recorders.push(Box::new(Lines::new(PromptLines(Arc::clone(events)))));
    } else if arguments.trace {
        recorders.push(Box::new(Lines::new(Bounded::new(io::stderr(), u64::MAX))));
    }
    if let Some(path) = &arguments.pcap {
        recorders.push(capture(path, MAX_CAPTURE)?);
    }
    if recorders.is_empty() {
        return Ok(None);
    }
    let notes = Arc::clone(events);
    let report: Report = Arc::new(move |text| {
        let note = Event::Note(text.to_owned());
        if !has_prompt || notes.push_trace(note).is_err() {
            let _ = writeln!(io::stderr(), "ringway: {text}");
        }
    });
    // All attempts of --reconnect.
    Ok(Some(Tracer::start(u32::MAX, "the trace".to_owned(), recorders, report)?))
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
