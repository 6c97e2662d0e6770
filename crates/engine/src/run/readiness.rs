//! Whether a server wants new connections, for health checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// Whether the shards of one [`Server::start`](crate::Server::start) want new connections: a load
/// balancer sends them elsewhere otherwise. Clones share the state. Reading it costs one load of an
/// atomic variable.
///
/// It is ready when all shards have started, until the first of them begins to drain. A health check
/// answers `/readyz` with 503 when it is not ready; `/livez` stays 200, because a draining process is
/// not to be killed.
///
/// ```
/// use ringway::{Readiness, Response, StatusCode};
///
/// /// The answer to a request for `/readyz`.
/// fn readyz(readiness: &Readiness) -> Response {
///     match readiness.is_ready() {
///         true => Response::text(StatusCode::OK, "ready"),
///         false => Response::text(StatusCode::SERVICE_UNAVAILABLE, "not ready"),
///     }
/// }
/// # let _ = readyz;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// Whether new connections are wanted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == READY
    }

    /// Whether a shard has begun to drain. It stays so.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire) == DRAINING
    }

    /// All shards have started. Without effect when a shard drains already.
    pub(crate) fn started(&self) {
        let _ = self.0.compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// A shard begins to drain.
    pub(crate) fn drain(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_between_the_start_and_the_drain_and_never_again() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready() && !readiness.is_draining());
        readiness.started();
        let clone = readiness.clone();
        assert!(clone.is_ready());
        readiness.drain();
        readiness.started();
        assert!(!clone.is_ready() && clone.is_draining());
    }
}
