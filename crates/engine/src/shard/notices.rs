//! Log lines about events of which any number may happen at once: peers that misbehave or are slow,
//! and queues that are full.

use crate::admission::gate::Rejection;
use crate::tls::stream::TlsFailure;
use ringway_io::Slot;
use rustls::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The minimum time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(1);

/// The kind of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoticeKind {
    /// HTTP on a listener with TLS.
    PlainHttp,
    /// TLS on a listener without it.
    UnexpectedTls,
    /// Bytes that are not valid TLS.
    InvalidTls,
    /// A handshake, or another message of TLS itself, over the limit of its size.
    HandshakeTooLong,
    /// No version or cipher suite in common.
    Incompatible,
    /// No application protocol (ALPN) in common.
    ApplicationProtocol,
    /// A certificate of the peer that is missing or refused.
    PeerCertificate,
    /// An alert of the peer.
    Alert,
    /// Another failure of TLS.
    OtherTls,
    /// The TLS of a connection could not be created.
    TlsUnavailable,
    /// The limit of connections of the process.
    RejectedFull,
    /// The limit of the accept rate.
    RejectedRate,
    /// The limit of opening handshakes in progress.
    RejectedHandshakes,
    /// The limit of connections of an address.
    RejectedAddress,
    /// The PROXY protocol.
    RejectedProxy,
    /// A slow subscriber of a topic is closed.
    SlowSubscriber,
    /// A connection is closed to free memory.
    MemoryClose,
    /// A peer took nothing of its output for the write timeout.
    WriteTimeout,
    /// The mailbox of another shard is full.
    MailboxFull,
}

impl NoticeKind {
    /// The number of kinds.
    const COUNT: usize = Self::MailboxFull as usize + 1;

    /// The kind of a rejection.
    pub(crate) fn of_rejection(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Full => Self::RejectedFull,
            Rejection::Rate => Self::RejectedRate,
            Rejection::Handshakes => Self::RejectedHandshakes,
            Rejection::Address => Self::RejectedAddress,
        }
    }

    /// The kind of a failure of TLS.
    pub(crate) fn of(failure: &TlsFailure) -> Self {
        match failure {
            TlsFailure::PlainHttp => Self::PlainHttp,
            TlsFailure::HandshakeTooLong(_) | TlsFailure::MessageTooLong => Self::HandshakeTooLong,
            TlsFailure::Protocol(error) => match error {
                Error::InvalidMessage(_) => Self::InvalidTls,
                Error::PeerIncompatible(_) => Self::Incompatible,
                Error::NoApplicationProtocol => Self::ApplicationProtocol,
                Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Self::PeerCertificate,
                Error::AlertReceived(_) => Self::Alert,
                _ => Self::OtherTls,
            },
        }
    }
}

/// Limits the log lines to one of each kind in a second for each shard.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    limiters: [Limiter; NoticeKind::COUNT],
    /// The lines of the present turn; at most one of each kind in a second.
    pending: Vec<Notice>,
}

/// A line that is logged at the end of the turn.
#[derive(Debug)]
struct Notice {
    /// The connection that it is about.
    slot: Option<Slot>,
    text: String,
    omitted: u64,
}

impl Notices {
    /// Warns of the peer of a slot, unless a warning of this kind was logged in the last second. The
    /// line is logged at the end of the turn, with the address of the peer.
    pub(crate) fn warn(&mut self, now: Instant, kind: NoticeKind, slot: Slot, text: impl FnOnce() -> String) {
        self.add(now, kind, Some(slot), text);
    }

    /// Warns of the shard itself, as [`warn`](Notices::warn) does of a peer.
    pub(crate) fn warn_of_shard(&mut self, now: Instant, kind: NoticeKind, text: impl FnOnce() -> String) {
        self.add(now, kind, None, text);
    }

    fn add(&mut self, now: Instant, kind: NoticeKind, slot: Option<Slot>, text: impl FnOnce() -> String) {
        if let Some(omitted) = self.limiters[kind as usize].due(now) {
            self.pending.push(Notice { slot, text: text(), omitted });
        }
    }

    /// Logs the lines of the turn. Must be called before the slots are closed.
    pub(crate) fn log(&mut self, address: impl Fn(Slot) -> Option<SocketAddr>) {
        for notice in self.pending.drain(..) {
            tracing::warn!("{}", notice.line(notice.slot.and_then(&address)));
        }
    }
}

impl Notice {
    fn line(&self, address: Option<SocketAddr>) -> String {
        let address = address.map(|address| format!("peer {address}"));
        let omitted = match self.omitted {
            0 => None,
            1 => Some("1 more warning of this kind was left out".to_owned()),
            omitted => Some(format!("{omitted} more warnings of this kind were left out")),
        };
        let notes: Vec<String> = address.into_iter().chain(omitted).collect();
        if notes.is_empty() { self.text.clone() } else { format!("{} ({})", self.text, notes.join("; ")) }
    }
}

/// Limits the lines of one kind.
#[derive(Debug, Default)]
struct Limiter {
    last: Option<Instant>,
    /// The number of lines that were left out since the last one.
    omitted: u64,
}

impl Limiter {
    /// Whether a line is due: the number of lines left out before it.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            self.omitted += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_within_a_second_are_counted_and_left_out() {
        let start = Instant::now();
        let mut limiter = Limiter::default();
        let due = [0, 1, 999, 1000, 1001, 5000].map(|millis| limiter.due(start + Duration::from_millis(millis)));
        assert_eq!(due, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn kinds_are_limited_separately() {
        let now = Instant::now();
        let mut notices = Notices::default();
        let slot = Slot::new(0, 0);
        for kind in [NoticeKind::PlainHttp, NoticeKind::UnexpectedTls, NoticeKind::PlainHttp, NoticeKind::Alert] {
            notices.warn(now, kind, slot, || format!("{kind:?}"));
        }
        notices.warn(now + INTERVAL, NoticeKind::PlainHttp, slot, || "later".to_owned());
        let address = "192.0.2.7:4711".parse().ok();
        assert!(notices.pending.iter().all(|notice| notice.slot == Some(slot)));
        let lines: Vec<String> = notices.pending.iter().map(|notice| notice.line(address)).collect();
        let expected = [
            "PlainHttp (peer 192.0.2.7:4711)",
            "UnexpectedTls (peer 192.0.2.7:4711)",
            "Alert (peer 192.0.2.7:4711)",
            "later (peer 192.0.2.7:4711; 1 more warning of this kind was left out)",
        ];
        assert_eq!(lines, expected);
        assert_eq!(notices.pending[0].line(None), "PlainHttp");
    }

    #[test]
    fn a_warning_of_the_shard_has_no_address() {
        let mut notices = Notices::default();
        notices.warn_of_shard(Instant::now(), NoticeKind::MailboxFull, || "the mailbox is full".to_owned());
        assert_eq!(notices.pending[0].slot, None);
        notices.log(|slot| panic!("no address is asked for, but that of {slot:?}"));
        assert!(notices.pending.is_empty());
    }
}
