//! What keeps a driver from accepting, and what the log says about it.

use std::io;
use std::time::Duration;

/// An obstacle is over when accepting has gone on for this long without meeting it again. An
/// obstacle that comes and goes within it is one episode, so each obstacle logs at most two lines
/// in this time.
const QUIET_PERIOD: Duration = Duration::from_secs(60);

/// Why accepting pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// As many slots are in use as may be.
    Full,
    /// The kernel says this.
    Errno(i32),
}

impl Obstacle {
    /// What an accept that failed with `errno` says of the next one; nothing when only this
    /// connection is concerned.
    pub(crate) fn of(errno: i32) -> Option<Self> {
        match errno {
            // Cancelled by ourselves, or interrupted.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => None,
            // The connection was gone before it was accepted, or its network was: accept(2) tells
            // to try again.
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
        let until = "accepting pauses until a connection closes, a second at most:";
        match self {
            Self::Full => tracing::warn!(
                "accepting pauses until a connection closes: as many are open as may be (raise the limit of connections)"
            ),
            Self::Errno(libc::EMFILE) => {
                tracing::warn!("{until} the process may open no more files (raise `ulimit -n`)");
            }
            Self::Errno(libc::ENFILE) => {
                tracing::warn!("{until} the system may open no more files (raise sysctl fs.file-max)");
            }
            Self::Errno(libc::ENOMEM | libc::ENOBUFS) => {
                tracing::warn!("{until} the kernel has no memory for another socket");
            }
            Self::Errno(errno) => {
                tracing::error!(error = %io::Error::from_raw_os_error(errno), "{until} the kernel refuses");
            }
        }
    }

    fn cause(self) -> &'static str {
        match self {
            Self::Full => "the limit of connections",
            Self::Errno(libc::EMFILE) => "the process's limit of open files",
            Self::Errno(libc::ENFILE) => "the system's limit of open files",
            Self::Errno(libc::ENOMEM | libc::ENOBUFS) => "a lack of memory in the kernel",
            Self::Errno(_) => "an error of the kernel",
        }
    }
}

/// One obstacle from the first time that it stopped accepting to the last. Times are those of the
/// driver's clock.
#[derive(Debug)]
struct Episode {
    obstacle: Obstacle,
    began: Duration,
    /// Since when it stops accepting; `None` while accepting goes on.
    stopped: Option<Duration>,
    /// When accepting went on the last time.
    resumed: Duration,
    /// How often it has stopped accepting.
    stops: u64,
    /// For how long, before `stopped`.
    total: Duration,
}

impl Episode {
    /// A warning like that of the beginning: whoever has read the one is to read the other.
    fn log_end(&self) {
        let Self { obstacle, began, resumed, stops, total, .. } = self;
        tracing::warn!(
            "accepting goes on, for {QUIET_PERIOD:?} without a pause by {}: it had paused {stops} times in {:.1?}, {total:.1?} in all",
            obstacle.cause(),
            resumed.saturating_sub(*began),
        );
    }
}

/// The obstacles that stop accepting or have done so lately. Each is logged when it begins and when
/// it ends; how many connections waited in the meantime the kernel does not say.
#[derive(Debug)]
pub(super) struct ObstacleLog(Vec<Episode>);

impl ObstacleLog {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The obstacle stops accepting.
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

    /// Accepting goes on, whatever stopped it.
    pub(super) fn resume(&mut self, now: Duration) {
        for episode in &mut self.0 {
            if let Some(since) = episode.stopped.take() {
                episode.total += now.saturating_sub(since);
                episode.resumed = now;
            }
        }
    }

    /// Logs and removes the episodes that are over. How long until the next one may be; `None` when
    /// none is about to.
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
    fn an_episode_ends_when_its_obstacle_has_not_come_back_for_a_minute() {
        let mut episodes = ObstacleLog::new();
        episodes.stop(Obstacle::Full, at(10));
        episodes.stop(Obstacle::Full, at(12));
        assert_eq!(episodes.expire(at(1000)), None, "it lasts");
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
        assert_eq!(episodes.expire(at(61)), None, "the other one lasts");
        assert_eq!(episodes.0.iter().map(|episode| episode.obstacle).collect::<Vec<_>>(), [full]);
    }
}
