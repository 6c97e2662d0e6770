//! Compressed messages (RFC 7692): the payload is inflated as it arrives, within the limits.

use super::MessageKind;
use super::partial::{Partial, PartialFrame};
use crate::deflate::{Direction, Stopped};
use crate::error::ProtocolError;
use crate::mask;
use crate::spill::{Limits, SPILL_HEADROOM, Spill, SpillPool};

/// How a decoder treats RSV1, which marks a compressed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inflation {
    /// RSV1 is refused: no compression was negotiated.
    Refused,
    /// Each message is inflated by itself, with an inflater of the pool.
    ByMessage,
    /// Each message is inflated with the window of the earlier ones, which the connection keeps
    /// from the first one on.
    Takeover,
}

impl From<Direction> for Inflation {
    fn from(direction: Direction) -> Self {
        if direction.takeover { Self::Takeover } else { Self::ByMessage }
    }
}

/// The limit of the compressed bytes of a message: DEFLATE makes incompressible data up to an
/// eighth longer.
pub(super) fn max_compressed(limits: &Limits) -> u64 {
    let most = limits.max_message as u64;
    most.saturating_add(most / 8).saturating_add(64)
}

impl Partial {
    /// Inflates the part of a frame's payload that has arrived, and returns how many bytes of it
    /// the inflater has consumed: all of them unless the message is suspended.
    pub(super) fn take_compressed(
        &mut self,
        frame: &mut PartialFrame,
        bytes: &mut [u8],
        pool: &mut SpillPool,
    ) -> Result<usize, ProtocolError> {
        if bytes.is_empty() && !self.suspended {
            // With an empty input, zlib would report that the block before it was the last.
            return Ok(0);
        }
        let unmasked = frame.unmasked.min(bytes.len());
        if let Some(key) = frame.key {
            mask::apply(&mut bytes[unmasked..], key, frame.phase + unmasked);
        }
        let mut rest = &*bytes;
        self.suspended = self.inflate(&mut rest, pool)?;
        debug_assert!(self.suspended || rest.is_empty(), "an inflater that is not suspended consumes its input");
        let taken = bytes.len() - rest.len();
        frame.unmasked = frame.unmasked.max(bytes.len()) - taken;
        Ok(taken)
    }

    /// Ends a message: inflates the tail, which no frame contains.
    pub(super) fn end_compressed(&mut self) -> Result<(), ProtocolError> {
        let ends = self.inflater.as_mut().is_none_or(|inflater| inflater.end());
        if ends { Ok(()) } else { Err(ProtocolError::CorruptCompression) }
    }

    /// Inflates `bytes` and moves them on. Returns whether the allowance was spent before the
    /// inflater had finished.
    fn inflate(&mut self, bytes: &mut &[u8], pool: &mut SpillPool) -> Result<bool, ProtocolError> {
        let Some(inflater) = &mut self.inflater else {
            *bytes = &[];
            return Ok(false);
        };
        let limit = pool.limits().max_message;
        // The end of the longest message within the limit.
        let most = limit.saturating_add(SPILL_HEADROOM);
        loop {
            let start = self.spill.len();
            let stopped = inflater.inflate(bytes, &mut self.spill, pool.allowance());
            let end = self.spill.len();
            // Text beyond the limit is not validated: the first wrong byte decides, wherever the
            // input is split.
            if self.kind == Some(MessageKind::Text) {
                let fresh = self.spill.content().get(start..end.min(most)).unwrap_or_default();
                self.utf8.push(fresh).map_err(|_| ProtocolError::InvalidText)?;
            }
            if end > most {
                return Err(ProtocolError::TooBig { limit });
            }
            match stopped {
                Stopped::Starved => return Ok(false),
                Stopped::Suspended => return Ok(true),
                Stopped::Corrupt => return Err(ProtocolError::CorruptCompression),
                Stopped::Full => make_room(&mut self.spill, bytes.len(), most),
            }
        }
    }
}

/// Grows the buffer: to twice its content or to the probable size of the inflated input, but to at
/// most one byte over the limit, which is enough to detect that it is exceeded.
fn make_room(spill: &mut Spill, input: usize, most: usize) {
    /// The usual compression ratio of text.
    const RATIO: usize = 4;
    const MIN: usize = 512;

    let wanted = spill.len().max(input.saturating_mul(RATIO)).max(MIN);
    // The buffer is full and within the limit, so at least one byte remains.
    spill.grow(wanted.min(most.saturating_add(1) - spill.len()));
}
