//! The events of a tap, written as lines or as a capture.

use super::capture::{Capture, Ends, Side};
use super::observer::Observer;
use super::output::{Bounded, TraceEnd};
use super::text::{clock, date};
use ringway::{TapDirection, TapEnd, TapEvent, TapKind, TappedConnection};
use std::collections::HashMap;
use std::io::Write;
use std::time::SystemTime;

/// Writes what a tap reports.
pub(crate) trait Recorder: Send {
    /// Writes one event.
    fn record(&mut self, event: &TapEvent) -> Result<(), TraceEnd>;

    /// Passes on what is buffered.
    fn flush(&mut self) -> Result<(), TraceEnd>;
}

/// A writer of lines. Those of one event are passed on together.
pub(crate) trait LineWriter: Send {
    fn write(&mut self, lines: &str) -> Result<(), TraceEnd>;
    fn flush(&mut self) -> Result<(), TraceEnd>;
}

impl<W: Write + Send> LineWriter for Bounded<W> {
    fn write(&mut self, lines: &str) -> Result<(), TraceEnd> {
        self.write_whole(lines.as_bytes())
    }

    fn flush(&mut self) -> Result<(), TraceEnd> {
        self.flush()
    }
}

/// Who has sent bytes: on an outgoing connection, this side is the client.
fn side(is_outgoing: bool, direction: TapDirection) -> Side {
    if is_outgoing == (direction == TapDirection::Sent) { Side::Client } else { Side::Server }
}

/// The bytes that the client and the server have sent in total.
fn totals(is_outgoing: bool, end: &TapEnd) -> [u64; 2] {
    if is_outgoing { [end.sent, end.received] } else { [end.received, end.sent] }
}

/// Writes lines for people.
pub(crate) struct Lines<W> {
    out: W,
    connections: HashMap<u32, (Observer, bool)>,
}

impl<W: LineWriter> Lines<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, connections: HashMap::new() }
    }
}

impl<W: LineWriter> Recorder for Lines<W> {
    fn record(&mut self, event: &TapEvent) -> Result<(), TraceEnd> {
        let (number, time) = (event.connection, event.time);
        let mut lines = Vec::new();
        let mut last = None;
        let is_outgoing = match &event.kind {
            TapKind::Opened(connection) => {
                self.connections.insert(number, (Observer::default(), connection.is_outgoing));
                return self.out.write(&prefixed(number, time, '*', &opening_text(time, connection)));
            }
            TapKind::Bytes { direction, offset, bytes } => {
                let Some((observer, is_outgoing)) = self.connections.get_mut(&number) else { return Ok(()) };
                observer.bytes(side(*is_outgoing, *direction), *offset, bytes, time, &mut lines);
                *is_outgoing
            }
            TapKind::Ended(end) => {
                let Some((mut observer, is_outgoing)) = self.connections.remove(&number) else { return Ok(()) };
                observer.finish(totals(is_outgoing, end), time, &mut lines);
                let TapEnd { received, sent, cause, .. } = end;
                let text = format!("ended: {cause}; {received} bytes received, {sent} sent");
                last = Some(prefixed(number, time, '*', &text));
                is_outgoing
            }
            _ => return Ok(()),
        };
        let mut text = String::new();
        for (side, (time, line)) in lines {
            let mark = if (side == Side::Client) == is_outgoing { '>' } else { '<' };
            text += &prefixed(number, time, mark, &line);
        }
        text += last.as_deref().unwrap_or_default();
        if text.is_empty() { Ok(()) } else { self.out.write(&text) }
    }

    fn flush(&mut self) -> Result<(), TraceEnd> {
        self.out.flush()
    }
}

fn prefixed(number: u32, time: SystemTime, mark: char, text: &str) -> String {
    format!("{} #{number} {mark} {text}\n", clock(time))
}

fn opening_text(time: SystemTime, connection: &TappedConnection) -> String {
    let address = |address: Option<std::net::SocketAddr>| {
        address.map_or_else(|| "a Unix socket".to_owned(), |address| address.to_string())
    };
    let (local, remote) = (address(connection.local), address(connection.remote));
    let (verb, tls) = (
        if connection.is_outgoing { "connected to" } else { "accepted from" },
        if connection.has_tls { ", with TLS" } else { "" },
    );
    format!("{verb} {remote} at {local}{tls}, on {}", date(time))
}

/// Writes a capture file.
pub(crate) struct Packets<W: Write> {
    capture: Capture<W>,
    outgoing: HashMap<u32, bool>,
}

impl<W: Write> Packets<W> {
    /// Writes the header of the file.
    pub(crate) fn new(out: Bounded<W>) -> Result<Self, TraceEnd> {
        Ok(Self { capture: Capture::new(out)?, outgoing: HashMap::new() })
    }
}

impl<W: Write + Send> Recorder for Packets<W> {
    fn record(&mut self, event: &TapEvent) -> Result<(), TraceEnd> {
        let (number, time) = (event.connection, event.time);
        match &event.kind {
            TapKind::Opened(TappedConnection { is_outgoing, local, remote, .. }) => {
                self.outgoing.insert(number, *is_outgoing);
                let (client, server) = if *is_outgoing { (*local, *remote) } else { (*remote, *local) };
                self.capture.open(number, time, Ends::new(number, client, server))
            }
            TapKind::Bytes { direction, offset, bytes } => {
                let is_outgoing = self.outgoing.get(&number).copied().unwrap_or_default();
                self.capture.bytes(number, time, side(is_outgoing, *direction), *offset, bytes)
            }
            TapKind::Ended(end) => {
                let is_outgoing = self.outgoing.remove(&number).unwrap_or_default();
                let first = if end.peer_finished { TapDirection::Received } else { TapDirection::Sent };
                self.capture.close(number, time, side(is_outgoing, first), totals(is_outgoing, end))
            }
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), TraceEnd> {
        self.capture.flush()
    }
}
