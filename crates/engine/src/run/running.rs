//! The handle on running shards.

use super::error::{RunError, StartError};
use super::handover::{HandoverError, Offer, OfferOptions, Part};
use super::placement::Assignment;
use super::readiness::Readiness;
use super::signals;
use crate::api::handler::Handler;
use crate::api::shard::ShardHandle;
use crate::metrics::published::Published;
use crate::metrics::reader::MetricsReader;
use crate::metrics::snapshot::Metrics;
use crate::shard::core::Counters;
use crate::shard::drain::{DrainReason, DrainReport};
use crate::tls::{ServedCertificate, TlsConfig, TlsReload};
use crate::topics::exchange::Exchange;
use crate::topics::publisher::Publisher;
use ringway_codec::Scheme;
use ringway_io::{Address, Stats};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;

/// The report of a shard that has ended.
///
/// ```
/// use ringway::{Connection, Handler, Message, Server, Shards, Request, Upgrade};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &ringway::Request<'_>) -> ringway::Upgrade<()> { ringway::Upgrade::accept(()) }
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
    /// The core that it was pinned to.
    pub core: Option<usize>,
    /// The counters of its driver.
    pub stats: Stats,
    /// The counters of the shard.
    pub counters: Counters,
    /// What its drain has done; `None` if it ended without one.
    pub drain: Option<DrainReport>,
}

/// The result of the thread of a shard.
pub(crate) type ShardResult = io::Result<(Stats, Counters, Option<DrainReport>)>;

/// Running shards. Dropping this value leaves them running.
///
/// ```
/// use ringway::{Connection, Handler, Message, Server, Shards, Request, Upgrade};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &ringway::Request<'_>) -> ringway::Upgrade<()> { ringway::Upgrade::accept(()) }
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
    pub(super) addresses: Vec<Address>,
    /// Of the echo service.
    pub(super) echo_addresses: Vec<Address>,
    pub(super) datagram_addresses: Vec<SocketAddr>,
    pub(super) schemes: Vec<Scheme>,
    pub(super) assignment: Assignment,
    pub(super) driver: String,
    pub(super) threads: Vec<Option<JoinHandle<ShardResult>>>,
    pub(super) handles: Vec<ShardHandle<H>>,
    /// Receives the numbers of shards that have ended. The mutex makes this type `Sync`; only
    /// `wait` uses the receiver.
    pub(super) ends: Mutex<mpsc::Receiver<usize>>,
    pub(super) certificates: Weak<Certificates>,
    /// `None` without TLS.
    pub(super) tls_library: Option<String>,
    pub(super) in_use: ConfigsInUse,
    pub(super) readiness: Readiness,
    /// The numbers of the shards.
    pub(super) published: Vec<Arc<Published>>,
    pub(super) exchange: Arc<Exchange>,
    /// The number of publishers that were created.
    pub(super) publishers: AtomicUsize,
}

/// The threads that read certificates again. Only the threads of the shards own them, so they run
/// until the last shard has ended.
pub(super) type Certificates = OnceLock<Vec<TlsReload>>;

/// The different TLS configurations of the listeners, as of the last reload.
pub(super) type ConfigsInUse = Arc<Mutex<Vec<TlsConfig>>>;

impl<H: Handler> Running<H> {
    /// The addresses that are listened on, in the order of the calls of
    /// [`Server::bind`](crate::Server::bind), with the ports chosen by the system.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The addresses of the echo service on TCP, in the order of the calls of
    /// [`Server::and_echo`](crate::Server::and_echo), with the ports chosen by the system.
    #[must_use]
    pub fn echo_addresses(&self) -> &[Address] {
        &self.echo_addresses
    }

    /// The addresses of the echo service on UDP, as [`echo_addresses`](Running::echo_addresses).
    #[must_use]
    pub fn echo_datagram_addresses(&self) -> &[SocketAddr] {
        &self.datagram_addresses
    }

    /// What clients speak on each of the [`addresses`](Running::addresses): `wss` with TLS, `ws`
    /// without.
    #[must_use]
    pub fn schemes(&self) -> &[Scheme] {
        &self.schemes
    }

    /// The core of each shard; `None` for one that is not pinned.
    #[must_use]
    pub fn cores(&self) -> &[Option<usize>] {
        self.assignment.cores()
    }

    /// The cores of the shards, and the reason if they are not pinned; displayed as `2, on cores
    /// 0-1`.
    #[must_use]
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// The driver, as text to print: `epoll`, `tokio-uring`, or `io_uring` and the features that the
    /// kernel granted.
    #[must_use]
    pub fn driver(&self) -> String {
        self.driver.clone()
    }

    /// The implementation of TLS, and whether the kernel has one, as text to print; `None` if no
    /// address uses TLS.
    #[must_use]
    pub fn tls_library(&self) -> Option<&str> {
        self.tls_library.as_deref()
    }

    /// The certificates that new connections get, as of the last reload that has reached all shards,
    /// in the order of the listeners and of [`TlsConfig`](crate::TlsConfig)'s calls. Empty without
    /// TLS. For monitoring: a certificate that expires within 14 days is also logged as a warning,
    /// once a day.
    #[must_use]
    pub fn certificates(&self) -> Vec<ServedCertificate> {
        let configs = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        configs.iter().flat_map(TlsConfig::certificates).collect()
    }

    /// A handle on each shard, in the order of their numbers.
    #[must_use]
    pub fn handles(&self) -> &[ShardHandle<H>] {
        &self.handles
    }

    /// The numbers of all shards, as of the end of their last turns.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics_reader().read()
    }

    /// Reads the numbers of all shards from any thread, as long as it exists: for an exporter of
    /// metrics.
    #[must_use]
    pub fn metrics_reader(&self) -> MetricsReader {
        let mailboxes = self.handles.iter().map(ShardHandle::mailbox_counts);
        MetricsReader { shards: self.published.iter().cloned().zip(mailboxes).collect() }
    }

    /// Publishes messages to the subscribers of all shards from any thread. Each call returns a
    /// publisher that uses the next shard; clones of one use the same shard.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.exchange), self.publishers.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether new connections are wanted, for health checks. It outlives this value.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Stops all shards, as [`Running::drain`] with [`DrainReason::Stop`] does.
    pub fn stop(&self) {
        self.drain(DrainReason::Stop);
    }

    /// Drains all shards, as [`Shard::drain`](crate::Shard::drain) does. Does not block; call
    /// [`Running::wait`] to wait for their end. The [guide](crate::guide::running#draining) has the
    /// order.
    pub fn drain(&self, reason: DrainReason) {
        // Before the first shard gets to it: a health check must not pass on another shard.
        self.readiness.drain();
        drain(&self.handles, reason);
    }

    /// Offers the listening sockets to a successor, at a Unix socket with this path, which only
    /// processes of the same user and root can use. When a successor has taken over, all shards drain
    /// with [`DrainReason::HandOver`]. Starts a thread, which ends then.
    /// [`handover`](crate::handover) has an example.
    ///
    /// # Errors
    /// [`HandoverError::Path`] and [`HandoverError::Bind`] if the path cannot be listened on,
    /// [`HandoverError::Io`] if the thread cannot be started.
    pub fn offer(&self, path: impl AsRef<Path>) -> Result<(), HandoverError> {
        self.offer_with(path, OfferOptions::new())
    }

    /// As [`Running::offer`], with options.
    ///
    /// # Errors
    /// As [`Running::offer`].
    pub fn offer_with(&self, path: impl AsRef<Path>, options: OfferOptions) -> Result<(), HandoverError> {
        Offer::new(self.handles.clone(), self.handover_part(), self.readiness(), options).start(path.as_ref())
    }

    /// The listening sockets of this server, to be passed on by another server of the process
    /// ([`OfferOptions::part`]).
    #[must_use]
    pub fn handover_part(&self) -> Part {
        Part::new(&self.handles, &self.addresses, &self.schemes, &self.echo_addresses)
    }

    /// Reads the files of all [`TlsConfig`](crate::TlsConfig)s again. Does not block; the files are
    /// also read when they change. New connections use the new certificates. If a file has an error,
    /// it is logged, and the present certificates remain in use.
    pub fn reload_certificates(&self) {
        reload(&self.certificates);
    }

    /// Stops the shards at SIGINT or SIGTERM, as [`Running::stop`] does. A second signal has its
    /// default action: it ends the process. If certificates were read from files, reads them again
    /// at SIGHUP. Starts a thread that waits for the signals.
    ///
    /// # Errors
    /// [`RunError::Signals`] if the handlers for the signals cannot be installed.
    pub fn stop_on_signals(&self) -> Result<(), RunError> {
        self.stop_on_signals_after(|| {})
    }

    /// As [`Running::stop_on_signals`], and calls `before` at the first signal, before the shards
    /// stop: for example to notify a service manager. It is called on the thread that waits for the
    /// signals.
    ///
    /// # Errors
    /// As [`Running::stop_on_signals`].
    pub fn stop_on_signals_after(&self, before: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
        let handles = self.handles.clone();
        let certificates = Weak::clone(&self.certificates);
        let has_files = certificates.upgrade().is_some_and(|of| of.get().is_some_and(|reloads| !reloads.is_empty()));
        let readiness = self.readiness.clone();
        let stop = move || {
            before();
            readiness.drain();
            drain(&handles, DrainReason::Stop);
        };
        signals::watch(stop, has_files.then_some(move || reload(&certificates)))
    }

    /// Waits until all shards have ended. If one fails, the others are stopped: without one of its
    /// shards, a server would not answer that shard's share of new connections.
    ///
    /// # Errors
    /// [`RunError::Shard`] or [`RunError::Panicked`] for the first shard that failed, after all
    /// shards have ended.
    pub fn wait(mut self) -> Result<Vec<ShardReport>, RunError> {
        let mut first = None;
        let mut reports = Vec::with_capacity(self.threads.len());
        // In the order in which the shards end: a failure is seen while other shards run.
        let ends = self.ends.into_inner().unwrap_or_else(PoisonError::into_inner);
        while let Ok(index) = ends.recv() {
            let error = match self.threads[index].take().map(JoinHandle::join) {
                None => continue,
                Some(Ok(Ok((stats, counters, drain)))) => {
                    let core = self.assignment.cores()[index];
                    reports.push(ShardReport { index, core, stats, counters, drain });
                    continue;
                }
                Some(Ok(Err(error))) => RunError::Shard(index, error),
                Some(Err(_)) => RunError::Panicked(index),
            };
            self.readiness.drain();
            drain(&self.handles, DrainReason::Stop);
            first.get_or_insert(error);
        }
        reports.sort_by_key(|report| report.index);
        if let Some(drain) = DrainReport::sum(reports.iter().filter_map(|report| report.drain)) {
            tracing::info!(reason = ?drain.reason, "drained: {drain}");
        }
        first.map_or(Ok(reports), Err)
    }

    /// Stops the shards that have started, after another could not start.
    pub(super) fn abandon<T>(self, error: StartError) -> Result<T, StartError> {
        self.drain(DrainReason::Stop);
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

fn reload(certificates: &Weak<Certificates>) {
    if let Some(certificates) = certificates.upgrade() {
        certificates.get().into_iter().flatten().for_each(TlsReload::reload);
    }
}

/// Drains shards.
fn drain<H: Handler>(handles: &[ShardHandle<H>], reason: DrainReason) {
    handles.iter().for_each(|handle| handle.drain(reason));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::placement;
    use crate::{
        Client, Config, Connection, Cores, DriverChoice, Limits, Message, OnPanic, PostError, Request, Server, Shards,
        Upgrade,
    };
    use ringway_io::BusyPoll;
    use ringway_testkit::certificates::{Authority, Folder};
    use std::time::Duration;

    #[derive(Debug)]
    struct Idle;

    impl Handler for Idle {
        type State = ();

        fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
            Upgrade::accept(())
        }

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
    fn a_panic_of_any_shard_stops_the_others() {
        for index in 0..2 {
            let running = two();
            running.handles()[index].post(|_, _| panic!("on purpose")).expect("the shard runs");
            let error = running.wait().expect_err("one shard panicked");
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
        // `stop` must not wait for room in the mailbox.
        running.stop();
        drop(release);
        assert_eq!(running.wait().expect("they end without an error").len(), 2);
    }

    #[test]
    fn stopping_shards_that_have_ended_does_not_block() {
        let running = two();
        let handles = running.handles().to_vec();
        running.stop();
        let reports = running.wait().expect("they end without an error");
        assert_eq!(reports.iter().map(|report| report.index).collect::<Vec<_>>(), [0, 1]);
        drain(&handles, DrainReason::Stop);
        assert_eq!(handles[0].post(|_, _| {}), Err(PostError::Ended));
    }

    #[test]
    fn no_thread_reads_certificates_after_the_shards_have_ended() {
        let folder = Folder::new();
        let (certificate, key) = folder.write_identity("server", &Authority::root("Test Root").issue(&["localhost"]));
        let tls = TlsConfig::from_files(certificate, key).expect("a chain and its key");
        let server = Server::bind("127.0.0.1:0").expect("a free port").tls(&tls);
        let running = server.shards(Shards::Count(1)).start(|_| Idle).expect("it starts");
        running.stop_on_signals().expect("handlers of signals");
        let certificates = running.certificates.clone();
        assert_eq!(certificates.upgrade().and_then(|of| of.get().map(Vec::len)), Some(1));
        running.stop();
        running.wait().expect("it ends without an error");
        assert!(certificates.upgrade().is_none(), "the threads have ended");
    }

    #[test]
    fn shards_on_a_core_that_does_not_exist_do_not_start() {
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
    fn each_driver_can_be_chosen() {
        let driver = |driver| {
            let config = Config::default().cores(Cores::Unpinned).expect("no list").driver(driver);
            let running = Client::new().config(config).shards(Shards::Count(2)).start(|_| Idle).expect("it starts");
            let text = running.driver();
            running.stop();
            assert_eq!(running.wait().expect("they end without an error").len(), 2);
            text
        };
        assert_eq!(driver(DriverChoice::Epoll), "epoll");
        #[cfg(feature = "tokio-uring")]
        assert_eq!(driver(DriverChoice::TokioUring), "tokio-uring");
        for choice in [DriverChoice::Uring, DriverChoice::Auto] {
            assert!(driver(choice).starts_with("io_uring ("), "{choice:?}: io_uring works here");
        }
    }

    #[test]
    fn a_handler_reads_the_counters_of_its_driver() {
        let busy_poll = BusyPoll::Fixed(Duration::from_millis(1));
        for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
            let config = Config { cores: Cores::Unpinned, busy_poll, driver, ..Config::default() };
            let running = Client::new().config(config).shards(Shards::Count(1)).start(|_| Idle).expect("it starts");
            let (sender, receiver) = mpsc::channel();
            let mut polled = Duration::ZERO;
            // The shard polls before each sleep between two posts.
            while polled.is_zero() {
                let sender = sender.clone();
                let post = running.handles()[0].post(move |_, shard| {
                    sender.send(shard.driver_stats()).expect("the test waits");
                });
                post.expect("the shard runs");
                let stats = receiver.recv().expect("the shard answers");
                assert!(stats.turns > 0);
                polled = stats.polled;
            }
            running.stop();
            let reports = running.wait().expect("it ends without an error");
            assert!(reports[0].stats.polled >= polled);
        }
    }

    #[test]
    fn running_shards_report_their_cores() {
        let running = Client::new().shards(Shards::Count(1)).start(|_| Idle).expect("io_uring works here");
        let set = placement::CoreSet::read().expect("the mask can be read");
        let expected = set.server(&Cores::All, Shards::Count(1)).expect("it can be placed");
        assert_eq!((running.assignment(), running.cores()), (&expected, expected.cores()));
        running.stop();
        let reports = running.wait().expect("it ends without an error");
        assert_eq!(reports.iter().map(|report| report.core).collect::<Vec<_>>(), expected.cores());
    }
}
