//! How a conversation ends: what is said about it, and whether it was good.

use super::event::Verdict;
use ringway::{CloseCode, CloseReason, ConnectError, Ending, HandshakeError, RefusedUpgrade};

/// Which side has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosedBy {
    /// The server, with this code.
    Server(CloseCode),
    /// This side, and the server has answered.
    Us,
    /// The connection was lost, or this side has ended it for an error.
    Nobody,
}

impl ClosedBy {
    pub(super) fn of(reason: &CloseReason) -> Self {
        match reason.ending {
            Ending::Peer => Self::Server(reason.code),
            Ending::Local => Self::Us,
            _ => Self::Nobody,
        }
    }

    /// Whether `--reconnect` connects again: not when the server has ended the conversation as it
    /// should be.
    pub(super) fn is_worth_another_attempt(self) -> bool {
        match self {
            Self::Server(code) => code != CloseCode::NORMAL && code != CloseCode::NO_STATUS,
            Self::Us => false,
            Self::Nobody => true,
        }
    }
}

/// The verdict on a conversation that this side has not ended; `of`: the messages received, and the
/// number that was wanted.
pub(super) fn of_end(by: &ClosedBy, of: Option<(u64, u64)>) -> Verdict {
    let is_good = match by {
        ClosedBy::Us => true,
        ClosedBy::Server(code) => matches!(*code, CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS),
        ClosedBy::Nobody => false,
    };
    match of {
        Some((received, wanted)) if received < wanted => {
            Verdict::Error(format!("the conversation has ended after {received} of {wanted} messages"))
        }
        _ if is_good => Verdict::Good,
        _ => Verdict::Failed,
    }
}

/// Who has closed a connection, and why.
pub(super) fn how(reason: &CloseReason) -> String {
    match &reason.ending {
        Ending::Peer => "closed by the server".into(),
        Ending::Local => "closed by us".into(),
        Ending::Unanswered => "closed by us; the server did not answer in time".into(),
        Ending::Violation(error) => format!("closed by us: the server broke the protocol: {error}"),
        Ending::Vanished => "the server ended the connection without a close frame".into(),
        Ending::Truncated => {
            "the server ended the connection without a close frame or close_notify; data may be missing".into()
        }
        Ending::Reset => "the connection was reset".into(),
        Ending::WriteTimeout => "dropped: the server did not read for too long".into(),
        Ending::MessageTimeout => "closed by us: the server took too long to send a message".into(),
        Ending::Tls(error) => format!("TLS failed: {error}"),
        Ending::Terminated => "dropped by us".into(),
        Ending::Failed(error) => format!("the connection failed: {error}"),
        _ => reason.to_string(),
    }
}

/// A note on messages that the kernel had not taken completely when their connection ended.
pub(super) fn may_be_lost(messages: usize) -> String {
    match messages {
        1 => "1 message may not have arrived".into(),
        _ => format!("{messages} messages may not have arrived"),
    }
}

/// A note on messages that no connection has taken.
pub(super) fn not_sent(messages: usize) -> String {
    match messages {
        1 => "1 message was not sent".into(),
        _ => format!("{messages} messages were not sent"),
    }
}

/// What a close code means.
pub(super) fn meaning(code: CloseCode) -> &'static str {
    match code.as_u16() {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1005 => "no code",
        1006 => "no close frame",
        1007 => "invalid payload",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "extension missing",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        3000..=3999 => "code of a library",
        4000..=4999 => "code of the application",
        _ => "unknown code",
    }
}

/// One line for a connection that could not be opened, with the remedy where there is one.
pub(super) fn failure(error: &ConnectError, url: &str) -> String {
    match error {
        ConnectError::Unreachable(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => {
            format!("cannot connect to {url}: {cause}: is the server running, and is the port right?")
        }
        ConnectError::Unreachable(cause) => format!("cannot connect to {url}: {cause}"),
        ConnectError::Handshake(HandshakeError::Malformed(_)) => {
            format!("{url} is not a WebSocket server: {error}")
        }
        ConnectError::Refused(response) => refusal(response, url),
        _ => format!("{url}: {error}"),
    }
}

/// One line for a response that is not 101: where a redirect leads, or what the server says.
fn refusal(response: &RefusedUpgrade, url: &str) -> String {
    let location = response.headers.get("location").and_then(|location| location.to_str().ok());
    if let (300..=399, Some(location)) = (response.status, location) {
        let there = match location.split_once("://") {
            Some(("http", rest)) => format!("ws://{rest}"),
            Some(("https", rest)) => format!("wss://{rest}"),
            _ => location.to_owned(),
        };
        let status = response.status;
        return format!("{url} redirects to {location} ({status}), which is not followed: try {there}");
    }
    let mut line = format!("{url}: {response}");
    // Several white characters, and line breaks, are one space.
    let text = String::from_utf8_lossy(&response.body);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if !text.is_empty() {
        let shown: String = text.chars().take(MAX_SAID).collect();
        let is_cut = response.is_cut || shown.len() < text.len();
        line.push_str(&format!("; it says: {shown}{}", if is_cut { "…" } else { "" }));
    }
    line
}

/// The characters of a refusal's body that are shown.
const MAX_SAID: usize = 300;

/// Whether another attempt can have another result.
pub(super) fn is_worth_another_attempt(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused(response) => is_temporary(response.status),
        ConnectError::Handshake(HandshakeError::Status { status, .. }) => is_temporary(*status),
        ConnectError::Unreachable(_)
        | ConnectError::Lost(..)
        | ConnectError::Ended(_)
        | ConnectError::Timeout(_)
        | ConnectError::NoPort(..) => true,
        _ => false,
    }
}

/// Whether a status can change by itself.
fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_that_the_server_ends_is_good_by_its_code() {
        for (code, good, again) in
            [(1000, true, false), (1005, true, false), (1001, true, true), (1011, false, true), (4000, false, true)]
        {
            let by = ClosedBy::Server(CloseCode::new(code));
            let verdict = if good { Verdict::Good } else { Verdict::Failed };
            assert_eq!((of_end(&by, None), by.is_worth_another_attempt()), (verdict, again), "{code}");
        }
        assert_eq!(of_end(&ClosedBy::Nobody, None), Verdict::Failed);
        let early = of_end(&ClosedBy::Server(CloseCode::NORMAL), Some((2, 3)));
        assert_eq!(early, Verdict::Error("the conversation has ended after 2 of 3 messages".into()));
        assert_eq!(of_end(&ClosedBy::Server(CloseCode::NORMAL), Some((3, 3))), Verdict::Good);
    }

    #[test]
    fn a_refused_request_is_not_repeated_and_an_overloaded_server_is_asked_again() {
        let status = |status| ConnectError::Handshake(HandshakeError::Status { status, reason: String::new() });
        assert!(!is_worth_another_attempt(&status(404)) && is_worth_another_attempt(&status(503)));
        assert!(!is_worth_another_attempt(&ConnectError::Handshake(HandshakeError::Accept)));
    }
}
