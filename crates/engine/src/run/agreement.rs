//! All shards of a server or client have drivers of one kind: they share listeners, whose sockets
//! are blocking for one kind and non-blocking for another.
//!
//! The probe makes a small ring. A limit, as that of locked memory, may refuse the ring of a shard
//! although it did not refuse that one. With [`DriverChoice::Auto`](crate::DriverChoice::Auto), all
//! shards then use epoll. So each of them tells the others whether it has its ring, and waits for
//! their answers before it accepts a connection.

use ringway_io::uring::Unavailable;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The answers of the shards that start.
#[derive(Debug)]
pub(super) struct Agreement {
    answers: Mutex<Answers>,
    complete: Condvar,
}

#[derive(Debug)]
struct Answers {
    missing: usize,
    refused: bool,
}

impl Agreement {
    /// For `count` shards, each with a seat.
    pub(super) fn new(count: usize) -> (Arc<Self>, Vec<Seat>) {
        let answers = Mutex::new(Answers { missing: count, refused: false });
        let agreement = Arc::new(Self { answers, complete: Condvar::new() });
        let seats = (0..count).map(|_| Seat { agreement: Arc::clone(&agreement), has_answered: false }).collect();
        (agreement, seats)
    }

    /// Whether a shard was refused its ring, so that all use epoll.
    pub(super) fn is_refused(&self) -> bool {
        self.answers().refused
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, refusal: Option<&Unavailable>) {
        let mut answers = self.answers();
        answers.missing -= 1;
        if let Some(refusal) = refusal
            && !mem::replace(&mut answers.refused, true)
        {
            tracing::warn!("using epoll, because {refusal}");
        }
        drop(answers);
        self.complete.notify_all();
    }
}

/// The answer of one shard. A shard that ends without one has no objection.
#[derive(Debug)]
pub(super) struct Seat {
    agreement: Arc<Agreement>,
    has_answered: bool,
}

impl Seat {
    /// Answers, and waits for the others. Returns whether none was refused.
    pub(super) fn agree(&mut self, refusal: Option<&Unavailable>) -> bool {
        self.has_answered = true;
        self.agreement.answer(refusal);
        let answers = self.agreement.complete.wait_while(self.agreement.answers(), |answers| answers.missing > 0);
        !answers.unwrap_or_else(PoisonError::into_inner).refused
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.has_answered {
            self.agreement.answer(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_agree_when_each_has_answered_or_has_ended() {
        let (agreement, mut seats) = Agreement::new(3);
        let (ended, mut last) = (seats.pop(), seats.pop().expect("three seats"));
        let waiting: Vec<_> = seats.into_iter().map(|mut seat| std::thread::spawn(move || seat.agree(None))).collect();
        drop(ended);
        assert!(last.agree(None));
        for waiting in waiting {
            assert!(waiting.join().expect("no panic"));
        }
        assert!(!agreement.is_refused());
    }
}
