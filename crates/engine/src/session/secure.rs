//! A session with TLS: received records become input, and output becomes records.

use super::Session;
use super::application::Application;
use super::closing::{CloseMode, Removal};
use super::input::Input;
use super::link::{Link, SessionFlag, SessionPhase};
use crate::api::close::{CloseReason, Ending};
use crate::api::error::{ConnectError, Unopened};
use crate::shard::core::Core;
use crate::shard::notices::NoticeKind;
use crate::tls::explain;
use crate::tls::stream::{Plaintext, TlsFailure, TlsProgress, TlsStream};
use ringway_codec::Role;
use ringway_io::{Buffer, Output};

/// A fatal alert without encryption: `unexpected_message` (RFC 8446 section 6.2). It answers a
/// client that begins TLS on a listener without it.
const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];

/// The answer to an HTTP request on a listener with TLS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
Content-Length: 58\r\n\r\nThis port expects TLS: use https:// or wss:// in the URL.\n";

impl<S> Session<S> {
    /// Handles received records.
    pub(super) fn receive_records(
        &mut self,
        mut buffer: Buffer,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        if self.is_shutting_down() {
            return None;
        }
        // Input that waits comes before these records.
        let slot = self.link.slot();
        let allowance = if self.link.has_stash() { 0 } else { core.slices.record_allowance(slot) };
        let mut plain = Plaintext { in_place: 0..0, copied: core.memory.take_output() };
        let result = self.open_records(allowance, core, |stream| stream.receive(&mut buffer, allowance, &mut plain))?;
        let Plaintext { in_place, copied } = plain;
        let removal = if in_place.is_empty() {
            drop(buffer);
            self.records_received(result, Input::Kept(copied), 0, core, app)
        } else {
            core.memory.give(copied);
            buffer.truncate(in_place.end);
            self.records_received(result, Input::Buffer(buffer), in_place.start, core, app)
        };
        if removal.is_none() {
            self.wait_with_kept(core);
        }
        removal
    }

    /// Handles the first records of a client, which were received behind a header of the PROXY
    /// protocol. The layer collects them for the handshake.
    pub(super) fn receive_first_records(
        &mut self,
        records: &mut [u8],
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        let allowance = core.slices.record_allowance(self.link.slot());
        let mut plain = Plaintext { in_place: 0..0, copied: core.memory.take_output() };
        let result = self.open_records(allowance, core, |stream| stream.receive(records, allowance, &mut plain))?;
        debug_assert!(plain.in_place.is_empty(), "during its handshake a server opens no record");
        self.records_received(result, Input::Kept(plain.copied), 0, core, app)
    }

    /// Whether the layer has received bytes that it has not opened.
    pub(super) fn has_kept(&self, core: &Core) -> bool {
        core.tls.as_ref().and_then(|tls| tls.get(self.link.slot())).is_some_and(TlsStream::has_kept)
    }

    /// Whether the layer has such bytes, and they may be opened now.
    fn has_openable(&self, core: &Core) -> bool {
        !self.is_shutting_down() && !self.link.has_stash() && self.has_kept(core)
    }

    /// Whether what the peer still sends is discarded.
    fn is_shutting_down(&self) -> bool {
        matches!(self.link.phase, SessionPhase::ShuttingDown(_) | SessionPhase::Lingering)
    }

    /// Opens records, and subtracts them from the connection's share of the turn.
    fn open_records<R>(&self, allowance: usize, core: &mut Core, open: impl FnOnce(&mut TlsStream) -> R) -> Option<R> {
        let (result, left) = self.with_stream(core, |stream| (open(stream), stream.records_left()))?;
        core.slices.spend_records(self.link.slot(), allowance.saturating_sub(left));
        Some(result)
    }

    /// Makes the connection wait for the next turn if its layer has bytes that are not opened.
    fn wait_with_kept(&mut self, core: &mut Core) {
        if self.has_openable(core) {
            self.accounted(core, |session, core| {
                session.link.stash_until_next_turn(Input::Kept(Vec::new()), 0, core);
            });
        }
    }

    /// Opens records that were kept, after the input before them was delivered.
    pub(super) fn open_kept(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        if !self.has_openable(core) {
            return None;
        }
        let slot = self.link.slot();
        let allowance = core.slices.record_allowance(slot);
        if allowance > 0 {
            let mut plain = Plaintext { in_place: 0..0, copied: core.memory.take_output() };
            let result = self.open_records(allowance, core, |stream| stream.open_kept(allowance, &mut plain))?;
            let removal = self.records_received(result, Input::Kept(plain.copied), 0, core, app);
            if removal.is_some() {
                return removal;
            }
        }
        self.wait_with_kept(core);
        // The FIN waited for the records before it.
        if self.link.is(SessionFlag::PeerFinished) { self.peer_finished(core) } else { None }
    }

    /// Processes the records of the handshake that were collected until its turn (server role).
    pub(crate) fn shake_hands(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        if self.is_shutting_down() {
            return None;
        }
        let mut plain = Plaintext { in_place: 0..0, copied: core.memory.take_output() };
        let result = self.with_stream(core, |stream| {
            stream.is_waiting = false;
            stream.shake_hands(&mut plain)
        })?;
        let has_finished = self.link.is(SessionFlag::PeerFinished);
        let removal = self.records_received(result, Input::Kept(plain.copied), 0, core, app);
        // The FIN waited for the records before it.
        if removal.is_none() && has_finished { self.peer_finished(core) } else { removal }
    }

    /// Whether records wait for their turn.
    fn is_waiting(&self, core: &Core) -> bool {
        core.tls.as_ref().and_then(|tls| tls.get(self.link.slot())).is_some_and(|stream| stream.is_waiting)
    }

    /// Handles the end of the peer's direction, unless input before it has to be handled first.
    pub(super) fn peer_finished(&mut self, core: &mut Core) -> Option<Removal> {
        if self.link.has_stash() || self.link.has_postponed_violation() || self.is_waiting(core) {
            return None;
        }
        self.accounted(core, |session, core| session.link.peer_finished(core))
    }

    /// Sends the ClientHello (client role).
    pub(super) fn begin_tls(&mut self, core: &mut Core) -> Option<Removal> {
        let slot = self.link.slot();
        let tls = self.link.cold().opening.endpoint().and_then(|endpoint| endpoint.tls.clone())?;
        match TlsStream::client(tls.config, tls.name) {
            Ok(stream) => {
                core.memory.charge(stream.held());
                core.tls.get_or_insert_default().insert(slot, Box::new(stream));
                self.link.mark_dirty(core);
                None
            }
            Err(error) => Some(Removal::Unconnected(ConnectError::Tls(error.to_string()))),
        }
    }

    /// Calls `change` with the connection's layer, and charges the memory that it holds then.
    fn with_stream<R>(&self, core: &mut Core, change: impl FnOnce(&mut TlsStream) -> R) -> Option<R> {
        let stream = core.tls.as_mut()?.get_mut(self.link.slot())?;
        let before = stream.held();
        let result = change(stream);
        core.memory.recharge(before, stream.held());
        Some(result)
    }

    /// Handles the plaintext of received records, which is in `plain` from `at` on, and what was found
    /// besides.
    fn records_received(
        &mut self,
        result: Result<TlsProgress, TlsFailure>,
        plain: Input,
        at: usize,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        let slot = self.link.slot();
        let stream = core.tls.as_mut()?.get_mut(slot)?;
        let has_output = stream.has_output();
        if stream.has_collected_record() && !stream.is_waiting && result.is_ok() {
            stream.is_waiting = true;
            core.tls.as_mut()?.wait(slot);
        }
        if has_output {
            self.link.mark_dirty(core);
        }
        if matches!(result, Ok(TlsProgress { established: true, .. })) && self.link.role() == Role::Client {
            if let Some(attempt) = self.link.cold().opening.attempt_mut() {
                attempt.secured(core);
            }
            let removal = self.established(core, app);
            if removal.is_some() {
                return removal;
            }
        }
        let removal = if plain.is_empty() {
            plain.recycle(&mut core.memory);
            None
        } else {
            self.receive_plain(plain, at, core, app)
        };
        match result {
            _ if removal.is_some() => removal,
            Err(failure) => self.layer_failed(&failure, core),
            Ok(TlsProgress { peer_finished: true, .. }) if !self.link.is(SessionFlag::PeerFinished) => {
                // Unlike after a FIN, the driver still receives, until the end of this turn.
                self.link.set(SessionFlag::PeerFinished);
                self.link.mark_dirty(core);
                self.peer_finished(core)
            }
            Ok(_) => None,
        }
    }

    /// Ends the connection after a failure of its layer. The alert for the peer is sent before.
    fn layer_failed(&mut self, failure: &TlsFailure, core: &mut Core) -> Option<Removal> {
        core.counters.tls_failures += 1;
        let link = &mut self.link;
        let text = match failure {
            TlsFailure::Protocol(error) => explain(error, link.role(), link.cold().opening.server_name().as_deref()),
            failure => failure.to_string(),
        };
        if matches!(failure, TlsFailure::PlainHttp) {
            link.write_unsealed(PLAIN_HTTP, core);
        }
        match link.phase {
            SessionPhase::Connecting | SessionPhase::Held | SessionPhase::Handshaking | SessionPhase::Deferred
                if link.role() == Role::Client =>
            {
                link.cold().opening.fail(ConnectError::Tls(text));
            }
            SessionPhase::Open | SessionPhase::Closing => {
                link.cold().reason = Some(CloseReason::abnormal(Ending::Tls(text)));
            }
            _ => {
                if matches!(link.phase, SessionPhase::Handshaking | SessionPhase::Deferred) {
                    core.counters.handshakes_tls += 1;
                }
                let kind = NoticeKind::of(failure);
                core.notices.warn(core.clock.now(), kind, link.slot(), || format!("a TLS connection failed: {text}"));
                link.cold().opening.end(Unopened::Tls(text));
            }
        }
        link.begin_shutdown(CloseMode::Linger, core);
        None
    }

    /// Refuses a client that begins TLS on a listener without it.
    pub(super) fn refuse_tls(&mut self, core: &mut Core) {
        core.notices.warn(core.clock.now(), NoticeKind::UnexpectedTls, self.link.slot(), || {
            "a client began TLS on a listener without it; give this listener a certificate (--tls-cert)".to_owned()
        });
        core.counters.handshakes_refused += 1;
        self.link.cold().opening.end(Unopened::Tls("the client began TLS, which is not configured here".to_owned()));
        self.link.write_raw(core, |out| out.extend_from_slice(&UNEXPECTED_MESSAGE));
        self.link.begin_shutdown(CloseMode::Linger, core);
    }
}

/// Whether the first bytes of a client are those of a ClientHello: a record of the type `handshake`.
/// No HTTP request begins with this byte.
pub(super) fn is_client_hello(bytes: &[u8]) -> bool {
    bytes.first() == Some(&22)
}

impl<S> Link<S> {
    /// Takes the next output to send. On a connection with TLS, seals it.
    #[inline]
    pub(super) fn take_output(&mut self, core: &mut Core) -> Result<Option<Output>, Removal> {
        // One branch for both.
        if core.tls.is_none() & core.tap.is_none() { Ok(self.take_passed()) } else { self.take_layered(core) }
    }

    /// Takes output that may have to be sealed or reported to the tap, which gets the plaintext.
    fn take_layered(&mut self, core: &mut Core) -> Result<Option<Output>, Removal> {
        let (slot, now) = (self.slot(), core.tap.is_some().then(|| core.current_time()));
        let Core { tls, tap, memory, .. } = core;
        let mut tap = tap.as_mut().zip(now);
        let Some((stream, scratch)) = tls.as_mut().and_then(|tls| tls.with_scratch(slot)) else {
            let output = self.take_passed();
            if let (Some((tap, now)), Some(output)) = (tap, &output) {
                tap.passed(slot, output, now);
            }
            return Ok(output);
        };
        let ending = matches!(self.phase, SessionPhase::ShuttingDown(_));
        let before = stream.held();
        let sealed = self.outbox.take_sealed(stream, scratch, ending, memory, |plain, len| {
            if let Some((tap, now)) = &mut tap {
                tap.sent(slot, plain, 0..len, *now);
            }
        });
        memory.recharge(before, stream.held());
        sealed.map_err(|failure| self.broken(Ending::Tls(failure.to_string())))
    }

    /// Handles the completion of a send: on a connection with TLS, what is left over is not sealed
    /// again. Returns whether records wait to be sent.
    #[inline]
    pub(super) fn complete_output(&mut self, output: Output, written: usize, core: &mut Core) -> bool {
        match core.tls.as_mut().and_then(|tls| tls.get_mut(self.slot())) {
            None => {
                if core.tap.is_some() {
                    core.with_tap(|tap, _| tap.written(self.slot(), written));
                }
                self.outbox.complete(output, written, &mut core.memory);
                false
            }
            Some(stream) => {
                self.outbox.complete_sealed(stream, output, written, &mut core.memory);
                stream.has_output()
            }
        }
    }

    /// Sends bytes outside of the layer, before its handshake is complete.
    fn write_unsealed(&mut self, bytes: &[u8], core: &mut Core) {
        if let Some(stream) = core.tls.as_mut().and_then(|tls| tls.get_mut(self.slot())) {
            let before = stream.held();
            stream.write_own(bytes);
            core.memory.recharge(before, stream.held());
        }
        self.mark_dirty(core);
    }

    /// Takes the reason why the attempt of an outgoing connection has failed: the error of its layer,
    /// or the server's refusal.
    pub(super) fn take_failure(&mut self) -> Option<ConnectError> {
        self.cold.as_mut()?.opening.take_failure()
    }

    /// Whether the peer has ended its direction in a way that the layer does not vouch for: bytes
    /// may be missing at the end (RFC 8446 section 6.1).
    pub(super) fn is_truncated(&self, core: &Core) -> bool {
        core.tls.as_ref().and_then(|tls| tls.get(self.slot())).is_some_and(|stream| !stream.has_peer_finished())
    }
}
