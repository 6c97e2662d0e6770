//! Recorded messages: one JSON object a line, as `ringway connect --record` and `--jsonl` write them.

mod speed;

pub use speed::Speed;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::fmt::Write;
use std::time::Duration;

/// A message or control frame, with its time and its direction.
///
/// ```
/// use ringway_loadtest::recording::{Record, RecordContent, RecordDirection};
/// use std::time::Duration;
///
/// let record = Record::parse(r#"{"time": 1.5, "type": "text", "data": "hello"}"#)?;
/// assert_eq!(record.time, Some(Duration::from_millis(1500)));
/// assert_eq!((record.direction, record.content), (RecordDirection::Sent, RecordContent::Text("hello".into())));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The time since 1970, in microseconds.
    pub time: Option<Duration>,
    /// Which side has sent it.
    pub direction: RecordDirection,
    /// What was sent.
    pub content: RecordContent,
}

/// Which side has sent a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordDirection {
    /// The side that has recorded it.
    #[default]
    Sent,
    /// Its peer.
    Received,
}

/// A message or control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordContent {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame: its code, or 1005 for none, and its reason.
    Close(u16, String),
}

/// The members of a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    time: Option<f64>,
    #[serde(default)]
    direction: RecordDirection,
    r#type: RecordKind,
    data: Option<String>,
    base64: Option<String>,
    code: Option<u16>,
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RecordKind {
    Text,
    Binary,
    Ping,
    Pong,
    Close,
}

/// The largest time: the year 9999.
const MAX_TIME: f64 = 253_402_300_800.0;

impl Record {
    /// Parses a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let line: Line = serde_json::from_str(line).map_err(|error| {
            let text = error.to_string();
            // It is always line 1.
            text.replace(" at line 1 column ", " at column ")
        })?;
        let time = match line.time {
            None => None,
            Some(time) if (0.0..=MAX_TIME).contains(&time) => Some(Duration::from_micros((time * 1e6).round() as u64)),
            Some(time) => return Err(format!("the time {time} is out of range: give seconds since 1970")),
        };
        let is_close = line.r#type == RecordKind::Close;
        if !is_close && (line.code.is_some() || line.reason.is_some()) {
            return Err("code and reason are for the type close".into());
        }
        if is_close && (line.data.is_some() || line.base64.is_some()) {
            return Err("the type close has a code and a reason, and no data".into());
        }
        let content = match line.r#type {
            RecordKind::Text => match (line.data, line.base64) {
                (Some(text), None) => RecordContent::Text(text),
                _ => return Err("the type text has its text in data".into()),
            },
            RecordKind::Binary => RecordContent::Binary(bytes(line.data, line.base64)?),
            RecordKind::Ping => RecordContent::Ping(control(line.data, line.base64)?),
            RecordKind::Pong => RecordContent::Pong(control(line.data, line.base64)?),
            RecordKind::Close => RecordContent::Close(line.code.unwrap_or(1005), line.reason.unwrap_or_default()),
        };
        Ok(Self { time, direction: line.direction, content })
    }

    /// Appends the line, with its line feed. Characters that could control a terminal are escaped.
    pub fn write(&self, out: &mut String) {
        out.push('{');
        if let Some(time) = self.time {
            let _ = write!(out, "\"time\":{}.{:06},", time.as_secs(), time.subsec_micros());
        }
        let direction = match self.direction {
            RecordDirection::Sent => "sent",
            RecordDirection::Received => "received",
        };
        let _ = write!(out, "\"direction\":\"{direction}\",\"type\":");
        match &self.content {
            RecordContent::Text(text) => {
                out.push_str("\"text\",\"data\":");
                string(text, out);
            }
            RecordContent::Binary(bytes) => {
                out.push_str("\"binary\",\"base64\":\"");
                STANDARD.encode_string(bytes, out);
                out.push('"');
            }
            RecordContent::Ping(payload) => {
                out.push_str("\"ping\"");
                payload_member(payload, out);
            }
            RecordContent::Pong(payload) => {
                out.push_str("\"pong\"");
                payload_member(payload, out);
            }
            RecordContent::Close(code, reason) => {
                let _ = write!(out, "\"close\",\"code\":{code},\"reason\":");
                string(reason, out);
            }
        }
        out.push_str("}\n");
    }
}

/// The payload of a control frame: text if it is text.
fn payload_member(payload: &[u8], out: &mut String) {
    if let Ok(text) = std::str::from_utf8(payload) {
        out.push_str(",\"data\":");
        string(text, out);
    } else {
        out.push_str(",\"base64\":\"");
        STANDARD.encode_string(payload, out);
        out.push('"');
    }
}

/// A JSON string (RFC 8259 section 7).
fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn bytes(data: Option<String>, base64: Option<String>) -> Result<Vec<u8>, String> {
    match (data, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(text)) => STANDARD.decode(text).map_err(|error| format!("base64: {error}")),
        _ => Err("the type binary has its bytes in base64, or as text in data".into()),
    }
}

fn control(data: Option<String>, base64: Option<String>) -> Result<Vec<u8>, String> {
    if data.is_none() && base64.is_none() {
        return Ok(Vec::new());
    }
    let payload = bytes(data, base64)?;
    if payload.len() > 125 {
        return Err(format!("a ping or pong has at most 125 bytes, and this one has {}", payload.len()));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &Record) -> String {
        let mut out = String::new();
        record.write(&mut out);
        out
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let time = Some(Duration::from_micros(1_795_368_510_000_042));
        for (content, text) in [
            (RecordContent::Text("grüße \"\\\n\u{1b}\u{9b}".into()), r#""text","data":"grüße \"\\\n\u001b\u009b"}"#),
            (RecordContent::Binary(vec![0, 255, 1]), r#""binary","base64":"AP8B"}"#),
            (RecordContent::Ping(b"x".to_vec()), r#""ping","data":"x"}"#),
            (RecordContent::Pong(vec![255]), r#""pong","base64":"/w=="}"#),
            (RecordContent::Close(4001, "bye".into()), r#""close","code":4001,"reason":"bye"}"#),
        ] {
            for (direction, word) in [(RecordDirection::Sent, "sent"), (RecordDirection::Received, "received")] {
                let record = Record { time, direction, content: content.clone() };
                let written = line(&record);
                let head = format!(r#"{{"time":1795368510.000042,"direction":"{word}","type":"#);
                assert_eq!(written, format!("{head}{text}\n"));
                assert_eq!(Record::parse(written.trim_end()), Ok(record));
            }
        }
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        for (text, part) in [
            ("", "EOF while parsing"),
            ("hello", "expected value at column 1"),
            (r#"{"type":"text"}"#, "has its text in data"),
            (r#"{"type":"text","base64":"AA=="}"#, "has its text in data"),
            (r#"{"type":"binary"}"#, "has its bytes in base64"),
            (r#"{"type":"binary","base64":"A"}"#, "base64: "),
            (r#"{"type":"binary","data":"a","base64":"AA=="}"#, "has its bytes in base64"),
            (r#"{"type":"close","data":"a"}"#, "has a code and a reason"),
            (r#"{"type":"text","data":"a","code":1000}"#, "code and reason are for the type close"),
            (r#"{"type":"video","data":"a"}"#, "unknown variant `video`"),
            (r#"{"type":"text","data":"a","tpye":1}"#, "unknown field `tpye`"),
            (r#"{"type":"text","data":"a","time":-1}"#, "the time -1 is out of range"),
            (r#"{"type":"text","data":"\ud800"}"#, "hex escape"),
        ] {
            let error = Record::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        let long = format!(r#"{{"type":"ping","data":"{}"}}"#, "x".repeat(126));
        assert!(Record::parse(&long).is_err_and(|error| error.contains("125 bytes")));
    }
}
