//! A shard without a thread of its own: it runs in the thread, and in the asynchronous runtime, of
//! its caller.

use super::error::StartError;
use super::launch::{ShardEnd, ShardStart};
use super::memory;
use crate::admission::gate::Gate;
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::api::shard::{Shard, ShardHandle};
use crate::config::{Config, ConfigError, Limits};
use crate::shard::core::Counters;
use crate::shard::drain::DrainReport;
use crate::shard::event_loop::EventLoop;
use crate::tls::TlsConfig;
use crate::tls::table::ListenerTls;
#[cfg(feature = "tokio-uring")]
use ringway_io::tokio_uring::{TokioUring, TokioUringConfig};
use ringway_io::{Detached, Driver, Stats};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The age from which the time of the last turn is too old for new deadlines.
const STALE: Duration = Duration::from_millis(5);

/// The number of a listener that does not exist, and has no TLS.
const PLAIN: usize = usize::MAX;

/// The maximum number of TLS configurations of a shard. Each is kept as long as the shard.
const MAX_TLS_CONFIGS: usize = 256;

/// A shard that its caller drives: [`turn`](LocalShard::turn) never blocks. Between two turns,
/// [`with`](LocalShard::with) lends the shard to any code of the thread.
///
/// The caller runs a turn when the driver is ready, when [`next_work`](LocalShard::next_work) has
/// passed, and after each use of [`with`](LocalShard::with) that requests something: output, too, is
/// passed to the kernel at the end of a turn.
pub struct LocalShard<D: Driver, H: Handler> {
    event_loop: EventLoop<D, H>,
    /// The configurations of TLS of adopted connections, with the numbers of their listeners.
    tls: Vec<(TlsConfig, usize)>,
    handle: ShardHandle<H>,
    /// Reports the end of a shard of a server.
    _end: Option<ShardEnd<H>>,
}

impl<D: Driver, H: Handler> LocalShard<D, H> {
    /// Creates the shard, and calls the handler's `start`. Without
    /// [`Limits::max_memory`](crate::Limits::max_memory), its budget is that of one of `shards`
    /// shards.
    ///
    /// The options that concern threads and the choice of a driver have no effect: cores, driver,
    /// busy polling and timer slack.
    ///
    /// # Errors
    /// [`StartError::Config`] for an option out of range.
    pub fn new(driver: D, handler: H, config: Config, limits: Limits, shards: usize) -> Result<Self, StartError> {
        config.check()?;
        config.check_local()?;
        limits.check()?;
        let now = Instant::now();
        let max_memory = limits.max_memory.unwrap_or_else(|| memory::default_budget(shards));
        let limits = Limits { max_memory: Some(max_memory), ..limits };
        let gate = config.admission.is_active().then(|| Arc::new(Gate::new(&config.admission, now)));
        let handle = ShardHandle::new(driver.waker());
        let mut event_loop = EventLoop::new(0, driver, Arc::new(config), limits, handle.clone(), handler, now);
        if let Some(gate) = gate {
            event_loop.use_gate(gate);
        }
        Ok(Self::of(event_loop, handle, None))
    }

    /// Starts a shard on its event loop.
    fn of(mut event_loop: EventLoop<D, H>, handle: ShardHandle<H>, end: Option<ShardEnd<H>>) -> Self {
        event_loop.measure_time();
        event_loop.start();
        event_loop.begin_wait(Instant::now());
        Self { event_loop, tls: Vec::new(), handle, _end: end }
    }

    /// Runs one turn without blocking. Returns whether the shard continues: `false` after a drain.
    ///
    /// # Errors
    /// Only if the driver is unusable. The shard can only be dropped then.
    pub fn turn(&mut self) -> io::Result<bool> {
        let continues = self.event_loop.turn_within(Some(Duration::ZERO), Instant::now)?;
        self.event_loop.begin_wait(Instant::now());
        Ok(continues)
    }

    /// The time until the next turn is due although the driver has nothing: for deadlines, or for
    /// work that waits. `None`: no such time.
    #[must_use]
    pub fn next_work(&self) -> Option<Duration> {
        self.event_loop.next_work(Instant::now())
    }

    /// Lends the handler and the shard to `call`. What it requests is carried out by the next turn.
    /// A panic of `call` is the caller's.
    pub fn with<R>(&mut self, call: impl FnOnce(&mut H, &mut Shard<'_, H>) -> R) -> R {
        self.refresh();
        self.event_loop.lend(call)
    }

    /// Takes over an accepted connection, in the server role, with TLS or without.
    /// [`Handler::upgrade`] is called when it requests a WebSocket, or [`Handler::unopened`] when it
    /// ends before; neither is called before this method returns.
    ///
    /// It counts towards the limits and the rate of [`Admission`](crate::Admission), which reject it
    /// as one of a listener. `None`: it was rejected, or TLS is unavailable, and it is closed without a
    /// response; [`Counters`] has the cause. [`Limits::max_connections`](crate::Limits::max_connections)
    /// may be exceeded by it: see [`LocalShard::may_accept`].
    ///
    /// # Errors
    /// [`StartError::Config`] if the shard has seen 256 other TLS configurations: clones of one are
    /// the same.
    pub fn accept(&mut self, socket: Detached, tls: Option<&TlsConfig>) -> Result<Option<ConnectionId>, StartError> {
        let listener = tls.map_or(Ok(PLAIN), |tls| self.number_of(tls))?;
        self.refresh();
        Ok(self.event_loop.take_over(socket, listener).map(ConnectionId))
    }

    /// Whether the shard wants accepted connections: fewer than
    /// [`Limits::max_connections`](crate::Limits::max_connections) are open, the accept rate does not
    /// pause accepting ([`Admission::accept_rate`](crate::Admission::accept_rate)), and not too many
    /// TLS handshakes wait. A caller that accepts connections itself leaves them in the queue of the
    /// kernel otherwise. It is true again after a turn only; [`LocalShard::next_work`] includes the end
    /// of a pause.
    #[must_use]
    pub fn may_accept(&self) -> bool {
        self.event_loop.may_accept()
    }

    /// Whether [`Limits::max_connections`](crate::Limits::max_connections) are open, in both roles.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.event_loop.is_full()
    }

    /// The driver, for what is not part of [`Driver`].
    #[must_use]
    pub fn driver(&self) -> &D {
        self.event_loop.driver()
    }

    /// The numbers of the shard since its start.
    #[must_use]
    pub fn report(&self) -> LocalReport {
        LocalReport(self.event_loop.report())
    }

    /// A handle that posts work to this shard from other threads.
    #[must_use]
    pub fn handle(&self) -> &ShardHandle<H> {
        &self.handle
    }

    /// Ends the shard at once: all connections are dropped, with [`Handler::closed`],
    /// [`Handler::unopened`] or [`Handler::failed`] for each, and the listeners are closed. For the end
    /// of a runtime: no further turn follows, so that no close frame is sent. Drop the shard then.
    pub fn end_all(&mut self) {
        self.event_loop.abandon();
    }

    /// The handler. It must not be replaced by that of another shard.
    pub fn handler_mut(&mut self) -> &mut H {
        self.event_loop.handler_mut()
    }

    /// The number of the listener that has this configuration.
    fn number_of(&mut self, tls: &TlsConfig) -> Result<usize, StartError> {
        let known = self.tls.iter().find(|(known, _)| Arc::ptr_eq(&known.rustls(), &tls.rustls()));
        if let Some((_, number)) = known {
            return Ok(*number);
        }
        if self.tls.len() == MAX_TLS_CONFIGS {
            let range = format!("at most {MAX_TLS_CONFIGS} different ones in one runtime: use clones of one");
            return Err(ConfigError::new("tls", "a further configuration", range).into());
        }
        let number = self.event_loop.add_tls(ListenerTls::of(tls));
        self.tls.push((tls.clone(), number));
        Ok(number)
    }

    /// Updates the shard's time if it is old: deadlines that are set now begin with it.
    fn refresh(&mut self) {
        self.event_loop.refresh(Instant::now(), STALE);
    }
}

#[cfg(feature = "tokio-uring")]
impl<H: Handler> LocalShard<TokioUring, H> {
    /// As [`LocalShard::new`], with a driver within the runtime of tokio-uring that runs the calling
    /// task.
    ///
    /// # Errors
    /// As [`LocalShard::new`], and [`StartError`] if the driver could not be opened.
    ///
    /// # Panics
    /// Outside of a runtime of tokio-uring.
    pub fn within(handler: H, config: Config, limits: Limits, shards: usize) -> Result<Self, StartError> {
        config.check()?;
        limits.check()?;
        Self::new(within(&config, &limits)?, handler, config, limits, shards)
    }
}

/// A driver within the runtime of the calling task.
#[cfg(feature = "tokio-uring")]
fn within(config: &Config, limits: &Limits) -> Result<TokioUring, StartError> {
    Ok(TokioUring::within(TokioUringConfig {
        buffers: config.buffers,
        max_connections: limits.max_connections,
        busy_poll: config.busy_poll,
    })?)
}

impl<D: Driver, H: Handler> Drop for LocalShard<D, H> {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl<D: Driver, H: Handler> fmt::Debug for LocalShard<D, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalShard").finish_non_exhaustive()
    }
}

/// The numbers of a shard that has ended: the result of its thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalReport(pub(super) (Stats, Counters, Option<DrainReport>));

/// What a thread of [`Server::start_local`](crate::Server::start_local) runs a shard with.
pub struct LocalStart<H: Handler>(ShardStart<H>);

impl<H: Handler> LocalStart<H> {
    pub(super) fn new(start: ShardStart<H>) -> Self {
        Self(start)
    }

    /// The number of the shard, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.0.index()
    }

    /// The options of the server.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.0.config()
    }

    /// The limits of each shard.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.0.limits()
    }

    /// Starts the shard on a driver. `None`: another shard could not start, and the server does not.
    #[must_use]
    pub fn open<D: Driver>(self, driver: D) -> Option<LocalShard<D, H>> {
        let (event_loop, handle, end) = self.0.event_loop(driver)?;
        Some(LocalShard::of(event_loop, handle, Some(end)))
    }

    /// As [`LocalStart::open`], with a driver within the runtime of tokio-uring that runs the calling
    /// task. An error of the driver is reported: the server does not start.
    ///
    /// # Panics
    /// Outside of a runtime of tokio-uring.
    #[cfg(feature = "tokio-uring")]
    #[must_use]
    pub fn open_within(self) -> Option<LocalShard<TokioUring, H>> {
        match within(self.config(), self.limits()) {
            Ok(driver) => self.open(driver),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// Reports that the shard cannot start: the server does not, with this error.
    pub fn fail(self, error: StartError) {
        self.0.fail(error);
    }
}

impl<H: Handler> fmt::Debug for LocalStart<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStart({})", self.index())
    }
}

#[cfg(test)]
mod tests;
