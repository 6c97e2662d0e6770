//! Measuring side by side: who takes part, with what, and how turns are taken.

mod payloads;
mod rounds;

pub use payloads::{MEMCPY, appending, copying, in_place, key, memcpy};
pub use rounds::{Figure, Rounds};

/// One of those that do the same thing.
pub struct Contestant {
    /// Who, or which way.
    pub name: &'static str,
    turn: Box<dyn FnMut()>,
}

impl Contestant {
    /// A contestant whose turn is one call of `turn`.
    pub fn new(name: &'static str, turn: impl FnMut() + 'static) -> Self {
        Self { name, turn: Box::new(turn) }
    }

    /// Does it once.
    #[inline]
    pub fn turn(&mut self) {
        (self.turn)();
    }
}
