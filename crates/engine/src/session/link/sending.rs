//! The output of a connection: control frames, messages, prepared messages and replies.

use super::Link;
use super::phase::SessionFlag;
use crate::api::message::{Body, Message};
use crate::shard::core::Core;
use crate::shard::memory::Pressure;
use ringway_codec::{
    MessageKind, OpCode, Prepared, Role, deflated_frame, encode_client, encode_deflated, encode_masked, encode_parts,
    encode_server,
};
use std::sync::Arc;

impl<S> Link<S> {
    /// Appends an uncompressed frame to the outbox.
    pub(crate) fn send(&mut self, opcode: OpCode, payload: &[u8], core: &mut Core) {
        if let Some(kind) = self.phase.plain() {
            return self.send_plain(kind, opcode, &[payload], core);
        }
        let key = self.mask_key(core);
        self.outbox.append(&mut core.memory, |out| match key {
            None => encode_server(opcode, payload, out),
            Some(key) => encode_client(opcode, payload, key, out),
        });
        self.mark_dirty(core);
    }

    /// Appends a message to the outbox, compressed if `compress` requests it, or by default if it
    /// is long enough.
    pub(crate) fn send_message(&mut self, kind: MessageKind, payload: &[u8], compress: Option<bool>, core: &mut Core) {
        core.meters.sent_size.record_size(payload.len());
        if !self.compresses(payload.len(), compress, core) {
            return self.send(kind.into(), payload, core);
        }
        let key = self.mask_key(core);
        let compression = self.compression();
        let Some(compressors) = &mut core.compressors else { return };
        // While memory is short, no connection gets a compressor of its own.
        let keeps_own = self.cold.as_ref().is_some_and(|cold| cold.deflater.is_some());
        if compression.takeover() && (keeps_own || core.memory.pressure() == Pressure::Low) {
            let cold = self.cold.get_or_insert_default();
            let own = cold.deflater.get_or_insert_with(|| {
                let own = Box::new(compressors.own(compression));
                core.memory.charge(own.heap_bytes());
                own
            });
            self.outbox.append(&mut core.memory, |out| {
                let before = out.len();
                encode_deflated(kind, payload, key, own, true, out);
                core.counters.deflate_output += (out.len() - before) as u64;
            });
        } else {
            let shared = compressors.shared(compression);
            self.outbox.append(&mut core.memory, |out| {
                let before = out.len();
                encode_deflated(kind, payload, key, shared, false, out);
                core.counters.deflate_output += (out.len() - before) as u64;
            });
        }
        core.counters.deflate_input += payload.len() as u64;
        self.mark_dirty(core);
    }

    /// Appends a message of two parts to the outbox, as [`send_message`](Link::send_message) does.
    pub(crate) fn send_parts(
        &mut self,
        kind: MessageKind,
        head: &[u8],
        body: &[u8],
        compress: Option<bool>,
        core: &mut Core,
    ) {
        if self.compresses(head.len() + body.len(), compress, core) {
            // Its input is one slice. The copy takes far less time than the compression.
            let mut whole = core.memory.take_output();
            whole.extend_from_slice(head);
            whole.extend_from_slice(body);
            self.send_message(kind, &whole, compress, core);
            return core.memory.give(whole);
        }
        core.meters.sent_size.record_size(head.len() + body.len());
        if let Some(plain) = self.phase.plain() {
            return self.send_plain(plain, kind.into(), &[head, body], core);
        }
        let key = self.mask_key(core);
        self.outbox.append(&mut core.memory, |out| encode_parts(kind.into(), head, body, key, out));
        self.mark_dirty(core);
    }

    /// Appends a prepared frame to the outbox.
    pub(crate) fn send_prepared(&mut self, prepared: &Prepared, core: &mut Core) {
        core.meters.sent_size.record_size(prepared.payload().len());
        self.queue_prepared(prepared, core);
    }

    /// Appends a prepared frame to the outbox. A delivery of a topic is counted by its caller.
    pub(super) fn queue_prepared(&mut self, prepared: &Prepared, core: &mut Core) {
        if let Some(kind) = self.phase.plain() {
            return self.send_plain(kind, OpCode::Binary, &[prepared.payload()], core);
        }
        let frame = if self.compresses(prepared.payload().len(), prepared.is_to_be_compressed(), core) {
            self.deflated(prepared, core)
        } else {
            None
        };
        let frame = frame.unwrap_or_else(|| prepared.as_frame());
        match self.mask_key(core) {
            None => self.outbox.push_shared(frame, &mut core.memory),
            Some(key) => self.outbox.append(&mut core.memory, |out| encode_masked(frame, key, out)),
        }
        self.mark_dirty(core);
    }

    /// The compressed form of a prepared frame for this connection; `None` if it would not be
    /// shorter.
    fn deflated<'p>(&mut self, prepared: &'p Prepared, core: &mut Core) -> Option<&'p Arc<[u8]>> {
        let shared = core.compressors.as_mut()?.shared(self.compression());
        let frame = deflated_frame(prepared, shared)?;
        // The frame bypasses the connection's own compressor, whose context then differs from the
        // peer's.
        if let Some(own) = self.cold.as_mut().and_then(|cold| cold.deflater.as_mut()) {
            own.restart();
        }
        Some(frame)
    }

    /// Appends a reply to the outbox. `in_place`: the message may be contained in the input that is
    /// being decoded, so that its reply can be written there.
    #[inline]
    pub(crate) fn reply(&mut self, message: Message<'_>, in_place: bool, core: &mut Core) {
        let (body, compress) = message.into_parts();
        match body {
            Body::Received(incoming) => {
                let len = incoming.payload().len();
                if in_place
                    && !self.is(SessionFlag::Client)
                    && !self.compresses(len, compress, core)
                    && self.outbox.takes_in_place(len)
                {
                    core.meters.sent_size.record_size(len);
                    self.outbox.reply_in_place(incoming, &mut core.memory);
                    self.mark_dirty(core);
                } else {
                    self.send_message(incoming.kind(), incoming.payload(), compress, core);
                }
            }
            Body::Text(text) => self.send_message(MessageKind::Text, text.as_bytes(), compress, core),
            Body::Borrowed(kind, payload) => self.send_message(kind, payload, compress, core),
            Body::TextParts(head, body) => {
                self.send_parts(MessageKind::Text, head.as_bytes(), body.as_bytes(), compress, core);
            }
            Body::BinaryParts(head, body) => self.send_parts(MessageKind::Binary, head, body, compress, core),
        }
    }

    /// Appends bytes of an opening handshake to the outbox.
    pub(in crate::session) fn write_raw(&mut self, core: &mut Core, write: impl FnOnce(&mut Vec<u8>)) {
        self.outbox.append(&mut core.memory, write);
        self.mark_dirty(core);
    }

    /// Whether a message of this length is compressed, given its own setting.
    #[inline]
    fn compresses(&self, len: usize, compress: Option<bool>, core: &Core) -> bool {
        let Some(compressors) = &core.compressors else { return false };
        self.compression().is_on() && compress.unwrap_or_else(|| compressors.is_worthwhile(len))
    }

    fn mask_key(&self, core: &mut Core) -> Option<[u8; 4]> {
        match self.role() {
            Role::Server => None,
            Role::Client => Some(core.mask_key()),
        }
    }
}
