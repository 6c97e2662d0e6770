//! Traces of connections: what a [`WireTap`] reports, written by a thread of its own.
//!
//! `recorder.rs` turns events into lines (`observer.rs`, `frames.rs`, `text.rs`) or into a capture
//! for Wireshark (`capture.rs`, `packets.rs`); `output.rs` bounds what is written.

mod capture;
mod frames;
mod observer;
pub(crate) mod options;
pub(crate) mod output;
mod packets;
pub(crate) mod recorder;
mod text;

use output::TraceEnd;
use recorder::Recorder;
use ringway::{TapEvent, TapKind, TapOptions, TapReader, WireTap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};
use text::clock;

/// The maximum time in which no event is written while the program waits for the end of the trace:
/// it may be written to a pipe that nobody reads.
const STUCK_TIME: Duration = Duration::from_secs(5);

/// Says why a trace has ended, or what it lacks, in one line.
pub(crate) type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// A trace that is being written.
pub(crate) struct Tracer {
    tap: WireTap,
    name: String,
    report: Report,
    /// The number of events that were written.
    written: Arc<AtomicU64>,
    /// What the trace lacks.
    ended: Receiver<Vec<String>>,
}

/// How a trace has ended.
pub(crate) struct Finished {
    /// Whether somebody reads it.
    pub(crate) is_read: bool,
    /// What it lacks because it has ended before the program: a line for each of its outputs.
    pub(crate) missing: Vec<String>,
}

impl Tracer {
    /// Starts the thread that records the first `connections` connections. `name`: that of the trace
    /// in reports.
    pub(crate) fn start(
        connections: u32,
        name: String,
        recorders: Vec<Box<dyn Recorder>>,
        report: Report,
    ) -> io::Result<Self> {
        let (tap, reader) = WireTap::new(TapOptions::default().connections(connections));
        let (end, ended) = sync_channel(1);
        let written = Arc::new(AtomicU64::new(0));
        let (of_thread, count, reports) = (name.clone(), Arc::clone(&written), Arc::clone(&report));
        thread::Builder::new().name("trace".to_owned()).spawn(move || {
            let missing = write(reader, recorders, &of_thread, &count, &reports);
            // The program may have stopped waiting.
            let _ = end.send(missing);
        })?;
        Ok(Self { tap, name, report, written, ended })
    }

    /// The tap, for the configuration of the server or client.
    pub(crate) fn tap(&self) -> WireTap {
        self.tap.clone()
    }

    /// Completes the trace, after the shards have ended.
    pub(crate) fn finish(self) -> Finished {
        self.tap.finish();
        let mut before = self.written.load(Ordering::Relaxed);
        loop {
            match self.ended.recv_timeout(STUCK_TIME) {
                Ok(missing) => return Finished { is_read: true, missing },
                Err(RecvTimeoutError::Disconnected) => return Finished { is_read: true, missing: Vec::new() },
                Err(RecvTimeoutError::Timeout) => {}
            }
            let written = self.written.load(Ordering::Relaxed);
            if written == before {
                let name = &self.name;
                (self.report)(&format!("{name} is not complete: nothing could be written for {STUCK_TIME:?}"));
                return Finished { is_read: false, missing: Vec::new() };
            }
            before = written;
        }
    }
}

/// How far a trace has come.
#[derive(Default)]
struct Progress {
    /// The time of the last event that was recorded.
    recorded: Option<SystemTime>,
    /// The time of the last one that was also passed on.
    passed_on: Option<SystemTime>,
    /// The traced connections that have not ended.
    open: u32,
}

impl Progress {
    fn recorded(&mut self, event: &TapEvent) {
        self.recorded = Some(event.time);
        match event.kind {
            TapKind::Opened(_) => self.open += 1,
            TapKind::Ended(_) => self.open -= 1,
            _ => {}
        }
    }

    /// What an output lacks that has all events up to `until`.
    fn missing(&self, until: Option<SystemTime>) -> String {
        let Some(until) = until else { return "it has no connection".to_owned() };
        let rest = match self.open {
            0 => "any later connection".to_owned(),
            1 => "the rest of 1 connection, and any later one".to_owned(),
            open => format!("the rest of {open} connections, and any later one"),
        };
        format!("what followed {} is missing: {rest}", clock(until))
    }
}

/// Writes the events until the tap ends, or nothing more can be written. Output is passed on when no
/// event waits. Returns what the trace lacks because it has ended.
fn write(
    mut reader: TapReader,
    mut recorders: Vec<Box<dyn Recorder>>,
    name: &str,
    written: &AtomicU64,
    report: &Report,
) -> Vec<String> {
    type Step<'s> = &'s dyn Fn(&mut dyn Recorder) -> Result<(), TraceEnd>;
    let (mut progress, mut missing) = (Progress::default(), Vec::new());
    let mut each = |recorders: &mut Vec<Box<dyn Recorder>>, progress: &Progress, step: Step<'_>| {
        recorders.retain_mut(|recorder| match step(recorder.as_mut()) {
            Ok(()) => true,
            Err(end) => {
                // What was written before the limit is passed on.
                let until = if recorder.flush().is_ok() { progress.recorded } else { progress.passed_on };
                report(&format!("{name} has ended: {end}"));
                missing.push(format!("{name} is not complete: {end}; {}", progress.missing(until)));
                false
            }
        });
    };
    while !recorders.is_empty() {
        let event = match reader.try_next() {
            Some(event) => Some(event),
            None => {
                each(&mut recorders, &progress, &|recorder| recorder.flush());
                progress.passed_on = progress.recorded;
                reader.next()
            }
        };
        let Some(event) = event else { break };
        each(&mut recorders, &progress, &|recorder| recorder.record(&event));
        progress.recorded(&event);
        written.fetch_add(1, Ordering::Relaxed);
    }
    each(&mut recorders, &progress, &|recorder| recorder.flush());
    if reader.lost() > 0 {
        report(&format!("{name} lacks {} bytes, which arrived faster than it could be written", reader.lost()));
    }
    missing
}
