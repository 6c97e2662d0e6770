//! A server in the process of the test.

use ringway::{
    BufferConfig, Config, Connection, Cores, Handler, Limits, Message, Request, Running, Server, Shard, ShardReport,
    Shards, Upgrade,
};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails. It is a watchdog: no test expects to wait
/// that long.
pub const WATCHDOG: Duration = Duration::from_secs(30);

/// A handler that sends each message back.
#[derive(Debug)]
pub struct Echo;

impl Handler for Echo {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

/// A handler that counts the messages that it echoes.
#[derive(Debug, Default)]
pub struct Counting(pub u64);

impl Handler for Counting {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        self.0 += 1;
        conn.reply(message);
    }
}

/// The default configuration with few buffers and without pinning, because many tests run at once.
#[must_use]
pub fn config() -> Config {
    let buffers = BufferConfig::new().count(64).expect("a power of two");
    Config::default().cores(Cores::Unpinned).expect("no list").buffers(buffers)
}

/// A server of one shard on a port that the system chooses. It stops when it is dropped.
#[derive(Debug)]
pub struct TestServer<H: Handler> {
    running: Option<Running<H>>,
    address: SocketAddr,
}

impl TestServer<Echo> {
    /// A server that echoes, with [`config`] and the default limits.
    #[must_use]
    pub fn echo() -> Self {
        Self::start(config(), Limits::default(), |_| Echo)
    }
}

impl<H: Handler> TestServer<H> {
    /// Starts a server.
    #[must_use]
    pub fn start(config: Config, limits: Limits, make: impl Fn(usize) -> H + Send + Sync + 'static) -> Self {
        Self::listening(Server::bind("127.0.0.1:0").expect("a free port"), config, limits, make)
    }

    /// Starts one that listens on these addresses, of which the first one is of TCP.
    #[must_use]
    pub fn listening(
        server: Server,
        config: Config,
        limits: Limits,
        make: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Self {
        let running = server.shards(Shards::Count(1)).config(config).limits(limits).start(make).expect("io_uring");
        let address = running.addresses()[0].tcp().expect("TCP");
        Self { running: Some(running), address }
    }

    fn running(&self) -> &Running<H> {
        self.running.as_ref().expect("it runs until it is stopped or dropped")
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs `work` on the shard and returns its result.
    pub fn on_shard<R: Send + 'static>(&self, work: impl FnOnce(&mut H, &mut Shard<'_, H>) -> R + Send + 'static) -> R {
        let (answer, answered) = mpsc::sync_channel(1);
        let work = move |handler: &mut H, shard: &mut Shard<'_, H>| {
            let _ = answer.send(work(handler, shard));
        };
        self.running().handles()[0].post(work).expect("there is room in the mailbox");
        answered.recv_timeout(WATCHDOG).expect("the shard processes its mailbox")
    }

    /// Evaluates `condition` on the shard until it holds. Each evaluation takes the shard a turn.
    pub fn wait_until(
        &self,
        what: &str,
        condition: impl Fn(&mut H, &mut Shard<'_, H>) -> bool + Send + Copy + 'static,
    ) {
        let deadline = Instant::now() + WATCHDOG;
        while !self.on_shard(condition) {
            assert!(Instant::now() < deadline, "{what}: not within {WATCHDOG:?}");
        }
    }

    /// The number of connections of the shard.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.on_shard(|_, shard| shard.connection_count())
    }

    /// Waits until every slot is free.
    pub fn wait_until_empty(&self) {
        self.wait_until("no connection is left", |_, shard| shard.connection_count() == 0);
    }

    /// Begins to stop, and returns at once.
    pub fn begin_stop(&self) {
        self.running().stop();
    }

    /// Waits until the server has stopped, and returns the report of its shard.
    pub fn wait(mut self) -> ShardReport {
        let running = self.running.take().expect("it runs until it is stopped or dropped");
        let reports = with_watchdog("the server stops", move || running.wait()).expect("no shard has failed");
        reports[0]
    }

    /// Stops the server and returns the report of its shard.
    pub fn stop(self) -> ShardReport {
        self.begin_stop();
        self.wait()
    }
}

impl<H: Handler> Drop for TestServer<H> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
            // The peers of a failed test may still be connected: do not wait for them.
            if !thread::panicking() {
                with_watchdog("the server stops", move || running.wait()).expect("no shard has failed");
            }
        }
    }
}

/// Runs `work`, which must end within [`WATCHDOG`].
pub fn with_watchdog<R: Send + 'static>(what: &str, work: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, is_done) = mpsc::sync_channel(1);
    thread::spawn(move || done.send(work()));
    is_done.recv_timeout(WATCHDOG).unwrap_or_else(|_| panic!("{what}: not within {WATCHDOG:?}"))
}
