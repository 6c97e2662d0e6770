//! The opening handshake (RFC 6455 section 4) in both roles: its state, the evaluation of requests,
//! and the responses.

use super::attempt::Attempt;
use super::input::Input;
use crate::api::endpoint::Endpoint;
use crate::api::error::{ConnectError, Unopened};
use crate::api::opening::{OpeningStage, OpeningTimes};
use crate::api::refused::RefusedUpgrade;
use crate::api::response::{Response, Upgrade};
use crate::config::Config;
use crate::shard::core::Core;
use crate::shard::memory::Memory;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ringway_codec::{
    ClientRequest, DeflateParams, FinalHead, HandshakeError, HeadScan, Key, Refusal, ResponseExpectation,
    choose_subprotocol, encode_accept, parse_request, parse_response,
};
use ringway_io::Slot;
use std::borrow::Cow;

/// The state of an opening handshake.
#[derive(Default)]
pub(super) struct Opening {
    /// The received part of the head.
    head: Vec<u8>,
    scan: Option<HeadScan>,
    /// Client role: the attempt, and the key that was sent.
    attempt: Option<Box<Attempt>>,
    nonce: [u8; 16],
    /// The request that waits for the handler's answer.
    deferred: Option<UpgradeRequest>,
    /// Server role: the number of the listener, while a header of the PROXY protocol is awaited.
    listener: usize,
    /// Client role: why the attempt has failed, while the last bytes for the server are sent.
    failure: Option<ConnectError>,
    /// Server role: why the connection does not open, while the last bytes for the client are sent.
    unopened: Option<Unopened>,
}

/// Answers requests.
pub(crate) trait RequestHandler<S> {
    /// Answers a valid request for a WebSocket, on a connection that is not open yet.
    fn upgrade(&mut self, slot: Slot, request: &ringway_codec::Request<'_>, core: &mut Core) -> Upgrade<S>;

    /// Answers a plain HTTP request.
    fn request(&mut self, slot: Slot, request: &ringway_codec::Request<'_>, core: &mut Core) -> Response;
}

/// The parts of a request for a WebSocket that its response depends on.
pub(super) struct UpgradeRequest {
    key: Key,
    /// The offered subprotocols, separated by commas, which no name contains.
    offered: String,
    /// The compression to agree on.
    pub(super) deflate: Option<DeflateParams>,
}

/// The results of an opening handshake that the application can read.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) subprotocol: Option<String>,
    /// The header fields of the response, in the client role.
    pub(crate) headers: HeaderMap,
    /// The durations of the stages, in the client role.
    pub(crate) times: Option<OpeningTimes>,
}

/// The result of evaluating the head of a request.
pub(super) enum Evaluation<S> {
    /// More bytes are needed.
    Incomplete,
    /// The connection ends after this response.
    Refused(Refusal, Plain),
    /// The handler's response to a plain request, and the length of the request.
    Plain(Response, Plain, usize),
    /// The handler's answer, and the length of the request.
    Upgrade(UpgradeRequest, Upgrade<S>, usize),
}

/// The parts of a request that the form of a plain response depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    /// Whether the client lets the connection continue.
    pub(super) keeps_alive: bool,
    /// Whether the response has no body, although its head has the length: that to HEAD (RFC 9110
    /// section 9.3.2).
    pub(super) omits_body: bool,
}

impl Opening {
    pub(super) fn to(attempt: Attempt) -> Self {
        Self { attempt: Some(Box::new(attempt)), ..Self::default() }
    }

    /// The state of a connection that was accepted on the listener with this number, and has to send
    /// a header of the PROXY protocol first.
    pub(super) fn on(listener: usize) -> Self {
        Self { listener, ..Self::default() }
    }

    /// The number of the listener of a connection of [`Opening::on`].
    pub(super) fn listener(&self) -> usize {
        self.listener
    }

    pub(super) fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_deref()
    }

    pub(super) fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        self.attempt.as_deref_mut()
    }

    pub(super) fn take_attempt(&mut self) -> Option<Box<Attempt>> {
        self.attempt.take()
    }

    /// The stage that is in progress (client role).
    pub(super) fn stage(&self) -> OpeningStage {
        self.attempt().map_or(OpeningStage::Upgrade, Attempt::stage)
    }

    /// Whether nothing of a head has been received.
    pub(super) fn is_fresh(&self) -> bool {
        self.head.is_empty() && self.scan.is_none()
    }

    /// Whether the server is reached through TLS (client role).
    pub(super) fn has_tls(&self) -> bool {
        self.endpoint().is_some_and(|endpoint| endpoint.tls.is_some())
    }

    /// The name that the certificate of the server has to contain (client role).
    pub(super) fn server_name(&self) -> Option<Cow<'_, str>> {
        self.endpoint()?.tls.as_ref().map(|tls| tls.name.to_str())
    }

    /// Records why the attempt has failed.
    pub(super) fn fail(&mut self, error: ConnectError) {
        self.failure = Some(error);
    }

    /// Records why an accepted connection does not open. The first cause counts.
    pub(super) fn end(&mut self, cause: Unopened) {
        self.unopened.get_or_insert(cause);
    }

    /// Takes the reason why an accepted connection has not opened.
    pub(super) fn take_unopened(&mut self) -> Option<Unopened> {
        self.unopened.take()
    }

    /// Whether the body of a refusal is received (client role).
    pub(super) fn wants_refusals(&self) -> bool {
        self.endpoint().is_some_and(|endpoint| endpoint.max_refusal.is_some())
    }

    /// Begins to receive the refusal whose head is complete at the start of `head`. Returns whether
    /// its body is complete, too.
    pub(super) fn refuse(&mut self, head: &[u8], core: &Core) -> bool {
        let max_body = self.endpoint().and_then(|endpoint| endpoint.max_refusal).unwrap_or(0);
        let Ok(Some((parsed, len))) = FinalHead::parse(head, &core.limits.head()) else { return true };
        let headers = header_map(&parsed.headers);
        let mut refused = RefusedUpgrade::new(parsed.status, parsed.reason, headers, max_body);
        let complete = refused.push(&head[len..]);
        self.fail(ConnectError::Refused(Box::new(refused)));
        complete
    }

    /// The refusal of which more of the body is awaited.
    pub(super) fn refusal(&mut self) -> Option<&mut RefusedUpgrade> {
        match &mut self.failure {
            Some(ConnectError::Refused(refused)) => Some(refused),
            _ => None,
        }
    }

    /// The server has ended the connection, and with it the body of its refusal.
    pub(super) fn refusal_ended(&mut self) {
        if let Some(refused) = self.refusal() {
            refused.ended();
        }
    }

    /// Takes the reason why the attempt has failed.
    pub(super) fn take_failure(&mut self) -> Option<ConnectError> {
        self.failure.take()
    }

    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        self.attempt().map(Attempt::endpoint)
    }

    /// The number of bytes of memory that the head occupies.
    pub(super) fn held(&self) -> usize {
        let refusal = match &self.failure {
            Some(ConnectError::Refused(refused)) => refused.held(),
            _ => 0,
        };
        self.head.capacity() + refusal + self.deferred.as_ref().map_or(0, |request| request.offered.capacity())
    }

    /// Frees the received part of the head.
    pub(super) fn release(&mut self) {
        self.head = Vec::new();
    }

    /// Joins input with the part of the header or head that was kept. Returns its position in it.
    pub(super) fn join(&mut self, input: Input, at: usize) -> (Input, usize) {
        if self.head.is_empty() {
            return (input, at);
        }
        self.head.extend_from_slice(&input[at..]);
        (Input::Kept(std::mem::take(&mut self.head)), 0)
    }

    /// Whether to parse the head, which is at the start of `head`. One that arrives in small parts
    /// is not parsed with each part.
    pub(super) fn is_worth_parsing(&mut self, head: &[u8], core: &Core) -> bool {
        self.scan.get_or_insert_with(|| HeadScan::new(&core.limits.head())).push(head)
    }

    /// Keeps an incomplete head, which begins at `at` of `input`, and no memory for what was before
    /// it.
    pub(super) fn keep(&mut self, input: Input, at: usize, memory: &mut Memory) {
        self.head = match input {
            Input::Kept(head) if at == 0 => head,
            input => {
                let head = input[at..].to_vec();
                input.recycle(memory);
                head
            }
        };
    }

    /// Prepares for the next request after an answered one.
    pub(super) fn finish_request(&mut self) {
        self.scan = None;
    }

    /// Writes the request of the client role.
    pub(super) fn encode_request(&mut self, core: &mut Core, out: &mut Vec<u8>) {
        self.nonce = core.nonce();
        let Some(endpoint) = self.endpoint() else { return };
        ClientRequest {
            target: &endpoint.target,
            key: self.nonce,
            subprotocols: &endpoint.subprotocols,
            deflate: core.compressors.as_ref().map_or(&[][..], |compressors| compressors.offers()),
            origin: endpoint.origin.as_deref(),
            headers: &endpoint.headers,
        }
        .encode(out);
    }

    /// Checks the server's response. Returns the results, except for the compression, and the
    /// length of the response; `None` if it is incomplete.
    pub(super) fn check_response(
        &self,
        head: &[u8],
        core: &Core,
    ) -> Result<Option<(Agreed, Option<DeflateParams>, usize)>, HandshakeError> {
        let subprotocols = self.endpoint().map_or(&[][..], |endpoint| &endpoint.subprotocols);
        let deflate = core.compressors.as_ref().map_or(&[][..], |compressors| compressors.offers());
        let expected = ResponseExpectation { key: self.nonce, subprotocols, deflate };
        let parsed = parse_response(head, &core.limits.head(), &expected)?;
        Ok(parsed.map(|(response, len)| {
            let times = self.attempt().and_then(|attempt| attempt.times(core));
            let agreed = Agreed { headers: header_map(&response.headers), subprotocol: response.subprotocol, times };
            (agreed, response.deflate, len)
        }))
    }

    /// Keeps the request and the bytes after it until the handler answers.
    pub(super) fn defer(&mut self, request: UpgradeRequest, rest: &[u8]) {
        self.deferred = Some(request);
        self.head = rest.to_vec();
    }

    /// Appends bytes that were received while the answer was deferred.
    pub(super) fn extend_rest(&mut self, bytes: &[u8]) {
        self.head.extend_from_slice(bytes);
    }

    /// Takes the deferred request and the bytes after it.
    pub(super) fn take_deferred(&mut self) -> Option<(UpgradeRequest, Vec<u8>)> {
        Some((self.deferred.take()?, std::mem::take(&mut self.head)))
    }
}

/// Parses and checks a request, and calls the handler for the answer.
pub(super) fn evaluate_request<S>(
    slot: Slot,
    head: &[u8],
    core: &mut Core,
    handler: &mut impl RequestHandler<S>,
) -> Evaluation<S> {
    let (request, len) = match parse_request(head, &core.limits.head()) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Evaluation::Incomplete,
        Err(refusal) => return Evaluation::Refused(refusal, Plain { keeps_alive: false, omits_body: false }),
    };
    let plain = Plain { keeps_alive: request.keeps_alive(), omits_body: request.method() == "HEAD" };
    if !request.wants_upgrade() {
        let valid = request.check_target().and_then(|()| request.check_framing()).and_then(|()| check_tunnel(&request));
        return match valid {
            Ok(()) => Evaluation::Plain(handler.request(slot, &request, core), plain, len),
            Err(refusal) => Evaluation::Refused(refusal, plain),
        };
    }
    let valid = request.check_framing().and_then(|()| request.websocket());
    let key = match valid.and_then(|key| request.check_origin(&core.config.origins).map(|()| key)) {
        Ok(key) => key,
        Err(refusal) => return Evaluation::Refused(refusal, plain),
    };
    if core.refuses_upgrades() {
        core.count_drain_refusal();
        return Evaluation::Refused(drain_refusal(), plain);
    }
    let upgrade = handler.upgrade(slot, &request, core);
    let offered = request.subprotocols().collect::<Vec<_>>().join(",");
    let deflate = core.compressors.as_ref().and_then(|compressors| {
        // A malformed header was refused above.
        compressors.policy().choose(&request.extensions().unwrap_or_default())
    });
    Evaluation::Upgrade(UpgradeRequest { key, offered, deflate }, upgrade, len)
}

impl UpgradeRequest {
    /// The subprotocol: the one named by the handler, if it was offered, or one of the configured
    /// ones.
    pub(super) fn choose<'a>(&'a self, named: Option<&str>, config: &'a Config) -> Option<&'a str> {
        let mut offered = self.offered.split(',').filter(|name| !name.is_empty());
        match named {
            Some(name) => offered.find(|offer| *offer == name),
            None => choose_subprotocol(offered, &config.subprotocols),
        }
    }

    /// Writes the response that accepts the request.
    pub(super) fn encode_accept(&self, subprotocol: Option<&str>, headers: &HeaderMap, out: &mut Vec<u8>) {
        encode_accept(&self.key, subprotocol, self.deflate.as_ref(), headers, out);
    }
}

/// Converts the fields of a response. Invalid fields were refused before, so none is skipped.
fn header_map(fields: &ringway_codec::Headers<'_>) -> HeaderMap {
    let field = |(name, value): (&str, &[u8])| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    fields.iter().filter_map(field).collect()
}

/// The refusal of a request while the shard drains. Another server answers a second attempt.
pub(super) fn drain_refusal() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; connect again")
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// Refuses CONNECT: a client would take any response with 2xx for the start of a tunnel (RFC 9110
/// section 9.3.6).
fn check_tunnel(request: &ringway_codec::Request<'_>) -> Result<(), Refusal> {
    if request.method() != "CONNECT" {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this server is not a proxy")
        .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD")))
}
