//! How connections open (RFC 6455 section 4), in both roles.

use super::outgoing::Input;
use super::{Hub, Peers};
use crate::client::{ConnectError, Endpoint};
use crate::connection::{Connection, ConnectionId, Shard};
use crate::handler::Handler;
use crate::request::{Answer, Request, Response, Upgrade};
use crate::session::{Deferred, Farewell, Flag, Phase, Session};
use rand::Rng;
use ringway_codec::{
    ClientRequest, Decoder, DeflateParams, HeadScan, Refusal, ResponseExpectation, Role, choose_subprotocol,
    encode_accept, encode_response, parse_request, parse_response,
};
use ringway_io::Slot;
use std::sync::Arc;

/// What a server's handshake has come to.
enum Verdict<S> {
    /// More bytes are needed.
    Incomplete,
    Refuse(Refusal, Body),
    Plain(Response, Body),
    /// With the length of the request.
    Upgrade(Deferred, Upgrade<S>, usize),
}

/// Whether an answer is sent with its body: one to HEAD is not (RFC 9110 section 9.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Sent,
    LeftOut,
}

impl<H: Handler> Hub<H> {
    /// A connection has come in.
    pub(crate) fn accepted(&mut self, slot: Slot) {
        let mut session = Session::new(slot, Role::Server);
        session.last_active = self.tick;
        self.table.insert(slot, session);
        self.set_timer(slot, self.config.handshake_timeout);
        self.mark(slot);
    }

    /// A connection of our own is being made.
    pub(crate) fn connecting(&mut self, slot: Slot, endpoint: Arc<Endpoint>, state: H::State) {
        let mut session = Session::new(slot, Role::Client);
        session.state = state;
        session.cold().endpoint = Some(endpoint);
        self.table.insert(slot, session);
        self.set_timer(slot, self.config.handshake_timeout);
    }

    /// There is no slot for a connection of our own.
    pub(crate) fn unconnected(&mut self, handler: &mut H, peers: Peers<'_>, state: H::State, error: &ConnectError) {
        handler.failed(&mut Shard { hub: self, peers }, state, error);
    }

    /// The TCP connection of a client stands: its request goes out.
    pub(crate) fn connected(&mut self, slot: Slot) {
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        let tick = self.tick;
        let Some(session) = self.table.get_mut(slot) else { return };
        session.phase = Phase::Handshaking;
        session.last_active = tick;
        let cold = session.cold();
        cold.nonce = nonce;
        let Some(endpoint) = cold.endpoint.clone() else { return };
        let compressors = self.compressors.take();
        let offers = compressors.as_ref().map_or(&[][..], |compressors| compressors.offers());
        self.write_raw(slot, |out| {
            ClientRequest {
                target: &endpoint.target,
                key: nonce,
                subprotocols: &endpoint.subprotocols,
                deflate: offers,
                origin: endpoint.origin.as_deref(),
                headers: &endpoint.headers,
            }
            .encode(out);
        });
        self.compressors = compressors;
    }

    /// Bytes of an opening handshake have come.
    pub(super) fn handshake(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, input: Input) {
        let limits = self.limits.head();
        let Some(session) = self.table.get_mut(slot) else { return };
        let (role, cold) = (session.role, session.cold());
        let mut head = input;
        if !cold.head.is_empty() {
            cold.head.extend_from_slice(&head);
            head = Input::Kept(std::mem::take(&mut cold.head));
        }
        // A head that comes in drops is parsed when its end has come, not at each drop.
        if !cold.scan.get_or_insert_with(|| HeadScan::new(&limits)).push(&head) {
            return self.keep_head(slot, head);
        }
        match role {
            Role::Server => self.serve_handshake(handler, peers, slot, head),
            Role::Client => self.finish_handshake(handler, peers, slot, head),
        }
    }

    fn keep_head(&mut self, slot: Slot, head: Input) {
        if let Some(session) = self.table.get_mut(slot) {
            session.cold().head = match head {
                Input::Kept(bytes) => bytes,
                Input::Buffer(buffer) => buffer.to_vec(),
            };
        }
    }

    fn serve_handshake(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, head: Input) {
        match self.judge(handler, peers, slot, &head) {
            Verdict::Incomplete => self.keep_head(slot, head),
            Verdict::Refuse(refusal, body) => self.refuse(slot, &refusal, body),
            Verdict::Plain(response, body) => self.respond(slot, &response, body),
            Verdict::Upgrade(request, upgrade, len) => {
                self.conclude(handler, peers, slot, request, upgrade, Some((head, len)));
            }
        }
    }

    fn judge(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, head: &[u8]) -> Verdict<H::State> {
        let (request, len) = match parse_request(head, &self.limits.head()) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Verdict::Incomplete,
            Err(refusal) => return Verdict::Refuse(refusal, Body::Sent),
        };
        let body = if request.method() == "HEAD" { Body::LeftOut } else { Body::Sent };
        let wrapped = Request { head: &request, id: ConnectionId(slot), peers };
        if !request.wants_upgrade() {
            return match request.check_host() {
                Ok(()) => Verdict::Plain(handler.request(&wrapped), body),
                Err(refusal) => Verdict::Refuse(refusal, body),
            };
        }
        let key = match request.websocket().and_then(|key| self.config.origins.check(&request).map(|()| key)) {
            Ok(key) => key,
            Err(refusal) => return Verdict::Refuse(refusal, body),
        };
        let upgrade = handler.upgrade(&wrapped);
        let offered = request.subprotocols().map(str::to_owned).collect();
        let deflate = self.compressors.as_ref().and_then(|compressors| {
            // A malformed header was refused above.
            compressors.policy().choose(&request.extensions().unwrap_or_default())
        });
        Verdict::Upgrade(Deferred { key, offered, deflate }, upgrade, len)
    }

    /// Carries out the handler's answer. `head` is the input with the length of the request, unless the answer was put
    /// off: then what came behind the request is in `cold.head`.
    fn conclude(
        &mut self,
        handler: &mut H,
        peers: Peers<'_>,
        slot: Slot,
        request: Deferred,
        upgrade: Upgrade<H::State>,
        head: Option<(Input, usize)>,
    ) {
        match upgrade.0 {
            Answer::Accept { state, subprotocol, headers } => {
                let subprotocol = match subprotocol {
                    Some(name) => Some(name).filter(|name| request.offered.contains(name)),
                    None => choose_subprotocol(request.offered.iter().map(String::as_str), &self.config.subprotocols)
                        .map(str::to_owned),
                };
                self.write_raw(slot, |out| {
                    encode_accept(&request.key, subprotocol.as_deref(), request.deflate.as_ref(), &headers, out);
                });
                let Some(session) = self.table.get_mut(slot) else { return };
                session.state = state;
                let (rest, at) = match head {
                    Some(head) => head,
                    None => (Input::Kept(std::mem::take(&mut session.cold().head)), 0),
                };
                self.open(handler, peers, slot, request.deflate, rest, at);
            }
            Answer::Reject(response) => self.respond(slot, &response, Body::Sent),
            Answer::Defer => {
                let Some(session) = self.table.get_mut(slot) else { return };
                session.phase = Phase::Deferred;
                let cold = session.cold();
                cold.deferred = Some(request);
                if let Some((head, len)) = head {
                    cold.head = head[len..].to_vec();
                }
                self.mark(slot);
            }
        }
    }

    /// The answer that was put off.
    pub(crate) fn answer(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, upgrade: Upgrade<H::State>) {
        let Some(session) = self.table.get_mut(slot) else { return };
        // After the timeout the request has been refused already.
        if session.phase == Phase::Deferred
            && let Some(request) = session.cold.as_mut().and_then(|cold| cold.deferred.take())
        {
            self.conclude(handler, peers, slot, request, upgrade, None);
            self.peer_finish_held_back(handler, peers, slot);
        }
    }

    /// The server's answer, in the client role.
    fn finish_handshake(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, head: Input) {
        let limits = self.limits.head();
        let Some(session) = self.table.get_mut(slot) else { return };
        let cold = session.cold();
        let (nonce, Some(endpoint)) = (cold.nonce, cold.endpoint.clone()) else { return };
        let deflate = self.compressors.as_ref().map_or(&[][..], |compressors| compressors.offers());
        let expected = ResponseExpectation { key: nonce, subprotocols: &endpoint.subprotocols, deflate };
        match parse_response(&head, &limits, &expected).map(|parsed| parsed.map(|(got, len)| (got.deflate, len))) {
            Ok(Some((deflate, len))) => self.open(handler, peers, slot, deflate, head, len),
            Ok(None) => self.keep_head(slot, head),
            Err(error) => self.fail_connect(handler, peers, slot, ConnectError::Handshake(error)),
        }
    }

    /// The handshake is done: messages may flow, beginning with what is behind it in `input`.
    fn open(
        &mut self,
        handler: &mut H,
        peers: Peers<'_>,
        slot: Slot,
        deflate: Option<DeflateParams>,
        input: Input,
        at: usize,
    ) {
        let Some(session) = self.table.get_mut(slot) else { return };
        if let (Some(params), Some(compressors)) = (deflate, &self.compressors) {
            session.decoder = Decoder::with_deflate(session.role, &params);
            session.compression = compressors.agreed(session.role, &params);
        }
        session.phase = Phase::Open;
        session.set(Flag::Opened);
        session.cold = None;
        match self.config.idle_timeout {
            Some(timeout) => self.set_timer(slot, timeout / 2),
            None => self.wheel.clear(slot.index()),
        }
        self.mark(slot);
        handler.open(&mut Connection::new(self, peers, slot));
        if at < input.len() {
            self.walk(handler, peers, slot, input, at);
        }
    }

    pub(super) fn refuse(&mut self, slot: Slot, refusal: &Refusal, body: Body) {
        self.write_answer(slot, body, |out| refusal.encode(out));
    }

    fn respond(&mut self, slot: Slot, response: &Response, body: Body) {
        let Response { status, headers, body: bytes } = response;
        self.write_answer(slot, body, |out| encode_response(*status, headers, bytes, out));
    }

    /// Answers over plain HTTP, and leaves.
    fn write_answer(&mut self, slot: Slot, body: Body, encode: impl FnOnce(&mut Vec<u8>)) {
        self.write_raw(slot, |out| {
            let start = out.len();
            encode(out);
            let blank_line = out[start..].windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let (Body::LeftOut, Some(at)) = (body, blank_line) {
                out.truncate(start + at + 4);
            }
        });
        self.depart(slot, Farewell::Linger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn a_rejection_is_a_plain_response() {
        let upgrade: Upgrade<()> = Upgrade::reject(StatusCode::FORBIDDEN, "members only");
        let Answer::Reject(response) = upgrade.0 else { panic!("rejected") };
        let mut out = Vec::new();
        encode_response(response.status, &response.headers, &response.body, &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        assert!(text.starts_with("HTTP/1.1 403") && text.ends_with("members only\n"), "{text}");
    }
}
