//! Starts the threads of the shards.

use super::error::StartError;
use super::memory;
use super::placement::{self, Assignment};
use super::running::Running;
use crate::api::handler::Handler;
use crate::api::shard::ShardHandle;
use crate::config::{Config, Limits, Shards};
use crate::shard::event_loop::EventLoop;
use ringway_io::uring::{self, Uring, UringConfig};
use ringway_io::{Driver, Listener};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

/// The settings that shards are started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    pub(crate) shards: Shards,
    pub(crate) config: Config,
    pub(crate) limits: Limits,
}

impl Launch {
    /// Starts one thread for each shard. Each shard gets a sibling of every listener.
    pub(crate) fn start<H: Handler>(
        self,
        listeners: Vec<Listener>,
        make: Arc<dyn Fn(usize) -> H + Send + Sync>,
    ) -> Result<Running<H>, StartError> {
        self.shards.check()?;
        self.config.check()?;
        self.limits.check()?;
        let features = uring::probe()?;
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
        let max_memory = self.limits.max_memory.unwrap_or_else(|| memory::default_budget(cores.len()));
        if max_memory < self.limits.max_message {
            tracing::warn!(
                "the memory of a shard is limited to {max_memory} bytes by default, which is less than the largest message \
                 ({}); lower Limits::max_message, or set Limits::max_memory",
                self.limits.max_message
            );
        }
        let limits = Limits { max_memory: Some(max_memory), ..self.limits };
        let config = Arc::new(self.config);
        let (ended, ends) = mpsc::channel();
        let (threads, handles) = (Vec::new(), Vec::new());
        let ends = Mutex::new(ends);
        let mut running = Running { addresses, assignment, features, threads, handles, ends };
        for (index, (core, listeners)) in cores.into_iter().zip(shares).enumerate() {
            let (report, reported) = mpsc::sync_channel(1);
            let (config, make, ended) = (Arc::clone(&config), Arc::clone(&make), ended.clone());
            let thread = thread::Builder::new().name(format!("ringway-{index}")).spawn(move || {
                if let Some(Err(error)) = core.map(placement::pin) {
                    let _ = report.send(Err(StartError::from(error)));
                    return Ok(Default::default());
                }
                let driver = Uring::new(UringConfig {
                    ring_entries: config.ring_entries,
                    buffers: config.buffers,
                    max_connections: limits.max_connections,
                    busy_poll: config.busy_poll,
                });
                let mut driver = match driver {
                    Ok(driver) => driver,
                    Err(error) => {
                        let _ = report.send(Err(StartError::of_driver(error)));
                        return Ok(Default::default());
                    }
                };
                for listener in listeners {
                    driver.listen(listener);
                }
                let handle = ShardHandle::new(driver.waker());
                let _end = ShardEnd { index, handle: handle.clone(), ended };
                if report.send(Ok(handle.clone())).is_err() {
                    return Ok(Default::default()); // Another shard could not start.
                }
                EventLoop::new(index, driver, config, limits, handle, make(index), Instant::now()).run()
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

/// Reports that a shard has ended, by a return or a panic: dropped with the stack of the shard's
/// thread.
struct ShardEnd<H: Handler> {
    index: usize,
    handle: ShardHandle<H>,
    ended: mpsc::Sender<usize>,
}

impl<H: Handler> Drop for ShardEnd<H> {
    fn drop(&mut self) {
        self.handle.close();
        // An error means that no thread waits for the shards.
        let _ = self.ended.send(self.index);
    }
}
