//! Accepted connections: which are served, and how the others are rejected.

use crate::admission::forwarded::ClientSource;
use crate::admission::gate::{Pace, Rejection};
use crate::admission::options::RejectWith;
use crate::admission::proxy::ProxyError;
use crate::admission::tickets::Tickets;
use crate::api::handler::Handler;
use crate::session::Session;
use crate::session::closing::Removal;
use crate::session::link::SessionPhase;
use crate::shard::core::{Action, Core};
use crate::shard::dispatch::Dispatch;
use crate::shard::notices::NoticeKind;
use http::{HeaderValue, StatusCode, header};
use ringway_codec::Refusal;
use ringway_io::{Driver, Slot};
use std::net::SocketAddr;

impl<D: Driver, H: Handler> Dispatch<'_, D, H> {
    /// Counts an accepted connection towards the accept rate.
    pub(crate) fn pace(&self) -> Pace {
        self.core.tickets.as_ref().map_or(Pace::Take, |tickets| tickets.gate.pace(self.core.now()))
    }

    /// Handles an accepted connection.
    pub(crate) fn accepted(&mut self, slot: Slot, listener: usize, pace: Pace) {
        if self.core.tickets.is_none() {
            return self.serve(slot, listener);
        }
        let admitted = match pace {
            Pace::Reject => Err(Rejection::Rate),
            Pace::Take | Pace::Pause(_) => self.admit(slot),
        };
        match admitted {
            Ok(Entry::Direct) => self.serve(slot, listener),
            Ok(Entry::Proxied) => {
                let session = Session::accepted_behind_proxy(slot, listener, self.core);
                self.insert_accepted(session, self.core.secures(listener));
            }
            Err(rejection) => self.reject(slot, listener, rejection),
        }
    }

    /// Counts a connection of the echo service towards the limits. Returns whether it may be served.
    pub(crate) fn admit_stream(&mut self, slot: Slot, is_over_rate: bool) -> bool {
        if self.core.tickets.is_none() {
            return true;
        }
        let admission = &self.core.config.admission;
        let limits_address = admission.needs_address();
        let peer = self.driver.peer_address(slot).map(|address| address.ip()).filter(|_| limits_address);
        let peer = peer.filter(|address| !admission.trust.contains(*address));
        let admitted = if is_over_rate {
            Err(Rejection::Rate)
        } else {
            self.with_tickets(|tickets| {
                tickets.admit_open(slot)?;
                peer.map_or(Ok(()), |address| tickets.admit_address(slot, address))
            })
        };
        let Err(rejection) = admitted else { return true };
        self.core.count_rejection(slot, rejection);
        if let Some(tickets) = &mut self.core.tickets {
            tickets.release(slot);
        }
        false
    }

    /// Counts a connection towards the limits.
    fn admit(&mut self, slot: Slot) -> Result<Entry, Rejection> {
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
            return Ok(Entry::Direct);
        }
        let peer = self.driver.peer_address(slot).map(|address| address.ip());
        match peer {
            _ if admission.proxy_protocol && admission.trust.trusts(peer) => return Ok(Entry::Proxied),
            Some(address) if !admission.trust.contains(address) => {
                self.with_tickets(|tickets| tickets.admit_address(slot, address))?;
            }
            _ => {}
        }
        Ok(Entry::Direct)
    }

    fn with_tickets(&mut self, call: impl FnOnce(&mut Tickets) -> Result<(), Rejection>) -> Result<(), Rejection> {
        self.core.tickets.as_mut().map_or(Ok(()), |tickets| call(tickets))
    }

    /// Begins to serve a connection.
    fn serve(&mut self, slot: Slot, listener: usize) {
        if !self.core.begin_tls(slot, listener) {
            return self.drop_accepted(slot);
        }
        let session = Session::accepted(slot, self.core);
        self.insert_accepted(session, self.core.secures(listener));
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
        let has_tls = self.core.secures(listener);
        match self.core.begin_rejection(slot, rejection, has_tls) {
            None => self.drop_accepted(slot),
            Some(refusal) => {
                let mut session = Session::accepted(slot, self.core);
                session.refuse(&refusal, self.core);
                self.insert_accepted(session, has_tls);
            }
        }
    }

    /// Rejects a connection whose handshake is in progress.
    fn reject_handshake(&mut self, slot: Slot) {
        let has_tls = self.core.tls.as_ref().is_some_and(|tls| tls.get(slot).is_some());
        let session = self.sessions.get_mut(slot);
        // Behind a proxy whose header is incomplete, it is unknown whether TLS follows.
        let awaits_proxy = session.as_ref().is_some_and(|session| session.link.phase() == SessionPhase::Preamble);
        let refusal = self.core.begin_rejection(slot, Rejection::Handshakes, has_tls || awaits_proxy);
        match (session, refusal) {
            (Some(session), Some(refusal)) => session.reject(&refusal, self.core),
            _ => self.remove(slot, Removal::Closed),
        }
    }
}

/// How an admitted connection begins.
enum Entry {
    Direct,
    /// With a header of the PROXY protocol.
    Proxied,
}

impl Core {
    /// Makes the TLS layer of an accepted connection, if its listener has TLS. Returns whether the
    /// connection can be served.
    pub(crate) fn begin_tls(&mut self, slot: Slot, listener: usize) -> bool {
        let Some(tls) = &mut self.tls else { return true };
        match tls.accept(slot, listener, self.limits.max_head) {
            Ok(held) => {
                self.memory.charge(held);
                true
            }
            Err(error) => {
                let (now, kind) = (self.clock.now(), NoticeKind::TlsUnavailable);
                self.notices.warn(now, kind, slot, || format!("a connection is dropped: TLS: {error}"));
                false
            }
        }
    }

    /// Whether the connections of a listener have TLS.
    pub(crate) fn secures(&self, listener: usize) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.secures(listener))
    }

    /// Counts the client that the PROXY protocol has named.
    pub(crate) fn admit_client(&mut self, slot: Slot, client: SocketAddr) -> Result<(), Rejection> {
        let is_proxy = self.config.admission.trust.contains(client.ip());
        let Some(tickets) = &mut self.tickets else { return Ok(()) };
        tickets.set_client(slot, client);
        if is_proxy { Ok(()) } else { tickets.admit_address(slot, client.ip()) }
    }

    /// Counts a violation of the PROXY protocol.
    pub(crate) fn reject_proxy(&mut self, slot: Slot, error: &ProxyError) {
        self.counters.rejected_proxy += 1;
        let (now, kind) = (self.clock.now(), NoticeKind::RejectedProxy);
        self.notices.warn(now, kind, slot, || format!("a connection is closed: {error}"));
    }

    /// What names the client of a connection.
    pub(crate) fn client_source(&self, slot: Slot) -> ClientSource<'_> {
        let proxied = self.tickets.as_ref().and_then(|tickets| tickets.client(slot));
        ClientSource { proxied: proxied.map(|client| client.ip()), trust: &self.config.admission.trust }
    }

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

    /// Counts a rejected connection, which is in no other count from now on. Returns the response;
    /// `None`: it is closed without one.
    pub(crate) fn begin_rejection(&mut self, slot: Slot, rejection: Rejection, has_tls: bool) -> Option<Refusal> {
        self.count_rejection(slot, rejection);
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
