//! A table that grows by pages. Entries never move, and at most one page is unused. A `Vec` that
//! grows by doubling copies its entries and leaves the old memory fragmented.

use std::ops::{Index, IndexMut};

/// Entries per page: 4 KiB for entries of 16 bytes.
const PAGE: usize = 256;

/// Entries by index. Growing costs O(1) per entry. The table never shrinks.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Box<[T; PAGE]>>,
    len: usize,
}

impl<T> Pages<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }

    /// Grows the table to `len` entries, made by `empty`, if it has fewer.
    pub(crate) fn grow(&mut self, len: usize, empty: impl Fn() -> T) {
        while self.pages.len() * PAGE < len {
            self.pages.push(Box::new(std::array::from_fn(|_| empty())));
        }
        self.len = self.len.max(len);
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        (index < self.len).then(|| &self[index])
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        (index < self.len).then(|| &mut self[index])
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flat_map(|page| page.iter_mut()).take(self.len)
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        debug_assert!(index < self.len, "entry {index} of {}", self.len);
        &self.pages[index / PAGE][index % PAGE]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        debug_assert!(index < self.len, "entry {index} of {}", self.len);
        &mut self.pages[index / PAGE][index % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_values_and_places_while_the_table_grows() {
        let mut pages = Pages::new();
        for n in 0..1000 {
            pages.grow(n + 1, || 7);
            pages[n] = n;
        }
        let first: *const usize = &pages[0];
        pages.grow(10_000, || 7);
        assert_eq!(first, &raw const pages[0]);
        assert_eq!((pages.len(), pages[999], pages[1000], pages[9999]), (10_000, 999, 7, 7));
        assert_eq!((pages.get(9999), pages.get(10_000)), (Some(&7), None));
        assert_eq!(pages.get_mut(10_000), None);
        pages.grow(5, || 0);
        assert_eq!(pages.len(), 10_000, "it never shrinks");
        assert_eq!(pages.iter_mut().count(), 10_000);
    }
}
