//! The published messages of a shard that some subscriber may not have been given yet, in order.

use super::exchange::Content;
use std::collections::VecDeque;

/// The memory of an entry without its frame, in bytes: its places in the log and in its topic, and
/// the counts and lengths next to the frame.
pub(crate) const ENTRY: usize = 128;

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
