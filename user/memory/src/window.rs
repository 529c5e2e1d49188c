//! Addresses of a client that are the server's to give.

use alloc::collections::BTreeMap;

/// Where in a window a region is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// From this page of the window on.
    From(u64),
    /// It would reach beyond the window's end.
    Outside,
    /// Something is there.
    Occupied,
    /// Nowhere is so much room.
    NoRoom,
}

/// The addresses of one client that are the server's to give, in pages from their beginning.
#[derive(Debug)]
pub(crate) struct Window {
    pages: u64,
    /// First page and number of pages of each range that is taken.
    taken: BTreeMap<u64, u64>,
}

impl Window {
    pub(crate) fn new(pages: u64) -> Self {
        Window {
            pages,
            taken: BTreeMap::new(),
        }
    }

    /// Takes `pages` pages (not 0) from page `first` on, or where there is room first.
    pub(crate) fn take(&mut self, first: Option<u64>, pages: u64) -> Taken {
        let found = match first {
            Some(first) => match first.checked_add(pages) {
                Some(end) if end <= self.pages => {
                    let before = self.taken.range(..end).next_back();
                    if before.is_some_and(|(start, pages)| start + pages > first) {
                        return Taken::Occupied;
                    }
                    first
                }
                _ => return Taken::Outside,
            },
            None => match self.first_fit(pages) {
                Some(first) => first,
                None => return Taken::NoRoom,
            },
        };
        self.taken.insert(found, pages);
        Taken::From(found)
    }

    fn first_fit(&self, pages: u64) -> Option<u64> {
        let mut free_from = 0;
        for (&start, &taken) in &self.taken {
            if start - free_from >= pages {
                return Some(free_from);
            }
            free_from = start + taken;
        }
        (self.pages - free_from >= pages).then_some(free_from)
    }

    /// Gives back what was taken from page `first` on.
    pub(crate) fn give(&mut self, first: u64) {
        self.taken.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_gaps_are_used_again() {
        let mut window = Window::new(10);
        assert_eq!(window.take(None, 4), Taken::From(0));
        assert_eq!(window.take(Some(6), 2), Taken::From(6));
        assert_eq!(window.take(None, 3), Taken::NoRoom);
        assert_eq!(window.take(None, 2), Taken::From(4));
        for (first, pages) in [(3, 1), (5, 3), (7, 1), (0, 10)] {
            assert_eq!(window.take(Some(first), pages), Taken::Occupied);
        }
        assert_eq!(window.take(Some(8), 3), Taken::Outside);
        assert_eq!(window.take(Some(u64::MAX), 1), Taken::Outside);
        window.give(0);
        assert_eq!(window.take(Some(0), 4), Taken::From(0));
        assert_eq!(window.take(None, 2), Taken::From(8));
    }
}
