//! Measuring side by side: who takes part, with what, and how turns are taken.

mod payloads;
mod rounds;

pub use payloads::{MEMCPY, appending, copying, in_place, key, memcpy};
pub use rounds::{Figure, Rounds};

/// One of those that do the same thing.
pub struct Candidate {
    /// Who, or which way.
    pub name: &'static str,
    /// How much is read at a time, in bytes, where that was found by trying.
    pub read: Option<usize>,
    turn: Box<dyn FnMut()>,
}

impl Candidate {
    /// A contestant whose turn is one call of `turn`.
    pub fn new(name: &'static str, turn: impl FnMut() + 'static) -> Self {
        Self { name, read: None, turn: Box::new(turn) }
    }

    /// The same, and says how much it reads at a time, in bytes.
    #[must_use]
    pub fn reading(self, read: usize) -> Self {
        Self { read: Some(read), ..self }
    }

    /// Does it once.
    #[inline]
    pub fn turn(&mut self) {
        (self.turn)();
    }
}
