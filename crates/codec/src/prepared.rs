//! A message encoded once and sent to many.

use std::sync::{Arc, OnceLock};

use crate::decoder::MessageKind;
use crate::deflate::{Deflater, WindowBits};
use crate::encoder::{encode_deflated, encode_server};
use crate::frame::payload_of;

/// The number of window sizes to compress with.
const WINDOWS: usize = (WindowBits::MAX.get() - WindowBits::MIN_DEFLATED.get() + 1) as usize;

/// The compressed frame, made when it is first needed; `None` if it is not shorter.
type Deflated = OnceLock<Option<Arc<[u8]>>>;

/// A server's frame that many connections can send. Cloning it costs one atomic increment; the
/// bytes are shared.
///
/// ```
/// use ringway_codec::Prepared;
///
/// let news = Prepared::text("news");
/// let frames = [news.clone().into_frame(), news.into_frame()];
/// assert_eq!(&frames[0][..], b"\x81\x04news");
/// assert!(std::sync::Arc::ptr_eq(&frames[0], &frames[1]));
/// ```
#[derive(Debug, Clone)]
pub struct Prepared {
    frame: Arc<[u8]>,
    kind: MessageKind,
    compress: Option<bool>,
    /// By window, the smallest first. Other parameters make no difference: a message that is
    /// compressed by itself can also be sent to receivers with context takeover.
    deflated: Arc<[Deflated; WINDOWS]>,
}

impl Prepared {
    /// Creates a text message. Allocates and copies the text twice: into the frame, and next to its
    /// reference count. It is compressed when a connection with compression first needs it, once
    /// for each window size.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(MessageKind::Text, text.as_bytes())
    }

    /// Creates a binary message, at the cost of [`text`](Prepared::text).
    #[must_use]
    pub fn binary(payload: &[u8]) -> Self {
        Self::new(MessageKind::Binary, payload)
    }

    fn new(kind: MessageKind, payload: &[u8]) -> Self {
        let mut frame = Vec::new();
        encode_server(kind.into(), payload, &mut frame);
        Self { frame: frame.into(), kind, compress: None, deflated: Arc::default() }
    }

    /// Sets whether the message is compressed where compression was negotiated, whatever its
    /// length.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = Some(compress);
        self
    }

    /// The choice made with [`compress`](Prepared::compress); `None`: the length decides.
    #[must_use]
    pub fn is_to_be_compressed(&self) -> Option<bool> {
        self.compress
    }

    /// The whole frame, unmasked, header and payload.
    #[inline]
    #[must_use]
    pub fn as_frame(&self) -> &Arc<[u8]> {
        &self.frame
    }

    /// Returns the frame itself, without another increment of its reference count.
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

    /// The payload alone; a client has to mask a copy of it, see
    /// [`encode_client`](crate::encode_client).
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        payload_of(&self.frame)
    }
}

/// The whole compressed frame of `prepared`, unmasked, for a receiver that allows the window of
/// `deflater`; `None` when it would not be shorter than the uncompressed one. The first call for a
/// window compresses, at the level of `deflater`, whose window is clear afterwards; later calls,
/// also with clones, share the result.
///
/// ```
/// use ringway_codec::{Deflater, Prepared, WindowBits, deflated_frame};
///
/// let prepared = Prepared::text(&"news ".repeat(50));
/// let mut deflater = Deflater::new(1, WindowBits::MAX).expect("the window can be compressed with");
/// let frame = deflated_frame(&prepared, &mut deflater).expect("it is shorter");
/// assert!(frame.len() < prepared.as_frame().len());
/// ```
pub fn deflated_frame<'p>(prepared: &'p Prepared, deflater: &mut Deflater) -> Option<&'p Arc<[u8]>> {
    let slot = usize::from(deflater.window_bits().get() - WindowBits::MIN_DEFLATED.get());
    let make = || {
        let mut frame = Vec::new();
        encode_deflated(prepared.kind, prepared.payload(), None, deflater, false, &mut frame);
        (frame.len() < prepared.frame.len()).then(|| frame.into())
    };
    prepared.deflated[slot].get_or_init(make).as_ref()
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
    fn the_payload_is_found_after_every_length_of_header() {
        for len in [0, 1, 125, 126, 127, 128, 65535, 65536, 65541, 65546] {
            let payload = vec![5; len];
            let prepared = Prepared::binary(&payload);
            assert_eq!(prepared.payload(), payload, "{len}");
            assert_eq!(prepared.kind(), MessageKind::Binary);
        }
    }
}
