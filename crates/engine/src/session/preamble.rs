//! The header of the PROXY protocol, which comes before TLS and before the request.

use super::Session;
use super::application::Application;
use super::closing::Removal;
use super::input::Input;
use super::link::{SessionFlag, SessionPhase};
use super::opening::Opening;
use crate::admission::proxy;
use crate::shard::core::Core;
use ringway_io::Slot;

impl<S> Session<S> {
    /// Creates the session of an accepted connection whose peer has to send a header of the PROXY
    /// protocol first. `listener`: the number of its listener.
    pub(crate) fn accepted_behind_proxy(slot: Slot, listener: usize, core: &mut Core) -> Self {
        let mut session = Self::accepted(slot, core);
        session.link.phase = SessionPhase::Preamble;
        session.link.cold().opening = Opening::on(listener);
        session
    }

    /// Handles bytes of the header. What is behind it is stashed until the end of the turn, because
    /// the layers above take it in a call of their own.
    pub(super) fn receive_preamble(&mut self, input: Input, core: &mut Core) -> Option<Removal> {
        let slot = self.link.slot();
        if self.link.extend_stash(&input) {
            return None;
        }
        let opening = &mut self.link.cold().opening;
        let (input, _) = opening.join(input, 0);
        match proxy::parse(&input) {
            Ok(None) => {
                opening.keep(input, 0, &mut core.memory);
                None
            }
            Ok(Some(header)) => {
                let listener = opening.listener();
                if let Some(client) = header.client
                    && let Err(rejection) = core.admit_client(slot, client)
                {
                    return self.reject_client(rejection, listener, core);
                }
                if header.len < input.len() {
                    self.link.stash(None, input, header.len, core);
                    return None;
                }
                self.end_preamble(core)
            }
            Err(error) => {
                core.reject_proxy(slot, &error);
                Some(Removal::Closed)
            }
        }
    }

    /// Begins the handshake after the header.
    fn end_preamble(&mut self, core: &mut Core) -> Option<Removal> {
        let listener = self.link.cold().opening.listener();
        self.link.phase = SessionPhase::Handshaking;
        (!core.begin_tls(self.link.slot(), listener)).then_some(Removal::Closed)
    }

    /// Begins the handshake with what was received behind the header.
    #[cold]
    pub(super) fn deliver_behind_preamble(
        &mut self,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        let stash = self.accounted(core, |session, _| session.link.cold.as_mut()?.stash.take())?;
        // Receiving continues.
        self.link.mark_dirty(core);
        if let Some(removal) = self.end_preamble(core) {
            return Some(removal);
        }
        let (mut bytes, at) = stash.input.into_kept(stash.at);
        let has_tls = core.tls.as_ref().is_some_and(|tls| tls.get(self.link.slot()).is_some());
        let removal = if has_tls {
            self.receive_first_records(&mut bytes[at..], core, app)
        } else {
            self.receive_plain(Input::Kept(bytes), at, core, app)
        };
        // The FIN waited for these bytes.
        if removal.is_none() && self.link.is(SessionFlag::PeerFinished) { self.peer_finished(core) } else { removal }
    }
}
