//! Accepted connections: which are served, and how the others are rejected.

use crate::admission::gate::{Pace, Rejection};
use crate::admission::options::RejectWith;
use crate::admission::tickets::Tickets;
use crate::api::handler::Handler;
use crate::session::Session;
use crate::session::closing::Removal;
use crate::shard::core::{Action, Core};
use crate::shard::dispatch::Dispatch;
use crate::shard::notices::NoticeKind;
use http::{HeaderValue, StatusCode, header};
use ringway_codec::Refusal;
use ringway_io::{Driver, Slot};
use std::time::Duration;

impl<D: Driver, H: Handler> Dispatch<'_, D, H> {
    /// Handles an accepted connection. Returns the time for which no further one may be accepted.
    pub(crate) fn accepted(&mut self, slot: Slot, listener: usize) -> Option<Duration> {
        if self.core.tickets.is_none() {
            self.serve(slot, listener);
            return None;
        }
        let now = self.core.now();
        let pace = self.core.tickets.as_ref().map_or(Pace::Take, |tickets| tickets.gate.pace(now));
        let admitted = match pace {
            Pace::Reject => Err(Rejection::Rate),
            Pace::Take | Pace::Pause(_) => self.admit(slot),
        };
        match admitted {
            Ok(()) => self.serve(slot, listener),
            Err(rejection) => self.reject(slot, listener, rejection),
        }
        if let Pace::Pause(time) = pace { Some(time) } else { None }
    }

    /// Counts a connection towards the limits.
    fn admit(&mut self, slot: Slot) -> Result<(), Rejection> {
        if let Err(rejection) = self.with_tickets(|tickets| tickets.admit(slot)) {
            if rejection != Rejection::Handshakes {
                return Err(rejection);
            }
            // The place of the oldest handshake, if one is in progress here.
            let oldest = self.core.tickets.as_mut().and_then(|tickets| tickets.oldest_handshake());
            self.reject_handshake(oldest.ok_or(rejection)?);
            self.with_tickets(|tickets| tickets.admit(slot))?;
        }
        let admission = &self.core.config.admission;
        if !admission.needs_address() {
            return Ok(());
        }
        match self.driver.peer_address(slot).map(|address| address.ip()) {
            Some(address) if !admission.trust.trusts(Some(address)) => {
                self.with_tickets(|tickets| tickets.admit_address(slot, address))
            }
            _ => Ok(()),
        }
    }

    fn with_tickets(&mut self, call: impl FnOnce(&mut Tickets) -> Result<(), Rejection>) -> Result<(), Rejection> {
        self.core.tickets.as_mut().map_or(Ok(()), |tickets| call(tickets))
    }

    /// Begins to serve a connection.
    fn serve(&mut self, slot: Slot, listener: usize) {
        if let Some(tls) = &mut self.core.tls {
            match tls.accept(slot, listener, self.core.limits.max_head) {
                Ok(held) => self.core.memory.charge(held),
                Err(error) => {
                    let (now, kind) = (self.core.clock.now(), NoticeKind::TlsUnavailable);
                    self.core.notices.warn(now, kind, slot, || format!("a connection is dropped: TLS: {error}"));
                    return self.drop_accepted(slot);
                }
            }
        }
        self.sessions.insert(Session::accepted(slot, self.core));
    }

    /// Closes a connection that has no session.
    fn drop_accepted(&mut self, slot: Slot) {
        if let Some(tickets) = &mut self.core.tickets {
            tickets.release(slot);
        }
        self.core.actions.push(Action::Close(slot));
    }

    /// Rejects a connection that has no session.
    fn reject(&mut self, slot: Slot, listener: usize, rejection: Rejection) {
        self.core.count_rejection(slot, rejection);
        let has_tls = self.core.tls.as_ref().is_some_and(|tls| tls.secures(listener));
        match self.core.begin_rejection(slot, rejection, has_tls) {
            None => self.drop_accepted(slot),
            Some(refusal) => {
                let mut session = Session::accepted(slot, self.core);
                session.refuse(&refusal, self.core);
                self.sessions.insert(session);
            }
        }
    }

    /// Rejects a connection whose handshake is in progress.
    fn reject_handshake(&mut self, slot: Slot) {
        let rejection = Rejection::Handshakes;
        self.core.count_rejection(slot, rejection);
        let has_tls = self.core.tls.as_ref().is_some_and(|tls| tls.get(slot).is_some());
        let refusal = self.core.begin_rejection(slot, rejection, has_tls);
        let session = self.sessions.get_mut(slot).filter(|_| refusal.is_some());
        match (session, refusal) {
            (Some(session), Some(refusal)) => session.reject(&refusal, self.core),
            _ => self.remove(slot, Removal::Closed),
        }
    }
}

impl Core {
    /// Counts a rejected connection.
    fn count_rejection(&mut self, slot: Slot, rejection: Rejection) {
        let counters = &mut self.counters;
        let count = match rejection {
            Rejection::Full => &mut counters.rejected_limit,
            Rejection::Rate => &mut counters.rejected_rate,
            Rejection::Handshakes => &mut counters.rejected_handshakes,
            Rejection::Address => &mut counters.rejected_address,
        };
        *count += 1;
        let (now, kind) = (self.clock.now(), NoticeKind::of_rejection(rejection));
        self.notices.warn(now, kind, slot, || format!("a connection is rejected: {}", rejection.text()));
    }

    /// The response to a rejected connection, which is no longer counted from now on; `None`: it is
    /// closed without one.
    fn begin_rejection(&mut self, slot: Slot, rejection: Rejection, has_tls: bool) -> Option<Refusal> {
        let admission = &self.config.admission;
        let status = match admission.reject_with {
            RejectWith::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RejectWith::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            RejectWith::Close => return None,
        };
        let seconds = HeaderValue::from(admission.retry_after.as_secs());
        let may_answer = !has_tls && self.tickets.as_mut()?.begin_response(slot);
        may_answer.then(|| Refusal::new(status, rejection.text()).with_header(header::RETRY_AFTER, seconds))
    }
}
