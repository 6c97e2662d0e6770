//! The sessions of one shard, found by slot.

use crate::session::Session;
use ringway_io::Slot;

/// Sessions per page. Pages keep a growing table from being copied, and from holding twice the memory it needs.
const PAGE: usize = 256;

/// Sessions by the index of their slot.
pub(crate) struct Table<S> {
    pages: Vec<Box<[Option<Session<S>>]>>,
    live: usize,
}

impl<S> Table<S> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), live: 0 }
    }

    pub(crate) fn insert(&mut self, slot: Slot, session: Session<S>) {
        let (page, place) = position(slot.index());
        while self.pages.len() <= page {
            self.pages.push((0..PAGE).map(|_| None).collect());
        }
        let previous = self.pages[page][place].replace(session);
        debug_assert!(previous.is_none(), "slot {slot:?} is used twice");
        self.live += 1;
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Session<S>> {
        let (page, place) = position(slot.index());
        self.pages.get(page)?[place].as_ref().filter(|session| session.slot == slot)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Session<S>> {
        let (page, place) = position(slot.index());
        self.pages.get_mut(page)?[place].as_mut().filter(|session| session.slot == slot)
    }

    /// The slot whose session lies at `index`.
    pub(crate) fn slot_at(&self, index: u32) -> Option<Slot> {
        let (page, place) = position(index);
        self.pages.get(page)?[place].as_ref().map(|session| session.slot)
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Session<S>> {
        self.get(slot)?;
        let (page, place) = position(slot.index());
        self.live -= 1;
        self.pages[page][place].take()
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.pages.iter().flat_map(|page| page.iter().flatten()).map(|session| session.slot)
    }
}

const fn position(index: u32) -> (usize, usize) {
    (index as usize / PAGE, index as usize % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_codec::Role;

    #[test]
    fn a_former_user_of_an_index_is_not_found() {
        let mut table = Table::new();
        let (old, new) = (Slot::new(300, 1), Slot::new(300, 2));
        table.insert(old, Session::<()>::new(old, Role::Server));
        assert!(table.get(old).is_some() && table.get(new).is_none());
        assert!(table.remove(new).is_none());
        assert!(table.remove(old).is_some());
        table.insert(new, Session::new(new, Role::Server));
        assert!(table.get_mut(old).is_none());
        assert_eq!((table.len(), table.slot_at(300), table.slots().count()), (1, Some(new), 1));
    }

    #[test]
    fn an_idle_session_costs_eighty_bytes() {
        // With 20 bytes in the driver and 16 in the timer wheel: below 128.
        assert!(size_of::<Option<Session<()>>>() <= 80, "{}", size_of::<Option<Session<()>>>());
    }
}
