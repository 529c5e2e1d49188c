//! The ready queue of one executor: which tasks to poll next, one list a band.
//!
//! The lists run through the entries of the task table, so queueing a task needs no memory and no search.
//!
//! Invariants: while a band's bit is set in `ready`, its head, its tail and the `next` of all its tasks but the last name
//! entries of this executor's table, which do not move; the unsafe code below rests on that. Without the bit they mean nothing.
//! A task is linked exactly while its QUEUED flag is set.
//!
//! Neighbours: `table` has the entries and polls what is popped here; `waker` and `foreign` bring in wakes.

use crate::table::{Core, QUEUED, Task};
use baton_inbox::Band;

impl Core {
    /// Puts a task into the ready queue of its band, unless it is there. Own thread only.
    #[inline]
    pub(crate) fn wake(&self, index: u16) {
        if let Some(task) = self.tasks.get(usize::from(index)) {
            self.enqueue(task);
        }
    }

    /// Wakes the task of a waker whose data word has this executor's key.
    ///
    /// # Safety
    ///
    /// The word is that of a waker that `waker` made.
    #[inline]
    pub(crate) unsafe fn wake_own(&self, waker_data: usize) {
        let index = usize::from(waker_data as u16);
        if usize::BITS < u64::BITS {
            // There a key may come again after some thousand executors, with fewer tasks.
            return self.wake(index as u16);
        }
        // SAFETY: no two executors ever have the same key, so the waker is this executor's, and `waker_data` made its word of the
        // index of one of `self.tasks`.
        self.enqueue(unsafe { self.tasks.get_unchecked(index) });
    }

    /// Puts a task of this table into its queue, unless it is there.
    #[inline(always)]
    fn enqueue(&self, task: &Task) {
        let this = core::ptr::from_ref(task);
        let flags = task.flags.get();
        if flags & QUEUED != 0 {
            return;
        }
        task.flags.set(flags | QUEUED);
        let band = task.band.get();
        let ready = self.ready.get();
        let tail = &self.tails[band.index()];
        if ready & band.bit() == 0 {
            self.ready.set(ready | band.bit());
            self.heads[band.index()].set(this);
        } else {
            // SAFETY: the band's bit is set, so its queue has a last task, which is one of `self.tasks`.
            unsafe { &*tail.get() }.next.set(this);
        }
        tail.set(this);
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

    /// Takes the next ready task of `band`.
    #[inline]
    pub(crate) fn pop(&self, band: Band) -> Option<&Task> {
        let ready = self.ready.get();
        if ready & band.bit() == 0 {
            return None;
        }
        let first = self.heads[band.index()].get();
        // SAFETY: the band's bit is set, so its queue has a first task, which is one of `self.tasks`.
        let task = unsafe { &*first };
        if first == self.tails[band.index()].get() {
            self.ready.set(ready & !band.bit());
        } else {
            self.heads[band.index()].set(task.next.get());
        }
        task.flags.set(task.flags.get() & !QUEUED);
        Some(task)
    }

    /// Takes an entry out of the queue that it is linked into.
    #[cold]
    pub(crate) fn unlink(&self, task: &Task) {
        let this = core::ptr::from_ref(task);
        let band = task.band.get();
        let (head, tail) = (&self.heads[band.index()], &self.tails[band.index()]);
        task.flags.set(task.flags.get() & !QUEUED);
        if head.get() == this {
            if tail.get() == this {
                self.ready.set(self.ready.get() & !band.bit());
            } else {
                head.set(task.next.get());
            }
            return;
        }
        let mut at = head.get();
        while at != tail.get() {
            // SAFETY: `at` is linked: it was `head` or the next of a task that is linked and not the last.
            let before = unsafe { &*at };
            if before.next.get() == this {
                before.next.set(task.next.get());
                if tail.get() == this {
                    tail.set(at);
                }
                return;
            }
            at = before.next.get();
        }
    }
}
