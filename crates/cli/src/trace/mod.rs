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
use ringway::{TapOptions, TapReader, WireTap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

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
    ended: Receiver<()>,
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
            write(reader, recorders, &of_thread, &count, &reports);
            // The program may have stopped waiting.
            let _ = end.send(());
        })?;
        Ok(Self { tap, name, report, written, ended })
    }

    /// The tap, for the configuration of the server or client.
    pub(crate) fn tap(&self) -> WireTap {
        self.tap.clone()
    }

    /// Completes the trace, after the shards have ended. Returns `false` if nobody reads it.
    pub(crate) fn finish(self) -> bool {
        self.tap.finish();
        let mut before = self.written.load(Ordering::Relaxed);
        while self.ended.recv_timeout(STUCK_TIME) == Err(RecvTimeoutError::Timeout) {
            let written = self.written.load(Ordering::Relaxed);
            if written == before {
                let name = &self.name;
                (self.report)(&format!("{name} is not complete: nothing could be written for {STUCK_TIME:?}"));
                return false;
            }
            before = written;
        }
        true
    }
}

/// Writes the events until the tap ends, or nothing more can be written. Output is passed on when no
/// event waits.
fn write(
    mut reader: TapReader,
    mut recorders: Vec<Box<dyn Recorder>>,
    name: &str,
    written: &AtomicU64,
    report: &Report,
) {
    type Step<'s> = &'s dyn Fn(&mut dyn Recorder) -> Result<(), TraceEnd>;
    let each = |recorders: &mut Vec<Box<dyn Recorder>>, step: Step<'_>| {
        recorders.retain_mut(|recorder| match step(recorder.as_mut()) {
            Ok(()) => true,
            Err(end) => {
                // What was written before the limit is passed on.
                let _ = recorder.flush();
                report(&format!("{name} has ended: {end}"));
                false
            }
        });
    };
    while !recorders.is_empty() {
        let event = match reader.try_next() {
            Some(event) => Some(event),
            None => {
                each(&mut recorders, &|recorder| recorder.flush());
                reader.next()
            }
        };
        let Some(event) = event else { break };
        each(&mut recorders, &|recorder| recorder.record(&event));
        written.fetch_add(1, Ordering::Relaxed);
    }
    each(&mut recorders, &|recorder| recorder.flush());
    if reader.lost() > 0 && !recorders.is_empty() {
        report(&format!("{name} lacks {} bytes, which arrived faster than it could be written", reader.lost()));
    }
}
