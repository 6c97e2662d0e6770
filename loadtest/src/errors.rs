//! The errors of a run, counted by kind.

use ringway::{CloseReason, ConnectError, Ending, HandshakeError};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

/// The kinds of errors that the generator detects. [`of_connect`] and [`of_close`] name those of
/// connecting and closing.
pub(crate) const WRONG_KIND: &str = "verify_kind";
pub(crate) const WRONG_LENGTH: &str = "verify_length";
pub(crate) const WRONG_CONTENT: &str = "verify_content";
pub(crate) const UNASKED: &str = "unexpected_message";
pub(crate) const DUPLICATE: &str = "duplicate_reply";
pub(crate) const LATE: &str = "late_reply";
pub(crate) const TIMEOUT: &str = "reply_timeout";
pub(crate) const SUBSCRIBE_REFUSED: &str = "subscribe_refused";
pub(crate) const SUBSCRIBE_INVALID: &str = "subscribe_invalid";
pub(crate) const SUBSCRIBE_TIMEOUT: &str = "subscribe_timeout";
pub(crate) const PUBLISH_REFUSED: &str = "publish_refused";
pub(crate) const NO_PONG: &str = "no_pong";
pub(crate) const NO_PONG_IN_TIME: &str = "ping_timeout";

/// A connection that the generator closed and that the server did not close cleanly. This is the
/// only kind that is not a failure, because it occurs after measuring.
pub(crate) const CLOSE_UNANSWERED: &str = "close_unanswered";

/// The kinds that belong to a message: each has a count of its own in the ledger, such as `missing`,
/// which is that of the measured part. A message that the server refuses to
/// publish is missing.
const OF_MESSAGES: [&str; 8] =
    [WRONG_KIND, WRONG_LENGTH, WRONG_CONTENT, TIMEOUT, LATE, DUPLICATE, UNASKED, PUBLISH_REFUSED];

/// Whether errors of this kind are failures of connections.
pub(crate) fn is_of_connection(kind: &str) -> bool {
    kind != CLOSE_UNANSWERED && !OF_MESSAGES.contains(&kind)
}

/// The count of each kind of error, and the text of its first occurrence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors(BTreeMap<Cow<'static, str>, KindCount>);

/// Errors of one kind.
#[derive(Clone, Debug)]
pub(crate) struct KindCount {
    pub(crate) count: u64,
    /// The texts of the first ones.
    pub(crate) samples: Vec<String>,
}

/// The maximum number of texts of one kind.
const SAMPLES: usize = 3;

impl Errors {
    /// Counts an error.
    #[cold]
    pub(crate) fn count(&mut self, kind: impl Into<Cow<'static, str>>, says: impl FnOnce() -> String) {
        let counted = self.0.entry(kind.into()).or_insert_with(|| KindCount { count: 0, samples: Vec::new() });
        counted.count += 1;
        if counted.samples.len() < SAMPLES {
            counted.samples.push(says());
        }
    }

    /// Adds the errors of another thread.
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, counted) in other.0 {
            match self.0.entry(kind) {
                Entry::Occupied(mut mine) => {
                    let mine = mine.get_mut();
                    mine.count += counted.count;
                    mine.samples.extend(counted.samples);
                    mine.samples.truncate(SAMPLES);
                }
                Entry::Vacant(free) => {
                    free.insert(counted);
                }
            }
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().map(|counted| counted.count).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &KindCount)> {
        self.0.iter().map(|(kind, counted)| (kind.as_ref(), counted))
    }
}

/// The kind of a failure to connect.
pub(crate) fn of_connect(error: &ConnectError) -> Cow<'static, str> {
    match error {
        ConnectError::Unreachable(error) | ConnectError::Lost(_, error) => Cow::Borrowed(match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect_refused",
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "connect_reset",
            io::ErrorKind::TimedOut => "connect_timeout",
            io::ErrorKind::AddrNotAvailable => "connect_no_port",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "connect_unreachable",
            _ if is_out_of_files(error) => "connect_no_file",
            _ => "connect_failed",
        }),
        ConnectError::Source(_) => Cow::Borrowed("connect_source"),
        ConnectError::NoPort(..) => Cow::Borrowed("connect_no_port"),
        ConnectError::Timeout(_) => Cow::Borrowed("connect_timeout"),
        ConnectError::Tls(_) => Cow::Borrowed("tls_failed"),
        ConnectError::NoSlot => Cow::Borrowed("connect_no_slot"),
        ConnectError::Handshake(HandshakeError::Status { status, .. }) => {
            Cow::Owned(format!("handshake_status_{status}"))
        }
        ConnectError::Handshake(HandshakeError::Accept) => Cow::Borrowed("handshake_accept"),
        ConnectError::Handshake(_) => Cow::Borrowed("handshake_invalid"),
        ConnectError::Ended(_) => Cow::Borrowed("handshake_ended"),
        ConnectError::Premature => Cow::Borrowed("handshake_premature"),
        ConnectError::Memory => Cow::Borrowed("connect_no_memory"),
        _ => Cow::Borrowed("connect_failed"),
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// The kind of the end of an open connection. `None` for a close that the generator began and the
/// peer answered.
pub(crate) fn of_close(reason: &CloseReason, we_close: bool) -> Option<&'static str> {
    match reason.ending {
        Ending::Local => None,
        // Both sides closed at the same time.
        Ending::Peer if we_close => None,
        Ending::Peer => Some("closed_early"),
        Ending::Unanswered => Some(CLOSE_UNANSWERED),
        Ending::Vanished | Ending::Reset | Ending::Failed(_) if we_close => Some(CLOSE_UNANSWERED),
        Ending::Violation(_) => Some("protocol"),
        Ending::Idle => Some("idle_timeout"),
        // The generator drops only connections that do not answer its pings.
        Ending::Terminated => Some(NO_PONG_IN_TIME),
        Ending::WriteTimeout => Some("write_timeout"),
        Ending::MessageTimeout => Some("message_timeout"),
        Ending::MemoryLimit => Some("out_of_memory"),
        Ending::Panicked => Some("panic"),
        Ending::Vanished => Some("vanished"),
        Ending::Reset => Some("reset"),
        _ => Some("connection_failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway::{CloseCode, OpeningStage};

    #[test]
    fn connect_errors_have_their_kinds() {
        let io = |kind: io::ErrorKind| ConnectError::Unreachable(kind.into());
        let status = HandshakeError::Status { status: 503, reason: "Busy".into() };
        for (error, kind) in [
            (io(io::ErrorKind::ConnectionRefused), "connect_refused"),
            (io(io::ErrorKind::TimedOut), "connect_timeout"),
            (io(io::ErrorKind::AddrNotAvailable), "connect_no_port"),
            (ConnectError::Unreachable(io::Error::from_raw_os_error(24)), "connect_no_file"),
            (ConnectError::Lost(OpeningStage::Tls, io::ErrorKind::ConnectionReset.into()), "connect_reset"),
            (ConnectError::Timeout(OpeningStage::Upgrade), "connect_timeout"),
            (ConnectError::Tls("unknown CA".into()), "tls_failed"),
            (ConnectError::Ended(OpeningStage::Tls), "handshake_ended"),
            (ConnectError::Handshake(status), "handshake_status_503"),
            (ConnectError::Handshake(HandshakeError::Accept), "handshake_accept"),
            (ConnectError::Handshake(HandshakeError::Upgrade), "handshake_invalid"),
        ] {
            assert_eq!(of_connect(&error), kind);
        }
    }

    #[test]
    fn only_an_end_that_both_wanted_is_no_error() {
        let reason = |ending| CloseReason::new(CloseCode::NORMAL, "", ending);
        assert_eq!(of_close(&reason(Ending::Local), true), None);
        assert_eq!(of_close(&reason(Ending::Peer), true), None);
        assert_eq!(of_close(&reason(Ending::Peer), false), Some("closed_early"));
        assert_eq!(of_close(&reason(Ending::Vanished), false), Some("vanished"));
        assert_eq!(of_close(&reason(Ending::Vanished), true), Some("close_unanswered"));
        assert_eq!(of_close(&reason(Ending::Reset), false), Some("reset"));
        assert_eq!(of_close(&reason(Ending::Reset), true), Some("close_unanswered"));
        assert_eq!(of_close(&reason(Ending::Unanswered), true), Some("close_unanswered"));
    }

    #[test]
    fn errors_of_threads_add_up() {
        let (mut one, mut other) = (Errors::default(), Errors::default());
        one.count("reset", || "first".into());
        one.count("reset", || "second".into());
        other.count("reset", || "third".into());
        other.count("vanished", || "gone".into());
        one.merge(other);
        assert_eq!(one.total(), 4);
        let counted: Vec<_> =
            one.iter().map(|(kind, counted)| (kind, counted.count, counted.samples.join(" "))).collect();
        assert_eq!(counted, [("reset", 3, "first second third".to_owned()), ("vanished", 1, "gone".to_owned())]);
    }
}
