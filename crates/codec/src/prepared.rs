//! A message encoded once and sent to many.

use std::sync::Arc;

use crate::decoder::MessageKind;
use crate::encoder::encode_server;
use crate::frame::server_header_len;

/// A server's frame that many connections can send. Cloning it costs one atomic increment; the bytes are shared.
#[derive(Debug, Clone)]
pub struct Prepared {
    frame: Arc<[u8]>,
    kind: MessageKind,
}

impl Prepared {
    /// A text message. Allocates and copies the text twice: into the frame, and to behind its reference count.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(MessageKind::Text, text.as_bytes())
    }

    /// A binary message. Costs what [`text`](Prepared::text) does.
    #[must_use]
    pub fn binary(payload: &[u8]) -> Self {
        Self::new(MessageKind::Binary, payload)
    }

    fn new(kind: MessageKind, payload: &[u8]) -> Self {
        let mut frame = Vec::new();
        encode_server(kind.opcode(), payload, &mut frame);
        Self { frame: frame.into(), kind }
    }

    /// The whole frame, unmasked, header and payload.
    #[inline]
    #[must_use]
    pub fn as_frame(&self) -> &Arc<[u8]> {
        &self.frame
    }

    /// The frame's bytes to keep: what [`as_frame`](Prepared::as_frame) lends, without another increment.
    #[inline]
    #[must_use]
    pub fn into_frame(self) -> Arc<[u8]> {
        self.frame
    }

    /// Text or binary.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The message alone; a client has to mask a copy of it, see [`encode_client`](crate::encode_client).
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        // No two lengths of header give frames of one length, so the frame's length tells its header's.
        let header = [2, 4, 10].into_iter().find(|&header| {
            self.frame.len().checked_sub(header).is_some_and(|length| server_header_len(length as u64) == header)
        });
        header.map_or(&[], |header| &self.frame[header..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_bytes() {
        let prepared = Prepared::text("hi");
        let clone = prepared.clone();
        assert!(Arc::ptr_eq(prepared.as_frame(), clone.as_frame()));
        assert_eq!(&clone.as_frame()[..], b"\x81\x02hi");
        assert_eq!(clone.kind(), MessageKind::Text);
    }

    #[test]
    fn the_payload_is_found_behind_every_length_of_header() {
        for len in [0, 1, 125, 126, 127, 128, 65535, 65536, 65541, 65546] {
            let payload = vec![5; len];
            let prepared = Prepared::binary(&payload);
            assert_eq!(prepared.payload(), payload, "{len}");
            assert_eq!(prepared.kind(), MessageKind::Binary);
        }
    }
}
