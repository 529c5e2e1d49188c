//! The task table of one executor: who has which entry, and how its future is polled and dropped.
//!
//! ```text
//!              spawn / first poll pending            wake
//!     FREE ────────────────────────────▶ LIVE ◀─────────────────▶ LIVE|QUEUED
//!       ▲                                  │        popped, polled: pending
//!       └──────────────────────────────────┘
//!             polled: finished, or cancelled
//! ```
//!
//! Invariants: a task is linked into a queue exactly while its `next` is not null, whether it is LIVE or not: QUEUED above. So a wake during
//! the first poll in place, of a handler that then finishes, leaves a queued entry behind that is skipped when popped, and is
//! never linked twice. The body of an entry leads to a future that has neither finished nor begun to be dropped: whoever drops one
//! takes the body before.
//!
//! Neighbours: `ready` queues the entries; `spawn`, `root` and `pool` put futures behind them; `run` calls the polls in its turn.

use crate::foreign::Foreign;
use crate::ready::{Link, List};
use crate::registry::Key;
use crate::watch::Running;
use alloc::boxed::Box;
use alloc::sync::Arc;
use baton_inbox::{BANDS, Band};
use baton_trace::Ring;
use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::task::Waker;

/// "No task".
pub const NO_TASK: u16 = u16::MAX;
/// Most tasks in one executor.
pub const MAX_TASKS: usize = NO_TASK as usize;

const LIVE: u8 = 2;
/// The entry goes back to the free ones when its future ends; others belong to a pool.
const SPAWNED: u8 = 8;

/// Polls the future behind the task's body once. When it has finished, takes the body, drops the future, and makes the task dead. When the
/// future's poll panics, the body stays, and with it the future.
///
/// # Safety
///
/// The task's body must be one with this function, and its data the pointer that was stored beside it; no poll of it is under way.
pub(crate) type PollFn = unsafe fn(task: &Task);
/// Drops the future behind `data`.
///
/// # Safety
///
/// `data` must be the pointer that was stored beside this function in a body that has been taken.
pub(crate) type CancelFn = unsafe fn(data: *mut ());

/// How a task's future is reached.
#[derive(Clone, Copy)]
pub(crate) struct Body {
    pub(crate) poll: PollFn,
    pub(crate) cancel: CancelFn,
    pub(crate) data: *mut (),
}

impl Body {
    /// The body of a task that is not live.
    const NONE: Body = Body {
        poll: |_task| {},
        cancel: |_data| {},
        data: core::ptr::null_mut(),
    };
}

/// One entry: one cache line.
#[repr(C, align(64))]
pub(crate) struct Task {
    /// The task behind this one in its list; null while it is in none. See `ready`. First, so that its address is the task's.
    pub(crate) next: Link,
    /// The list that it is linked into: that of its band, of its own executor. Null only before `settle_down`.
    pub(crate) list: Cell<*const List>,
    body: Cell<Body>,
    /// Wakes this task. It owns nothing.
    pub(crate) waker: ManuallyDrop<Waker>,
    index: u16,
    pub(crate) band: Cell<Band>,
    flags: Cell<u8>,
    reserved: Cell<bool>,
}

/// There is no free task entry: spawn fewer tasks, or configure a larger table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull {
    /// Entries that were asked for, next to each other.
    pub wanted: usize,
    /// Entries that the table has in all.
    pub capacity: usize,
}

impl core::fmt::Display for TableFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "no {} free task entries in a row among {}; configure a larger table",
            self.wanted, self.capacity
        )
    }
}

impl core::error::Error for TableFull {}

/// What one thread alone touches of an executor: tasks and ready queue.
pub(crate) struct Core {
    pub(crate) key: Key,
    pub(crate) foreign: &'static Foreign,
    pub(crate) trace: Arc<Ring>,
    pub(crate) tasks: Box<[Task]>,
    /// What the tasks are called, for dumps.
    names: Box<[Cell<&'static str>]>,
    /// The bands whose queue has a task, one bit each.
    pub(crate) ready: Cell<u32>,
    /// The ready tasks of each band; see `ready`.
    pub(crate) lists: [List; BANDS],
    /// What is being polled.
    pub(crate) running: Running,
    next_free: Cell<u16>,
    /// What the next turn must see to before anything else: [`ATTEND_TIMERS`], [`ATTEND_SOURCE`].
    attention: Cell<u8>,
    /// Turns until attention is paid unasked; none when it was asked for.
    turns_left: Cell<u32>,
    /// Turns from the last attention to when `turns_left` is none.
    turns_given: Cell<u32>,
    /// While this one is entered: the executor that was current on the thread before. See `waker`.
    pub(crate) outer: Cell<*const Core>,
}

/// Timers are armed.
pub(crate) const ATTEND_TIMERS: u8 = 1;
/// The source has asked to be attended to.
pub(crate) const ATTEND_SOURCE: u8 = 2;

/// Drops the future of the running task, whose poll panicked, if it has not been taken, and makes the task dead.
struct DeadOnPanic<'a>(&'a Core);

impl Drop for DeadOnPanic<'_> {
    #[cold]
    fn drop(&mut self) {
        let running = self.0.running();
        self.0.end_poll();
        if let Some(task) = self.0.tasks.get(usize::from(running)) {
            // SAFETY: the poll has unwound.
            unsafe { drop_and_end(task) };
        }
    }
}

/// Drops the future of a task, if it has one, and makes the task dead, also when that panics. Takes the place of the poll of a task that was
/// cancelled.
///
/// # Safety
///
/// The future is not being polled.
unsafe fn drop_and_end(task: &Task) {
    let _end = End(task);
    let body = task.take_body();
    // SAFETY: the body was stored by `set_live` with its data pointer, and has just been taken: so its future is there, and nothing
    // reaches it any more.
    unsafe { (body.cancel)(body.data) };
}

/// Makes a task dead when it is dropped.
struct End<'a>(&'a Task);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.set_dead();
    }
}

impl Task {
    /// The data pointer of its body.
    #[inline(always)]
    pub(crate) fn data(&self) -> *mut () {
        self.body.get().data
    }

    /// Takes the body: from now on the task's future is the caller's to drop.
    #[inline]
    pub(crate) fn take_body(&self) -> Body {
        self.body.replace(Body::NONE)
    }

    /// Makes the entry dead; its future is gone already. It may still be linked.
    #[inline]
    pub(crate) fn set_dead(&self) {
        self.body.set(Body::NONE);
        if self.flags.replace(0) & SPAWNED != 0 {
            self.reserved.set(false);
        }
    }

    #[inline]
    fn is_live(&self) -> bool {
        self.flags.get() & LIVE != 0
    }

    #[inline(always)]
    pub(crate) fn is_queued(&self) -> bool {
        !self.next.get().is_null()
    }
}

/// One line of a dump.
#[derive(Clone, Copy, Debug)]
pub struct TaskInfo {
    /// Its entry.
    pub index: u16,
    /// The name it was spawned with.
    pub name: &'static str,
    /// Its priority band.
    pub band: Band,
    /// Whether it is in the ready queue.
    pub queued: bool,
    /// Whether it is being polled right now.
    pub running: bool,
}

impl Core {
    pub(crate) fn new(
        key: Key,
        foreign: &'static Foreign,
        trace: Arc<Ring>,
        capacity: usize,
        waker: impl Fn(usize) -> ManuallyDrop<Waker>,
    ) -> Self {
        Core {
            key,
            foreign,
            trace,
            tasks: (0..capacity)
                .map(|index| Task {
                    body: Cell::new(Body::NONE),
                    waker: waker(key.0 | index),
                    next: Cell::new(core::ptr::null()),
                    list: Cell::new(core::ptr::null()),
                    index: index as u16,
                    band: Cell::new(Band::NORMAL),
                    flags: Cell::new(0),
                    reserved: Cell::new(false),
                })
                .collect(),
            names: (0..capacity).map(|_| Cell::new("")).collect(),
            ready: Cell::new(0),
            lists: core::array::from_fn(|band| List::new(Band::wrapping(band as u32))),
            running: Running::new(),
            next_free: Cell::new(0),
            attention: Cell::new(ATTEND_SOURCE),
            turns_left: Cell::new(0),
            turns_given: Cell::new(1),
            outer: Cell::new(core::ptr::null()),
        }
    }

    /// Reserves one entry for a spawned task.
    pub(crate) fn reserve_one(&self, band: Band) -> Result<u16, TableFull> {
        let start = usize::from(self.next_free.get());
        let order = (start..self.tasks.len()).chain(0..start.min(self.tasks.len()));
        for index in order {
            let task = &self.tasks[index];
            if !task.reserved.get() {
                self.take_entry(task, band);
                self.next_free.set(index as u16 + 1);
                return Ok(index as u16);
            }
        }
        Err(TableFull {
            wanted: 1,
            capacity: self.tasks.len(),
        })
    }

    /// Reserves `count` entries in a row for a pool and returns the first.
    pub(crate) fn reserve(&self, count: usize, band: Band) -> Result<u16, TableFull> {
        let full = TableFull {
            wanted: count,
            capacity: self.tasks.len(),
        };
        let mut run = 0;
        for (index, task) in self.tasks.iter().enumerate() {
            run = if task.reserved.get() { 0 } else { run + 1 };
            if run == count.max(1) {
                let first = index + 1 - run;
                for task in self.tasks.iter().take(index + 1).skip(first) {
                    self.take_entry(task, band);
                }
                return Ok(first as u16);
            }
        }
        Err(full)
    }

    fn take_entry(&self, task: &Task, band: Band) {
        if task.is_queued() {
            // A wake that came too late for the entry's last task: the next one must not wait in that one's band.
            self.unlink(task);
        }
        task.reserved.set(true);
        task.band.set(band);
        task.list.set(&self.lists[band.index()]);
    }

    /// Gives entries back. Their futures are gone already.
    pub(crate) fn release(&self, first: u16, count: usize) {
        for task in self.tasks.iter().skip(usize::from(first)).take(count) {
            task.reserved.set(false);
            // The entry may still be linked.
            task.body.set(Body::NONE);
            task.flags.set(0);
        }
    }

    #[inline]
    pub(crate) fn waker_data(&self, index: u16) -> usize {
        self.key.0 | usize::from(index)
    }

    /// Makes the pool's entry `index` live.
    #[inline]
    pub(crate) fn set_live(&self, index: u16, body: Body, name: &'static str) {
        if let Some(task) = self.tasks.get(usize::from(index)) {
            task.body.set(body);
            self.names[usize::from(index)].set(name);
            task.flags.set(LIVE);
        }
    }

    /// Makes the entry `index`, taken by `reserve_one`, live and ready.
    pub(crate) fn set_spawned(&self, index: u16, body: Body, name: &'static str) {
        self.set_live(index, body, name);
        if let Some(task) = self.tasks.get(usize::from(index)) {
            task.flags.set(LIVE | SPAWNED);
        }
        self.wake(index);
    }

    #[inline]
    pub(crate) fn is_live(&self, index: u16) -> bool {
        let task = self.tasks.get(usize::from(index));
        task.is_some_and(Task::is_live)
    }

    /// Asks for the future of `index` to be dropped the next time its turn comes.
    pub(crate) fn cancel(&self, index: u16) {
        if let Some(task) = self.tasks.get(usize::from(index))
            && task.is_live()
        {
            // From now on a poll drops the future instead. This spares each poll a look at a flag.
            let body = task.body.get();
            task.body.set(Body {
                poll: drop_and_end,
                ..body
            });
            self.wake(index);
        }
    }

    #[inline]
    pub(crate) fn band(&self, index: u16) -> Band {
        match self.tasks.get(usize::from(index)) {
            Some(task) => task.band.get(),
            None => Band::LAST,
        }
    }

    /// Asks for attention at the beginning of the next turn.
    #[inline]
    pub(crate) fn attend(&self, what: u8) {
        self.attention.set(self.attention.get() | what);
        let left = self.turns_left.replace(0);
        self.turns_given
            .set(self.turns_given.get().wrapping_sub(left));
    }

    /// Counts a turn down, and says whether attention must be paid in it.
    #[inline]
    pub(crate) fn needs_attention(&self) -> bool {
        let left = self.turns_left.get();
        self.turns_left.set(left.wrapping_sub(1));
        left == 0
    }

    /// Whether the next turn must pay attention.
    #[inline]
    pub(crate) fn is_attention_due(&self) -> bool {
        self.turns_left.get() == 0
    }

    /// How many turns attention was not paid for, when it is.
    pub(crate) fn turns_since_attention(&self) -> u32 {
        self.turns_given.get()
    }

    /// Takes what attention was asked for; the next time unasked is after `turns`.
    pub(crate) fn take_attention(&self, turns: u32) -> u8 {
        self.turns_left.set(turns.saturating_sub(1));
        self.turns_given.set(turns);
        self.attention.replace(0)
    }

    /// Polls ready tasks of `band`, at most `quantum` (not zero), and says how many.
    #[inline]
    pub(crate) fn run_ready(&self, band: Band, quantum: u32) -> u32 {
        let list = &self.lists[band.index()];
        let mut left = quantum;
        let panicked = DeadOnPanic(self);
        while let Some(task) = self.pop(list) {
            // SAFETY: the guard is there.
            unsafe { self.poll_guarded(task, task.index) };
            left -= 1;
            if left == 0 {
                break;
            }
        }
        core::mem::forget(panicked);
        self.end_poll();
        quantum - left
    }

    /// Polls task `index` now, which counts as running from then on, or drops its future when it was cancelled. Nothing happens if it is not live. Says no if there is
    /// no such task.
    #[inline(always)]
    pub(crate) fn poll(&self, index: u16) -> bool {
        let Some(task) = self.tasks.get(usize::from(index)) else {
            return false;
        };
        self.poll_task(task, index);
        true
    }

    #[inline(always)]
    fn poll_task(&self, task: &Task, index: u16) {
        let panicked = DeadOnPanic(self);
        // SAFETY: the guard is there.
        unsafe { self.poll_guarded(task, index) };
        core::mem::forget(panicked);
    }

    /// Polls `task`, which has this index.
    ///
    /// # Safety
    ///
    /// When the poll unwinds, [`DeadOnPanic`] is dropped.
    #[inline(always)]
    unsafe fn poll_guarded(&self, task: &Task, index: u16) {
        self.begin_poll(index);
        // A task that is not live has a body that does nothing: cheaper than to look.
        // SAFETY: the body was stored by `set_live`, and whoever drops its future takes it before, also when the poll panics. Polls do not
        // nest: only `turn` polls, and it refuses to run inside a poll.
        unsafe { (task.body.get().poll)(task) };
    }

    /// Polls task `index` now if nothing of a higher band is ready. Says no if it did not, or there is no such task, [`NO_TASK`]
    /// included.
    ///
    /// Called between polls only; see `InTurn`.
    #[inline(always)]
    pub(crate) fn resume(&self, index: u16) -> bool {
        if self.ready.get() != 0 && self.must_yield_to_higher(self.band(index)) {
            return false;
        }
        self.poll(index)
    }

    /// Marks `index` as running.
    #[inline]
    pub(crate) fn begin_poll(&self, index: u16) {
        self.running.begin(index);
    }

    /// Marks no task as running.
    #[inline]
    pub(crate) fn end_poll(&self) {
        self.running.end();
    }

    /// Drops the future of `index` now, if it is live; says no if it must wait because it is running.
    pub(crate) fn cancel_now(&self, index: u16) -> bool {
        let Some(task) = self.tasks.get(usize::from(index)) else {
            return true;
        };
        if self.running() == index {
            self.cancel(index);
            return false;
        }
        if task.is_live() {
            let body = task.take_body();
            // Dead before it is dropped: whoever its destructor calls finds it gone.
            task.set_dead();
            // SAFETY: as in `drop_and_end`; it is not running.
            unsafe { (body.cancel)(body.data) };
        }
        true
    }

    /// The task that is being polled.
    #[inline]
    pub(crate) fn running(&self) -> u16 {
        self.running.task()
    }

    /// The task of a waker with this data word, if it is one of this executor's.
    #[inline(always)]
    pub(crate) fn task_of_waker(&self, waker_data: usize) -> Option<&Task> {
        // The key's index bits are zero, and no other key differs from it in these only: so another's word is far out of range.
        self.tasks.get(waker_data ^ self.key.0)
    }

    /// All live tasks.
    pub(crate) fn each_live(&self, mut visit: impl FnMut(TaskInfo)) {
        for (index, task) in self.tasks.iter().enumerate() {
            if task.is_live() {
                visit(TaskInfo {
                    index: index as u16,
                    name: self.names[index].get(),
                    band: task.band.get(),
                    queued: task.is_queued(),
                    running: usize::from(self.running()) == index,
                });
            }
        }
    }

    /// Drops every future: the executor ends.
    pub(crate) fn clear(&self) {
        for index in 0..self.tasks.len() {
            self.cancel_now(index as u16);
        }
    }
}
