//! The frames of one direction, read as their bytes arrive: a line for each.

use super::text::{EXCERPT, hex, quoted};
use ringway_codec::{Header, OpCode};
use std::time::SystemTime;

/// A line of a trace without its prefix, and the time of its first byte.
pub(super) type TimedLine = (SystemTime, String);

/// Bytes that are no frame.
pub(super) struct BadFrame<'b> {
    pub(super) why: String,
    pub(super) head: Vec<u8>,
    pub(super) time: SystemTime,
    /// The bytes that were not read.
    pub(super) rest: &'b [u8],
}

/// Reads frames. What it reports depends on the bytes alone, not on how they are split, apart from
/// the times.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// The bytes of a header that is not complete.
    head: Vec<u8>,
    started: Option<SystemTime>,
    frame: Option<Frame>,
    /// The message whose last frame is still to come: its opcode, and whether it is compressed.
    message: Option<(OpCode, bool)>,
}

/// A frame whose payload is being received.
#[derive(Debug)]
struct Frame {
    header: Header,
    time: SystemTime,
    /// The opcode of its message, and whether its payload is compressed.
    of: (OpCode, bool),
    /// The first bytes of the payload, unmasked.
    excerpt: Vec<u8>,
    is_reported: bool,
    /// The bytes of the payload that are still to come.
    left: u64,
}

impl FrameReader {
    /// Reads bytes, up to the first that is wrong.
    pub(super) fn read<'b>(
        &mut self,
        mut bytes: &'b [u8],
        time: SystemTime,
        lines: &mut Vec<TimedLine>,
    ) -> Result<(), BadFrame<'b>> {
        while !bytes.is_empty() {
            let Some(frame) = &mut self.frame else {
                let time = *self.started.get_or_insert(time);
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                match Header::parse(&self.head) {
                    Ok(Some((header, _))) => self.begin(header, time, lines),
                    Ok(None) => {}
                    Err(error) => {
                        let head = std::mem::take(&mut self.head);
                        return Err(BadFrame { why: error.to_string(), head, time, rest: bytes });
                    }
                }
                continue;
            };
            let len = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
            frame.take(&bytes[..len]);
            bytes = &bytes[len..];
            self.report_complete(lines);
        }
        Ok(())
    }

    /// Skips bytes that were lost. Returns whether the position in the stream is still known.
    pub(super) fn skip(&mut self, lost: u64, lines: &mut Vec<TimedLine>) -> bool {
        let Some(frame) = self.frame.as_mut().filter(|frame| frame.left >= lost) else {
            self.finish(lines);
            return false;
        };
        frame.report(lines);
        frame.left -= lost;
        self.report_complete(lines);
        true
    }

    /// Reports a frame that is not complete, at the end.
    pub(super) fn finish(&mut self, lines: &mut Vec<TimedLine>) {
        if let Some(frame) = &mut self.frame {
            let missing = frame.left;
            frame.report(lines);
            lines.push((frame.time, format!("the last {missing} bytes of this frame are missing")));
        }
        if let Some(time) = self.started.take() {
            lines.push((time, format!("incomplete header {}", hex(&self.head, 0))));
        }
        (self.frame, self.message) = (None, None);
        self.head.clear();
    }

    fn begin(&mut self, header: Header, time: SystemTime, lines: &mut Vec<TimedLine>) {
        let of = match header.opcode {
            OpCode::Continuation => self.message.unwrap_or((OpCode::Continuation, header.rsv1)),
            opcode => (opcode, header.rsv1),
        };
        if !header.opcode.is_control() {
            self.message = (!header.fin).then_some(of);
        }
        self.head.clear();
        self.started = None;
        self.frame = Some(Frame { header, time, of, excerpt: Vec::new(), is_reported: false, left: header.length });
        self.report_complete(lines);
    }

    /// Reports the frame once its excerpt is complete, and ends it with its payload.
    fn report_complete(&mut self, lines: &mut Vec<TimedLine>) {
        let Some(frame) = &mut self.frame else { return };
        if frame.left == 0 || frame.excerpt.len() == frame.excerpt_max() {
            frame.report(lines);
        }
        if frame.left == 0 {
            self.frame = None;
        }
    }
}

impl Frame {
    /// A control frame is shown whole.
    fn excerpt_max(&self) -> usize {
        if self.header.opcode.is_control() { 125 } else { EXCERPT }
    }

    fn take(&mut self, payload: &[u8]) {
        self.left -= payload.len() as u64;
        let room = self.excerpt_max() - self.excerpt.len();
        if self.is_reported || room == 0 {
            return;
        }
        for byte in &payload[..payload.len().min(room)] {
            let at = self.excerpt.len() % 4;
            self.excerpt.push(byte ^ self.header.mask.map_or(0, |mask| mask[at]));
        }
    }

    fn report(&mut self, lines: &mut Vec<TimedLine>) {
        if !std::mem::replace(&mut self.is_reported, true) {
            lines.push((self.time, self.line()));
        }
    }

    fn line(&self) -> String {
        let Header { fin, opcode, rsv1, mask, length } = self.header;
        let name = match opcode {
            OpCode::Continuation => "continuation",
            OpCode::Text => "text",
            OpCode::Binary => "binary",
            OpCode::Close => "close",
            OpCode::Ping => "ping",
            OpCode::Pong => "pong",
        };
        let flags = match (fin, rsv1) {
            (true, true) => "FIN,RSV1",
            (true, false) => "FIN",
            (false, true) => "RSV1",
            (false, false) => "-",
        };
        let mut line = format!("{name} {flags} len={length}");
        if let Some([a, b, c, d]) = mask {
            line += &format!(" mask={a:02x}{b:02x}{c:02x}{d:02x}");
        }
        let more = length - self.excerpt.len() as u64;
        let (kind, is_compressed) = self.of;
        if is_compressed {
            line += " compressed";
        }
        let payload = match (kind, self.excerpt.split_first_chunk::<2>()) {
            _ if length == 0 => return line,
            (OpCode::Close, Some((code, reason))) => {
                let code = u16::from_be_bytes(*code);
                if reason.is_empty() && more == 0 {
                    code.to_string()
                } else {
                    format!("{code} {}", quoted(reason, more))
                }
            }
            _ if is_compressed => hex(&self.excerpt, more),
            (OpCode::Text | OpCode::Ping | OpCode::Pong, _) => quoted(&self.excerpt, more),
            _ => hex(&self.excerpt, more),
        };
        line + " " + &payload
    }
}
