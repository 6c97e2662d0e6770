//! A connection as a subscriber of topics.

use super::Link;
use super::phase::SessionFlag;
use crate::api::close::Ending;
use crate::session::compression::Compression;
use crate::shard::core::Core;
use crate::shard::notices::NoticeKind;
use crate::topics::delivery::{Recipient, catch_up};
use ringway_codec::{CloseCode, Prepared};
use std::ops::Range;
use std::sync::Arc;

impl<S> Recipient for Link<S> {
    fn index(&self) -> u32 {
        self.slot.index()
    }

    fn shared_compression(&self) -> Option<Compression> {
        (!self.is(SessionFlag::Client)).then(|| self.compression())
    }

    fn room(&self, core: &Core) -> usize {
        match self.outbox.bytes() {
            0 => usize::MAX,
            waiting => core.limits.max_buffered.saturating_sub(waiting),
        }
    }

    fn push_frames(&mut self, frames: &Arc<[u8]>, range: Range<u32>, is_deflated: bool, core: &mut Core) {
        // As in `deflated`.
        if is_deflated && let Some(own) = self.cold.as_mut().and_then(|cold| cold.deflater.as_mut()) {
            own.restart();
        }
        self.outbox.push_range(frames, range, &mut core.memory);
        self.mark_dirty(core);
    }

    fn push_prepared(&mut self, prepared: &Prepared, core: &mut Core) {
        self.queue_prepared(prepared, core);
    }

    fn close_slow(&mut self, core: &mut Core) {
        // What follows the gap is counted as dropped with it, which can come here again.
        catch_up(self, core);
        if !self.is_open() {
            return;
        }
        core.counters.topic_closes += 1;
        core.notices.warn(core.clock.now(), NoticeKind::SlowSubscriber, self.slot, || {
            let max = core.limits.max_buffered;
            format!(
                "a connection is closed with 1013: it reads too slowly for its topics, and over {max} bytes would \
                 wait for it (limits.max_buffered)"
            )
        });
        // As in `terminate`.
        let before = self.held_input();
        self.fail(CloseCode::TRY_AGAIN, "the client reads too slowly", Ending::SlowReader, core);
        core.memory.recharge(before, self.held_input());
    }
}
