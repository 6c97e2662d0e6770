//! Messages to a pipe: lines, binary messages with their lengths, or JSON objects; and notes on
//! standard error.

use super::escape::{escape_into, escaped};
use super::event::{Body, Closed, Event};
use super::input::PipeFormat;
use super::outcome::{may_be_lost, meaning};
use super::show::{Show, micros};
use ringway_loadtest::recording::{Record, RecordContent, RecordDirection};
use ringway_loadtest::size;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The bytes that are collected for one write.
const CHUNK: usize = 64 << 10;

/// Writes messages to `W`, and notes to standard error.
pub(super) struct Output<W> {
    out: W,
    format: PipeFormat,
    /// Whether the data goes to a terminal, which it must not control.
    is_terminal: bool,
    /// For what is said about the opening, with `-v`.
    show: Show,
    pending: Vec<u8>,
    /// Binary messages that lines cannot hold.
    skipped: u64,
}

impl<W: Write> Output<W> {
    pub(super) fn new(out: W, format: PipeFormat, is_terminal: bool, show: Show) -> Self {
        Self { out, format, is_terminal, show, pending: Vec::new(), skipped: 0 }
    }

    /// Writes an event: a message to the output, another one to standard error if it matters.
    pub(super) fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Message { at, body } => self.message(*at, body)?,
            Event::Ping { at, payload } => self.control(*at, RecordContent::Ping(payload.clone())),
            Event::Pong { at, payload, .. } => self.control(*at, RecordContent::Pong(payload.clone())),
            Event::Opened(_) if !self.show.is_verbose => {}
            Event::Opened(_) => {
                let mut text = String::new();
                self.show.event(event, &mut text);
                note_lines(&text);
            }
            Event::Closed(closed) => self.closed(closed),
            Event::Failed(error) => note(error),
            Event::Retrying { after, attempt, of } => {
                note(&format!("connecting again in {}, attempt {attempt} of {of}", micros(*after)));
            }
            Event::Note(text) => note(text),
            Event::Trace(lines) => drop(io::stderr().write_all(lines.as_bytes())),
            Event::Sent { .. } | Event::Resumed | Event::Done(_) => {}
        }
        if self.pending.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Writes what was collected.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let result = self.out.write_all(&self.pending).and_then(|()| self.out.flush());
        self.pending.clear();
        result
    }

    /// Drops what was collected: nobody reads it.
    pub(super) fn discard(&mut self) {
        self.pending.clear();
    }

    /// Says how many messages lines could not hold.
    pub(super) fn finish(&self) {
        if self.skipped > 1 {
            note(&format!("{} binary messages were not printed", self.skipped));
        }
    }

    fn message(&mut self, at: SystemTime, body: &Body) -> io::Result<()> {
        match (self.format, body) {
            (PipeFormat::Lines, Body::Text(text)) if self.is_terminal => {
                let mut line = String::new();
                escape_into(text, true, &mut line);
                self.pending.extend_from_slice(line.as_bytes());
                self.pending.push(b'\n');
            }
            (PipeFormat::Lines, Body::Text(text)) => {
                self.pending.extend_from_slice(text.as_bytes());
                self.pending.push(b'\n');
            }
            (PipeFormat::Lines, Body::Binary(bytes)) => {
                self.skipped += 1;
                if self.skipped == 1 {
                    let size = size(bytes.len());
                    note(&format!("a binary message of {size} is not printed: use --binary or --jsonl"));
                }
            }
            (PipeFormat::Prefixed, body) => {
                // A message has at most 1 GiB.
                let len = u32::try_from(body.bytes().len()).map_err(io::Error::other)?;
                self.pending.extend_from_slice(&len.to_be_bytes());
                self.pending.extend_from_slice(body.bytes());
            }
            (PipeFormat::Jsonl, Body::Text(text)) => self.record(at, RecordContent::Text(text.clone())),
            (PipeFormat::Jsonl, Body::Binary(bytes)) => self.record(at, RecordContent::Binary(bytes.clone())),
        }
        Ok(())
    }

    fn control(&mut self, at: SystemTime, content: RecordContent) {
        if self.format == PipeFormat::Jsonl {
            self.record(at, content);
        }
    }

    fn record(&mut self, at: SystemTime, content: RecordContent) {
        let mut line = String::new();
        let time = at.duration_since(UNIX_EPOCH).ok();
        Record { time, direction: RecordDirection::Received, content }.write(&mut line);
        self.pending.extend_from_slice(line.as_bytes());
    }

    fn closed(&mut self, closed: &Closed) {
        let Closed { at, code, reason, how, clean, unsent, .. } = closed;
        if self.format == PipeFormat::Jsonl && closed.by_server {
            self.record(*at, RecordContent::Close(code.as_u16(), reason.clone()));
        }
        if *unsent > 0 {
            note(&may_be_lost(*unsent));
        }
        let is_usual = *clean && *unsent == 0 && (!closed.by_server || matches!(code.as_u16(), 1000 | 1005));
        if !is_usual || self.show.is_verbose {
            let reason = if reason.is_empty() { String::new() } else { format!(" \"{reason}\"") };
            let clean = if *clean { "clean" } else { "not clean" };
            note(&format!("{how}: {code} ({}){reason}, {clean}", meaning(*code)));
        }
    }
}

/// A line on standard error. One that is closed takes nothing.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "ringway: {}", escaped(text));
}

/// Lines that are escaped already.
fn note_lines(text: &str) {
    for line in text.lines() {
        let _ = writeln!(io::stderr(), "ringway: {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: PipeFormat, is_terminal: bool, bodies: &[Body]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut output = Output::new(&mut bytes, format, is_terminal, Show::new(false, false, false));
        for body in bodies {
            output.event(&Event::Message { at: UNIX_EPOCH, body: body.clone() }).expect("a vector");
        }
        output.flush().expect("a vector");
        bytes
    }

    fn text(text: &str) -> Body {
        Body::Text(text.into())
    }

    #[test]
    fn lines_are_the_text_alone_and_escaped_on_a_terminal() {
        let bodies = [text("a\u{1b}[2J"), text(""), Body::Binary(vec![1]), text("ü")];
        assert_eq!(written(PipeFormat::Lines, false, &bodies), "a\u{1b}[2J\n\nü\n".as_bytes());
        assert_eq!(written(PipeFormat::Lines, true, &bodies), "a\\x1b[2J\n\nü\n".as_bytes());
    }

    #[test]
    fn binary_output_has_the_length_before_each_message() {
        let bodies = [Body::Binary(vec![0xff]), text("ab"), text("")];
        assert_eq!(written(PipeFormat::Prefixed, false, &bodies), b"\0\0\0\x01\xff\0\0\0\x02ab\0\0\0\0");
    }

    #[test]
    fn objects_have_time_direction_type_and_data() {
        let expected = "{\"time\":0.000000,\"direction\":\"received\",\"type\":\"text\",\"data\":\"a\"}\n\
                        {\"time\":0.000000,\"direction\":\"received\",\"type\":\"binary\",\"base64\":\"AQ==\"}\n";
        assert_eq!(written(PipeFormat::Jsonl, false, &[text("a"), Body::Binary(vec![1])]), expected.as_bytes());
    }
}
