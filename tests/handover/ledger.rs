//! What the handlers of several servers have received.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// How often each message has reached a handler.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<(Mutex<HashMap<String, u32>>, Condvar)>);

impl Ledger {
    /// Records a message that a handler has got.
    pub(crate) fn record(&self, message: String) {
        *self.counts().entry(message).or_default() += 1;
        self.0.1.notify_all();
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.0.lock().expect("no panic")
    }

    /// Waits until there are this many different messages.
    pub(crate) fn wait_for(&self, messages: usize) {
        drop(self.0.1.wait_while(self.counts(), |counts| counts.len() < messages).expect("no panic"));
    }
}
