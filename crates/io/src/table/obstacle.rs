//! Obstacles to accepting, and how they are logged.

use std::io;
use std::time::Duration;

/// An episode of an obstacle is over when accepting was not stopped by it for this long. Each
/// obstacle therefore logs at most two lines in this time.
const QUIET_PERIOD: Duration = Duration::from_secs(60);

/// Why accepting pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The limit of connections is reached.
    Full,
    /// The driver's user has too much work for more connections, or limits their rate.
    Load,
    /// The accept failed with this errno.
    Errno(i32),
}

impl Obstacle {
    /// The obstacle of an accept that failed with `errno`; `None` when the error concerns only one
    /// connection.
    pub(crate) fn of(errno: i32) -> Option<Self> {
        match errno {
            // Cancelled by this driver, or interrupted.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => None,
            // The connection or its network was gone before the accept. accept(2) advises to try
            // again.
            libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::ENONET
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT => None,
            errno => Some(Self::Errno(errno)),
        }
    }

    fn log_begin(self) {
        let until = "accepting pauses until a connection closes, for at most a second:";
        match self {
            Self::Full => tracing::warn!(
                "accepting pauses until a connection closes: the limit of connections is reached (raise it)"
            ),
            Self::Load => tracing::warn!(
                "accepting pauses: new connections arrive faster than they can be served, or than the accept rate allows"
            ),
            Self::Errno(libc::EMFILE) => {
                tracing::warn!("{until} the process has reached its limit of open files (raise `ulimit -n`)");
            }
            Self::Errno(libc::ENFILE) => {
                tracing::warn!("{until} the system has reached its limit of open files (raise sysctl fs.file-max)");
            }
            Self::Errno(libc::ENOMEM | libc::ENOBUFS) => {
                tracing::warn!("{until} the kernel has no memory for another socket");
            }
            Self::Errno(errno) => {
                tracing::error!(error = %io::Error::from_raw_os_error(errno), "{until} accept(2) failed");
            }
        }
    }

    fn cause(self) -> &'static str {
        match self {
            Self::Full => "the limit of connections",
            Self::Load => "connections that arrive too fast",
            Self::Errno(libc::EMFILE) => "the process's limit of open files",
            Self::Errno(libc::ENFILE) => "the system's limit of open files",
            Self::Errno(libc::ENOMEM | libc::ENOBUFS) => "a lack of memory in the kernel",
            Self::Errno(_) => "an error of the kernel",
        }
    }
}

/// One obstacle, from the first to the last time that it stopped accepting. Times are of the
/// driver's clock.
#[derive(Debug)]
struct Episode {
    obstacle: Obstacle,
    began: Duration,
    /// When the current stop began; `None` while accepting is not stopped.
    stopped: Option<Duration>,
    /// When accepting last resumed.
    resumed: Duration,
    /// The number of stops.
    stops: u64,
    /// The total time of the stops before `stopped`.
    total: Duration,
}

impl Episode {
    /// Logs the end at the level of the beginning, so that filters show both or neither.
    fn log_end(&self) {
        let Self { obstacle, began, resumed, stops, total, .. } = self;
        tracing::warn!(
            "accepting has not paused for {QUIET_PERIOD:?} because of {}: it had paused {stops} times in {:.1?}, {total:.1?} in total",
            obstacle.cause(),
            resumed.saturating_sub(*began),
        );
    }
}

/// The obstacles that stop accepting, or did so recently. Each is logged when it begins and when it
/// ends. The kernel does not report how many connections waited.
#[derive(Debug)]
pub(super) struct ObstacleLog(Vec<Episode>);

impl ObstacleLog {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records that the obstacle stops accepting.
    pub(super) fn stop(&mut self, obstacle: Obstacle, now: Duration) {
        let Some(episode) = self.0.iter_mut().find(|episode| episode.obstacle == obstacle) else {
            obstacle.log_begin();
            let (began, stopped, resumed) = (now, Some(now), now);
            self.0.push(Episode { obstacle, began, stopped, resumed, stops: 1, total: Duration::ZERO });
            return;
        };
        if episode.stopped.is_none() {
            episode.stopped = Some(now);
            episode.stops += 1;
        }
    }

    /// Records that accepting resumes.
    pub(super) fn resume(&mut self, now: Duration) {
        for episode in &mut self.0 {
            if let Some(since) = episode.stopped.take() {
                episode.total += now.saturating_sub(since);
                episode.resumed = now;
            }
        }
    }

    /// Logs and removes the episodes that are over. Returns the time until the next one can be
    /// over; `None` when there is none.
    pub(super) fn expire(&mut self, now: Duration) -> Option<Duration> {
        let calm = |episode: &Episode| now.saturating_sub(episode.resumed);
        self.0.retain(|episode| {
            let over = episode.stopped.is_none() && calm(episode) >= QUIET_PERIOD;
            if over {
                episode.log_end();
            }
            !over
        });
        self.0.iter().filter(|episode| episode.stopped.is_none()).map(|episode| QUIET_PERIOD - calm(episode)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_episode_ends_a_minute_after_its_last_stop() {
        let mut episodes = ObstacleLog::new();
        episodes.stop(Obstacle::Full, at(10));
        episodes.stop(Obstacle::Full, at(12));
        assert_eq!(episodes.expire(at(1000)), None, "the obstacle persists");
        episodes.resume(at(1000));
        assert_eq!(episodes.expire(at(1030)), Some(at(30)));
        episodes.stop(Obstacle::Full, at(1040));
        episodes.resume(at(1045));
        assert_eq!(episodes.expire(at(1100)), Some(at(5)));
        assert_eq!((episodes.0[0].stops, episodes.0[0].total), (2, at(995)));
        assert_eq!(episodes.expire(at(1105)), None);
        assert!(episodes.is_empty());
    }

    #[test]
    fn each_obstacle_has_an_episode_of_its_own() {
        let (files, full) = (Obstacle::Errno(libc::EMFILE), Obstacle::Full);
        let mut episodes = ObstacleLog::new();
        episodes.stop(files, at(0));
        episodes.resume(at(1));
        episodes.stop(full, at(2));
        assert_eq!(episodes.expire(at(31)), Some(at(30)));
        assert_eq!(episodes.expire(at(61)), None, "the other obstacle persists");
        assert_eq!(episodes.0.iter().map(|episode| episode.obstacle).collect::<Vec<_>>(), [full]);
    }
}
