//! How the prompt shows events: one line with the time and the kind for each, with the text behind
//! it, or a table of bytes below it.

use super::escape::{escape_into, escaped};
use super::event::{Answers, Body, Closed, Event, Opened};
use super::hex::hex_view;
use super::outcome::{may_be_lost, meaning};
use super::pretty::pretty_json;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ringway_loadtest::{size, time};
use std::fmt::Write;
use std::time::{Duration, SystemTime};

/// The characters of a text, and the bytes of a binary message, that are shown.
const MAX_TEXT: usize = 64 << 10;
const MAX_BYTES: usize = 512;

/// What distinguishes lines on a terminal with colours.
#[derive(Clone, Copy)]
enum Tone {
    Text,
    Binary,
    Control,
    Good,
    Bad,
}

pub(super) struct Show {
    pub(super) is_coloured: bool,
    /// Whether JSON is indented.
    pub(super) is_pretty: bool,
    /// Whether headers and all pongs are shown.
    pub(super) is_verbose: bool,
    zone: TimeZone,
}

impl Show {
    pub(super) fn new(is_coloured: bool, is_pretty: bool, is_verbose: bool) -> Self {
        Self { is_coloured, is_pretty, is_verbose, zone: TimeZone::system() }
    }

    /// Appends the lines of an event.
    pub(super) fn event(&self, event: &Event, out: &mut String) {
        match event {
            Event::Opened(opened) => self.opened(opened, out),
            Event::Message { at, body: Body::Text(text) } => self.text(*at, text, out),
            Event::Message { at, body: Body::Binary(bytes) } => {
                self.head(*at, &format!("binary {}", size(bytes.len())), Tone::Binary, out);
                out.push('\n');
                hex_view(bytes, MAX_BYTES, "  ", out);
            }
            Event::Ping { at, payload } => {
                self.head(*at, &format!("ping {}, answered", size(payload.len())), Tone::Control, out);
                payload_of(payload, out);
            }
            Event::Pong { at, payload, answers } => match answers {
                Answers::Ping(took) => {
                    let took = micros(*took);
                    self.head(*at, &format!("pong {}, round trip {took}", size(payload.len())), Tone::Control, out);
                    payload_of(payload, out);
                }
                Answers::KeepAlive(_) if !self.is_verbose => {}
                Answers::KeepAlive(took) => {
                    self.head(
                        *at,
                        &format!("pong of --ping-interval, round trip {}", micros(*took)),
                        Tone::Control,
                        out,
                    );
                    out.push('\n');
                }
                Answers::Nothing => {
                    self.head(*at, &format!("pong {}, not asked for", size(payload.len())), Tone::Control, out);
                    payload_of(payload, out);
                }
            },
            Event::Closed(closed) => self.closed(closed, out),
            Event::Failed(error) => self.line(&escaped(error), Tone::Bad, out),
            Event::Retrying { after, attempt, of } => {
                let _ = writeln!(out, "connecting again in {}, attempt {attempt} of {of}", micros(*after));
            }
            Event::Note(note) => {
                escape_into(note, true, out);
                out.push('\n');
            }
            Event::Trace(lines) => out.push_str(lines),
            Event::Sent { .. } | Event::Resumed | Event::Done(_) => {}
        }
    }

    fn opened(&self, opened: &Opened, out: &mut String) {
        let Opened { url, address, took, .. } = opened;
        self.line(&format!("connected to {url} at {address} in {}", micros(*took)), Tone::Good, out);
        if let Some(tls) = &opened.tls {
            let _ = writeln!(out, "  {}", escaped(tls));
        }
        if let Some(certificate) = &opened.certificate {
            let _ = writeln!(out, "  certificate {}", escaped(certificate));
        }
        if let Some(subprotocol) = &opened.subprotocol {
            let _ = writeln!(out, "  subprotocol {}", escaped(subprotocol));
        }
        if let Some(extensions) = &opened.extensions {
            let _ = writeln!(out, "  extensions {}", escaped(extensions));
        }
        if self.is_verbose {
            let _ = writeln!(out, "  HTTP/1.1 101 Switching Protocols");
            for (name, value) in &opened.headers {
                let _ = writeln!(out, "  {}: {}", escaped(name), escaped(value));
            }
        }
    }

    fn text(&self, at: SystemTime, text: &str, out: &mut String) {
        let pretty = if self.is_pretty { pretty_json(text) } else { None };
        self.head(at, &format!("text {}", size(text.len())), Tone::Text, out);
        let shown = pretty.as_deref().unwrap_or(text);
        let end = shown.char_indices().nth(MAX_TEXT).map_or(shown.len(), |(end, _)| end);
        // Further lines are indented, so that they cannot look like lines of this program.
        for (index, line) in shown[..end].split('\n').enumerate() {
            if index > 0 || pretty.is_some() {
                out.push_str(if index == 0 { "\n  │ " } else { "  │ " });
            } else {
                out.push_str(" │ ");
            }
            escape_into(line, false, out);
            out.push('\n');
        }
        if end < shown.len() {
            let _ = writeln!(out, "  … {} of {} are not shown", size(shown.len() - end), size(shown.len()));
        }
    }

    fn closed(&self, closed: &Closed, out: &mut String) {
        let Closed { at, code, reason, how, clean, unsent, .. } = closed;
        let mut text = escaped(how);
        let _ = write!(text, ": {code} ({})", meaning(*code));
        if !reason.is_empty() {
            let _ = write!(text, " \"{}\"", escaped(reason));
        }
        text.push_str(if *clean { ", clean" } else { ", not clean" });
        self.head(*at, &text, if *clean { Tone::Good } else { Tone::Bad }, out);
        out.push('\n');
        if *unsent > 0 {
            let _ = writeln!(out, "  {}", may_be_lost(*unsent));
        }
    }

    /// The time and the kind.
    fn head(&self, at: SystemTime, kind: &str, tone: Tone, out: &mut String) {
        let clock = self.clock(at);
        if self.is_coloured {
            let _ = write!(out, "\x1b[2m{clock}\x1b[0m \x1b[{}m{kind}\x1b[0m", tone.colour());
        } else {
            let _ = write!(out, "{clock} {kind}");
        }
    }

    fn line(&self, text: &str, tone: Tone, out: &mut String) {
        if self.is_coloured {
            let _ = writeln!(out, "\x1b[{}m{text}\x1b[0m", tone.colour());
        } else {
            let _ = writeln!(out, "{text}");
        }
    }

    /// The time of day in the zone of the system, in milliseconds.
    fn clock(&self, at: SystemTime) -> String {
        match Timestamp::try_from(at) {
            Ok(at) => {
                let time = at.to_zoned(self.zone.clone()).time();
                format!("{:02}:{:02}:{:02}.{:03}", time.hour(), time.minute(), time.second(), time.millisecond())
            }
            Err(_) => "--:--:--.---".into(),
        }
    }
}

impl Tone {
    /// The parameter of SGR (ECMA-48 section 8.3.117).
    fn colour(self) -> u8 {
        match self {
            Self::Text => 36,
            Self::Binary => 35,
            Self::Control => 33,
            Self::Good => 32,
            Self::Bad => 31,
        }
    }
}

/// The payload of a control frame behind its line.
fn payload_of(payload: &[u8], out: &mut String) {
    if payload.is_empty() {
        return out.push('\n');
    }
    match std::str::from_utf8(payload) {
        Ok(text) => {
            out.push_str(" │ ");
            escape_into(text, false, out);
            out.push('\n');
        }
        Err(_) => {
            out.push('\n');
            hex_view(payload, MAX_BYTES, "  ", out);
        }
    }
}

/// A duration for a person.
pub(super) fn micros(duration: Duration) -> String {
    time(duration.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway::CloseCode;

    fn plain() -> Show {
        Show { is_coloured: false, is_pretty: false, is_verbose: false, zone: TimeZone::UTC }
    }

    fn shown(show: &Show, event: &Event) -> String {
        let mut out = String::new();
        show.event(event, &mut out);
        out
    }

    fn at() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(43_384_123)
    }

    fn text(text: &str) -> Event {
        Event::Message { at: at(), body: Body::Text(text.into()) }
    }

    #[test]
    fn a_message_has_its_time_its_kind_and_its_size() {
        assert_eq!(shown(&plain(), &text("hello")), "12:03:04.123 text 5 B │ hello\n");
        let binary = Event::Message { at: at(), body: Body::Binary(b"hi".to_vec()) };
        let expected = "12:03:04.123 binary 2 B\n  00000000  68 69                                            │hi│\n";
        assert_eq!(shown(&plain(), &binary), expected);
        let coloured = Show { is_coloured: true, ..plain() };
        assert_eq!(shown(&coloured, &text("a")), "\x1b[2m12:03:04.123\x1b[0m \x1b[36mtext 1 B\x1b[0m │ a\n");
    }

    #[test]
    fn further_lines_are_indented_and_control_characters_are_escaped() {
        let event = text("one\nconnected to\r\x1b[2J");
        assert_eq!(shown(&plain(), &event), "12:03:04.123 text 21 B │ one\n  │ connected to\\r\\x1b[2J\n");
        let json = Show { is_pretty: true, ..plain() };
        assert_eq!(shown(&json, &text("[1]")), "12:03:04.123 text 3 B\n  │ [\n  │   1\n  │ ]\n");
        assert_eq!(shown(&json, &text("[1")), "12:03:04.123 text 2 B │ [1\n");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let shown = shown(&plain(), &text(&"ü".repeat(MAX_TEXT + 1)));
        assert!(shown.ends_with("\n  … 2 B of 131074 B are not shown\n"), "{}", &shown[shown.len() - 60..]);
    }

    #[test]
    fn a_close_has_its_code_its_meaning_and_who_closed() {
        let closed = Closed {
            at: at(),
            code: CloseCode::new(4001),
            reason: "bye\x1b".into(),
            how: "closed by the server".into(),
            clean: true,
            by_server: true,
            unsent: 0,
        };
        assert_eq!(
            shown(&plain(), &Event::Closed(closed)),
            "12:03:04.123 closed by the server: 4001 (code of the application) \"bye\\x1b\", clean\n"
        );
    }

    #[test]
    fn a_pong_has_its_round_trip() {
        let pong = |answers| shown(&plain(), &Event::Pong { at: at(), payload: b"x".to_vec(), answers });
        let took = Duration::from_micros(420);
        assert_eq!(pong(Answers::Ping(took)), "12:03:04.123 pong 1 B, round trip 420 µs │ x\n");
        assert_eq!(pong(Answers::KeepAlive(took)), "");
        assert_eq!(pong(Answers::Nothing), "12:03:04.123 pong 1 B, not asked for │ x\n");
    }
}
