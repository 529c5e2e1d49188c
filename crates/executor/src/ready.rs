//! The ready queue of one executor: which tasks to poll next, one list a band.
//!
//! The lists run through the entries of the task table, so queueing a task needs no memory and no search.
//!
//! Invariants: a list begins with its head and goes on with the `next` of each of its tasks, up to [`END`]; each of these links but
//! END names an entry of this executor's table. The list's tail points to the one of these links that is END. The list's bit in `ready` is set
//! exactly while its head is not END. Neither the entries nor, since [`Core::settle_down`], the lists move. The unsafe code below rests on that.
//! A task is linked exactly while its `next` is not null.
//!
//! Neighbours: `table` has the entries and polls what is popped here; `waker` and `foreign` bring in wakes.

use crate::table::{Core, Task};
use baton_inbox::Band;
use core::cell::Cell;

/// What leads from the head of a list, or from one task, to the next.
pub(crate) type Link = Cell<*const Task>;

/// The last link of a list.
pub(crate) const END: *const Task = core::ptr::without_provenance(1);

/// The ready tasks of one band.
pub(crate) struct List {
    head: Link,
    /// Where the next task is linked.
    tail: Cell<*const Link>,
    /// The band's bit.
    bit: u32,
}

impl List {
    /// An empty list, of no use before [`Core::settle_down`].
    pub(crate) fn new(band: Band) -> Self {
        List {
            head: Cell::new(END),
            tail: Cell::new(core::ptr::null()),
            bit: band.bit(),
        }
    }
}

impl Core {
    /// Makes the lists usable. From here on the executor must stay where it is.
    pub(crate) fn settle_down(&self) {
        for list in &self.lists {
            list.tail.set(&list.head);
        }
        for task in &self.tasks {
            task.list.set(&self.lists[task.band.get().index()]);
        }
    }

    /// Puts a task into the ready queue of its band, unless it is there. Own thread only.
    #[inline]
    pub(crate) fn wake(&self, index: u16) {
        if let Some(task) = self.tasks.get(usize::from(index)) {
            self.enqueue(task);
        }
    }

    /// Puts a task of this table into its queue, unless it is there.
    #[inline(always)]
    pub(crate) fn enqueue(&self, task: &Task) {
        if task.is_queued() {
            return;
        }
        task.next.set(END);
        // SAFETY: one of this executor's lists since `settle_down`, before which nothing is woken; they do not move.
        let list = unsafe { &*task.list.get() };
        // SAFETY: the tail points to a head or to the `next` of a task of this table: neither moves.
        unsafe { &*list.tail.get() }.set(task);
        list.tail.set(&task.next);
        self.ready.set(self.ready.get() | list.bit);
    }

    /// Queues what other threads have woken.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_foreign(&self) {
        self.foreign.take(|index| self.wake(index));
    }

    /// The bands that have ready tasks, one bit each.
    #[inline]
    pub(crate) fn ready_bands(&self) -> u32 {
        self.ready.get()
    }

    /// Whether a task of a band that runs before `band` is ready.
    #[cold]
    pub(crate) fn must_yield_to_higher(&self, band: Band) -> bool {
        self.ready.get() & (band.bit() - 1) != 0
    }

    /// Takes the next ready task of a list.
    #[inline(always)]
    pub(crate) fn pop(&self, list: &List) -> Option<&Task> {
        let first = list.head.get();
        if first == END {
            return None;
        }
        // SAFETY: a head that is not END names a task of this table.
        let task = unsafe { &*first };
        let next = task.next.replace(core::ptr::null());
        list.head.set(next);
        if next == END {
            self.is_last(list, &list.head);
        }
        Some(task)
    }

    /// `list` ends at `link`.
    #[inline(always)]
    fn is_last(&self, list: &List, link: &Link) {
        list.tail.set(link);
        if core::ptr::eq(link, &list.head) {
            self.ready.set(self.ready.get() & !list.bit);
        }
    }

    /// Takes an entry out of the queue that it is linked into.
    #[cold]
    pub(crate) fn unlink(&self, task: &Task) {
        let list = &self.lists[task.band.get().index()];
        let mut link = &list.head;
        while link.get() != END {
            // SAFETY: a link of a list that is not END names a task of this table.
            let at = unsafe { &*link.get() };
            if core::ptr::eq(at, task) {
                let next = task.next.replace(core::ptr::null());
                link.set(next);
                if next == END {
                    self.is_last(list, link);
                }
                return;
            }
            link = &at.next;
        }
    }
}
