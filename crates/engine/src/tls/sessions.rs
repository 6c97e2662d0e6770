//! The sessions that a client can resume.

use rustls::NamedGroup;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The maximum number of TLS 1.3 tickets of a client.
pub(super) const MAX_TICKETS: usize = 1024;

/// The number of servers whose TLS 1.2 session and key exchange group are kept. The store of rustls
/// has room for eight tickets for each of them, which are not used here.
const MAX_SERVERS: usize = 32;

/// The sessions of the last handshakes, in memory.
///
/// A TLS 1.3 ticket is used once (RFC 8446 appendix C.4). The store of rustls keeps up to eight for
/// a server, so most of many connections that open at once to one server could not resume. This
/// one keeps a number in total, also for one server.
pub(super) struct Sessions {
    max_tickets: usize,
    tickets: Mutex<VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>>,
    /// TLS 1.2 sessions, which are used repeatedly, and the groups that servers prefer.
    servers: ClientSessionMemoryCache,
}

impl Sessions {
    pub(super) fn new(max_tickets: usize) -> Self {
        Self { max_tickets, tickets: Mutex::default(), servers: ClientSessionMemoryCache::new(MAX_SERVERS * 8) }
    }

    fn tickets(&self) -> MutexGuard<'_, VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>> {
        // Each change leaves a valid queue.
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.servers.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.servers.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.servers.set_tls12_session(server, session);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.servers.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.servers.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.tickets();
        if tickets.len() == self.max_tickets {
            tickets.pop_front();
        }
        tickets.push_back((server, ticket));
    }

    /// The last ticket of this server.
    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut tickets = self.tickets();
        let index = tickets.iter().rposition(|(name, _)| name == server)?;
        tickets.remove(index).map(|(_, ticket)| ticket)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tickets are secret.
        f.debug_struct("Sessions").field("tickets", &self.tickets().len()).finish_non_exhaustive()
    }
}
