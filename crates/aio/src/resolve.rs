//! Looking up host names on threads of their own, because the system's resolver blocks.
//!
//! The threads belong to no runtime, so that a slow name server delays neither a runtime nor its end.
//! There are at most [`MAX_THREADS`], and they end when they have nothing to do for a while.

use crate::error::Error;
use ringway::{ConnectError, Endpoint};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;
use std::{io, thread};

/// The maximum number of threads of the process.
const MAX_THREADS: usize = 8;

/// The maximum number of names that wait for a thread.
const MAX_QUEUED: usize = 4096;

/// How long a thread waits for another name.
const IDLE: Duration = Duration::from_secs(10);

static RESOLVER: Resolver =
    Resolver { state: Mutex::new(State { queue: VecDeque::new(), threads: 0, idle: 0 }), arrived: Condvar::new() };

struct Resolver {
    state: Mutex<State>,
    arrived: Condvar,
}

struct State {
    queue: VecDeque<Arc<Lookup>>,
    threads: usize,
    idle: usize,
}

/// One name. The future that waits for it has the other reference.
struct Lookup {
    url: String,
    progress: Mutex<Progress>,
}

enum Progress {
    Waiting(Option<Waker>),
    Done(Box<Result<Endpoint, ConnectError>>),
    Taken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one is locked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The endpoint of a URL. If the future is dropped before a thread has begun, nothing is looked up.
pub(crate) async fn resolve(url: &str) -> Result<Endpoint, Error> {
    let lookup = Arc::new(Lookup { url: url.to_owned(), progress: Mutex::new(Progress::Waiting(None)) });
    RESOLVER.submit(Arc::clone(&lookup))?;
    let result = poll_fn(|cx| {
        let mut progress = lock(&lookup.progress);
        match std::mem::replace(&mut *progress, Progress::Taken) {
            Progress::Done(result) => Poll::Ready(*result),
            Progress::Waiting(_) | Progress::Taken => {
                *progress = Progress::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    });
    Ok(result.await?)
}

impl Resolver {
    fn submit(&'static self, lookup: Arc<Lookup>) -> Result<(), Error> {
        let mut state = lock(&self.state);
        // Those whose futures were dropped.
        state.queue.retain(|queued| Arc::strong_count(queued) > 1);
        if state.queue.len() >= MAX_QUEUED {
            let text = format!("{MAX_QUEUED} host names wait for the resolver already");
            return Err(ConnectError::Name(lookup.url.clone(), io::Error::other(text)).into());
        }
        state.queue.push_back(lookup);
        if state.idle < state.queue.len() && state.threads < MAX_THREADS {
            let spawned = thread::Builder::new().name("ringway-resolve".into()).spawn(|| self.run());
            match spawned {
                Ok(_) => state.threads += 1,
                // The others take it over.
                Err(error) if state.threads > 0 => tracing::warn!("no further thread looks up names: {error}"),
                Err(error) => {
                    state.queue.clear();
                    return Err(Error::Socket(Arc::new(error)));
                }
            }
        }
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    fn run(&self) {
        while let Some(lookup) = self.next() {
            if Arc::strong_count(&lookup) == 1 {
                continue;
            }
            let result = Endpoint::resolve(&lookup.url);
            let former = std::mem::replace(&mut *lock(&lookup.progress), Progress::Done(Box::new(result)));
            if let Progress::Waiting(Some(waker)) = former {
                waker.wake();
            }
        }
    }

    /// The next name; `None` ends the thread.
    fn next(&self) -> Option<Arc<Lookup>> {
        let mut state = lock(&self.state);
        if let Some(lookup) = state.queue.pop_front() {
            return Some(lookup);
        }
        state.idle += 1;
        let waited = self.arrived.wait_timeout_while(state, IDLE, |state| state.queue.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        let lookup = state.queue.pop_front();
        if lookup.is_none() {
            state.threads -= 1;
        }
        lookup
    }
}
