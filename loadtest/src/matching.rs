//! Which reply answers which message of a connection. Pure: no clock, no socket.
//!
//! Messages are numbered. A reply whose payload carries the number is matched by it; other replies
//! are matched in order. The numbers of recent messages stay known after their answer or timeout,
//! so that a second answer and a late one are recognized and never taken for the answer to another
//! message.

mod entry;
#[cfg(test)]
mod tests;

use entry::{Entry, State};
use std::collections::VecDeque;

/// When a message was to be sent, and when it was, in nanoseconds since the epoch of the run, below
/// 2⁶².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The intended time: response times are measured from it.
    pub(crate) intended: u64,
    /// The time at which the connection took it: service times are measured from it, and timeouts.
    pub(crate) submitted: u64,
}

/// What a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The answer to a message that waited for it.
    Answer {
        sent: Sent,
        number: u32,
        /// A later message was answered before this one: the reply is reordered, as RFC 4737
        /// section 3 defines it. Of two swapped replies, one is.
        overtaken: bool,
    },
    /// A second answer to a message.
    Duplicate { number: u32 },
    /// The first answer to a message that had expired.
    Late { number: u32, sent: Sent },
    /// An answer to an earlier message that is no longer known: a duplicate, or late.
    Stale { number: u32 },
    /// No message of this number was sent; without a number: nothing that it could answer waits.
    Unasked,
}

/// The messages of one connection that wait for their answers, and the recent ones that do not.
///
/// Twice as many of the last numbers are known as messages have waited at once. While that is one,
/// the window is 48 bytes and owns no memory. With more it owns a ring of 16 bytes for each known
/// number, which grows with the number of waiting messages, and is released by [`Window::drain`]. A
/// message that waits long while others are answered does not make it grow.
#[derive(Debug)]
pub(crate) struct Window {
    messages: Messages,
    /// The number of the next message.
    next: u32,
    /// The number of messages that wait.
    waiting: u32,
}

#[derive(Debug)]
enum Messages {
    /// At most one waits: the last. The entry of a number is at its lowest bit.
    Pair {
        entries: [Entry; 2],
        /// The expected number of messages in flight.
        in_flight: u32,
    },
    Ring(Ring),
}

#[derive(Debug)]
struct Ring {
    /// The last numbers, by number modulo the length: a power of two, and at least twice the number
    /// of waiting messages.
    entries: Box<[Entry]>,
    aside: Option<Box<Aside>>,
    /// The oldest waiting number in `entries`; the next number, if there is none.
    first: u32,
    /// The highest number that was answered.
    highest: u32,
}

/// Messages older than those of the ring, by number: expired ones, then waiting ones. It is rare,
/// and boxed to keep the window small.
#[derive(Debug, Default)]
struct Aside(VecDeque<(u32, Entry)>);

impl Default for Window {
    /// A window for one message in flight.
    fn default() -> Self {
        Self::new(1)
    }
}

impl Window {
    /// A window for this many messages in flight. More are possible.
    pub(crate) fn new(in_flight: usize) -> Self {
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        Self { messages: Messages::Pair { entries: [Entry::UNUSED; 2], in_flight }, next: 0, waiting: 0 }
    }

    /// Adds a message. Returns its number, which wraps to 0 after 2³² messages.
    #[inline]
    pub(crate) fn push(&mut self, sent: Sent) -> u32 {
        let number = self.next;
        let entry = Entry::waiting(sent);
        match &mut self.messages {
            Messages::Pair { entries, .. } if self.waiting == 0 => entries[number as usize % 2] = entry,
            Messages::Pair { entries, in_flight } => {
                let mut ring = Ring::of_pair(*entries, number, *in_flight);
                ring.push(number, entry, self.waiting);
                self.messages = Messages::Ring(ring);
            }
            Messages::Ring(ring) => ring.push(number, entry, self.waiting),
        }
        self.next = number.wrapping_add(1);
        self.waiting += 1;
        number
    }

    /// Removes the last message, which the connection did not take. It must not have been answered.
    pub(crate) fn take_back(&mut self) {
        let number = self.next.wrapping_sub(1);
        let entry = match &mut self.messages {
            Messages::Pair { entries, .. } => &mut entries[number as usize % 2],
            Messages::Ring(ring) => ring.entry(number),
        };
        debug_assert_eq!(entry.state(), State::Waiting, "the last message waits");
        *entry = Entry::UNUSED;
        self.next = number;
        self.waiting -= 1;
    }

    /// Matches a reply that carries the number of its message.
    #[inline]
    pub(crate) fn answered_by_number(&mut self, number: u32) -> Reply {
        if let Some(entry) = self.messages.known(self.next, number)
            && entry.is_waiting()
        {
            let sent = entry.sent();
            entry.set(State::Answered);
            self.waiting -= 1;
            let overtaken = match &mut self.messages {
                Messages::Pair { .. } => false,
                Messages::Ring(ring) => ring.answered(number, self.next),
            };
            return Reply::Answer { sent, number, overtaken };
        }
        self.answered_again(number)
    }

    /// Matches a reply to a number that does not wait among the last ones.
    #[cold]
    fn answered_again(&mut self, number: u32) -> Reply {
        match self.messages.known(self.next, number).map(|entry| (entry.state(), entry)) {
            Some((State::Answered, _)) => Reply::Duplicate { number },
            Some((State::Expired, entry)) => {
                entry.set(State::Answered);
                Reply::Late { number, sent: entry.sent() }
            }
            // One that waits has been handled by the caller.
            Some((State::Unused | State::Waiting, _)) | None => self.answered_aside(number),
        }
    }

    /// Matches a reply without a number, received at this time, with the oldest message that waits.
    /// A message that was submitted at that time or later cannot be the one: a connection that
    /// answers a reply in the same turn does not take a duplicate behind it for the next answer.
    ///
    /// Without a number, a late reply cannot be distinguished from the answer to the next message.
    /// It counts as the latter, so that the loss of a reply does not shift the matching for good.
    /// Service times of a connection are therefore doubtful after a timeout.
    #[inline]
    pub(crate) fn answered_in_order(&mut self, received: u64) -> Reply {
        match self.oldest_waiting() {
            Some((number, entry)) if entry.sent().submitted < received => self.answered_by_number(number),
            _ => Reply::Unasked,
        }
    }

    /// Ends the waiting of the messages that were submitted before this time, the oldest first, and
    /// calls `each` with them. A later answer to one is [`Reply::Late`].
    pub(crate) fn expire(&mut self, before: u64, mut each: impl FnMut(u32, Sent)) {
        while let Some((number, entry)) = self.oldest_waiting().filter(|(_, entry)| entry.sent().submitted < before) {
            self.waiting -= 1;
            match &mut self.messages {
                Messages::Pair { entries, .. } => entries[number as usize % 2].set(State::Expired),
                Messages::Ring(ring) => ring.expired(number, self.next),
            }
            each(number, entry.sent());
        }
    }

    /// Whether a message of this number was sent.
    pub(crate) fn has_sent(&self, number: u32) -> bool {
        (1..=1 << 31).contains(&self.next.wrapping_sub(number))
    }

    /// The number of messages that wait.
    #[inline]
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// The oldest message that waits.
    pub(crate) fn oldest(&self) -> Option<Sent> {
        self.oldest_waiting().map(|(_, entry)| entry.sent())
    }

    /// The number of the oldest message that waits.
    pub(crate) fn oldest_number(&self) -> Option<u32> {
        self.oldest_waiting().map(|(number, _)| number)
    }

    /// Removes all messages that wait, the oldest first, and calls `each` with them: the connection
    /// has ended, or the run is over. Releases the memory.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(u32, Sent)) {
        self.expire(u64::MAX, &mut each);
        if let Messages::Ring(ring) = &self.messages {
            self.messages = Messages::Pair { entries: [Entry::UNUSED; 2], in_flight: ring.len() / 2 };
        }
    }

    #[inline]
    fn oldest_waiting(&self) -> Option<(u32, Entry)> {
        if self.waiting == 0 {
            return None;
        }
        Some(match &self.messages {
            Messages::Pair { entries, .. } => {
                let number = self.next.wrapping_sub(1);
                (number, entries[number as usize % 2])
            }
            Messages::Ring(ring) => ring.oldest(),
        })
    }

    /// Matches a reply to a number that is not among the last ones.
    #[cold]
    fn answered_aside(&mut self, number: u32) -> Reply {
        if let Messages::Ring(ring) = &mut self.messages
            && let Some(entry) = ring.take_aside(number)
        {
            let sent = entry.sent();
            if entry.state() == State::Expired {
                return Reply::Late { number, sent };
            }
            self.waiting -= 1;
            return Reply::Answer { sent, number, overtaken: ring.is_overtaken(number) };
        }
        // Half of the numbers count as earlier than the next one, the others as not sent yet.
        let age = self.next.wrapping_sub(number);
        if (1..=1 << 31).contains(&age) { Reply::Stale { number } } else { Reply::Unasked }
    }
}

impl Messages {
    /// The entry of a number, if it is among the last ones before `next`.
    #[inline]
    fn known(&mut self, next: u32, number: u32) -> Option<&mut Entry> {
        let age = next.wrapping_sub(number);
        match self {
            Self::Pair { entries, .. } => (1..=2).contains(&age).then(|| &mut entries[number as usize % 2]),
            Self::Ring(ring) => (age.wrapping_sub(1) < ring.len()).then(|| ring.entry(number)),
        }
    }
}

impl Ring {
    /// Continues a pair whose last message, the one before `next`, waits.
    #[cold]
    fn of_pair(pair: [Entry; 2], next: u32, in_flight: u32) -> Self {
        let len = (in_flight.max(2) as usize * 2).next_power_of_two();
        let [last, before] = [1, 2].map(|age| next.wrapping_sub(age));
        let mut ring = Self { entries: vec![Entry::UNUSED; len].into(), aside: None, first: last, highest: before };
        for number in [before, last] {
            *ring.entry(number) = pair[number as usize % 2];
        }
        ring
    }

    fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    #[inline]
    fn entry(&mut self, number: u32) -> &mut Entry {
        let at = number as usize & (self.entries.len() - 1);
        &mut self.entries[at]
    }

    #[inline]
    fn push(&mut self, number: u32, entry: Entry, waiting: u32) {
        if waiting >= self.len() / 2 {
            self.grow(number);
        }
        if self.entry(number).is_open() {
            self.set_aside(number);
        }
        *self.entry(number) = entry;
    }

    #[cold]
    fn grow(&mut self, next: u32) {
        let unused = vec![Entry::UNUSED; self.entries.len() * 2].into();
        let old = std::mem::replace(&mut self.entries, unused);
        for age in 1..=old.len() as u32 {
            let number = next.wrapping_sub(age);
            *self.entry(number) = old[number as usize & (old.len() - 1)];
        }
    }

    /// Moves the oldest message out of `entries`: its place is that of the number `next`.
    #[cold]
    fn set_aside(&mut self, next: u32) {
        let number = next.wrapping_sub(self.len());
        let entry = *self.entry(number);
        if number == self.first {
            self.pass_first(next);
        }
        let max = self.entries.len();
        let Aside(aside) = &mut **self.aside.get_or_insert_default();
        aside.push_back((number, entry));
        // The expired ones are at the front.
        while aside.len() > max && aside.front().is_some_and(|(_, entry)| entry.state() == State::Expired) {
            aside.pop_front();
        }
    }

    /// Moves `first` to the next message that waits.
    #[inline]
    fn pass_first(&mut self, next: u32) {
        loop {
            self.first = self.first.wrapping_add(1);
            if self.first == next || self.entry(self.first).is_waiting() {
                return;
            }
        }
    }

    /// Notes the answer to a number in `entries`. Returns whether a later one was answered before.
    #[inline]
    fn answered(&mut self, number: u32, next: u32) -> bool {
        if number == self.first {
            self.pass_first(next);
        }
        let overtaken = self.is_overtaken(number);
        if !overtaken {
            self.highest = number;
        }
        overtaken
    }

    #[inline]
    fn is_overtaken(&self, number: u32) -> bool {
        self.highest.wrapping_sub(number) < 1 << 31
    }

    /// The oldest message that waits; there must be one.
    #[inline]
    fn oldest(&self) -> (u32, Entry) {
        if let Some(Aside(aside)) = self.aside.as_deref()
            && let Some(oldest) = aside.get(aside.partition_point(|(_, entry)| entry.state() == State::Expired))
        {
            return *oldest;
        }
        (self.first, self.entries[self.first as usize & (self.entries.len() - 1)])
    }

    /// Notes that the oldest message that waits has expired.
    fn expired(&mut self, number: u32, next: u32) {
        if number == self.first {
            self.entry(number).set(State::Expired);
            self.pass_first(next);
        } else if let Some((_, entry)) = self.position_aside(number).and_then(|at| self.aside.as_mut()?.0.get_mut(at)) {
            entry.set(State::Expired);
        }
    }

    fn position_aside(&self, number: u32) -> Option<usize> {
        // Numbers are in order, but may wrap.
        let Aside(aside) = self.aside.as_deref()?;
        let (front, _) = aside.front()?;
        aside.binary_search_by_key(&number.wrapping_sub(*front), |(other, _)| other.wrapping_sub(*front)).ok()
    }

    fn take_aside(&mut self, number: u32) -> Option<Entry> {
        let at = self.position_aside(number)?;
        self.aside.as_mut()?.0.remove(at).map(|(_, entry)| entry)
    }
}
