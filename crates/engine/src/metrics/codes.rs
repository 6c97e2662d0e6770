//! Counts by close code and by status of HTTP. The codes of peers and handlers are theirs to choose,
//! so each count has a fixed number of labels.

use crate::api::close::Ending;
use ringway_codec::CloseCode;

/// The close codes that are counted one by one: all registered ones.
const CLOSE_CODES: [u16; 15] =
    [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015];

/// The labels of close codes. Those of libraries, those of applications, and all others are counted
/// together.
pub(crate) const CLOSE_LABELS: [&str; 18] = [
    "1000",
    "1001",
    "1002",
    "1003",
    "1005",
    "1006",
    "1007",
    "1008",
    "1009",
    "1010",
    "1011",
    "1012",
    "1013",
    "1014",
    "1015",
    "3000-3999",
    "4000-4999",
    "other",
];

/// The status codes that are counted one by one.
const STATUSES: [u16; 29] = [
    101, 200, 204, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 411, 413, 414, 417, 421, 426, 429, 431,
    500, 501, 502, 503, 504, 505,
];

/// The labels of status codes; others are counted by their class.
pub(crate) const STATUS_LABELS: [&str; 34] = [
    "101", "200", "204", "301", "302", "303", "304", "307", "308", "400", "401", "403", "404", "405", "408", "411",
    "413", "414", "417", "421", "426", "429", "431", "500", "501", "502", "503", "504", "505", "2xx", "3xx", "4xx",
    "5xx", "other",
];

/// The side that has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosedBy {
    /// The peer: by its close frame, by the end of its direction, or by a reset.
    Peer,
    /// This side: the handler, a limit, a timeout, or the answer to a violation of the protocol.
    Local,
    /// Neither: TLS or the kernel reported an error.
    Error,
}

impl ClosedBy {
    pub(crate) const ALL: [Self; 3] = [Self::Peer, Self::Local, Self::Error];

    pub(crate) fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Peer | Ending::Vanished | Ending::Truncated | Ending::Reset => Self::Peer,
            Ending::Tls(_) | Ending::Failed(_) => Self::Error,
            _ => Self::Local,
        }
    }

    /// `peer`, `local` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Local => "local",
            Self::Error => "error",
        }
    }
}

/// Counts by label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally<const N: usize> {
    pub(crate) counts: [u64; N],
    changed: bool,
}

/// Closed connections, by code and by side.
pub(crate) type CloseTally = Tally<{ CLOSE_LABELS.len() * ClosedBy::ALL.len() }>;

/// Violations of the protocol, by the close code that answers them.
pub(crate) type CodeTally = Tally<{ CLOSE_LABELS.len() }>;

/// Responses of HTTP, by status.
pub(crate) type StatusTally = Tally<{ STATUS_LABELS.len() }>;

impl<const N: usize> Tally<N> {
    fn add(&mut self, at: usize) {
        self.counts[at] += 1;
        self.changed = true;
    }

    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self { counts: [0; N], changed: false }
    }
}

impl CloseTally {
    /// Counts the end of a connection.
    pub(crate) fn closed(&mut self, code: CloseCode, by: ClosedBy) {
        self.add(by as usize * CLOSE_LABELS.len() + close_label(code));
    }
}

impl CodeTally {
    /// Counts a violation of the protocol.
    pub(crate) fn violated(&mut self, code: CloseCode) {
        self.add(close_label(code));
    }
}

impl StatusTally {
    /// Counts a response, of any status: one that refuses or accepts an upgrade too.
    pub(crate) fn responded(&mut self, status: u16) {
        self.add(status_index(status));
    }
}

/// The label of a status.
#[cfg(test)]
pub(crate) fn status_label(status: u16) -> &'static str {
    STATUS_LABELS[status_index(status)]
}

fn status_index(status: u16) -> usize {
    STATUSES.iter().position(|known| *known == status).unwrap_or_else(|| match status {
        200..=299 => STATUSES.len(),
        300..=399 => STATUSES.len() + 1,
        400..=499 => STATUSES.len() + 2,
        500..=599 => STATUSES.len() + 3,
        _ => STATUSES.len() + 4,
    })
}

fn close_label(code: CloseCode) -> usize {
    CLOSE_CODES.iter().position(|known| *known == code.as_u16()).unwrap_or(match code.as_u16() {
        3000..=3999 => CLOSE_CODES.len(),
        4000..=4999 => CLOSE_CODES.len() + 1,
        _ => CLOSE_CODES.len() + 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_label() {
        for code in (0..6000).chain([u16::MAX]) {
            let label = CLOSE_LABELS[close_label(CloseCode::new(code))];
            let expected = match code {
                1000..=1003 | 1005..=1015 => code.to_string(),
                3000..=3999 => "3000-3999".into(),
                4000..=4999 => "4000-4999".into(),
                _ => "other".into(),
            };
            assert_eq!(label, expected, "{code}");
        }
    }

    #[test]
    fn each_status_has_its_label() {
        for status in 100..1000 {
            let expected = match status {
                _ if STATUSES.contains(&status) => status.to_string(),
                200..=599 => format!("{}xx", status / 100),
                _ => "other".into(),
            };
            assert_eq!(status_label(status), expected, "{status}");
        }
    }

    #[test]
    fn closes_are_counted_by_code_and_side() {
        let mut tally = CloseTally::default();
        tally.closed(CloseCode::ABNORMAL, ClosedBy::of(&Ending::Reset));
        tally.closed(CloseCode::TRY_AGAIN, ClosedBy::of(&Ending::MemoryLimit));
        let found: Vec<_> =
            tally.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(at, _)| at).collect();
        assert_eq!(found, [5, CLOSE_LABELS.len() + 12]);
        assert!(tally.take_changed() && !tally.take_changed());
    }
}
