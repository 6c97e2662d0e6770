//! Side-by-side measurements: the candidates, their payloads, and the rounds.

mod payloads;
mod rounds;

pub use payloads::{MEMCPY, appending, copying, in_place, key, memcpy};
pub use rounds::{Figure, Rounds};

/// One of several implementations of the same task.
pub struct Candidate {
    /// The name of the library or variant.
    pub name: &'static str,
    /// The size of reads in bytes, if it was determined by measuring.
    pub read: Option<usize>,
    turn: Box<dyn FnMut()>,
}

impl Candidate {
    /// A candidate whose turn is one call of `turn`.
    pub fn new(name: &'static str, turn: impl FnMut() + 'static) -> Self {
        Self { name, read: None, turn: Box::new(turn) }
    }

    /// Sets the size of reads in bytes.
    #[must_use]
    pub fn reading(self, read: usize) -> Self {
        Self { read: Some(read), ..self }
    }

    /// Performs one turn.
    #[inline]
    pub fn turn(&mut self) {
        (self.turn)();
    }
}
