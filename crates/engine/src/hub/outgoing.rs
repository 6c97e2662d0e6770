//! What goes into outboxes.

use super::Hub;
use crate::handler::Handler;
use crate::session::{Session, recycle};
use rand::Rng;
use ringway_codec::{
    Incoming, MessageKind, OpCode, Place, Prepared, Role, encode_client, encode_deflated, encode_masked, encode_server,
};
use ringway_io::{Buffer, Chunk, Slot};
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

/// What is this small is copied to the end of the outbox: one more vector in a gathering send costs more than so few
/// bytes.
const COPY_SMALL: usize = 1024;

/// Something for the outbox of the session whose bytes are being walked. While they are, its received buffer belongs to
/// the walk; afterwards a lone run of replies takes the buffer along, and anything else is copied out of it.
pub(super) enum Piece {
    /// Frames that were written where their requests lay: offsets in the input.
    Run(Range<usize>),
    /// A frame written in front of the payload of an assembled message.
    Spill(Range<usize>),
    Chunk(Chunk),
}

/// The bytes that are being walked.
pub(super) enum Input {
    Buffer(Buffer),
    /// Bytes that were kept: what came behind a handshake, or for a paused connection.
    Kept(Vec<u8>),
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Kept(bytes) => bytes,
        }
    }
}

impl DerefMut for Input {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Kept(bytes) => bytes,
        }
    }
}

impl<H: Handler> Hub<H> {
    /// Writes the reply's header in front of the payload where it lies, and notes where the frame is.
    pub(crate) fn reply_in_place(&mut self, slot: Slot, incoming: Incoming<'_>) {
        let (place, range) = incoming.into_server_frame();
        if let Some(session) = self.table.get_mut(slot) {
            session.buffered += range.len();
        }
        self.pieces.push(match place {
            Place::Input => Piece::Run(range),
            Place::Spill => Piece::Spill(range),
        });
    }

    /// After a call of the handler: replies that follow one another are moved together, and an assembled message leaves
    /// the decoder.
    #[inline]
    pub(super) fn join_pieces(&mut self, input: &mut Input, decoder: &mut ringway_codec::Decoder) {
        let Some(last) = self.pieces.pop() else { return };
        match last {
            Piece::Run(run) => {
                if let Some(Piece::Run(before)) = self.pieces.last_mut() {
                    let len = run.len();
                    input.copy_within(run, before.end);
                    before.end += len;
                } else {
                    self.pieces.push(Piece::Run(run));
                }
            }
            Piece::Spill(range) => {
                let mut bytes = decoder.take_spill().unwrap_or_default();
                bytes.truncate(range.end);
                self.pieces.push(Piece::Chunk(Chunk::Owned { bytes, start: range.start as u32 }));
            }
            Piece::Chunk(chunk) => {
                // A send after the reply to an assembled message: the message must still leave the decoder.
                self.pieces.push(Piece::Chunk(chunk));
                for piece in &mut self.pieces {
                    if let Piece::Spill(range) = piece {
                        let mut bytes = decoder.take_spill().unwrap_or_default();
                        bytes.truncate(range.end);
                        *piece = Piece::Chunk(Chunk::Owned { bytes, start: range.start as u32 });
                    }
                }
            }
        }
    }

    /// The walk is over: its pieces go to the outbox, and with a lone run of replies the input itself.
    pub(super) fn attach_pieces(&mut self, slot: Slot, input: Input) {
        let Some(session) = self.table.get_mut(slot) else { return self.drop_pieces() };
        let chunk = match (&self.pieces[..], input) {
            ([], _) => return,
            // While few are left they are given back: slow readers could hold them all, one each, and starve the shard.
            ([Piece::Run(run)], Input::Buffer(buffer)) if !buffer.is_scarce() => {
                Chunk::Buffer { buffer, range: run.start as u32..run.end as u32 }
            }
            ([Piece::Run(run)], Input::Kept(mut bytes)) => {
                bytes.truncate(run.end);
                Chunk::Owned { bytes, start: run.start as u32 }
            }
            (_, input) => return self.copy_pieces(slot, &input),
        };
        session.push(chunk, &mut self.spill);
        self.pieces.clear();
        self.mark(slot);
    }

    /// As [`Hub::attach_pieces`], for an input that is still needed: replies are copied out of it.
    pub(super) fn copy_pieces(&mut self, slot: Slot, input: &Input) {
        let Some(session) = self.table.get_mut(slot) else { return self.drop_pieces() };
        for piece in self.pieces.drain(..) {
            match piece {
                Piece::Run(run) => session.tail(&mut self.spill).extend_from_slice(&input[run]),
                Piece::Chunk(chunk) if chunk.len() <= COPY_SMALL => {
                    session.tail(&mut self.spill).extend_from_slice(chunk.as_slice());
                    recycle(chunk, &mut self.spill);
                }
                Piece::Chunk(chunk) => session.push(chunk, &mut self.spill),
                Piece::Spill(_) => unreachable!("joined after the call that made it"),
            }
        }
        self.mark(slot);
    }

    fn drop_pieces(&mut self) {
        for piece in self.pieces.drain(..) {
            if let Piece::Chunk(chunk) = piece {
                recycle(chunk, &mut self.spill);
            }
        }
    }

    /// Encodes an uncompressed frame at the end of the outbox.
    pub(crate) fn send(&mut self, slot: Slot, opcode: OpCode, payload: &[u8]) {
        self.append(slot, |out, key| match key {
            None => encode_server(opcode, payload, out),
            Some(key) => encode_client(opcode, payload, key, out),
        });
    }

    /// Encodes a message at the end of the outbox, compressed if that was said, or if it is worthwhile.
    pub(crate) fn send_message(&mut self, slot: Slot, kind: MessageKind, payload: &[u8], compress: Option<bool>) {
        if !self.compresses(slot, payload.len(), compress) {
            return self.send(slot, kind.into(), payload);
        }
        let Some(session) = self.table.get_mut(slot) else { return };
        // Both compressors leave their places for the call, which needs the rest of the hub.
        let Some(mut compressors) = self.compressors.take() else { return };
        let compression = session.compression;
        if compression.takeover() {
            let own = session.cold().deflater.take();
            let mut own = own.unwrap_or_else(|| Box::new(compressors.own(compression)));
            self.append(slot, |out, key| encode_deflated(kind, payload, key, &mut own, true, out));
            if let Some(session) = self.table.get_mut(slot) {
                session.cold().deflater = Some(own);
            }
        } else {
            let shared = compressors.shared(compression);
            self.append(slot, |out, key| encode_deflated(kind, payload, key, shared, false, out));
        }
        self.compressors = Some(compressors);
    }

    /// Whether a message of this length goes out compressed, with what was said about it.
    pub(crate) fn compresses(&self, slot: Slot, len: usize, compress: Option<bool>) -> bool {
        let Some(compressors) = &self.compressors else { return false };
        compress.unwrap_or_else(|| compressors.is_worthwhile(len))
            && self.table.get(slot).is_some_and(|session| session.compression.is_on())
    }

    /// Puts a prepared frame at the end of the outbox.
    pub(crate) fn send_prepared(&mut self, slot: Slot, prepared: &Prepared) {
        if self.compresses(slot, prepared.payload().len(), prepared.is_to_be_compressed())
            && let Some(frame) = self.deflated(slot, prepared)
        {
            return self.send_shared(slot, frame);
        }
        self.send_shared(slot, prepared.as_frame());
    }

    /// The compressed form of a prepared frame, for this connection.
    fn deflated<'p>(&mut self, slot: Slot, prepared: &'p Prepared) -> Option<&'p Arc<[u8]>> {
        let session = self.table.get_mut(slot)?;
        let shared = self.compressors.as_mut()?.shared(session.compression);
        let frame = prepared.deflated_frame(shared)?;
        // What the connection's own compressor remembers is not what the peer has seen last, once this has gone out.
        if let Some(own) = session.cold.as_mut().and_then(|cold| cold.deflater.as_mut()) {
            own.restart();
        }
        Some(frame)
    }

    /// Puts an unmasked frame that many connections send at the end of the outbox.
    fn send_shared(&mut self, slot: Slot, frame: &Arc<[u8]>) {
        if frame.len() <= COPY_SMALL || self.is_client(slot) {
            return self.append(slot, |out, key| match key {
                None => out.extend_from_slice(frame),
                Some(key) => encode_masked(frame, key, out),
            });
        }
        let Some(session) = self.table.get_mut(slot) else { return };
        session.buffered += frame.len();
        let chunk = Chunk::Shared(frame.clone());
        if self.receiving == Some(slot) && !self.pieces.is_empty() {
            self.pieces.push(Piece::Chunk(chunk));
        } else {
            session.push(chunk, &mut self.spill);
        }
        self.mark(slot);
    }

    /// Has a frame written at the end of the outbox, masked with the key if there is one: in the client role.
    fn append(&mut self, slot: Slot, write: impl FnOnce(&mut Vec<u8>, Option<[u8; 4]>)) {
        let Some(session) = self.table.get_mut(slot) else { return };
        let key = match session.role {
            Role::Server => None,
            Role::Client => Some(self.rng.next_u32().to_ne_bytes()),
        };
        let out = if self.receiving == Some(slot) && !self.pieces.is_empty() {
            // Behind the replies of this walk.
            if !matches!(self.pieces.last(), Some(Piece::Chunk(Chunk::Owned { .. }))) {
                self.pieces.push(Piece::Chunk(Chunk::from(self.spill.take())));
            }
            match self.pieces.last_mut() {
                Some(Piece::Chunk(Chunk::Owned { bytes, .. })) => bytes,
                _ => unreachable!("just pushed"),
            }
        } else {
            session.tail(&mut self.spill)
        };
        let before = out.len();
        write(out, key);
        session.buffered += out.len() - before;
        self.mark(slot);
    }

    /// Writes bytes that are no frames, those of a handshake, at the end of the outbox.
    pub(super) fn write_raw(&mut self, slot: Slot, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(session) = self.table.get_mut(slot) {
            let added = raw(session, &mut self.spill, write);
            session.buffered += added;
            self.mark(slot);
        }
    }
}

fn raw<S>(session: &mut Session<S>, pool: &mut ringway_codec::SpillPool, write: impl FnOnce(&mut Vec<u8>)) -> usize {
    let out = session.tail(pool);
    let before = out.len();
    write(out);
    out.len() - before
}
