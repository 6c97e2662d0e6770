//! HTTP/1.1 in the server role (RFC 9112): the requests of a connection, one after another, until
//! one of them opens a WebSocket or the connection ends.
//!
//! Requests that arrive together are answered in order. They are not answered while more than
//! `max_buffered` bytes of responses wait for the peer, nor beyond the connection's budget for a
//! turn; the rest of the input is stashed, as that of messages is. Between two requests a connection
//! holds no memory but its session and an entry of 8 bytes in [`HttpState`].
//!
//! [`HttpState`]: crate::shard::http::HttpState

use super::Session;
use super::application::Application;
use super::closing::{CloseMode, Removal};
use super::deadlines::PeerProbe;
use super::input::Input;
use super::link::{Link, SessionPhase};
use super::opening::{Evaluation, Plain, evaluate_request};
use super::secure::is_client_hello;
use crate::api::error::Unopened;
use crate::api::response::{Content, Response};
use crate::shard::clock::TICK;
use crate::shard::core::Core;
use http::StatusCode;
use ringway_codec::{Refusal, ResponseHead, Role};

/// The work of a request in frames, without its bytes: parsing it, the handler's call, and the head
/// of the response take about a microsecond.
const REQUEST_FRAMES: u32 = 64;

/// The maximum length of a response's body, as of a message.
const MAX_BODY: usize = 1 << 30;

/// The maximum output in bytes that is kept for a connection when memory is short.
const OUTPUT_MAX: usize = 64 * 1024;

impl<S> Session<S> {
    /// Handles bytes of requests: `input` from `at` on.
    pub(super) fn serve_requests(&mut self, input: Input, at: usize, core: &mut Core, app: &mut impl Application<S>) {
        let link = &mut self.link;
        let slot = link.slot();
        if link.extend_stash(&input[at..]) {
            // Received before the driver stopped receiving.
            return;
        }
        if link.is_backlogged(core) {
            return link.stash(None, input, at, core);
        }
        if !core.slices.begin(slot) {
            return link.stash_until_next_turn(input, at, core);
        }
        let mut answered = core.http.answered(slot);
        // Whether this input has the first byte of the request that is being evaluated.
        let mut is_new = link.cold().opening.is_fresh();
        if is_new && answered == 0 && is_client_hello(&input[at..]) {
            return self.refuse_tls(core);
        }
        let (input, mut at) = link.cold().opening.join(input, at);
        while at < input.len() {
            let link = &mut self.link;
            if !link.cold().opening.is_worth_parsing(&input[at..], core) {
                return self.await_rest(input, at, is_new && answered > 0, core);
            }
            if core.shortage.exhausted.is_some() {
                core.counters.memory_refusals += 1;
                return self.refuse(&memory_refusal(), core);
            }
            match evaluate_request(slot, &input[at..], core, app) {
                Evaluation::Incomplete => return self.await_rest(input, at, is_new && answered > 0, core),
                Evaluation::Refused(refusal, plain) => {
                    core.counters.handshakes_refused += 1;
                    return self.respond_refusal(&refusal, plain, core);
                }
                Evaluation::Upgrade(request, upgrade, len) => {
                    core.slices.end(slot);
                    if is_new && answered > 0 {
                        core.set_timer(slot, core.config.handshake_timeout);
                    }
                    return self.apply_upgrade(request, upgrade, input, at + len, core, app);
                }
                Evaluation::Plain(response, plain, len) => {
                    let response = sendable(response);
                    answered += 1;
                    let keeps_alive = plain.keeps_alive
                        && !response.closes
                        && core.drain.is_none()
                        && !refuses_the_request(response.status)
                        && answered < core.limits.max_requests;
                    let written = self.link.write_response(response, plain.omits_body, keeps_alive, core);
                    if !keeps_alive {
                        return self.link.begin_shutdown(CloseMode::Linger, core);
                    }
                    at += len;
                    is_new = true;
                    let link = &mut self.link;
                    link.cold().opening.finish_request();
                    core.http.set_answered(slot, answered);
                    core.handshake_ended(slot);
                    if at < input.len() {
                        if link.is_backlogged(core) {
                            core.slices.end(slot);
                            return link.stash(None, input, at, core);
                        }
                        if !core.slices.spend(len + written, 0, REQUEST_FRAMES) {
                            core.slices.end(slot);
                            return link.stash_until_next_turn(input, at, core);
                        }
                    }
                }
            }
        }
        core.slices.end(slot);
        input.recycle(&mut core.memory);
        self.link.cold = None;
        core.set_timer(slot, core.config.keep_alive_timeout);
    }

    /// Keeps the incomplete head of a request. `is_new`: its time begins now.
    fn await_rest(&mut self, input: Input, at: usize, is_new: bool, core: &mut Core) {
        core.slices.end(self.link.slot());
        self.link.cold().opening.keep(input, at, &mut core.memory);
        if is_new {
            core.set_timer(self.link.slot(), core.config.handshake_timeout);
        }
    }

    /// Refuses a request whose head is not known, and closes.
    pub(crate) fn refuse(&mut self, refusal: &Refusal, core: &mut Core) {
        self.respond_refusal(refusal, Plain { keeps_alive: false, omits_body: false }, core);
    }

    /// Refuses a request, and closes.
    fn respond_refusal(&mut self, refusal: &Refusal, plain: Plain, core: &mut Core) {
        core.meters.responses.responded(refusal.status.as_u16());
        self.link.cold().opening.end(Unopened::Refused(refusal.status, refusal.reason.to_string()));
        core.update_date();
        let Core { memory, http, .. } = core;
        let date = Some(http.date());
        self.link.outbox.append(memory, |out| match plain.omits_body {
            true => refusal.encode_head(date, out),
            false => refusal.encode(date, out),
        });
        self.link.begin_shutdown(CloseMode::Linger, core);
    }

    /// Rejects a request for a WebSocket, and closes: a client that did not wait for the response
    /// may have sent frames behind it.
    pub(super) fn reject_upgrade(&mut self, response: Response, core: &mut Core) {
        let response = sendable(response);
        self.link.cold().opening.end(Unopened::Rejected(response.status));
        self.link.write_response(response, false, false, core);
        self.link.begin_shutdown(CloseMode::Linger, core);
    }

    /// Checks the deadlines of a connection that is not open yet, in the server role: those of the
    /// output, of the next request after the last one, and of a request from its first byte.
    pub(super) fn check_request(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Removal> {
        let link = &mut self.link;
        if link.phase == SessionPhase::Handshaking {
            if let Some(left) = link.check_output(probe, core) {
                if left.is_zero() {
                    core.counters.write_timeouts += 1;
                    return Some(Removal::Closed);
                }
                core.set_timer(link.slot(), left.min(core.config.write_timeout / 4));
                return None;
            }
            if link.has_stash() {
                // It waits for the shard, not for the peer.
                core.set_timer(link.slot(), TICK);
                return None;
            }
            if link.is_between_requests(core) {
                link.begin_shutdown(CloseMode::Linger, core);
                return None;
            }
        }
        core.counters.handshakes_timed_out += 1;
        self.refuse(&Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long"), core);
        None
    }

    /// Frees the memory of a connection that is not open yet, in the server role, because memory is
    /// short.
    pub(super) fn shed_request(&mut self, core: &mut Core) -> Option<Removal> {
        if self.link.outbox.weight(&core.memory) > OUTPUT_MAX {
            return Some(Removal::Closed);
        }
        self.link.cold().opening.release();
        self.refuse(&memory_refusal(), core);
        None
    }
}

impl<S> Link<S> {
    /// Appends a response. Returns the number of bytes of its body.
    fn write_response(&mut self, response: Response, omits_body: bool, keeps_alive: bool, core: &mut Core) -> usize {
        let Response { status, headers, content, .. } = response;
        core.meters.responses.responded(status.as_u16());
        core.update_date();
        let Core { memory, http, .. } = core;
        let len = content.as_slice().len();
        let head = ResponseHead { status, headers: &headers, len, keeps_alive, date: http.date() };
        let has_body = !omits_body && ResponseHead::has_content(status);
        match content {
            Content::Shared(body) if has_body => {
                self.outbox.append(memory, |out| head.encode(out));
                self.outbox.push_shared(&body, memory);
            }
            content => self.outbox.append(memory, |out| {
                head.encode(out);
                if has_body {
                    out.extend_from_slice(content.as_slice());
                }
            }),
        }
        self.mark_dirty(core);
        if has_body { len } else { 0 }
    }

    /// Whether a connection of the server role waits for the first byte of a further request.
    pub(super) fn is_between_requests(&self, core: &Core) -> bool {
        self.phase == SessionPhase::Handshaking
            && self.role() == Role::Server
            && self.cold.as_ref().is_none_or(|cold| cold.stash.is_none() && cold.opening.is_fresh())
            && core.http.answered(self.slot()) > 0
    }

    /// Restarts the time for the next request, after the output was sent.
    pub(super) fn response_sent(&self, core: &mut Core) {
        if self.outbox.bytes() == 0 && self.is_between_requests(core) {
            core.set_timer(self.slot(), core.config.keep_alive_timeout);
        }
    }
}

/// The response, or 500 instead of one that cannot be sent.
fn sendable(response: Response) -> Response {
    if response.status.is_informational() {
        tracing::error!(
            "the handler answered a request with status {}, which ends no request; 500 is sent",
            response.status
        );
    } else if response.content.as_slice().len() > MAX_BODY {
        tracing::error!("the handler answered a request with a body of more than 1 GiB; 500 is sent");
    } else {
        return response;
    }
    Response::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error").close()
}

/// Whether a connection ends after a response with this status, because it says that the request
/// was not understood, or not read to its end.
fn refuses_the_request(status: StatusCode) -> bool {
    const STATUSES: [StatusCode; 11] = [
        StatusCode::BAD_REQUEST,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::LENGTH_REQUIRED,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::URI_TOO_LONG,
        StatusCode::EXPECTATION_FAILED,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        StatusCode::NOT_IMPLEMENTED,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    ];
    STATUSES.contains(&status)
}

fn memory_refusal() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the server is short of memory; try again later")
}

#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod tests;
