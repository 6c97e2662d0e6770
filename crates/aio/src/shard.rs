//! The shard of the engine that runs in a runtime: one for each runtime, with one task that runs its
//! turns.

use crate::connection::Connection;
use crate::error::Error;
use crate::room_queue::RoomQueue;
use crate::streams::{Effects, Streams};
use crate::woken::WokenList;
use ringway::{Config, Limits, LocalReport, LocalShard, Shard};
use ringway_io::tokio_uring::{Ready, TokioUring};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{fmt, thread};
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep};

type Local = LocalShard<TokioUring, Streams>;

thread_local! {
    /// The shards of the runtimes of this thread. One ends with its runtime.
    static SHARDS: RefCell<Vec<Rc<RuntimeShard>>> = const { RefCell::new(Vec::new()) };
}

/// Makes the task of a connection that a server has accepted.
pub(crate) type Serve = Rc<dyn Fn(Rc<RuntimeShard>, Rc<Connection>)>;

/// The shard of one runtime.
pub(crate) struct RuntimeShard {
    runtime: Id,
    /// `None` after its end.
    local: RefCell<Option<Local>>,
    /// What it has counted, after its end.
    report: Cell<LocalReport>,
    /// Why it has ended.
    end: RefCell<Option<Error>>,
    /// Whether a turn is to be run at once.
    is_requested: Cell<bool>,
    /// The task that runs turns, while it waits.
    pump: RefCell<Option<Waker>>,
    /// The bytes of messages that were taken since the last turn.
    taken: Cell<usize>,
    /// Connections whose last handle was dropped while the shard was in use.
    dropped: RefCell<Vec<Rc<Connection>>>,
    /// Tasks that wait until the shard may accept a connection.
    room: RoomQueue,
    /// The listeners, which the end of the shard wakes.
    listeners: RefCell<Vec<Weak<WokenList>>>,
    serve: Option<Serve>,
}

/// Sets the options of the shard of this runtime: those of all connections that are opened in it.
/// Call it in a task of tokio-uring, before the first connection, and before the first
/// [`Listener::accept`](crate::Listener::accept). Without it, the defaults apply.
/// [`Server`](crate::Server) has its own options, and sets them for its runtimes.
///
/// Of [`Config`], these options have no effect, because the runtime is the caller's: `cores`,
/// `timer_slack`, `ring_entries`; those that contradict it are refused: `driver` and `busy_poll`.
///
/// ```
/// use ringway_aio::{Config, Deflate, Limits};
///
/// tokio_uring::start(async {
///     let config = Config::default().deflate(Some(Deflate::shared()));
///     ringway_aio::configure(config, Limits::default().max_message(1 << 20)?)?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Configured`] after the first connection, [`Error::Start`] for an option out of range,
/// [`Error::NoRuntime`] outside of a runtime.
///
/// # Panics
/// In a runtime of tokio that is not one of tokio-uring.
pub fn configure(config: Config, limits: Limits) -> Result<(), Error> {
    let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?.id();
    if RuntimeShard::find(runtime).is_some() {
        return Err(Error::Configured);
    }
    RuntimeShard::start(runtime, config, limits).map(drop)
}

impl RuntimeShard {
    /// The shard of the current runtime, which is started by the first call.
    pub(crate) fn current() -> Result<Rc<Self>, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?.id();
        match Self::find(runtime) {
            Some(shard) => match shard.end() {
                Some(error) => Err(error),
                None => Ok(shard),
            },
            None => Self::start(runtime, Config::default(), Limits::default()),
        }
    }

    fn find(runtime: Id) -> Option<Rc<Self>> {
        SHARDS.with_borrow(|shards| shards.iter().find(|shard| shard.runtime == runtime).cloned())
    }

    fn start(runtime: Id, config: Config, limits: Limits) -> Result<Rc<Self>, Error> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let local = LocalShard::within(Streams::default(), config, limits, cores)?;
        let shard = Self::install(runtime, local, None);
        let pump = Rc::clone(&shard).guarded();
        tokio_uring::spawn(async move { pump.run().await });
        Ok(shard)
    }

    /// Makes a shard that of this runtime. Its turns are run by [`Pump::run`].
    pub(crate) fn install(runtime: Id, local: Local, serve: Option<Serve>) -> Rc<Self> {
        let shard = Rc::new(Self {
            runtime,
            local: RefCell::new(Some(local)),
            report: Cell::default(),
            end: RefCell::default(),
            // `start` of the handler, and listeners.
            is_requested: Cell::new(true),
            pump: RefCell::default(),
            taken: Cell::new(0),
            dropped: RefCell::default(),
            room: RoomQueue::default(),
            listeners: RefCell::default(),
            serve,
        });
        SHARDS.with_borrow_mut(|shards| shards.push(Rc::clone(&shard)));
        shard
    }

    pub(crate) fn guarded(self: Rc<Self>) -> Pump {
        Pump(self)
    }

    /// Lends the streams and the shard to `call`; `None` after the end of the shard, and within a
    /// call of it.
    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut Streams, &mut Shard<'_, Streams>) -> R) -> Option<R> {
        let mut local = self.local.try_borrow_mut().ok()?;
        Some(local.as_mut()?.with(call))
    }

    /// Calls `call` with the shard itself.
    pub(crate) fn with_local<R>(&self, call: impl FnOnce(&mut Local) -> R) -> Option<R> {
        let mut local = self.local.try_borrow_mut().ok()?;
        Some(call(local.as_mut()?))
    }

    /// Requests a turn.
    pub(crate) fn request_turn(&self) {
        if !self.is_requested.replace(true) {
            let pump = self.pump.borrow_mut().take();
            if let Some(pump) = pump {
                pump.wake();
            }
        }
    }

    /// Whether the limit of connections is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.with_local(|local| local.is_full()).unwrap_or(false)
    }

    /// Whether neither a limit nor the accept rate keeps the shard from accepting a connection. True
    /// after the end of the shard.
    pub(crate) fn may_accept(&self) -> bool {
        self.with_local(|local| local.may_accept()).unwrap_or(true)
    }

    pub(crate) fn room(&self) -> &RoomQueue {
        &self.room
    }

    /// Wakes the task of a listener at the end of the shard.
    pub(crate) fn watch_end(&self, listener: &Arc<WokenList>) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(listener));
    }

    /// Counts bytes of messages that were taken. The next turn discharges them.
    pub(crate) fn took(&self, bytes: usize) {
        self.taken.set(self.taken.get() + bytes);
    }

    /// Ends a connection without handles: one that is open is dropped, or closed with 1011 while a
    /// panic unwinds; one that is not is aborted; one that is closing goes on.
    pub(crate) fn abandon(&self, connection: &Rc<Connection>) {
        if self.local.try_borrow_mut().is_err() {
            return self.dropped.borrow_mut().push(Rc::clone(connection));
        }
        if connection.outcome().is_some() {
            // It has ended, or its request was rejected and the response is on its way.
            return;
        }
        let is_open = connection.is_open();
        self.with(|streams, shard| {
            let Some(id) = connection.id() else { return };
            if !is_open {
                streams.forget(id);
                return shard.abort(id);
            }
            if let Some(mut open) = shard.connection(id)
                && open.is_open()
            {
                if thread::panicking() {
                    // 1011 may be sent.
                    let _ = open.close(ringway::CloseCode::INTERNAL, "internal error");
                } else {
                    open.terminate();
                }
            }
        });
        self.request_turn();
    }

    /// Why the shard has ended; `None` before.
    pub(crate) fn end(&self) -> Option<Error> {
        self.end.borrow().clone()
    }

    pub(crate) fn report(&self) -> LocalReport {
        self.report.get()
    }

    /// Runs one turn. Returns whether the shard continues.
    fn turn(self: &Rc<Self>) -> bool {
        for connection in self.dropped.take() {
            self.abandon(&connection);
        }
        self.is_requested.set(false);
        let taken = self.taken.take();
        let turned = self.with_local(|local| {
            if taken > 0 {
                local.with(|_, shard| shard.discharge(taken));
            }
            let result = local.turn();
            // The messages of this turn have released their buffers.
            if local.driver().can_feed() {
                self.is_requested.set(true);
            }
            let has_room = !self.room.is_empty() && local.may_accept();
            (result, std::mem::take(&mut local.handler_mut().effects), has_room)
        });
        // Not within another call: this is the only task that runs turns.
        let Some((result, effects, has_room)) = turned else { return false };
        self.apply(effects);
        if has_room {
            self.room.wake();
        }
        match result {
            Ok(true) => return true,
            Ok(false) => self.finish(Error::Stopped),
            Err(error) => self.finish(Error::Driver(Arc::new(error))),
        }
        false
    }

    fn apply(self: &Rc<Self>, effects: Effects) {
        let Effects { wakers, released, served } = effects;
        drop(released);
        if let Some(serve) = &self.serve {
            served.into_iter().for_each(|connection| serve(Rc::clone(self), connection));
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends the shard: all connections end with this error.
    fn finish(self: &Rc<Self>, error: Error) {
        let local = match self.local.try_borrow_mut() {
            Ok(mut local) => local.take(),
            // A turn is being unwound by a panic. What it holds is dropped with it.
            Err(_) => None,
        };
        self.end.borrow_mut().get_or_insert_with(|| error.clone());
        if let Some(mut local) = local {
            local.handler_mut().ending = Some(error);
            local.end_all();
            let effects = std::mem::take(&mut local.handler_mut().effects);
            self.report.set(local.report());
            drop(local);
            // No task is made any more.
            let Effects { wakers, released, served } = effects;
            drop((released, served));
            wakers.into_iter().for_each(Waker::wake);
        }
        self.dropped.take();
        self.room.wake();
        for listener in self.listeners.take().iter().filter_map(Weak::upgrade) {
            listener.wake_task();
        }
    }
}

impl fmt::Debug for RuntimeShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeShard").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

/// Runs the turns of a shard. Dropped with its runtime, and ends the shard then.
pub(crate) struct Pump(Rc<RuntimeShard>);

impl Pump {
    /// Runs turns until the shard has ended.
    pub(crate) async fn run(&self) {
        let shard = &self.0;
        let Some(ready) = shard.with_local(|local| local.driver().ready()) else { return };
        let mut timer = Timer::default();
        while shard.turn() {
            let due = shard.with_local(|local| local.next_work()).flatten();
            self.wait(&ready, due, &mut timer).await;
        }
    }

    /// Waits until a turn is requested, the driver is ready, or the time has passed. Lets other tasks
    /// run in any case.
    async fn wait(&self, ready: &Ready, due: Option<Duration>, timer: &mut Timer) {
        let shard = &self.0;
        let mut ready = pin!(ready.ready());
        let mut is_ready = due.is_some_and(|due| due.is_zero());
        let mut has_yielded = false;
        timer.set(due.filter(|due| !due.is_zero()));
        poll_fn(|cx| {
            // What has completed is not polled again.
            is_ready =
                is_ready || shard.is_requested.get() || ready.as_mut().poll(cx).is_ready() || timer.poll(cx).is_ready();
            if is_ready && has_yielded {
                return Poll::Ready(());
            }
            has_yielded = true;
            if is_ready {
                // Tasks that send in this round of the runtime share the next turn.
                cx.waker().wake_by_ref();
            } else {
                *shard.pump.borrow_mut() = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.finish(Error::RuntimeEnded);
        // The thread may be ending.
        let _ = SHARDS.try_with(|shards| {
            if let Ok(mut shards) = shards.try_borrow_mut() {
                shards.retain(|shard| !Rc::ptr_eq(shard, &self.0));
            }
        });
    }
}

/// The timer of the task that runs turns. It is not set again as long as it would be early: it then
/// costs a turn.
#[derive(Default)]
struct Timer {
    sleep: Option<std::pin::Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Timer {
    fn set(&mut self, after: Option<Duration>) {
        self.is_set = after.is_some();
        let Some(after) = after else { return };
        let at = Instant::now() + after;
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() <= at && !sleep.is_elapsed() => {}
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) if self.is_set => sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
