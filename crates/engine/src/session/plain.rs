//! Connections without the protocol of WebSockets (client role): bytes of TCP, and datagrams.

use super::Session;
use super::application::Application;
use super::closing::{CloseMode, Removal};
use super::deadlines::PeerProbe;
use super::input::Input;
use super::link::{Link, SessionFlag, SessionPhase};
use super::opening::Agreed;
use crate::api::close::{CloseReason, Ending};
use crate::api::message::Message;
use crate::api::plain::PlainKind;
use crate::shard::core::Core;
use http::HeaderMap;
use ringway_codec::{CloseCode, OpCode};
use ringway_io::Output;

impl<S> Session<S> {
    /// Opens a connection that was established.
    pub(super) fn open_plain(&mut self, kind: PlainKind, core: &mut Core, app: &mut impl Application<S>) {
        let link = &mut self.link;
        let times = link.cold().opening.attempt().and_then(|attempt| attempt.times(core));
        link.set_phase(SessionPhase::of_plain(kind), core);
        core.meters.opened(link.slot().index(), false, core.now());
        link.set(SessionFlag::Opened);
        link.cold = None;
        link.set_check_timer(core);
        core.begin_lifetime(link.slot());
        link.mark_dirty(core);
        link.cold().agreed = Some(Box::new(Agreed { subprotocol: None, headers: HeaderMap::new(), times }));
        app.open(link, core);
        if let Some(cold) = &mut link.cold {
            cold.agreed = None;
        }
    }

    /// Delivers what was received: `input` from `at` on.
    pub(super) fn deliver_plain(&mut self, input: Input, at: usize, core: &mut Core, app: &mut impl Application<S>) {
        let link = &mut self.link;
        let is_stream = link.phase == SessionPhase::PlainStream;
        if is_stream && link.extend_stash(&input[at..]) {
            return input.recycle(&mut core.memory);
        }
        if link.is_paused() || link.is_backlogged(core) {
            // A datagram that is not taken is lost, as everywhere.
            if is_stream {
                link.stash(None, input, at, core);
            }
            return;
        }
        core.meters.received_size.record_size(input.len() - at);
        app.message(link, core, Message::binary(&input[at..]));
        input.recycle(&mut core.memory);
    }
}

impl<S> Link<S> {
    /// Appends a message to the outbox. Control frames have no meaning here.
    pub(super) fn send_plain(&mut self, kind: PlainKind, opcode: OpCode, parts: &[&[u8]], core: &mut Core) {
        if !matches!(opcode, OpCode::Text | OpCode::Binary) {
            return;
        }
        match kind {
            PlainKind::Stream => {
                self.outbox.append(&mut core.memory, |out| parts.iter().for_each(|part| out.extend_from_slice(part)));
            }
            PlainKind::Datagrams => self.outbox.push_datagram(parts, &mut core.memory),
        }
        self.mark_dirty(core);
    }

    /// The next output that is sent as it is.
    #[inline]
    pub(super) fn take_passed(&mut self) -> Option<Output> {
        if self.phase == SessionPhase::PlainDatagrams { self.outbox.take_first() } else { self.outbox.take() }
    }

    /// Ends the connection from this side.
    pub(super) fn close_plain(&mut self, kind: PlainKind, code: CloseCode, text: &str, core: &mut Core) {
        self.cold().reason = Some(CloseReason::new(code, text, Ending::Local));
        if kind == PlainKind::Datagrams {
            // Those that are queued are datagrams of their own, and are not sent any more.
            self.outbox.discard(&mut core.memory);
            return self.begin_shutdown(CloseMode::Immediate, core);
        }
        self.begin_shutdown(CloseMode::Linger, core);
    }

    /// Checks the deadlines of a connection: the peer of a stream has to read.
    pub(super) fn check_plain(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Removal> {
        if let Some(left) = self.check_output(probe, core)
            && left.is_zero()
        {
            core.counters.write_timeouts += 1;
            return Some(self.broken(Ending::WriteTimeout));
        }
        self.set_check_timer(core);
        None
    }
}
