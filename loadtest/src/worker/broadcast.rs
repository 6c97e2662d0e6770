//! Broadcast: messages of a few connections that the server sends to all.
//!
//! A published message has the number of its publisher, its sequence number and the time of its
//! publication. Each thread collects when its readers receive a message; when it has waited long
//! enough, it reports the deliveries to the conductor, which joins those of all threads.

use super::Conn;
use super::context::Context;
use super::crew::Crew;
use crate::tally::Delivery;
use ringway::Message;
use std::collections::BTreeMap;

/// The length of the head of a published message.
pub(crate) const HEAD: usize = 24;

/// The first bytes of a published message.
const MAGIC: [u8; 4] = *b"rwb1";

/// The deliveries on one thread that were not reported yet, by the time of publication.
#[derive(Default)]
pub(super) struct Deliveries {
    open: BTreeMap<(u64, u32, u32), Vec<u64>>,
}

/// The head of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) publisher: u32,
    pub(super) number: u32,
    pub(super) published: u64,
}

impl Head {
    pub(super) fn write(self, to: &mut [u8; HEAD]) {
        to[..4].copy_from_slice(&MAGIC);
        to[4..8].copy_from_slice(&self.publisher.to_be_bytes());
        to[8..12].copy_from_slice(&self.number.to_be_bytes());
        to[12..20].copy_from_slice(&self.published.to_be_bytes());
        to[20..24].copy_from_slice(&self.check().to_be_bytes());
    }

    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let number = |at: usize| payload.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let published = payload.get(12..20)?.try_into().ok().map(u64::from_be_bytes)?;
        let head = Self { publisher: number(4)?, number: number(8)?, published };
        (payload[..4] == MAGIC && number(20)? == head.check()).then_some(head)
    }

    fn check(self) -> u32 {
        crate::message::mix(self.publisher ^ self.published as u32, self.number ^ (self.published >> 32) as u32)
    }
}

impl Deliveries {
    /// Notes a delivery.
    pub(super) fn note(&mut self, head: Head, now: u64) {
        self.open.entry((head.published, head.publisher, head.number)).or_default().push(now - head.published);
    }

    /// Takes the deliveries of the messages that were published before this time.
    pub(super) fn take(&mut self, before: u64) -> Vec<Delivery> {
        let rest = self.open.split_off(&(before, 0, 0));
        let taken = std::mem::replace(&mut self.open, rest);
        let deliveries = taken.into_iter().map(|((published, publisher, number), after)| Delivery {
            published,
            publisher,
            number,
            after,
        });
        deliveries.collect()
    }
}

/// Publishes a message on a connection.
pub(super) fn publish(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, _intended: u64) -> bool {
    let line = conn.state();
    let (publisher, number, salt) = (line.place, line.next, line.salt);
    let len = crew.source.len(salt, number).max(HEAD);
    cx.scratch.clear();
    cx.scratch.resize(len, b'.');
    let mut head = [0; HEAD];
    Head { publisher: publisher * cx.threads as u32 + cx.index as u32, number, published: cx.now }.write(&mut head);
    cx.scratch[..HEAD].copy_from_slice(&head);
    if !conn.send(Message::binary(&cx.scratch)).is_accepted() {
        return false;
    }
    conn.state().next = number.wrapping_add(1);
    crew.ledger.counts.sent += 1;
    crew.ledger.counts.bytes_sent += len as u64;
    crew.done += 1;
    crew.latest = cx.now;
    if let Some(quota) = &mut crew.quota {
        *quota -= 1;
    }
    true
}

/// Handles a message that the server has distributed.
pub(super) fn message(crew: &mut Crew, cx: &Context, message: &Message<'_>) {
    let payload = message.payload();
    let counts = &mut crew.ledger.counts;
    counts.arrived += 1;
    counts.bytes_received += payload.len() as u64;
    let Some(head) = Head::read(payload) else {
        counts.unasked += 1;
        return;
    };
    if head.published <= cx.now && cx.counts(head.published) {
        counts.received += 1;
        crew.ledger.reach.each.record(cx.now - head.published);
        crew.deliveries.note(head, cx.now);
    }
}
