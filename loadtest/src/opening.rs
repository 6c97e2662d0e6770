//! Opening connections: the durations of the stages, and the results of TLS handshakes.

use crate::histogram::{Quantiles, Recorder};
use ringway::{ConnectError, OpeningStage, OpeningTimes, TlsSession, TlsVersion};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// The durations of the stages of opening, in microseconds. A stage is `null` if no connection has
/// gone through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OpeningFigures {
    /// Until the TCP connection, or that of a Unix socket, was established
    /// ([`OpeningTimes::connect`]). Of `udp://`, until the socket was connected, which sends nothing.
    pub connect: Option<Quantiles>,
    /// The TLS handshake. `null` without TLS.
    pub tls: Option<Quantiles>,
    /// The opening handshake of the WebSocket connection. `null` for `tcp://` and `udp://`.
    pub upgrade: Option<Quantiles>,
    /// All stages of each connection together.
    pub total: Option<Quantiles>,
}

/// The number of connections that failed in each stage. Connections that this process did not
/// attempt, or ended at a limit of its own, are in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StageFailures {
    /// The TCP connection, or that of a Unix socket.
    pub connect: u64,
    /// The TLS handshake.
    pub tls: u64,
    /// The opening handshake of the WebSocket connection.
    pub upgrade: u64,
}

/// The TLS handshakes of the connections that opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TlsFigures {
    /// The number of full handshakes, with a certificate.
    pub full: u64,
    /// The number of handshakes that resumed an earlier session.
    pub resumed: u64,
    /// The same for each version and cipher suite that was agreed on.
    pub sessions: Vec<TlsSessionFigures>,
}

/// The TLS handshakes that have agreed on one version and cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TlsSessionFigures {
    /// The version, as `TLS 1.3`.
    pub version: &'static str,
    /// The name of the cipher suite (RFC 8446 appendix B.4), as `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: &'static str,
    /// The number of full handshakes.
    pub full: u64,
    /// The number of resumed handshakes.
    pub resumed: u64,
}

/// The recordings of one thread.
#[derive(Default)]
pub(crate) struct OpeningTally {
    connect: Recorder,
    tls: Recorder,
    upgrade: Recorder,
    total: Recorder,
    failed_in: StageFailures,
    /// The numbers of full and of resumed handshakes, by version and cipher suite.
    sessions: BTreeMap<(&'static str, &'static str), (u64, u64)>,
}

impl OpeningTally {
    /// Records a connection that has opened, `upgraded`: with an opening handshake.
    pub(crate) fn opened(&mut self, times: &OpeningTimes, session: Option<&TlsSession<'_>>, upgraded: bool) {
        self.record(times.connect(), times.tls(), upgraded.then(|| times.upgrade()));
        if let Some(session) = session {
            let version = match session.version() {
                Some(TlsVersion::Tls12) => "TLS 1.2",
                Some(TlsVersion::Tls13) => "TLS 1.3",
                _ => "unknown",
            };
            self.count_session(version, session.cipher_suite().unwrap_or("unknown"), session.is_resumed());
        }
    }

    fn record(&mut self, connect: Duration, tls: Option<Duration>, upgrade: Option<Duration>) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.connect.record(nanos(connect));
        if let Some(tls) = tls {
            self.tls.record(nanos(tls));
        }
        if let Some(upgrade) = upgrade {
            self.upgrade.record(nanos(upgrade));
        }
        self.total.record(nanos(connect + tls.unwrap_or_default() + upgrade.unwrap_or_default()));
    }

    fn count_session(&mut self, version: &'static str, cipher_suite: &'static str, is_resumed: bool) {
        let (full, resumed) = self.sessions.entry((version, cipher_suite)).or_default();
        *if is_resumed { resumed } else { full } += 1;
    }

    /// Counts a connection that has failed.
    pub(crate) fn failed(&mut self, error: &ConnectError) {
        match error.stage() {
            Some(OpeningStage::Connect) => self.failed_in.connect += 1,
            Some(OpeningStage::Tls) => self.failed_in.tls += 1,
            Some(OpeningStage::Upgrade) => self.failed_in.upgrade += 1,
            _ => {}
        }
    }

    /// Adds the recordings of another thread.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.connect.merge(&mut other.connect);
        self.tls.merge(&mut other.tls);
        self.upgrade.merge(&mut other.upgrade);
        self.total.merge(&mut other.total);
        self.failed_in.connect += other.failed_in.connect;
        self.failed_in.tls += other.failed_in.tls;
        self.failed_in.upgrade += other.failed_in.upgrade;
        for (agreed, (full, resumed)) in other.sessions {
            let mine = self.sessions.entry(agreed).or_default();
            *mine = (mine.0 + full, mine.1 + resumed);
        }
    }

    pub(crate) fn failed_in(&self) -> StageFailures {
        self.failed_in
    }

    /// The durations of the stages.
    pub(crate) fn times(&mut self) -> OpeningFigures {
        OpeningFigures {
            connect: self.connect.quantiles(),
            tls: self.tls.quantiles(),
            upgrade: self.upgrade.quantiles(),
            total: self.total.quantiles(),
        }
    }

    /// The histograms of the stages, with the positions of their figures in a report.
    pub(crate) fn recorders(&mut self) -> [(&'static str, &mut Recorder); 4] {
        [
            ("opening_us/connect", &mut self.connect),
            ("opening_us/tls", &mut self.tls),
            ("opening_us/upgrade", &mut self.upgrade),
            ("opening_us/total", &mut self.total),
        ]
    }

    /// The durations of the first stage.
    pub(crate) fn times_of_connecting(&self) -> Option<Quantiles> {
        self.connect.clone().quantiles()
    }

    /// The number of connections whose first stage took a time within this range of nanoseconds.
    pub(crate) fn connected_within(&mut self, range: Range<u64>) -> u64 {
        self.connect.count_between(range.start, range.end.saturating_sub(1))
    }

    /// The TLS handshakes.
    pub(crate) fn tls(&self) -> TlsFigures {
        let sessions: Vec<_> = self
            .sessions
            .iter()
            .map(|(&(version, cipher_suite), &(full, resumed))| TlsSessionFigures {
                version,
                cipher_suite,
                full,
                resumed,
            })
            .collect();
        TlsFigures {
            full: sessions.iter().map(|session| session.full).sum(),
            resumed: sessions.iter().map(|session| session.resumed).sum(),
            sessions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn each_stage_has_its_own_histogram_and_threads_add_up() {
        let (mut one, mut other) = (OpeningTally::default(), OpeningTally::default());
        one.record(MS, Some(5 * MS), Some(2 * MS));
        other.record(3 * MS, Some(7 * MS), Some(4 * MS));
        one.merge(other);
        let times = one.times();
        for (stage, min, max) in
            [(times.connect, 1e3, 3e3), (times.tls, 5e3, 7e3), (times.upgrade, 2e3, 4e3), (times.total, 8e3, 14e3)]
        {
            let quantiles = stage.expect("two connections");
            // A quantile is up to 0.1 % above the true value.
            assert!((min..min * 1.002).contains(&quantiles.p50), "{quantiles:?}");
            assert!((max..max * 1.002).contains(&quantiles.max), "{quantiles:?}");
            assert_eq!(quantiles.count, 2);
        }
    }

    #[test]
    fn without_tls_there_is_no_stage_of_tls() {
        let mut tally = OpeningTally::default();
        assert_eq!(tally.times(), OpeningFigures::default());
        tally.record(MS, None, Some(MS));
        let times = tally.times();
        assert_eq!((times.tls, times.total.expect("a connection").count), (None, 1));
        assert_eq!(tally.tls(), TlsFigures::default());
    }

    #[test]
    fn full_and_resumed_handshakes_are_counted_for_each_version_and_cipher_suite() {
        let (mut one, mut other) = (OpeningTally::default(), OpeningTally::default());
        one.count_session("TLS 1.3", "A", false);
        one.count_session("TLS 1.3", "A", true);
        other.count_session("TLS 1.3", "A", true);
        other.count_session("TLS 1.2", "B", false);
        one.merge(other);
        let session = |version, cipher_suite, full, resumed| TlsSessionFigures { version, cipher_suite, full, resumed };
        let sessions = vec![session("TLS 1.2", "B", 1, 0), session("TLS 1.3", "A", 1, 2)];
        assert_eq!(one.tls(), TlsFigures { full: 2, resumed: 2, sessions });
    }

    #[test]
    fn failures_are_counted_by_stage() {
        let (mut tally, mut other) = (OpeningTally::default(), OpeningTally::default());
        for error in [
            ConnectError::Unreachable(io::ErrorKind::ConnectionRefused.into()),
            ConnectError::Tls("unknown CA".into()),
            ConnectError::Ended(OpeningStage::Tls),
            ConnectError::NoSlot,
        ] {
            tally.failed(&error);
        }
        other.failed(&ConnectError::Lost(OpeningStage::Upgrade, io::ErrorKind::ConnectionReset.into()));
        tally.merge(other);
        assert_eq!(tally.failed_in(), StageFailures { connect: 1, tls: 2, upgrade: 1 });
    }
}
