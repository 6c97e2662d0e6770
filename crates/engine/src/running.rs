//! Starting shards, and what one holds of them while they run.

use crate::config::{Config, Limits, Shards};
use crate::event_loop::EventLoop;
use crate::handler::Handler;
use crate::hub::Hub;
use crate::mailbox::{PostError, ShardHandle};
use crate::placement::{self, Assignment, PlacementError};
use ringway_io::uring::{self, Refusal, Rung, Uring, UringConfig};
use ringway_io::{BindError, Driver, Listener, Stats};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Why shards could not start, or did not run to their end.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that is none, or a name without one.
    #[error("cannot listen on {0:?}: {1}")]
    Address(String, #[source] io::Error),
    /// An address that cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// io_uring is not to be had.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The shards have no place to run.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}; raise the limit of processes (`ulimit -u`)")]
    Thread(#[source] io::Error),
    /// The signals could not be watched.
    #[error("cannot watch SIGINT and SIGTERM: {0}")]
    Signals(#[source] io::Error),
    /// A shard ended before it was told to.
    #[error("shard {0} failed: {1}")]
    Shard(usize, #[source] io::Error),
    /// A handler panicked.
    #[error("shard {0} panicked")]
    Panicked(usize),
}

/// What a shard has done, told when it has ended.
#[derive(Clone, Copy, Debug)]
pub struct ShardReport {
    /// The shard's number.
    pub index: usize,
    /// The core it was pinned to.
    pub core: Option<usize>,
    /// What its driver counted.
    pub stats: Stats,
}

/// Everything that shards are started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) shards: Shards,
    pub(crate) config: Config,
    pub(crate) limits: Limits,
}

impl Plan {
    /// Starts one thread for each shard. Each gets a sibling of all `listeners`.
    pub(crate) fn start<H: Handler>(
        self,
        listeners: Vec<Listener>,
        make: Arc<dyn Fn(usize) -> H + Send + Sync>,
    ) -> Result<Running<H>, StartError> {
        let rung = uring::probe()?;
        let assignment = Assignment::of_server(&self.config.cores, self.shards)?;
        if let Some(quota) = assignment.quota() {
            tracing::info!("shards are not pinned: the cgroup's CPU quota is {quota}");
        }
        let cores = assignment.cores().to_vec();
        let addresses = listeners.iter().map(Listener::address).collect();
        let mut shares: Vec<Vec<Listener>> = Vec::with_capacity(cores.len());
        for _ in 1..cores.len() {
            shares.push(listeners.iter().map(Listener::sibling).collect::<Result<_, _>>()?);
        }
        shares.push(listeners);
        let (config, limits) = (Arc::new(self.config), self.limits);
        let (ended, ends) = mpsc::channel();
        let (threads, handles) = (Vec::new(), Vec::new());
        let ends = Mutex::new(ends);
        let mut running = Running { addresses, assignment, rung, threads, handles, ends };
        for (index, (core, listeners)) in cores.into_iter().zip(shares).enumerate() {
            let (report, reported) = mpsc::sync_channel(1);
            let (config, make, ended) = (Arc::clone(&config), Arc::clone(&make), ended.clone());
            let thread = thread::Builder::new().name(format!("ringway-{index}")).spawn(move || {
                if let Some(Err(error)) = core.map(placement::pin) {
                    let _ = report.send(Err(StartError::from(error)));
                    return Ok(Stats::default());
                }
                let driver = Uring::new(UringConfig {
                    entries: config.ring_entries,
                    buffers: config.buffers,
                    max_connections: limits.max_connections,
                    busy_poll: config.busy_poll,
                });
                let mut driver = match driver {
                    Ok(driver) => driver,
                    Err(refusal) => {
                        let _ = report.send(Err(refusal.into()));
                        return Ok(Stats::default());
                    }
                };
                for listener in listeners {
                    driver.listen(listener);
                }
                let handle = ShardHandle::new(driver.waker());
                let hub = Hub::new(index, config, limits, handle.clone(), Instant::now());
                let _ending = Ending { index, handle: handle.clone(), ended };
                if report.send(Ok(handle)).is_err() {
                    return Ok(Stats::default()); // Another shard could not start.
                }
                EventLoop::new(driver, hub, make(index)).run()
            });
            match thread {
                Ok(thread) => running.threads.push(Some(thread)),
                Err(error) => return running.abandon(StartError::Thread(error)),
            }
            match reported.recv() {
                Ok(Ok(handle)) => running.handles.push(handle),
                Ok(Err(error)) => return running.abandon(error),
                Err(_) => return running.abandon(StartError::Panicked(index)),
            }
        }
        Ok(running)
    }
}

/// Tells that a shard has ended, however it has: this is dropped with its thread's stack.
struct Ending<H: Handler> {
    index: usize,
    handle: ShardHandle<H>,
    ended: mpsc::Sender<usize>,
}

impl<H: Handler> Drop for Ending<H> {
    fn drop(&mut self) {
        self.handle.close();
        // It fails when nobody waits for the shards.
        let _ = self.ended.send(self.index);
    }
}

/// Shards that run. Dropping it leaves them running.
#[derive(Debug)]
pub struct Running<H: Handler> {
    addresses: Vec<SocketAddr>,
    assignment: Assignment,
    rung: Rung,
    threads: Vec<Option<JoinHandle<io::Result<Stats>>>>,
    handles: Vec<ShardHandle<H>>,
    /// Which shards have ended. Locked, so that this type can be shared between threads; only `wait` looks.
    ends: Mutex<mpsc::Receiver<usize>>,
}

impl<H: Handler> Running<H> {
    /// The addresses that are listened on, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The core of each shard; `None` for one that is not pinned.
    #[must_use]
    pub fn cores(&self) -> &[Option<usize>] {
        self.assignment.cores()
    }

    /// Where the shards run, and the reason where they are not pinned; it displays as `2, on cores 0-1`.
    #[must_use]
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// What the kernel granted, for people to read.
    #[must_use]
    pub fn driver(&self) -> String {
        format!("io_uring ({})", self.rung)
    }

    /// What posts work to each shard.
    #[must_use]
    pub fn handles(&self) -> &[ShardHandle<H>] {
        &self.handles
    }

    /// Tells all shards to stop: see [`Shard::stop`](crate::Shard::stop). Does not wait; call [`Running::wait`] for that.
    pub fn stop(&self) {
        stop(&self.handles);
    }

    /// Waits until all shards have ended. When one of them fails, the others are told to stop: a server without one of
    /// its shards would leave that shard's share of new connections without an answer.
    ///
    /// # Errors
    /// [`StartError::Shard`] or [`StartError::Panicked`] for the first shard that failed; the others are waited for.
    pub fn wait(mut self) -> Result<Vec<ShardReport>, StartError> {
        let mut first = None;
        let mut reports = Vec::with_capacity(self.threads.len());
        // In the order in which they end: one that fails must not wait for one that runs.
        let ends = self.ends.into_inner().unwrap_or_else(PoisonError::into_inner);
        while let Ok(index) = ends.recv() {
            let error = match self.threads[index].take().map(JoinHandle::join) {
                None => continue,
                Some(Ok(Ok(stats))) => {
                    reports.push(ShardReport { index, core: self.assignment.cores()[index], stats });
                    continue;
                }
                Some(Ok(Err(error))) => StartError::Shard(index, error),
                Some(Err(_)) => StartError::Panicked(index),
            };
            stop(&self.handles);
            first.get_or_insert(error);
        }
        reports.sort_by_key(|report| report.index);
        first.map_or(Ok(reports), Err)
    }

    /// Ends those that have started, for an error that another met.
    fn abandon<T>(self, error: StartError) -> Result<T, StartError> {
        stop(&self.handles);
        for thread in self.threads.into_iter().flatten() {
            let _ = thread.join();
        }
        Err(error)
    }
}

/// Tells shards to stop; one that has a full mailbox is told once it has room, one that has ended needs no telling.
pub(crate) fn stop<H: Handler>(handles: &[ShardHandle<H>]) {
    for handle in handles {
        while handle.post(|_, shard| shard.stop()) == Err(PostError::Full) {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Connection, Cores, Message};
    use std::time::Duration;

    #[derive(Debug)]
    struct Idle;

    impl Handler for Idle {
        type State = ();

        fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
    }

    fn two() -> Running<Idle> {
        let config = Config { cores: Cores::Unpinned, stop_timeout: Duration::from_secs(1), ..Config::default() };
        Client::new().config(config).shards(Shards::Count(2)).start(|_| Idle).expect("io_uring works here")
    }

    #[test]
    fn a_shard_that_panics_stops_the_others_whichever_it_is() {
        for index in 0..2 {
            let running = two();
            running.handles()[index].post(|_, _| panic!("as the test has it")).expect("it runs");
            let error = running.wait().expect_err("one has panicked");
            assert!(matches!(error, StartError::Panicked(at) if at == index), "{error}");
        }
    }

    #[test]
    fn stopping_shards_that_have_ended_is_no_wait() {
        let running = two();
        let handles = running.handles().to_vec();
        running.stop();
        let reports = running.wait().expect("they end in order");
        assert_eq!(reports.iter().map(|report| report.index).collect::<Vec<_>>(), [0, 1]);
        stop(&handles);
        assert_eq!(handles[0].post(|_, _| {}), Err(PostError::Ended));
    }

    #[test]
    fn shards_without_a_place_do_not_start() {
        for cores in [Cores::List(vec![]), Cores::List(vec![usize::MAX])] {
            let config = Config { cores, ..Config::default() };
            let error = Client::new().config(config).start(|_| Idle).expect_err("there is nowhere to run");
            assert!(matches!(error, StartError::Placement(_)), "{error}");
        }
    }

    #[test]
    fn shards_that_run_say_where() {
        let running = Client::new().shards(Shards::Count(1)).start(|_| Idle).expect("io_uring works here");
        let set = placement::CoreSet::read().expect("the mask can be read");
        let expected = set.server(&Cores::All, Shards::Count(1)).expect("it has a place");
        assert_eq!((running.assignment(), running.cores()), (&expected, expected.cores()));
        running.stop();
        let reports = running.wait().expect("it ends in order");
        assert_eq!(reports.iter().map(|report| report.core).collect::<Vec<_>>(), expected.cores());
    }
}
