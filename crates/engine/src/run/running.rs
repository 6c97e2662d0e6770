//! A handle on the shards while they run.

use super::error::{RunError, StartError};
use super::placement::Assignment;
use super::signals;
use crate::api::handler::Handler;
use crate::api::shard::ShardHandle;
use crate::shard::core::Counters;
use ringway_io::Stats;
use ringway_io::uring::Features;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

/// What a shard has done, reported when it has ended.
///
/// ```
/// use ringway::{Connection, Handler, Message, Server, Shards};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) { conn.reply(message) }
/// # }
///
/// let running = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).start(|_| Echo)?;
/// running.stop();
/// let reports = running.wait()?;
/// assert_eq!((reports[0].index, reports[0].stats.accepted), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ShardReport {
    /// The shard's number.
    pub index: usize,
    /// The core it was pinned to.
    pub core: Option<usize>,
    /// What its driver counted.
    pub stats: Stats,
    /// What it has done against misbehaviour.
    pub counters: Counters,
}

/// What the thread of a shard returns.
pub(crate) type ShardResult = io::Result<(Stats, Counters)>;

/// Shards that run. Dropping it leaves them running.
///
/// ```
/// use ringway::{Connection, Handler, Message, Server, Shards};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) { conn.reply(message) }
/// # }
///
/// let running = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).start(|_| Echo)?;
/// println!("{} shards, {}; {}", running.cores().len(), running.assignment(), running.driver());
/// running.handles()[0].post(|_, shard| shard.stop())?;
/// running.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Running<H: Handler> {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) assignment: Assignment,
    pub(super) features: Features,
    pub(super) threads: Vec<Option<JoinHandle<ShardResult>>>,
    pub(super) handles: Vec<ShardHandle<H>>,
    /// Which shards have ended. Locked, so that this type can be shared between threads; only `wait` looks.
    pub(super) ends: Mutex<mpsc::Receiver<usize>>,
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

    /// The driver and the features that the kernel granted, as text to print.
    #[must_use]
    pub fn driver(&self) -> String {
        format!("io_uring ({})", self.features)
    }

    /// A handle on each shard, in the order of their numbers.
    #[must_use]
    pub fn handles(&self) -> &[ShardHandle<H>] {
        &self.handles
    }

    /// Tells all shards to stop: see [`Shard::stop`](crate::Shard::stop). Does not wait; call [`Running::wait`] for that.
    pub fn stop(&self) {
        stop(&self.handles);
    }

    /// Stops the shards at SIGINT or SIGTERM, as [`Running::stop`] does. A second signal has its default action: it ends
    /// the process. Starts a thread that waits for them.
    ///
    /// # Errors
    /// [`RunError::Signals`] when the signals cannot be watched.
    pub fn stop_on_signals(&self) -> Result<(), RunError> {
        let handles = self.handles.clone();
        signals::watch(move || stop(&handles))
    }

    /// Waits until all shards have ended. When one of them fails, the others are told to stop: a server without one of
    /// its shards would leave that shard's share of new connections without an answer.
    ///
    /// # Errors
    /// [`RunError::Shard`] or [`RunError::Panicked`] for the first shard that failed; the others are waited for.
    pub fn wait(mut self) -> Result<Vec<ShardReport>, RunError> {
        let mut first = None;
        let mut reports = Vec::with_capacity(self.threads.len());
        // In the order in which they end: one that fails must not wait for one that runs.
        let ends = self.ends.into_inner().unwrap_or_else(PoisonError::into_inner);
        while let Ok(index) = ends.recv() {
            let error = match self.threads[index].take().map(JoinHandle::join) {
                None => continue,
                Some(Ok(Ok((stats, counters)))) => {
                    reports.push(ShardReport { index, core: self.assignment.cores()[index], stats, counters });
                    continue;
                }
                Some(Ok(Err(error))) => RunError::Shard(index, error),
                Some(Err(_)) => RunError::Panicked(index),
            };
            stop(&self.handles);
            first.get_or_insert(error);
        }
        reports.sort_by_key(|report| report.index);
        first.map_or(Ok(reports), Err)
    }

    /// Ends those that have started, for an error that another met.
    pub(super) fn abandon<T>(self, error: StartError) -> Result<T, StartError> {
        stop(&self.handles);
        for thread in self.threads.into_iter().flatten() {
            let _ = thread.join();
        }
        Err(error)
    }
}

impl<H: Handler> fmt::Debug for Running<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("addresses", &self.addresses)
            .field("assignment", &self.assignment)
            .finish_non_exhaustive()
    }
}

/// Tells shards to stop.
fn stop<H: Handler>(handles: &[ShardHandle<H>]) {
    handles.iter().for_each(ShardHandle::stop);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::placement;
    use crate::{Client, Config, Connection, Cores, Limits, Message, OnPanic, PostError, Shards};
    use std::time::Duration;

    #[derive(Debug)]
    struct Idle;

    impl Handler for Idle {
        type State = ();

        fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
    }

    fn two() -> Running<Idle> {
        let config = Config {
            cores: Cores::Unpinned,
            stop_timeout: Duration::from_secs(1),
            on_panic: OnPanic::Stop,
            ..Config::default()
        };
        Client::new().config(config).shards(Shards::Count(2)).start(|_| Idle).expect("io_uring works here")
    }

    #[test]
    fn a_shard_that_panics_stops_the_others_whichever_it_is() {
        for index in 0..2 {
            let running = two();
            running.handles()[index].post(|_, _| panic!("as the test has it")).expect("it runs");
            let error = running.wait().expect_err("one has panicked");
            assert!(matches!(error, RunError::Panicked(at) if at == index), "{error}");
        }
    }

    #[test]
    fn stopping_does_not_wait_for_a_stuck_shard_whose_mailbox_is_full() {
        let running = two();
        let (stuck, is_stuck) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let post = running.handles()[0].post(move |_, _| {
            stuck.send(()).expect("the test waits");
            let _ = released.recv();
        });
        post.expect("the mailbox is empty");
        is_stuck.recv().expect("the shard runs");
        while running.handles()[0].post(|_, _| {}).is_ok() {}
        assert_eq!(running.handles()[0].post(|_, _| {}), Err(PostError::Full));
        // Before, this waited for room in the mailbox.
        running.stop();
        drop(release);
        assert_eq!(running.wait().expect("they end in order").len(), 2);
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
        let config = Config { cores: Cores::List(vec![usize::MAX]), ..Config::default() };
        let error = Client::new().config(config).start(|_| Idle).expect_err("there is no such core");
        assert!(matches!(error, StartError::Placement(_)), "{error}");
    }

    #[test]
    fn an_option_out_of_range_is_named_at_the_start() {
        let error = |client: Client| client.start(|_| Idle).expect_err("out of range").to_string();
        let config = |config| error(Client::new().config(config));
        let zero_shards = error(Client::new().shards(Shards::Count(0)));
        assert_eq!(zero_shards, "shards is 0: give 1 to 1024");
        let no_cores = config(Config { cores: Cores::List(vec![]), ..Config::default() });
        assert_eq!(no_cores, "cores is an empty list: give at least one core, or Cores::All");
        let few_entries = config(Config { ring_entries: 1, ..Config::default() });
        assert_eq!(few_entries, "ring_entries is 1: give 8 to 32768");
        let limits = Limits { max_memory: Some(1 << 20), ..Limits::default() };
        let little = error(Client::new().limits(limits));
        assert_eq!(little, "limits.max_memory is 1048576: give at least limits.max_message, 16777216");
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
