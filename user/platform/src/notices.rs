//! The notice page: what the broker has to tell, read by this process and written by the broker only.

use crate::memory::read_only;
use crate::protocol::{Entry, NOTICE_WORDS, NOTICES, TRANSPORT, entry, space, state};
use baton_inbox::layout::MAX_CONNECTIONS;
use baton_shm::{ReadRegion, ReadWord};
use baton_sync::Ordering;
use core::cell::{Cell, RefCell};
use core::task::Waker;

/// The notice page of this process, and how much of it was seen.
pub(crate) struct Notices {
    page: ReadRegion,
    count: ReadWord,
    seen: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// A connection as the notice page has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub(crate) generation: u64,
    pub(crate) stands: bool,
    pub(crate) entry: Entry,
}

impl Notices {
    pub(crate) fn new() -> Self {
        let page = read_only(space::NOTICES, NOTICE_WORDS, None);
        let count = word(&page, NOTICES);
        Notices {
            page,
            count,
            seen: Cell::new(0),
            waker: RefCell::new(None),
        }
    }

    /// The transport that the process was started for, as a number.
    pub(crate) fn transport(&self) -> u64 {
        // Relaxed: written before the process began.
        word(&self.page, TRANSPORT).load(Ordering::Relaxed)
    }

    /// Wakes who waits if there are new notices.
    pub(crate) fn look(&self) {
        // Acquire: pairs with the broker's system call after its stores; what it counted is in the page.
        if self.count.load(Ordering::Acquire) == self.seen.get() {
            return;
        }
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Says whether there are new notices, which then count as seen, and has `waker` woken by the next.
    pub(crate) fn take_new(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let old = self.waker.borrow_mut().replace(waker);
        drop(old);
        // Acquire: as in `look`.
        let count = self.count.load(Ordering::Acquire);
        self.seen.replace(count) != count
    }

    /// Connection `index` (below the most that there can be), if it is not free.
    pub(crate) fn connection(&self, index: usize) -> Option<Noticed> {
        let index = index % MAX_CONNECTIONS;
        let at = |offset| word(&self.page, entry(index) + offset).load(Ordering::Acquire);
        let before = at(0);
        let (generation, state) = (before >> 8, before & 0xff);
        if state == state::FREE {
            return None;
        }
        let entry = Entry::from_words([at(1), at(2), at(3), at(4)]);
        Some(Noticed {
            generation,
            stands: state == state::STANDS,
            entry,
        })
    }

    /// The state word of connection `index`.
    pub(crate) fn state_word(&self, index: usize) -> ReadWord {
        word(&self.page, entry(index % MAX_CONNECTIONS))
    }
}

fn word(page: &ReadRegion, offset: usize) -> ReadWord {
    match page.word(offset) {
        Ok(word) => word,
        Err(error) => unreachable!("offsets of the protocol are below its length: {error}"),
    }
}
