//! Who is measured side by side, and how those that could wait are run.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// One of those that do the same thing.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) turn: Box<dyn FnMut()>,
}

impl Contestant {
    pub(crate) fn new(name: &'static str, turn: impl FnMut() + 'static) -> Self {
        Self { name, turn: Box::new(turn) }
    }
}

/// What a future that never waits gives: the whole executor.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a stream in memory makes nobody wait"),
    }
}
