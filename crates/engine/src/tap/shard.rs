//! The traced connections of one shard.

use super::event::{TapDirection, TapEnd, TapEvent, TapKind, TappedConnection};
use super::queue::{EVENT_COST, Unread, WireTap};
use ringway_io::{Chunk, Output, Slot};
use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

/// The maximum number of bytes of one event: what fits into an IP packet, in a capture. The parts of
/// long output are queued one by one, as far as there is room.
const PIECE: usize = 60 * 1024;

/// What a shard knows of a tap.
#[derive(Debug)]
pub(crate) struct ShardTap {
    tap: WireTap,
    traced: HashMap<Slot, Traced>,
    is_unread: bool,
}

/// A traced connection.
#[derive(Debug)]
struct Traced {
    number: u32,
    received: u64,
    sent: u64,
    /// The bytes at the front of the output that were reported when they were passed to the driver,
    /// and are not written yet. What a short send leaves over is passed to it again.
    unwritten: usize,
}

impl ShardTap {
    pub(crate) fn new(tap: WireTap) -> Self {
        Self { tap, traced: HashMap::new(), is_unread: false }
    }

    /// Whether nothing is reported any more: the reader is gone, or no connection of this shard is
    /// traced, or will be.
    pub(crate) fn is_over(&self) -> bool {
        self.is_unread || self.traced.is_empty() && self.tap.is_exhausted()
    }

    /// Traces a connection, if there is a place for it and room in the queue for its first and its
    /// last event, so that each connection that begins also ends. `describe` is called then.
    pub(crate) fn opened(&mut self, slot: Slot, now: Instant, describe: impl FnOnce() -> TappedConnection) {
        if self.tap.is_exhausted() || !self.tap.reserve(2 * EVENT_COST) {
            return;
        }
        let Some(number) = self.tap.number() else { return self.tap.release(2 * EVENT_COST) };
        self.traced.insert(slot, Traced { number, received: 0, sent: 0, unwritten: 0 });
        self.report(number, now, TapKind::Opened(describe()), EVENT_COST);
    }

    /// Reports received plaintext.
    pub(crate) fn received(&mut self, slot: Slot, bytes: &[u8], now: Instant) {
        let Some(traced) = self.traced.get_mut(&slot) else { return };
        let (number, offset) = (traced.number, traced.received);
        traced.received += bytes.len() as u64;
        self.copy(number, TapDirection::Received, offset, bytes.len(), [bytes], now);
    }

    /// Reports output that is passed to the driver. What an earlier call has reported, and a short
    /// send has left over, is not reported again.
    pub(crate) fn passed(&mut self, slot: Slot, output: &Output, now: Instant) {
        let Some(traced) = self.traced.get_mut(&slot) else { return };
        let len = output.len();
        let known = traced.unwritten.min(len);
        traced.unwritten += len - known;
        self.sent(slot, output, known..len, now);
    }

    /// Handles the completion of a send of reported output.
    pub(crate) fn written(&mut self, slot: Slot, written: usize) {
        if let Some(traced) = self.traced.get_mut(&slot) {
            traced.unwritten = traced.unwritten.saturating_sub(written);
        }
    }

    /// Reports a range of an output.
    pub(crate) fn sent(&mut self, slot: Slot, output: &Output, range: Range<usize>, now: Instant) {
        let Some(traced) = self.traced.get_mut(&slot) else { return };
        let (number, offset) = (traced.number, traced.sent);
        let len = range.len();
        traced.sent += len as u64;
        let mut at = 0;
        let parts = output.chunks().map(Chunk::as_slice).map(move |chunk| {
            let (start, end) = (range.start.clamp(at, at + chunk.len()), range.end.clamp(at, at + chunk.len()));
            let part = &chunk[start - at..end - at];
            at += chunk.len();
            part
        });
        self.copy(number, TapDirection::Sent, offset, len, parts, now);
    }

    /// Reports the end of a connection.
    pub(crate) fn ended(&mut self, slot: Slot, now: Instant, peer_finished: bool, cause: impl FnOnce() -> String) {
        if let Some(Traced { number, received, sent, .. }) = self.traced.remove(&slot) {
            let end = TapEnd { received, sent, peer_finished, cause: cause() };
            self.report(number, now, TapKind::Ended(end), EVENT_COST);
        }
    }

    /// Queues `total` bytes in pieces. A piece that does not fit is lost.
    fn copy<'b>(
        &mut self,
        number: u32,
        direction: TapDirection,
        mut offset: u64,
        total: usize,
        parts: impl IntoIterator<Item = &'b [u8]>,
        now: Instant,
    ) {
        let mut parts = parts.into_iter();
        let (mut part, mut left): (&[u8], usize) = (&[], total);
        while left > 0 {
            let len = left.min(PIECE);
            let cost = len + EVENT_COST;
            let fits = self.tap.reserve(cost);
            let mut bytes = Vec::with_capacity(if fits { len } else { 0 });
            let mut missing = len;
            while missing > 0 {
                if part.is_empty() {
                    part = parts.next().expect("the parts have `total` bytes");
                    continue;
                }
                let (taken, rest) = part.split_at(part.len().min(missing));
                if fits {
                    bytes.extend_from_slice(taken);
                }
                missing -= taken.len();
                part = rest;
            }
            if fits {
                self.report(number, now, TapKind::Bytes { direction, offset, bytes }, cost);
            } else {
                self.tap.lose(len as u64);
            }
            offset += len as u64;
            left -= len;
        }
    }

    fn report(&mut self, connection: u32, now: Instant, kind: TapKind, cost: usize) {
        let event = TapEvent { connection, time: self.tap.time(now), kind };
        if let Err(Unread) = self.tap.send(event, cost) {
            self.is_unread = true;
        }
    }
}
