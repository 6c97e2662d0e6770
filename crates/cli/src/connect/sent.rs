//! What was sent, and what was not: a message counts as sent when the kernel has taken all of it.

use ringway_loadtest::recording::RecordContent;
use std::collections::VecDeque;
use std::time::SystemTime;

/// A message that waits for the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The number of bytes of this connection up to its end.
    end: u64,
    pub(super) at: SystemTime,
    /// For a recording.
    pub(super) content: Option<RecordContent>,
    /// Whether it is a message, not a control frame.
    is_message: bool,
}

/// The output of one connection. With TLS, the send in flight has more bytes than are counted here, so
/// a message of it waits until all of that send is taken.
#[derive(Default)]
pub(super) struct Output {
    /// The bytes of all frames so far.
    bytes: u64,
    waiting: VecDeque<Waiting>,
}

impl Output {
    /// A frame was queued: the output of the connection had `before` bytes, and now has `after`.
    pub(super) fn queued(&mut self, before: usize, after: usize, content: Option<RecordContent>, is_message: bool) {
        self.bytes += after.saturating_sub(before) as u64;
        self.waiting.push_back(Waiting { end: self.bytes, at: SystemTime::now(), content, is_message });
    }

    /// The engine has queued a frame by itself: a pong. What is behind it waits for it, too.
    pub(super) fn queued_by_engine(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The next frame that was sent, while `buffered` bytes wait.
    pub(super) fn next_sent(&mut self, buffered: usize) -> Option<Waiting> {
        let sent = self.bytes.saturating_sub(buffered as u64);
        if self.waiting.front()?.end > sent {
            return None;
        }
        self.waiting.pop_front()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().filter(|frame| frame.is_message).count()
    }

    /// The connection has ended.
    pub(super) fn clear(&mut self) {
        self.bytes = 0;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_sent_when_no_byte_of_it_waits() {
        let mut output = Output::default();
        output.queued(0, 10, None, true);
        output.queued(10, 15, None, false);
        // A pong is in front of the third one.
        output.queued_by_engine(7);
        output.queued(22, 42, None, true);
        assert_eq!(output.waiting(), 2);
        assert!(output.next_sent(42).is_none());
        assert!(output.next_sent(33).is_none());
        assert_eq!(output.next_sent(32).map(|frame| frame.end), Some(10));
        assert_eq!(output.next_sent(27).map(|frame| frame.end), Some(15));
        assert!(output.next_sent(20).is_none());
        // So is one behind it.
        output.queued_by_engine(7);
        assert!(output.next_sent(8).is_none());
        assert_eq!(output.next_sent(7).map(|frame| frame.end), Some(42));
        assert!(output.next_sent(0).is_none() && output.waiting() == 0);
    }
}
