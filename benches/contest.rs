//! Who is measured side by side.

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
