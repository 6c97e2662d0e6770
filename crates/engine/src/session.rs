//! What a shard knows of one connection.

use crate::CloseReason;
use crate::client::Endpoint;
use crate::compression::Compression;
use ringway_codec::{Decoder, DeflateParams, Deflater, HeadScan, Key, MessageKind, Role, SpillPool};
use ringway_io::{Chunk, Output, Slot};
use std::sync::Arc;

/// Below this size a chunk of the outbox is added to rather than followed by another: copying so little costs less
/// than one more vector of a gathering send.
const COALESCE: usize = 16 * 1024;

/// Where a connection is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The TCP connection is being made (client role).
    Connecting,
    /// The opening handshake is under way.
    Handshaking,
    /// The handler has put its answer off.
    Deferred,
    /// Messages flow.
    Open,
    /// We have sent a close frame, and wait for the peer's.
    Closing,
    /// Everything is said; what is queued still goes out, and then comes the farewell.
    Departing(Farewell),
    /// Our direction is ended; what still comes is dropped until the peer ends its own.
    Lingering,
}

/// How a connection is left once its output has gone out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Closed at once: nothing can be on its way to us. The server after the closing handshake (RFC 6455 section 7.1.1).
    Close,
    /// Our direction first, and the rest when the peer has seen it: closing with bytes unread would send a reset, and
    /// that would destroy what the peer has not read yet, the close frame that says what was wrong.
    Linger,
    /// The peer closes: the client after the closing handshake.
    Await,
}

/// One bit of a session's state.
#[derive(Clone, Copy)]
pub(crate) enum Flag {
    /// On the list of sessions that have something to do at the end of the turn.
    Dirty = 1,
    /// A send is in flight.
    Sending = 2,
    /// The driver receives.
    Receiving = 4,
    /// The handler wants no messages.
    PausedByHandler = 8,
    /// The peer reads too slowly: it gets to say nothing more before it has caught up.
    PausedByBacklog = 16,
    /// The handler is to be told when the outbox is empty.
    WantsDrained = 32,
    /// `open` was called.
    Opened = 64,
    /// The peer has ended its direction.
    PeerFinished = 128,
}

/// One connection: 80 bytes and the handler's state. What only a few need for a while is in `cold`.
pub(crate) struct Session<S> {
    pub(crate) decoder: Decoder,
    /// What waits to be sent; handed to the driver as it is.
    pub(crate) queue: Option<Output>,
    /// Bytes in `queue` and in flight.
    pub(crate) buffered: usize,
    pub(crate) cold: Option<Box<Cold>>,
    pub(crate) slot: Slot,
    /// The tick at which bytes came last.
    pub(crate) last_active: u32,
    flags: u8,
    pub(crate) phase: Phase,
    pub(crate) role: Role,
    pub(crate) compression: Compression,
    pub(crate) state: S,
}

/// What a connection needs only while it opens, is paused, or ends; and what only one with a compressor of its own has.
#[derive(Default)]
pub(crate) struct Cold {
    /// The part of the opening handshake that has come.
    pub(crate) head: Vec<u8>,
    pub(crate) scan: Option<HeadScan>,
    /// Client role: whom we connect to, and the key we sent.
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    pub(crate) nonce: [u8; 16],
    /// The handshake that awaits the handler's answer.
    pub(crate) deferred: Option<Deferred>,
    /// What came for a handler that wants no messages.
    pub(crate) stash: Option<Stash>,
    pub(crate) reason: Option<CloseReason>,
    /// The compressor of a connection that takes its context over, from its first compressed message on.
    pub(crate) deflater: Option<Box<Deflater>>,
}

pub(crate) struct Deferred {
    pub(crate) key: Key,
    pub(crate) offered: Vec<String>,
    /// The compression that is to be agreed on.
    pub(crate) deflate: Option<DeflateParams>,
}

/// A message that was decoded already.
pub(crate) struct Held {
    pub(crate) kind: MessageKind,
    pub(crate) payload: Vec<u8>,
    pub(crate) compressed: bool,
}

/// What is held back: a message that was decoded already, if any, and the bytes behind it.
#[derive(Default)]
pub(crate) struct Stash {
    pub(crate) message: Option<Held>,
    pub(crate) bytes: Vec<u8>,
    /// Where in `bytes` what is held back begins.
    pub(crate) at: usize,
}

impl<S: Default> Session<S> {
    pub(crate) fn new(slot: Slot, role: Role) -> Self {
        Self {
            decoder: Decoder::new(role),
            queue: None,
            buffered: 0,
            cold: None,
            slot,
            last_active: 0,
            flags: 0,
            phase: if role == Role::Server { Phase::Handshaking } else { Phase::Connecting },
            role,
            compression: Compression::default(),
            state: S::default(),
        }
    }
}

impl<S> Session<S> {
    pub(crate) fn is(&self, flag: Flag) -> bool {
        self.flags & flag as u8 != 0
    }

    pub(crate) fn set(&mut self, flag: Flag) {
        self.flags |= flag as u8;
    }

    pub(crate) fn unset(&mut self, flag: Flag) {
        self.flags &= !(flag as u8);
    }

    /// Whether messages are held back.
    pub(crate) fn is_paused(&self) -> bool {
        self.flags & (Flag::PausedByHandler as u8 | Flag::PausedByBacklog as u8) != 0
    }

    pub(crate) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    pub(crate) fn has_stash(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.stash.is_some())
    }

    /// Whether the driver should receive. A connection that its handler has paused receives until there is a message to
    /// hold back, so that pings and a close in front of it are still answered; one whose peer does not read receives
    /// nothing, for answers to pings would wait as well.
    pub(crate) fn should_receive(&self) -> bool {
        !matches!(self.phase, Phase::Connecting | Phase::Deferred)
            && !self.is(Flag::PeerFinished)
            && !self.is(Flag::PausedByBacklog)
            && !self.has_stash()
    }

    /// Whether more than `max` bytes wait for the peer; if so, it is paused until it has caught up.
    pub(crate) fn is_backlogged(&mut self, max: usize) -> bool {
        if self.buffered > max {
            self.set(Flag::PausedByBacklog);
        }
        self.is(Flag::PausedByBacklog)
    }

    /// The buffer at the end of the outbox, to add bytes to. The caller keeps `buffered` right.
    pub(crate) fn tail(&mut self, pool: &mut SpillPool) -> &mut Vec<u8> {
        tail(&mut self.queue, pool)
    }

    /// Puts a chunk at the end of the outbox.
    pub(crate) fn push(&mut self, chunk: Chunk, pool: &mut SpillPool) {
        push(&mut self.queue, chunk, pool);
    }
}

/// The last chunk of `queue` if it is ours, or a new one.
fn tail<'q>(queue: &'q mut Option<Output>, pool: &mut SpillPool) -> &'q mut Vec<u8> {
    let open = match queue {
        Some(Output::One(chunk)) => can_grow(chunk, false),
        Some(Output::Many(chunks)) => {
            let full = chunks.len() >= Output::MOST_CHUNKS;
            chunks.last().is_some_and(|chunk| can_grow(chunk, full))
        }
        None => false,
    };
    if !open {
        push(queue, Chunk::from(pool.take()), pool);
    }
    let last = match queue {
        Some(Output::One(chunk)) => Some(chunk),
        Some(Output::Many(chunks)) => chunks.last_mut(),
        None => None,
    };
    match last {
        Some(Chunk::Owned { bytes, .. }) => bytes,
        _ => unreachable!("the last chunk can grow, or was just pushed"),
    }
}

fn can_grow(chunk: &Chunk, must: bool) -> bool {
    matches!(chunk, Chunk::Owned { bytes, .. } if must || bytes.len() < COALESCE)
}

fn push(queue: &mut Option<Output>, chunk: Chunk, pool: &mut SpillPool) {
    match queue {
        None => *queue = Some(Output::One(chunk)),
        Some(Output::Many(chunks)) if chunks.len() >= Output::MOST_CHUNKS => {
            // One send takes no more runs: the last one is joined with what comes.
            if !matches!(chunks.last(), Some(Chunk::Owned { .. })) {
                let mut joined = pool.take();
                if let Some(last) = chunks.pop() {
                    joined.extend_from_slice(last.as_slice());
                }
                chunks.push(Chunk::from(joined));
            }
            if let Some(Chunk::Owned { bytes, .. }) = chunks.last_mut() {
                bytes.extend_from_slice(chunk.as_slice());
            }
            recycle(chunk, pool);
        }
        Some(Output::Many(chunks)) => chunks.push(chunk),
        Some(Output::One(_)) => {
            if let Some(Output::One(first)) = queue.take() {
                *queue = Some(Output::Many(vec![first, chunk]));
            }
        }
    }
}

/// Puts the bytes of `output` from `written` on in front of what is queued.
pub(crate) fn put_back(queue: &mut Option<Output>, output: Output, mut written: usize, pool: &mut SpillPool) {
    let chunks = match output {
        Output::One(chunk) => vec![chunk],
        Output::Many(chunks) => chunks,
    };
    let mut left = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        if written >= chunk.len() {
            written -= chunk.len();
            recycle(chunk, pool);
        } else {
            left.push(skip(chunk, std::mem::take(&mut written)));
        }
    }
    let behind = queue.replace(Output::Many(left));
    match behind {
        Some(Output::One(chunk)) => push(queue, chunk, pool),
        Some(Output::Many(chunks)) => chunks.into_iter().for_each(|chunk| push(queue, chunk, pool)),
        None => {}
    }
}

/// The chunk without its first `count` bytes.
fn skip(chunk: Chunk, count: usize) -> Chunk {
    match chunk {
        Chunk::Owned { bytes, start } => Chunk::Owned { bytes, start: start + count as u32 },
        Chunk::Shared(bytes) => Chunk::Owned { bytes: bytes[count..].to_vec(), start: 0 },
        Chunk::Buffer { buffer, range } => Chunk::Buffer { buffer, range: range.start + count as u32..range.end },
    }
}

/// Gives a chunk's memory back to where it can be used again.
pub(crate) fn recycle(chunk: Chunk, pool: &mut SpillPool) {
    if let Chunk::Owned { bytes, .. } = chunk {
        pool.give(bytes);
    }
}

/// As [`recycle`], for a whole output.
pub(crate) fn recycle_output(output: Output, pool: &mut SpillPool) {
    match output {
        Output::One(chunk) => recycle(chunk, pool),
        Output::Many(chunks) => chunks.into_iter().for_each(|chunk| recycle(chunk, pool)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_codec::Limits;

    fn bytes(queue: &Option<Output>) -> Vec<u8> {
        queue.iter().flat_map(Output::chunks).flat_map(Chunk::as_slice).copied().collect()
    }

    fn shared(n: u8) -> Chunk {
        Chunk::Shared([n; 3].as_slice().into())
    }

    #[test]
    fn small_pieces_are_gathered_in_one_buffer() {
        let mut pool = SpillPool::new(Limits::default());
        let mut queue = None;
        tail(&mut queue, &mut pool).extend_from_slice(b"one");
        tail(&mut queue, &mut pool).extend_from_slice(b"two");
        assert!(matches!(queue, Some(Output::One(_))));
        push(&mut queue, shared(7), &mut pool);
        tail(&mut queue, &mut pool).extend_from_slice(b"three");
        assert_eq!(bytes(&queue), b"onetwo\x07\x07\x07three");
    }

    #[test]
    fn an_outbox_never_has_more_chunks_than_one_send_takes() {
        let mut pool = SpillPool::new(Limits::default());
        let mut queue = None;
        for n in 0..200 {
            push(&mut queue, shared(n), &mut pool);
        }
        let Some(Output::Many(chunks)) = &queue else { panic!("many") };
        assert_eq!(chunks.len(), Output::MOST_CHUNKS);
        assert_eq!(bytes(&queue), (0..200u8).flat_map(|n| [n; 3]).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_short_send_left_goes_first() {
        for written in 0..=9 {
            let mut pool = SpillPool::new(Limits::default());
            let output = Output::Many(vec![Chunk::from(b"abc".to_vec()), shared(b'-'), Chunk::from(b"def".to_vec())]);
            let mut queue = None;
            tail(&mut queue, &mut pool).extend_from_slice(b"next");
            put_back(&mut queue, output, written, &mut pool);
            assert_eq!(bytes(&queue), [&b"abc---def"[written..], b"next"].concat());
        }
    }
}
