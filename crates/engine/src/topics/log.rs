//! The published messages of a shard that some subscriber may not have been given yet, in order.

use ringway_codec::Prepared;
use std::collections::VecDeque;

/// The memory of an entry without its frame, in bytes: its places in the log and in its topic, and
/// the counts and lengths next to the frame.
pub(crate) const ENTRY: usize = 128;

/// The content of an entry of the log, and of a parcel.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Message {
        key: u64,
        prepared: Prepared,
    },
    /// This number of messages was dropped on the way to this shard.
    Gap(u64),
}

impl Content {
    pub(crate) fn frame_len(&self) -> usize {
        match self {
            Self::Message { prepared, .. } => prepared.as_frame().len(),
            Self::Gap(_) => 0,
        }
    }
}

/// Entries with consecutive numbers.
#[derive(Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    bytes: usize,
}

/// A published message, or a gap.
pub(crate) struct Entry {
    pub(crate) topic: u32,
    pub(crate) content: Content,
}

impl Log {
    /// The number of the next entry.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The number of the first entry.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of bytes that the entries occupy.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends an entry, and returns its number.
    pub(crate) fn push(&mut self, topic: u32, content: Content) -> u64 {
        let number = self.next();
        self.bytes += ENTRY + content.frame_len();
        self.entries.push_back(Entry { topic, content });
        number
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The end of the segment that begins with the first entry: at least one entry, and further ones
    /// up to `max` bytes in all.
    pub(crate) fn segment_end(&self, max: usize) -> u64 {
        let mut bytes = 0;
        let count = self.entries.iter().take_while(|entry| {
            let is_first = bytes == 0;
            bytes += ENTRY + entry.content.frame_len();
            is_first || bytes <= max
        });
        self.first + count.count() as u64
    }

    /// Drops the entries below `number`.
    pub(crate) fn drop_before(&mut self, number: u64) {
        while self.first < number
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes -= ENTRY + entry.content.frame_len();
            self.first += 1;
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(1024);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Content {
        Content::Message { key: 0, prepared: Prepared::text(&"m".repeat(len)) }
    }

    #[test]
    fn entries_have_consecutive_numbers_and_their_bytes_are_counted() {
        let mut log = Log::default();
        assert_eq!((0..5).map(|topic| log.push(topic, message(10))).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(log.bytes(), 5 * (ENTRY + 12));
        log.drop_before(3);
        assert_eq!((log.first(), log.next(), log.bytes()), (3, 5, 2 * (ENTRY + 12)));
        assert!(log.get(2).is_none() && log.get(5).is_none());
        assert_eq!(log.get(4).map(|entry| entry.topic), Some(4));
        log.drop_before(100);
        assert_eq!((log.first(), log.is_empty(), log.bytes()), (5, true, 0));
        assert_eq!(log.push(9, Content::Gap(3)), 5);
    }

    #[test]
    fn a_segment_has_an_entry_and_further_ones_up_to_its_limit() {
        let mut log = Log::default();
        for len in [5000, 10, 10, 5000, 10] {
            log.push(0, message(len));
        }
        let ends = [0, 1, 5300, 5500, 20_000].map(|max| log.segment_end(max));
        assert_eq!(ends, [1, 1, 2, 3, 5]);
        log.drop_before(1);
        assert_eq!(log.segment_end(300), 3);
    }
}
