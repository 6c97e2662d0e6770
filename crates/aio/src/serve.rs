//! A server with one runtime of tokio-uring on each core.

use crate::connection::Connection;
use crate::handle::Answerer;
use crate::request::{Answer, Request};
use crate::shard::{RuntimeShard, Serve};
use crate::streams::Streams;
use crate::websocket::WebSocket;
use ringway::{
    Config, Limits, LocalReport, LocalStart, Metrics, Readiness, RunError, ServeError, ShardHandle, ShardReport,
    Shards, StartError, TlsConfig,
};
use ringway_io::{Address, UnixSocket};
use std::cell::{Cell, RefCell};
use std::fmt::{self, Display};
use std::future::{Future, poll_fn};
use std::io;
use std::net::ToSocketAddrs;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How long the tasks of a runtime may go on after its connections have ended.
const TASKS_END: Duration = Duration::from_secs(5);

type Task = Pin<Box<dyn Future<Output = ()>>>;
type MakeTask = Arc<dyn Fn(WebSocket) -> Task + Send + Sync>;
type AnswerShared = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Serves WebSockets on an address until SIGINT or SIGTERM, with one runtime of tokio-uring on each
/// core. `task` makes the task of each connection; it runs on the core that has accepted the
/// connection, and need not be `Send`.
///
/// ```no_run
/// ringway_aio::serve("127.0.0.1:9001", |mut ws| async move {
///     while let Some(Ok(message)) = ws.next().await {
///         if ws.send(message).await.is_err() {
///             break;
///         }
///     }
/// })?;
/// # Ok::<(), ringway::ServeError>(())
/// ```
///
/// # Errors
/// [`ServeError`] if the server cannot start, or if a runtime fails.
pub fn serve<F, T>(address: impl ToSocketAddrs + Display, task: F) -> Result<(), ServeError>
where
    F: Fn(WebSocket) -> T + Send + Sync + 'static,
    T: Future<Output = ()> + 'static,
{
    Server::bind(address)?.run(task)
}

/// A server with one runtime of tokio-uring on each core, each with a listening socket of its own
/// (`SO_REUSEPORT`) and pinned to its core.
///
/// Each connection has one task. A panic of it closes its connection with 1011, and no other. A task
/// that ends drops its connection.
///
/// ```
/// use ringway_aio::{Server, Shards};
///
/// let running = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).start(|mut ws| async move {
///     while let Some(Ok(message)) = ws.next().await {
///         let _ = ws.send(message).await;
///     }
/// })?;
/// assert_eq!(running.addresses().len(), 1);
/// running.stop();
/// running.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    server: ringway::Server,
    answer: Option<AnswerShared>,
}

impl Server {
    /// Listens on all addresses of a name or address, as [`ringway::Server::bind`] does.
    ///
    /// # Errors
    /// As [`ringway::Server::bind`].
    pub fn bind(address: impl ToSocketAddrs + Display) -> Result<Self, StartError> {
        Ok(Self::from(ringway::Server::bind(address)?))
    }

    /// Listens on a Unix socket.
    ///
    /// # Errors
    /// As [`ringway::Server::bind_unix`].
    pub fn bind_unix(socket: &UnixSocket) -> Result<Self, StartError> {
        Ok(Self::from(ringway::Server::bind_unix(socket)?))
    }

    /// Uses TLS on the addresses of the last call of `bind`. Changed files are read again.
    #[must_use]
    pub fn tls(mut self, tls: &TlsConfig) -> Self {
        self.server = self.server.tls(tls);
        self
    }

    /// The number of runtimes. Default: one for each core.
    #[must_use]
    pub fn shards(mut self, shards: Shards) -> Self {
        self.server = self.server.shards(shards);
        self
    }

    /// Sets the options of each runtime, for accepted and for outgoing connections. Starting refuses
    /// a `driver` other than `Auto` and `TokioUring`, and a fixed `busy_poll`, which the runtime
    /// decides; `ring_entries` has no effect.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.server = self.server.config(config);
        self
    }

    /// Sets the limits of each runtime, for accepted and for outgoing connections.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.server = self.server.limits(limits);
        self
    }

    /// Answers requests. `answer` runs in the task of the connection: a panic ends only that one.
    /// Without it, each valid request is accepted.
    #[must_use]
    pub fn answer(mut self, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        self.answer = Some(Arc::new(answer));
        self
    }

    /// Starts the runtimes. `task` makes the task of each connection.
    ///
    /// # Errors
    /// [`StartError`]; no runtime runs then.
    pub fn start<F, T>(self, task: F) -> Result<Running, StartError>
    where
        F: Fn(WebSocket) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + 'static,
    {
        ringway_io::tokio_uring::probe()?;
        let (answer, asks) = (self.answer.clone(), self.answer.is_some());
        let make: MakeTask = Arc::new(move |socket| Box::pin(task(socket)));
        let handler = move |_| Streams::of_server(asks);
        let run = move |start| run_shard(start, &make, answer.as_ref());
        Ok(Running(self.server.start_local(handler, run)?))
    }

    /// Starts the runtimes, and waits until SIGINT or SIGTERM has stopped them.
    ///
    /// # Errors
    /// [`ServeError`] if the server cannot start, or if a runtime fails.
    pub fn run<F, T>(self, task: F) -> Result<(), ServeError>
    where
        F: Fn(WebSocket) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + 'static,
    {
        let running = self.start(task)?;
        running.stop_on_signals()?;
        running.wait()?;
        Ok(())
    }
}

impl From<ringway::Server> for Server {
    /// A server on the sockets of another one: several addresses, inherited sockets.
    fn from(server: ringway::Server) -> Self {
        Self { server, answer: None }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("server", &self.server).finish_non_exhaustive()
    }
}

/// A running server.
#[derive(Debug)]
pub struct Running(ringway::Running<Streams>);

impl Running {
    /// The addresses, with the ports that the system has chosen.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        self.0.addresses()
    }

    /// Stops the server, as [`Stopper::stop`] does. Does not block.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Stops the server from any thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { shards: self.0.handles().into(), readiness: self.0.readiness() }
    }

    /// Stops the server at SIGINT or SIGTERM. Starts a thread, once for the process.
    ///
    /// # Errors
    /// [`RunError::Signals`] if the handlers of the signals could not be installed.
    pub fn stop_on_signals(&self) -> Result<(), RunError> {
        self.0.stop_on_signals()
    }

    /// Whether new connections are wanted, for health checks.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.0.readiness()
    }

    /// The numbers of all runtimes.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.0.metrics()
    }

    /// Waits for the end of all runtimes: after [`Running::stop`], or when one fails.
    ///
    /// # Errors
    /// [`RunError`] if a runtime has failed or panicked.
    pub fn wait(self) -> Result<Vec<ShardReport>, RunError> {
        self.0.wait()
    }
}

/// Stops a [`Server`] from any thread. Clones stop the same one.
#[derive(Clone, Debug)]
pub struct Stopper {
    shards: Arc<[ShardHandle<Streams>]>,
    readiness: Readiness,
}

impl Stopper {
    /// Stops the server gracefully: ends accepting, and closes the connections with 1001, outgoing
    /// ones too. What has not ended within [`Config::stop_timeout`](ringway::Config::stop_timeout) is
    /// dropped. Each task sees the end of its connection, and has 5 s more to end itself. Does not
    /// block, and has no effect on a server that stops already.
    pub fn stop(&self) {
        self.shards.iter().for_each(ShardHandle::stop);
    }

    /// Whether the server has begun to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        !self.readiness.is_ready()
    }
}

/// Runs one runtime to its end, on the calling thread.
fn run_shard(start: LocalStart<Streams>, make: &MakeTask, answer: Option<&AnswerShared>) -> io::Result<LocalReport> {
    let spare = ringway_io::tokio_uring::check_descriptors().map_err(StartError::from);
    let runtime = spare.and_then(|()| tokio_uring::Runtime::new(&tokio_uring::builder()).map_err(StartError::Thread));
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            start.fail(error);
            return Ok(LocalReport::default());
        }
    };
    runtime.block_on(async {
        let Some(local) = start.open_within() else { return Ok(LocalReport::default()) };
        let tasks = Rc::new(Tasks::default());
        let serve = spawner(Rc::clone(&tasks), Arc::clone(make), answer.cloned());
        let shard = RuntimeShard::install(tokio::runtime::Handle::current().id(), local, Some(serve));
        let pump = Rc::clone(&shard).guarded();
        // In a task, as all that it drives.
        let ended = tokio_uring::spawn(async move { pump.run().await }).await;
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
        tasks.wait().await;
        match shard.end() {
            Some(crate::Error::Driver(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            _ => Ok(shard.report()),
        }
    })
}

/// Makes the tasks of accepted connections.
fn spawner(tasks: Rc<Tasks>, make: MakeTask, answer: Option<AnswerShared>) -> Serve {
    Rc::new(move |shard: Rc<RuntimeShard>, connection: Rc<Connection>| {
        let (make, answer) = (Arc::clone(&make), answer.clone());
        let running = tasks.begin();
        let socket = WebSocket::new(shard, connection);
        tokio_uring::spawn(async move {
            let _running = running;
            let answer = answer.map(|answer| move |request: &Request| answer(request));
            match socket.opened(answer.as_ref().map(|answer| answer as &Answerer)).await {
                Ok(()) => make(socket).await,
                Err(error) => tracing::debug!("a connection did not open: {error}"),
            }
        });
    })
}

/// The number of tasks of a runtime.
#[derive(Default)]
struct Tasks {
    count: Cell<usize>,
    waiter: RefCell<Option<Waker>>,
}

/// A task that runs.
struct RunningTask(Rc<Tasks>);

impl Tasks {
    fn begin(self: &Rc<Self>) -> RunningTask {
        self.count.set(self.count.get() + 1);
        RunningTask(Rc::clone(self))
    }

    /// Waits until all have ended, but not for ever.
    async fn wait(&self) {
        let all = poll_fn(|cx| {
            if self.count.get() == 0 {
                return Poll::Ready(());
            }
            *self.waiter.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        });
        if tokio::time::timeout(TASKS_END, all).await.is_err() {
            tracing::warn!(
                tasks = self.count.get(),
                "stopping: not all tasks ended within {TASKS_END:?} of their connections; the others are dropped"
            );
        }
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let tasks = &self.0;
        tasks.count.set(tasks.count.get() - 1);
        if tasks.count.get() == 0
            && let Some(waiter) = tasks.waiter.take()
        {
            waiter.wake();
        }
    }
}
