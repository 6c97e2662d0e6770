//! The output of one connection, from the call that sends it until the kernel has written it.
//!
//! A reply to a message that is contained in one input is written in place of the message: only its
//! range is stored, and consecutive replies are together in one *run*: the decoder unmasks a message
//! to behind the replies before it, and a reply that is elsewhere is moved. When the input is
//! decoded, the run and the whole input become one chunk of the output, so that nothing is copied.
//! The input is borrowed during calls of the handler; output that the handler sends after a run
//! therefore waits in a separate queue until the call returns ([`Outbox::commit_reply`]).

use super::input::Input;
use crate::shard::memory::{Memory, UNIT};
use crate::tls::stream::{TlsFailure, TlsStream};
use ringway_codec::{Decoder, Incoming, Place};
use ringway_io::{Chunk, Output};
use std::mem;
use std::ops::Range;
use std::sync::Arc;

/// Chunks up to this size in bytes are copied to the end of the output: one more vector in a
/// gathering send costs more than the copy.
const COPY_MAX: usize = 1024;

/// The number of unused bytes before the output of an owned chunk.
///
/// A copy of 2 KiB and more takes 30 times as long on current AMD cores if its destination is 1 to 15
/// bytes above its source, modulo 4096 (`rep movsb`). Large allocations begin with a page. A frame
/// with a header of 4 bytes would therefore be a slow copy of a payload in a buffer of its own, and a
/// TLS record with its header of 5 bytes a slow copy of a frame.
const LEAD: usize = 64;

/// An owned chunk below this size in bytes is appended to, instead of starting another.
const COALESCE: usize = 16 * 1024;

/// The output that waits for the peer, in order, and its number of bytes. 40 bytes.
///
/// Only this type counts the bytes: all output is added by [`append`](Outbox::append),
/// [`push_shared`](Outbox::push_shared) or [`reply_in_place`](Outbox::reply_in_place), and all
/// written output is removed by [`complete`](Outbox::complete), where a peer's progress is visible.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: OutputQueue,
    /// Bytes queued and in flight. Limits keep it far below 4 GiB: at most `max_buffered` and one
    /// message, each of at most 1 GiB.
    bytes: u32,
    /// The memory that they occupy, in units of 64 bytes: whole buffers.
    held: u32,
}

#[derive(Debug)]
enum OutputQueue {
    Ready(Option<Output>),
    /// Only while an input with replies is decoded.
    Replies(Replies),
}

/// Frames that are contained in one input, as ranges of it. 24 bytes, so that the queue does not
/// grow for it.
#[derive(Debug, Default)]
struct Replies {
    run: Range<u32>,
    /// The reply of the current call, not yet part of the run.
    fresh: Range<u32>,
    around: Option<Box<Around>>,
}

/// Other output that is queued while there are replies in the input; usually none.
#[derive(Debug, Default)]
struct Around {
    before: Option<Output>,
    /// The reply of the current call, if its message was assembled: a range of the decoder's
    /// buffer.
    spill: Option<Range<usize>>,
    behind: Option<Output>,
}

impl Default for OutputQueue {
    fn default() -> Self {
        Self::Ready(None)
    }
}

impl Outbox {
    /// The number of bytes that wait for the peer, including those in flight.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// The number of bytes of memory that the output occupies, including the part in flight.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.held as usize * UNIT
    }

    /// The number of bytes that the output keeps from being freed: its own memory, and a part of the
    /// prepared frames, which other connections hold too.
    pub(crate) fn weight(&self, memory: &Memory) -> usize {
        self.held() + memory.part_of_shared(self.bytes().saturating_sub(self.held()))
    }

    /// Whether no output waits to be passed to the driver; a send may be in flight.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.queue, OutputQueue::Ready(None))
    }

    /// Calls `write` to append bytes at the end.
    pub(crate) fn append(&mut self, memory: &mut Memory, write: impl FnOnce(&mut Vec<u8>)) {
        let (queue, mut ledger) = self.end(memory);
        let written = ledger.append(queue, write);
        self.bytes += written;
        memory.enqueue(written as usize);
    }

    /// Appends a frame that is shared by many connections; a short one is copied.
    pub(crate) fn push_shared(&mut self, frame: &Arc<[u8]>, memory: &mut Memory) {
        if frame.len() <= COPY_MAX {
            return self.append(memory, |out| out.extend_from_slice(frame));
        }
        let (queue, mut ledger) = self.end(memory);
        ledger.push(queue, Chunk::from(Arc::clone(frame)));
        self.bytes += frame.len() as u32;
        memory.enqueue(frame.len());
    }

    /// Appends a part of frames that are shared by many connections. A short part is copied if other
    /// output is queued; if none is, every connection sends the same bytes, without a buffer of its
    /// own.
    pub(crate) fn push_range(&mut self, frames: &Arc<[u8]>, range: Range<u32>, memory: &mut Memory) {
        if range.len() <= COPY_MAX && !self.is_empty() {
            return self.append(memory, |out| out.extend_from_slice(&frames[range.start as usize..range.end as usize]));
        }
        self.bytes += range.len() as u32;
        memory.enqueue(range.len());
        let (queue, mut ledger) = self.end(memory);
        ledger.push(queue, Chunk::Shared { bytes: Arc::clone(frames), range });
    }

    /// Whether a reply of `len` bytes is to be written in place of its message, rather than copied.
    /// A short reply is copied if other output is queued, so that one send has one chunk, and so is
    /// one after other output of the same call.
    #[inline]
    pub(crate) fn takes_in_place(&self, len: usize) -> bool {
        match &self.queue {
            OutputQueue::Ready(None) => true,
            OutputQueue::Ready(Some(_)) => len > COPY_MAX,
            OutputQueue::Replies(replies) => {
                replies.fresh.is_empty() && replies.around.as_ref().is_none_or(|around| around.is_open())
            }
        }
    }

    /// Writes the header of a reply in front of its message. [`commit_reply`](Outbox::commit_reply)
    /// must be called before the input is decoded further.
    #[inline]
    pub(crate) fn reply_in_place(&mut self, incoming: Incoming<'_>, memory: &mut Memory) {
        debug_assert!(self.takes_in_place(incoming.payload().len()), "checked by the caller");
        let (place, range) = incoming.into_server_frame();
        self.bytes += range.len() as u32;
        memory.enqueue(range.len());
        if let OutputQueue::Ready(before) = &mut self.queue {
            let before = before.take();
            let around = before.is_some().then(|| Box::new(Around { before, ..Around::default() }));
            self.queue = OutputQueue::Replies(Replies { around, ..Replies::default() });
        }
        let OutputQueue::Replies(replies) = &mut self.queue else { return };
        match place {
            Place::Input => replies.fresh = range.start as u32..range.end as u32,
            Place::Spill => replies.around.get_or_insert_default().spill = Some(range),
        }
    }

    /// The end of the run of replies in the input; `None` without one. A message that the decoder
    /// moves there ([`Decoder::next_behind`]) is not moved again.
    #[inline]
    pub(crate) fn end_of_replies(&self) -> Option<usize> {
        match &self.queue {
            OutputQueue::Replies(replies) if !replies.run.is_empty() => Some(replies.run.end as usize),
            _ => None,
        }
    }

    /// Completes a call of the handler for a message in `input`: adds the reply to the run before it,
    /// and moves it there unless the decoder has. If output follows a reply, the run is copied out of
    /// the input, in front of that output.
    #[inline]
    pub(crate) fn commit_reply(&mut self, input: &mut [u8], decoder: &mut Decoder, memory: &mut Memory) {
        let OutputQueue::Replies(replies) = &mut self.queue else { return };
        if !replies.fresh.is_empty() {
            let fresh = mem::take(&mut replies.fresh);
            if replies.run.is_empty() {
                replies.run = fresh;
            } else {
                if fresh.start != replies.run.end {
                    input.copy_within(fresh.start as usize..fresh.end as usize, replies.run.end as usize);
                }
                replies.run.end += fresh.end - fresh.start;
            }
        }
        if replies.around.as_ref().is_some_and(|around| !around.is_open()) {
            self.copy_replies(input, Some(decoder), memory);
        }
    }

    /// Completes the decoding of the input: a run of replies becomes a chunk that owns the input.
    /// `in_flight`: a send of this connection is in flight, so that the run has to wait.
    ///
    /// The run is copied instead if it is short and next to other output; if it has to wait and
    /// would occupy a mostly empty receive buffer; or if few receive buffers are free, because slow
    /// readers could occupy all of them.
    #[inline]
    pub(crate) fn finish_input(&mut self, input: Input, in_flight: bool, memory: &mut Memory) {
        let OutputQueue::Replies(replies) = &mut self.queue else { return input.recycle(memory) };
        let Range { start, end } = replies.run;
        let len = (end - start) as usize;
        let alone = replies.around.is_none();
        let chunk = match input {
            input if !alone && len <= COPY_MAX => {
                self.copy_replies(&input, None, memory);
                return input.recycle(memory);
            }
            Input::Buffer(buffer) if buffer.is_scarce() || in_flight && len < buffer.capacity() / 4 => {
                return self.copy_replies(&buffer, None, memory);
            }
            Input::Buffer(buffer) => Chunk::Buffer { buffer, range: start..end },
            Input::Kept(mut bytes) => {
                bytes.truncate(end as usize);
                Chunk::Owned { bytes, start }
            }
        };
        let mut ledger = Ledger { memory, held: &mut self.held };
        if alone {
            ledger.charge(&chunk);
            self.queue = OutputQueue::Ready(Some(Output::One(chunk)));
            return;
        }
        let Around { before: mut queue, behind, .. } = *replies.around.take().unwrap_or_default();
        ledger.push(&mut queue, chunk);
        ledger.join(&mut queue, behind);
        self.queue = OutputQueue::Ready(queue);
    }

    /// Copies the replies out of an input that is still needed.
    pub(crate) fn copy_replies(&mut self, input: &[u8], decoder: Option<&mut Decoder>, memory: &mut Memory) {
        let OutputQueue::Replies(replies) = &mut self.queue else { return };
        let Replies { run, around, .. } = mem::take(replies);
        let Around { before: mut queue, spill, behind } = *around.unwrap_or_default();
        let mut ledger = Ledger { memory, held: &mut self.held };
        if !run.is_empty() {
            let run = &input[run.start as usize..run.end as usize];
            ledger.append(&mut queue, |out| out.extend_from_slice(run));
        }
        if let Some(range) = spill {
            let mut bytes = decoder.and_then(Decoder::take_spill).unwrap_or_default();
            bytes.truncate(range.end);
            ledger.push_or_copy(&mut queue, Chunk::Owned { bytes, start: range.start as u32 });
        }
        ledger.join(&mut queue, behind);
        self.queue = OutputQueue::Ready(queue);
    }

    /// Takes the next output to send, as much as one send takes. Its bytes are counted until
    /// [`complete`](Outbox::complete).
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Output> {
        debug_assert!(matches!(self.queue, OutputQueue::Ready(_)), "no output is taken while an input is decoded");
        match &mut self.queue {
            OutputQueue::Ready(queue) => match queue {
                Some(Output::Many(chunks)) if chunks.len() > Output::MAX_CHUNKS => {
                    Some(Output::Many(chunks.drain(..Output::MAX_CHUNKS).collect()))
                }
                _ => queue.take(),
            },
            OutputQueue::Replies(_) => None,
        }
    }

    /// Appends one chunk of parts, which [`take_first`](Outbox::take_first) takes alone.
    pub(crate) fn push_datagram(&mut self, parts: &[&[u8]], memory: &mut Memory) {
        let mut bytes = memory.take_output();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        self.bytes += bytes.len() as u32;
        memory.enqueue(bytes.len());
        let (queue, mut ledger) = self.end(memory);
        ledger.push(queue, Chunk::from(bytes));
    }

    /// Takes the first chunk, for a socket on which each send is a datagram.
    pub(crate) fn take_first(&mut self) -> Option<Output> {
        let OutputQueue::Ready(queue) = &mut self.queue else { return None };
        match queue {
            Some(Output::Many(chunks)) if chunks.len() > 1 => Some(Output::One(chunks.remove(0))),
            _ => match queue.take()? {
                Output::Many(mut chunks) => chunks.pop().map(Output::One),
                one => Some(one),
            },
        }
    }

    /// Handles the completion of a send: written bytes are no longer counted, and the rest is
    /// queued first.
    #[inline]
    pub(crate) fn complete(&mut self, output: Output, written: usize, memory: &mut Memory) {
        self.bytes -= written as u32;
        memory.dequeue(written);
        let mut ledger = Ledger { memory, held: &mut self.held };
        match &mut self.queue {
            OutputQueue::Ready(queue) if written < output.len() => ledger.put_back(queue, output, written),
            _ => ledger.recycle(output),
        }
    }

    /// Takes the next output to send on a connection with TLS, and seals it. The bytes of its records
    /// are counted from now on, instead of those of the plaintext. `ending`: nothing follows the
    /// queued output, so the layer ends with it. `on_sealed` is called with the output and the number
    /// of its bytes that were sealed.
    ///
    /// # Errors
    /// The layer has failed.
    pub(crate) fn take_sealed(
        &mut self,
        stream: &mut TlsStream,
        scratch: &mut Vec<u8>,
        ending: bool,
        memory: &mut Memory,
        on_sealed: impl FnOnce(&Output, usize),
    ) -> Result<Option<Output>, TlsFailure> {
        if let Some(unsent) = stream.take_unsent() {
            return Ok(Some(unsent));
        }
        let mut sealed = memory.take_output();
        stream.take_own(&mut sealed);
        let mut plaintext = 0;
        if !stream.is_open() {
            if ending {
                self.discard(memory);
            }
        } else if let Some(plain) = self.take() {
            let taken = stream.seal(&plain, scratch, &mut sealed);
            let len = *taken.as_ref().unwrap_or(&0);
            plaintext = len;
            on_sealed(&plain, len);
            self.complete(plain, len, memory);
            taken?;
        }
        if ending && self.is_empty() {
            stream.finish(&mut sealed);
        }
        if sealed.is_empty() {
            memory.give(sealed);
            return Ok(None);
        }
        stream.send_begins(sealed.len(), plaintext);
        self.bytes += sealed.len() as u32;
        memory.enqueue(sealed.len());
        let chunk = Chunk::from(sealed);
        Ledger { memory, held: &mut self.held }.charge(&chunk);
        Ok(Some(Output::One(chunk)))
    }

    /// Handles the completion of a send of sealed output.
    pub(crate) fn complete_sealed(
        &mut self,
        stream: &mut TlsStream,
        output: Output,
        written: usize,
        memory: &mut Memory,
    ) {
        stream.send_progresses(written);
        self.bytes -= written as u32;
        memory.dequeue(written);
        match output {
            Output::One(Chunk::Owned { bytes, start }) if written < bytes.len() - start as usize => {
                stream.keep_unsent(Output::One(Chunk::Owned { bytes, start: start + written as u32 }));
            }
            output => Ledger { memory, held: &mut self.held }.recycle(output),
        }
    }

    /// Drops the queued output, so that only the send in flight remains.
    pub(crate) fn discard(&mut self, memory: &mut Memory) {
        if let OutputQueue::Ready(queue) = &mut self.queue
            && let Some(output) = queue.take()
        {
            self.bytes -= output.len() as u32;
            memory.dequeue(output.len());
            Ledger { memory, held: &mut self.held }.recycle(output);
        }
    }

    /// Releases the output at the end of the connection, except for the send in flight, which the
    /// driver returns and which is no longer charged.
    pub(crate) fn release(&mut self, memory: &mut Memory) {
        self.discard(memory);
        memory.dequeue(mem::take(&mut self.bytes) as usize);
        memory.discharge(mem::take(&mut self.held) as usize * UNIT);
    }

    /// The last queue of output, after the replies in the input if there are any, and its
    /// accounting.
    fn end<'o>(&'o mut self, memory: &'o mut Memory) -> (&'o mut Option<Output>, Ledger<'o>) {
        let queue = match &mut self.queue {
            OutputQueue::Ready(queue) => queue,
            OutputQueue::Replies(replies) => &mut replies.around.get_or_insert_default().behind,
        };
        (queue, Ledger { memory, held: &mut self.held })
    }
}

impl Around {
    /// Whether the next reply can still join the run: no output follows it.
    fn is_open(&self) -> bool {
        self.spill.is_none() && self.behind.is_none()
    }
}

/// Changes a queue, and charges its memory to the shard and to the connection.
struct Ledger<'a> {
    memory: &'a mut Memory,
    /// The connection's memory, in units.
    held: &'a mut u32,
}

impl Ledger<'_> {
    #[inline]
    fn charge(&mut self, chunk: &Chunk) {
        *self.held += (self.memory.charge_chunk(chunk) / UNIT) as u32;
    }

    #[inline]
    fn discharge(&mut self, chunk: &Chunk) {
        *self.held -= (self.memory.discharge_chunk(chunk) / UNIT) as u32;
    }

    /// Recycles the memory of an output.
    #[inline]
    fn recycle(&mut self, output: Output) {
        *self.held -= (self.memory.recycle(output) / UNIT) as u32;
    }

    /// Calls `write` to append to the last chunk of `queue` if that can grow, or to a new one.
    /// Returns the number of bytes written.
    fn append(&mut self, queue: &mut Option<Output>, write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        let open = match &*queue {
            Some(Output::One(chunk)) => can_grow(chunk),
            Some(Output::Many(chunks)) => chunks.last().is_some_and(can_grow),
            None => false,
        };
        if !open {
            let mut bytes = self.memory.take_output();
            bytes.resize(LEAD, 0);
            self.push(queue, Chunk::Owned { bytes, start: LEAD as u32 });
        }
        let last = match queue {
            Some(Output::One(chunk)) => Some(chunk),
            Some(Output::Many(chunks)) => chunks.last_mut(),
            None => None,
        };
        match last {
            Some(chunk @ Chunk::Owned { .. }) => self.change(chunk, write),
            _ => unreachable!("the last chunk can grow, or was pushed above"),
        }
    }

    /// Calls `write` to append to an owned chunk. Returns the number of bytes written.
    fn change(&mut self, chunk: &mut Chunk, write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        self.discharge(chunk);
        let written = match chunk {
            Chunk::Owned { bytes, .. } => {
                let before = bytes.len();
                write(bytes);
                bytes.len() - before
            }
            _ => 0,
        };
        self.charge(chunk);
        written as u32
    }

    fn push(&mut self, queue: &mut Option<Output>, chunk: Chunk) {
        self.charge(&chunk);
        match queue {
            None => *queue = Some(Output::One(chunk)),
            Some(Output::Many(chunks)) => chunks.push(chunk),
            Some(Output::One(_)) => {
                if let Some(Output::One(first)) = queue.take() {
                    *queue = Some(Output::Many(vec![first, chunk]));
                }
            }
        }
    }

    /// As [`push`](Ledger::push); a short chunk is copied.
    fn push_or_copy(&mut self, queue: &mut Option<Output>, chunk: Chunk) {
        if chunk.len() > COPY_MAX {
            return self.push(queue, chunk);
        }
        self.append(queue, |out| out.extend_from_slice(chunk.as_slice()));
        if let Chunk::Owned { bytes, .. } = chunk {
            self.memory.give(bytes);
        }
    }

    /// Appends output to `queue` that was queued separately and is already charged.
    fn join(&mut self, queue: &mut Option<Output>, output: Option<Output>) {
        let chunks = match output {
            Some(Output::One(chunk)) => vec![chunk],
            Some(Output::Many(chunks)) => chunks,
            None => return,
        };
        for chunk in chunks {
            self.discharge(&chunk);
            self.push_or_copy(queue, chunk);
        }
    }

    /// Puts the bytes of `output` from `written` on in front of the queue.
    fn put_back(&mut self, queue: &mut Option<Output>, output: Output, mut written: usize) {
        let chunks = match output {
            Output::One(chunk) => vec![chunk],
            Output::Many(chunks) => chunks,
        };
        let mut left = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            if written >= chunk.len() {
                written -= chunk.len();
                self.recycle(Output::One(chunk));
            } else {
                left.push(self.skip(chunk, mem::take(&mut written)));
            }
        }
        match queue.take() {
            Some(Output::One(chunk)) => left.push(chunk),
            Some(Output::Many(chunks)) => left.extend(chunks),
            None => {}
        }
        *queue = Some(Output::Many(left));
    }

    /// The chunk without its first `count` bytes.
    fn skip(&mut self, chunk: Chunk, count: usize) -> Chunk {
        match chunk {
            Chunk::Owned { bytes, start } => Chunk::Owned { bytes, start: start + count as u32 },
            Chunk::Shared { bytes, range } => {
                let rest = range.start + count as u32..range.end;
                self.memory.skip_shared(count);
                Chunk::Shared { bytes, range: rest }
            }
            Chunk::Buffer { buffer, range } => Chunk::Buffer { buffer, range: range.start + count as u32..range.end },
        }
    }
}

fn can_grow(chunk: &Chunk) -> bool {
    matches!(chunk, Chunk::Owned { bytes, .. } if bytes.len() < COALESCE)
}

#[cfg(test)]
mod tests;
