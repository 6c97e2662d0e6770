//! The sessions of one shard, by slot.

use crate::session::Session;
use crate::session::link::Link;
use ringway_io::Slot;

/// The number of sessions per page. Growth by pages copies no sessions, and never allocates twice
/// the needed memory.
const PAGE: usize = 256;

type SessionEntry<S> = Option<Session<S>>;
type Page<S> = Box<[SessionEntry<S>]>;

/// Sessions by the index of their slot.
pub(crate) struct SessionTable<S> {
    pages: Vec<Page<S>>,
    live: usize,
}

impl<S> SessionTable<S> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), live: 0 }
    }

    pub(crate) fn insert(&mut self, session: Session<S>) {
        let slot = session.link.slot();
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
        self.pages.get(page)?[place].as_ref().filter(|session| session.link.slot() == slot)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Session<S>> {
        let (page, place) = position(slot.index());
        self.pages.get_mut(page)?[place].as_mut().filter(|session| session.link.slot() == slot)
    }

    /// One session, and separately all others: a handler that is called for one can use the others.
    #[inline]
    pub(crate) fn isolate(&mut self, slot: Slot) -> Option<(&mut Session<S>, Others<'_, S>)> {
        let (page, place) = position(slot.index());
        let (before, rest) = self.pages.split_at_mut_checked(page)?;
        let (page, after) = rest.split_first_mut()?;
        let (left, rest) = page.split_at_mut_checked(place)?;
        let (session, right) = rest.split_first_mut()?;
        let session = session.as_mut().filter(|session| session.link.slot() == slot)?;
        Some((session, Others { before, left, right, after, live: self.live }))
    }

    /// All sessions, for calls of the handler without a connection.
    pub(crate) fn all(&mut self) -> Others<'_, S> {
        Others { before: &mut self.pages, left: &mut [], right: &mut [], after: &mut [], live: self.live }
    }

    /// The session whose slot has this index.
    pub(crate) fn at(&self, index: u32) -> Option<&Session<S>> {
        let (page, place) = position(index);
        self.pages.get(page)?[place].as_ref()
    }

    /// The same, for changes.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut Session<S>> {
        let (page, place) = position(index);
        self.pages.get_mut(page)?[place].as_mut()
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session<S>> {
        self.pages.iter().flat_map(|page| page.iter().flatten())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session<S>> {
        self.pages.iter_mut().flat_map(|page| page.iter_mut().flatten())
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.iter().map(|session| session.link.slot())
    }
}

/// The sessions of a shard except for one, which is borrowed separately.
pub(crate) struct Others<'t, S> {
    before: &'t mut [Page<S>],
    /// The page of that session, without it: the parts on both sides.
    left: &'t mut [SessionEntry<S>],
    right: &'t mut [SessionEntry<S>],
    after: &'t mut [Page<S>],
    live: usize,
}

impl<S> Others<'_, S> {
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Link<S>> {
        let (page, place) = position(slot.index());
        let place = match page.checked_sub(self.before.len()) {
            None => self.before.get_mut(page)?.get_mut(place)?,
            Some(0) => match place.checked_sub(self.left.len()) {
                None => self.left.get_mut(place)?,
                Some(right) => self.right.get_mut(right.checked_sub(1)?)?,
            },
            Some(after) => self.after.get_mut(after - 1)?.get_mut(place)?,
        };
        place.as_mut().map(|session| &mut session.link).filter(|link| link.slot() == slot)
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Link<S>> {
        let (page, place) = position(slot.index());
        let place = match page.checked_sub(self.before.len()) {
            None => self.before.get(page)?.get(place)?,
            Some(0) => match place.checked_sub(self.left.len()) {
                None => self.left.get(place)?,
                Some(right) => self.right.get(right.checked_sub(1)?)?,
            },
            Some(after) => self.after.get(after - 1)?.get(place)?,
        };
        place.as_ref().map(|session| &session.link).filter(|link| link.slot() == slot)
    }

    /// The session with the lowest index of at least `from` that is `wanted`.
    pub(crate) fn next(&self, from: u32, wanted: impl Fn(&Link<S>) -> bool) -> Option<Slot> {
        let (first, mut place) = position(from);
        for page in first..=self.before.len() + self.after.len() {
            let (left, right) = self.page(page);
            // Between them is the session that is borrowed separately.
            let behind = place.saturating_sub(left.len() + 1).min(right.len());
            let places = left[place.min(left.len())..].iter().chain(&right[behind..]);
            if let Some(session) = places.flatten().find(|session| wanted(&session.link)) {
                return Some(session.link.slot());
            }
            place = 0;
        }
        None
    }

    /// A page, in two parts if one of its sessions is borrowed separately.
    fn page(&self, page: usize) -> (&[SessionEntry<S>], &[SessionEntry<S>]) {
        match page.checked_sub(self.before.len()) {
            None => (&self.before[page], &[]),
            Some(0) => (self.left, self.right),
            Some(after) => (&self.after[after - 1], &[]),
        }
    }

    /// The number of sessions in the table, including the one that is borrowed separately.
    pub(crate) fn live(&self) -> usize {
        self.live
    }
}

const fn position(index: u32) -> (usize, usize) {
    (index as usize / PAGE, index as usize % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Limits};
    use crate::shard::core::Core;
    use std::sync::Arc;
    use std::time::Instant;

    fn core() -> Core {
        Core::new(Arc::new(Config::default()), Limits::default(), Instant::now())
    }

    fn session(slot: Slot) -> Session<()> {
        Session::accepted(slot, &mut core())
    }

    #[test]
    fn a_former_session_of_an_index_is_not_found() {
        let mut table = SessionTable::new();
        let (old, new) = (Slot::new(300, 1), Slot::new(300, 2));
        table.insert(session(old));
        assert!(table.get(old).is_some() && table.get(new).is_none());
        assert!(table.isolate(new).is_none() && table.all().get_mut(new).is_none());
        assert!(table.remove(new).is_none());
        assert!(table.remove(old).is_some());
        table.insert(session(new));
        assert!(table.get_mut(old).is_none());
        assert_eq!((table.len(), table.at(300).map(|session| session.link.slot())), (1, Some(new)));
        assert_eq!(table.slots().collect::<Vec<_>>(), [new]);
    }

    /// All sessions that `next` finds, in order.
    fn walk(others: &Others<'_, ()>) -> Vec<Slot> {
        let mut slots = Vec::new();
        while let Some(slot) = others.next(slots.last().map_or(0, |last: &Slot| last.index() + 1), |_| true) {
            slots.push(slot);
        }
        slots
    }

    #[test]
    fn the_others_are_all_sessions_except_the_isolated_one() {
        let slots = [0, 1, 254, 255, 256, 257, 511, 512, 700, 1023].map(|index| Slot::new(index, index));
        let mut table = SessionTable::new();
        slots.iter().for_each(|&slot| table.insert(session(slot)));
        for one in slots {
            let (session, mut others) = table.isolate(one).expect("the session is in the table");
            assert_eq!((session.link.slot(), others.live()), (one, slots.len()));
            for slot in slots {
                let expected = (slot != one).then_some(slot);
                assert_eq!(others.get(slot).map(Link::slot), expected, "but {one:?}");
                assert_eq!(others.get_mut(slot).map(|link| link.slot()), expected, "but {one:?}");
            }
            let walked = walk(&others);
            let expected: Vec<Slot> = slots.into_iter().filter(|slot| *slot != one).collect();
            assert_eq!(walked, expected, "but {one:?}");
            assert!(others.get_mut(Slot::new(2, 2)).is_none() && others.get_mut(Slot::new(5000, 0)).is_none());
        }
        let mut all = table.all();
        assert_eq!(walk(&all), slots);
        assert_eq!(all.next(0, |link| link.slot().index() > 600), Some(slots[8]));
        assert!(slots.iter().all(|&slot| all.get_mut(slot).is_some()));
        assert!(all.get_mut(Slot::new(2, 2)).is_none() && all.get_mut(Slot::new(1024, 0)).is_none());
    }

    #[test]
    fn an_idle_session_costs_eighty_bytes() {
        // With 20 bytes in the driver and 16 in the timer wheel: below 128.
        assert!(size_of::<Option<Session<()>>>() <= 80, "{}", size_of::<Option<Session<()>>>());
    }
}
