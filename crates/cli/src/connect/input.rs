//! Messages from a pipe: lines, binary messages with their lengths, or JSON objects.

use super::commands::{check_reason, close_code};
use super::event::{Body, Command};
use ringway::CloseCode;
use ringway_loadtest::recording::{Record, RecordContent, RecordDirection};
use ringway_loadtest::size;
use std::io::{self, BufRead, Read};

/// The form of messages in pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PipeFormat {
    /// Text messages, one a line.
    Lines,
    /// Binary messages, each behind its length in 4 bytes, big endian.
    Prefixed,
    /// One JSON object a line.
    Jsonl,
}

/// The largest message that is read.
const MAX_MESSAGE: usize = 1 << 30;

/// Reads messages in their order.
pub(super) struct Messages<R> {
    input: R,
    format: PipeFormat,
    /// The number of the line or of the message, from 1.
    number: u64,
}

impl<R: BufRead> Messages<R> {
    pub(super) fn new(input: R, format: PipeFormat) -> Self {
        Self { input, format, number: 0 }
    }

    /// The next command: a message, [`Command::Finish`] at the end, or [`Command::Fail`].
    pub(super) fn next(&mut self) -> Command {
        loop {
            self.number += 1;
            let result = match self.format {
                PipeFormat::Lines => self.line().map(|line| line.map(|line| Command::Send(Body::Text(line)))),
                PipeFormat::Prefixed => self.prefixed().map(|bytes| bytes.map(|it| Command::Send(Body::Binary(it)))),
                PipeFormat::Jsonl => match self.line() {
                    Ok(Some(line)) => match self.object(&line) {
                        // What was received by the one who has recorded it.
                        Ok(None) => continue,
                        Ok(command) => Ok(command),
                        Err(error) => Err(error),
                    },
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                },
            };
            return match result {
                Ok(Some(command)) => command,
                Ok(None) => Command::Finish,
                Err(error) => Command::Fail(error),
            };
        }
    }

    /// The next line without its end; `None` at the end of the input.
    fn line(&mut self) -> Result<Option<String>, String> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(MAX_MESSAGE as u64 + 2).read_until(b'\n', &mut bytes);
        if read.map_err(|error| unreadable(&error))? == 0 {
            return Ok(None);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        let number = self.number;
        if bytes.len() > MAX_MESSAGE {
            return Err(format!("line {number} of standard input has more than {}", size(MAX_MESSAGE)));
        }
        String::from_utf8(bytes).map(Some).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("line {number} of standard input is not UTF-8 at byte {at}: send bytes with --binary")
        })
    }

    /// The next message behind its length; `None` at the end of the input.
    fn prefixed(&mut self) -> Result<Option<Vec<u8>>, String> {
        let number = self.number;
        let mut length = Vec::new();
        self.input.by_ref().take(4).read_to_end(&mut length).map_err(|error| unreadable(&error))?;
        let length = match <[u8; 4]>::try_from(&length[..]) {
            Ok(length) => u32::from_be_bytes(length) as usize,
            Err(_) if length.is_empty() => return Ok(None),
            Err(_) => {
                let read = length.len();
                return Err(format!("standard input ends within the length of message {number}: {read} of 4 bytes"));
            }
        };
        if length > MAX_MESSAGE {
            let max = size(MAX_MESSAGE);
            return Err(format!(
                "message {number} of standard input has a length of {length} bytes, above the maximum of {max}: \
                 each message needs its length in 4 bytes, big endian, before it"
            ));
        }
        // The memory grows with the bytes that are read.
        let mut bytes = Vec::new();
        self.input.by_ref().take(length as u64).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if bytes.len() < length {
            let read = bytes.len();
            return Err(format!("standard input ends within message {number}: {read} of {length} bytes"));
        }
        Ok(Some(bytes))
    }

    /// The command of a JSON object; `None` for one that was received.
    fn object(&self, line: &str) -> Result<Option<Command>, String> {
        let wrong = |error: String| format!("line {} of standard input: {error}", self.number);
        let record = Record::parse(line).map_err(wrong)?;
        match record.direction {
            RecordDirection::Received => Ok(None),
            RecordDirection::Sent => command(record.content).map(Some).map_err(wrong),
        }
    }
}

/// The command that sends what was recorded.
pub(super) fn command(content: RecordContent) -> Result<Command, String> {
    Ok(match content {
        RecordContent::Text(text) => Command::Send(Body::Text(text)),
        RecordContent::Binary(bytes) => Command::Send(Body::Binary(bytes)),
        RecordContent::Ping(payload) => Command::Ping(payload),
        RecordContent::Pong(payload) => Command::Pong(payload),
        // A close frame without a code.
        RecordContent::Close(1005, reason) if reason.is_empty() => Command::Close(CloseCode::NO_STATUS, reason),
        RecordContent::Close(code, reason) => {
            check_reason(&reason)?;
            Command::Close(close_code(&code.to_string())?, reason)
        }
    })
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot read standard input: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(format: PipeFormat, input: &[u8]) -> Vec<Command> {
        let mut messages = Messages::new(input, format);
        let mut commands = Vec::new();
        loop {
            commands.push(messages.next());
            if matches!(commands.last(), Some(Command::Finish | Command::Fail(_))) {
                return commands;
            }
        }
    }

    fn text(text: &str) -> Command {
        Command::Send(Body::Text(text.into()))
    }

    #[test]
    fn a_line_is_a_message_also_an_empty_one_and_the_last_without_an_end() {
        let expected = [text("a"), text(""), text("b\r"), text("c"), Command::Finish];
        assert_eq!(all(PipeFormat::Lines, b"a\n\r\nb\r\r\nc"), expected);
        assert_eq!(all(PipeFormat::Lines, b""), [Command::Finish]);
    }

    #[test]
    fn a_line_that_is_not_text_is_named() {
        let expected =
            Command::Fail("line 2 of standard input is not UTF-8 at byte 1: send bytes with --binary".into());
        assert_eq!(all(PipeFormat::Lines, b"a\nb\xff\nc\n"), [text("a"), expected]);
    }

    #[test]
    fn binary_messages_have_their_lengths_before_them() {
        let binary = |bytes: &[u8]| Command::Send(Body::Binary(bytes.to_vec()));
        let input = b"\0\0\0\x02\xff\n\0\0\0\0\0\0\0\x01a";
        assert_eq!(all(PipeFormat::Prefixed, input), [binary(b"\xff\n"), binary(b""), binary(b"a"), Command::Finish]);
        for (input, part) in [
            (&b"\0\0\0"[..], "ends within the length of message 1: 3 of 4 bytes"),
            (b"\0\0\0\x02a", "ends within message 1: 1 of 2 bytes"),
            (b"hello, this is text", "message 1 of standard input has a length of 1751477356 bytes"),
        ] {
            let commands = all(PipeFormat::Prefixed, input);
            assert!(matches!(&commands[..], [Command::Fail(error)] if error.contains(part)), "{commands:?}");
        }
    }

    #[test]
    fn objects_are_commands_and_received_ones_are_skipped() {
        let input = br#"{"type":"text","data":"a"}
{"direction":"received","type":"text","data":"b"}
{"type":"ping"}
{"type":"close","code":4000,"reason":"bye"}
{"type":"close","code":1006}
"#;
        let wrong = "line 5 of standard input: 1006 is no close code that may be sent: use 1000 to 1003, 1007 to 1014, \
                     or 3000 to 4999 for your own";
        let close = Command::Close(CloseCode::new(4000), "bye".into());
        let expected = [text("a"), Command::Ping(Vec::new()), close, Command::Fail(wrong.into())];
        assert_eq!(all(PipeFormat::Jsonl, input), expected);
        assert_eq!(
            all(PipeFormat::Jsonl, b"\n"),
            [Command::Fail("line 1 of standard input: EOF while parsing a value at column 0".into())]
        );
    }
}
