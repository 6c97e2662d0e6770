//! The opening handshake of a session, in both roles, until it is open or refused.

use super::Session;
use super::application::Application;
use super::closing::Removal;
use super::input::Input;
use super::link::{SessionFlag, SessionPhase};
use super::opening::{Agreed, UpgradeRequest};
use crate::admission::gate::Rejection;
use crate::admission::proxy::{self, ProxyError};
use crate::api::error::ConnectError;
use crate::api::opening::OpeningStage;
use crate::api::response::{Answer, Upgrade};
use crate::shard::core::Core;
use http::{HeaderMap, StatusCode};
use ringway_codec::{Decoder, DeflateParams, HandshakeError, Refusal, Role};
use std::io;
use std::time::Duration;

/// How long the rest of a refusal is awaited after its header.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// The removal of a session that was refused. The reason is the recorded failure of its attempt.
fn refused_removal() -> Removal {
    Removal::Unconnected(ConnectError::Ended(OpeningStage::Upgrade))
}

impl<S> Session<S> {
    /// Begins the opening handshake after the TCP connection is established (client role): sends the
    /// request, or the ClientHello.
    pub(crate) fn connected(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        let link = &mut self.link;
        link.set_phase(SessionPhase::Handshaking, core);
        link.last_active = core.tick();
        if let Some(attempt) = link.cold().opening.attempt_mut() {
            attempt.connected(core);
            let time = attempt.time_left(core);
            core.set_timer(link.slot(), time);
        }
        if let Some(kind) = link.cold().opening.endpoint().and_then(|endpoint| endpoint.plain) {
            self.open_plain(kind, core, app);
            return None;
        }
        if link.cold().opening.has_tls() {
            return self.begin_tls(core);
        }
        self.established(core, app)
    }

    /// Sends the request, or holds the connection (client role).
    pub(super) fn established(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        let link = &mut self.link;
        if !link.cold().opening.endpoint().is_some_and(|endpoint| endpoint.holds) {
            self.send_request(core);
            return None;
        }
        link.set_phase(SessionPhase::Held, core);
        if let Some(attempt) = link.cold().opening.attempt_mut() {
            attempt.hold(core);
        }
        core.clear_timer(link.slot());
        // Receives, so that the end of the connection is seen.
        link.mark_dirty(core);
        if app.connected(link, core) {
            return None;
        }
        let panicked = io::Error::other("the handler panicked");
        Some(Removal::Unconnected(ConnectError::Lost(link.cold().opening.stage(), panicked)))
    }

    /// Sends the request of a connection that is held.
    pub(crate) fn request_upgrade(&mut self, core: &mut Core) {
        let link = &mut self.link;
        if link.phase != SessionPhase::Held {
            return;
        }
        link.set_phase(SessionPhase::Handshaking, core);
        link.last_active = core.tick();
        if let Some(attempt) = link.cold().opening.attempt_mut() {
            attempt.release(core);
            let time = attempt.time_left(core);
            core.set_timer(link.slot(), time);
        }
        self.send_request(core);
    }

    /// Sends the request (client role).
    fn send_request(&mut self, core: &mut Core) {
        let link = &mut self.link;
        let mut request = core.memory.take_output();
        link.cold().opening.encode_request(core, &mut request);
        link.write_raw(core, |out| out.extend_from_slice(&request));
        core.memory.give(request);
    }

    /// Handles bytes of an opening handshake: `input` from `at` on.
    pub(super) fn handshake(
        &mut self,
        input: Input,
        at: usize,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        let link = &mut self.link;
        if link.role() == Role::Server {
            if core.config.admission.proxy_protocol && link.cold().opening.is_fresh() && proxy::is_header(&input[at..])
            {
                core.reject_proxy(link.slot(), &ProxyError::Untrusted);
                return Some(Removal::Closed);
            }
            self.serve_requests(input, at, core, app);
            return None;
        }
        if let Some(refused) = link.cold().opening.refusal() {
            return refused.push(&input[at..]).then(refused_removal);
        }
        let (head, at) = link.cold().opening.join(input, at);
        if !link.cold().opening.is_worth_parsing(&head[at..], core) {
            link.cold().opening.keep(head, at, &mut core.memory);
            return None;
        }
        match link.cold().opening.check_response(&head[at..], core) {
            Ok(Some((agreed, deflate, len))) => {
                self.open(agreed, deflate, head, at + len, core, app);
                None
            }
            Ok(None) => {
                link.cold().opening.keep(head, at, &mut core.memory);
                None
            }
            Err(HandshakeError::Status { .. }) if link.cold().opening.wants_refusals() => {
                if link.cold().opening.refuse(&head[at..], core) {
                    return Some(refused_removal());
                }
                let left = link.cold().opening.attempt().map_or(Duration::ZERO, |attempt| attempt.time_left(core));
                core.set_timer(link.slot(), left.min(REFUSAL_TIME));
                None
            }
            Err(error) => Some(Removal::Unconnected(ConnectError::Handshake(error))),
        }
    }

    /// Applies the handler's deferred answer.
    pub(crate) fn answer(
        &mut self,
        upgrade: Upgrade<S>,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        // After the timeout the request has already been refused.
        if self.link.phase != SessionPhase::Deferred {
            return None;
        }
        self.accounted(core, |session, core| {
            let (request, rest) = session.link.cold().opening.take_deferred()?;
            session.apply_upgrade(request, upgrade, Input::Kept(rest), 0, core, app);
            session.finish_stashed(core)
        })
    }

    /// Applies the handler's answer to a request; the bytes after the request start at `at` of
    /// `input`.
    pub(super) fn apply_upgrade(
        &mut self,
        request: UpgradeRequest,
        upgrade: Upgrade<S>,
        input: Input,
        at: usize,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) {
        match upgrade.0 {
            Answer::Accept { state, subprotocol, headers } => {
                let subprotocol = request.choose(subprotocol.as_deref(), &core.config).map(str::to_owned);
                let encode = |out: &mut Vec<u8>| request.encode_accept(subprotocol.as_deref(), &headers, out);
                self.link.outbox.append(&mut core.memory, encode);
                core.meters.responses.responded(StatusCode::SWITCHING_PROTOCOLS.as_u16());
                self.link.state = Some(state);
                let agreed = Agreed { subprotocol, headers: HeaderMap::new(), times: None };
                self.open(agreed, request.deflate, input, at, core, app);
            }
            Answer::Reject(response) => {
                core.counters.handshakes_rejected += 1;
                self.reject_upgrade(response, core);
            }
            Answer::Defer => {
                self.link.set_phase(SessionPhase::Deferred, core);
                core.handshake_ended(self.link.slot());
                self.link.cold().opening.defer(request, &input[at..]);
                self.link.mark_dirty(core);
            }
        }
    }

    /// Ends the opening handshake: delivers messages, starting with those after the handshake in
    /// `input`.
    fn open(
        &mut self,
        agreed: Agreed,
        deflate: Option<DeflateParams>,
        input: Input,
        at: usize,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) {
        let Self { decoder, link } = self;
        if let (Some(params), Some(compressors)) = (deflate, &core.compressors) {
            *decoder = Decoder::with_deflate(link.role(), &params);
            link.set_compression(compressors.agreed(link.role(), &params));
        }
        core.http.forget(link.slot());
        link.set_phase(SessionPhase::Open, core);
        let is_server = link.role() == Role::Server;
        core.counters.handshakes_accepted += u64::from(is_server);
        core.meters.opened(link.slot().index(), is_server, core.now());
        core.handshake_ended(link.slot());
        link.set(SessionFlag::Opened);
        link.cold = None;
        link.set_check_timer(core);
        core.begin_lifetime(link.slot());
        link.mark_dirty(core);
        if agreed.subprotocol.is_some() || !agreed.headers.is_empty() || agreed.times.is_some() {
            link.cold().agreed = Some(Box::new(agreed));
        }
        app.open(link, core);
        if let Some(cold) = &mut link.cold {
            cold.agreed = None;
        }
        if at < input.len() {
            self.decode(input, at, core, app);
        }
    }

    /// Rejects the client that the PROXY protocol has named.
    pub(super) fn reject_client(&mut self, rejection: Rejection, listener: usize, core: &mut Core) -> Option<Removal> {
        match core.begin_rejection(self.link.slot(), rejection, core.secures(listener)) {
            Some(refusal) => {
                self.refuse(&refusal, core);
                None
            }
            None => Some(Removal::Closed),
        }
    }

    /// Takes the recorded reason why an outgoing connection has failed.
    pub(crate) fn take_failure(&mut self, core: &mut Core) -> Option<ConnectError> {
        self.accounted(core, |session, _| session.link.take_failure())
    }

    /// Rejects the request that is being received.
    pub(crate) fn reject(&mut self, refusal: &Refusal, core: &mut Core) {
        self.accounted(core, |session, core| {
            session.link.cold().opening.release();
            session.refuse(refusal, core);
        });
    }
}
