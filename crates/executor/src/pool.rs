//! Pools: room for the handlers of one connection, one cell a credit.
//!
//! A polled future must not move, so a handler is written into its cell before its first poll. If that poll finishes it, the
//! cell is free again at once and the task table never hears of it; only a handler that waits becomes a task. The cell's number
//! is the credit's, so an answer, a CANCEL or a second request on the same credit finds it without a search.
//!
//! Handlers borrow what they all need (the service, the connection) from the pool, so starting one counts no references.
//!
//! ```text
//!   pool ── shared: Box<H>  ◀── borrowed by every future in a cell
//!        └─ cells:  | busy | future ........ | busy | future ........ | ...
//! ```
//!
//! Invariants: a cell that is busy holds a future, whose type only the functions know that were stored with it in the task table, or a
//! future is just being made or polled for the first time in it; `shared` outlives every future in a cell. [`Pool`]'s destructor drops the
//! futures first, and leaks cells and `shared` together if one of them is running.

use crate::run::{Handle, Local};
use crate::source::InTurn;
use crate::table::{Body, Core, TableFull, Task};
use crate::waker::waker;
use crate::watch::Running;
use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use alloc::boxed::Box;
use alloc::rc::Rc;
use baton_inbox::{Band, Platform};
use core::cell::Cell;
use core::future::Future;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

/// Alignment of a cell and of the future in it.
const CELL_ALIGN: usize = 16;
/// From the beginning of a cell, which says whether it is busy, to the future in it.
const FUTURE: usize = CELL_ALIGN;

/// How large the cells of a pool must be: as large as the largest future that is to fit. Known when the pool's type is, so that finding
/// a cell needs no multiplication, and a future no look at whether it fits.
///
/// A future that is larger than its pool's cells, or must be aligned to more than 16 bytes, is put on the heap when it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellSize {
    future_bytes: usize,
}

impl CellSize {
    /// No room but for a pointer to a future on the heap.
    pub const NONE: CellSize = CellSize {
        future_bytes: size_of::<usize>(),
    };

    /// With room for what `_make` would return as well, a future and what is done with its output; it is not called.
    #[must_use]
    pub const fn fit<A, F: Future, K: FnOnce(F::Output, When)>(
        self,
        _make: &impl FnOnce(A) -> (F, K),
    ) -> CellSize {
        let wanted = size_of::<Handler<F, K>>();
        if fits_in_cells::<Handler<F, K>>() && wanted > self.future_bytes {
            return CellSize {
                future_bytes: wanted,
            };
        }
        self
    }

    /// Bytes from one cell to the next.
    const fn stride(self) -> usize {
        FUTURE + self.future_bytes.next_multiple_of(CELL_ALIGN)
    }
}

/// When a handler finished: in its first poll, inside of [`Starts::start`], or afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    at_once: bool,
}

impl When {
    const AT_ONCE: When = When { at_once: true };
    /// After the first poll, or not told.
    pub const LATER: When = When { at_once: false };

    /// Whether it was in the first poll.
    #[inline(always)]
    pub fn is_at_once(self) -> bool {
        self.at_once
    }
}

/// What the handlers of a pool share, and how large they are.
pub trait Shared: 'static {
    /// Room for each handler that is to stand in a cell.
    const CELLS: CellSize;

    /// What a handler borrows of it.
    type Lent<'a>: Copy
    where
        Self: 'a;

    /// Lends it: once for all handlers that are started in a row.
    fn lend(&self) -> Self::Lent<'_>;
}

const fn fits_in_cells<F>() -> bool {
    align_of::<F>() <= CELL_ALIGN
}

/// Raw room for `count` futures.
struct Cells<H> {
    base: NonNull<u8>,
    count: usize,
    size: PhantomData<fn() -> H>,
}

impl<H> Clone for Cells<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Cells<H> {}

impl<H: Shared> Cells<H> {
    fn layout(&self) -> Option<Layout> {
        let bytes = H::CELLS.stride().checked_mul(self.count)?;
        Layout::from_size_align(bytes, CELL_ALIGN).ok()
    }

    /// # Panics
    ///
    /// When so many cells exceed the address space, as a vector of them would.
    fn new(count: usize) -> Self {
        let mut cells = Cells {
            base: NonNull::dangling(),
            count,
            size: PhantomData,
        };
        let layout = cells.layout();
        let layout = layout.expect("a pool exceeds the address space");
        if layout.size() != 0 {
            // SAFETY: the size is not zero.
            let base = unsafe { alloc(layout) };
            cells.base = NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout));
        }
        for index in 0..count {
            // SAFETY: the first byte of a cell that was just allocated.
            unsafe { cells.cell(index).0.write(Cell::new(false)) };
        }
        cells
    }

    /// Cell `index`, which is below `count`.
    #[inline(always)]
    fn cell(&self, index: usize) -> CellRef {
        debug_assert!(index < self.count);
        // SAFETY: private, and every caller keeps `index` below `count`: so the address lies inside the allocation.
        CellRef(unsafe { self.base.add(index * H::CELLS.stride()) }.cast())
    }

    #[inline(always)]
    fn get(&self, index: u16) -> Option<CellRef> {
        (usize::from(index) < self.count).then(|| self.cell(usize::from(index)))
    }

    fn all_free(&self) -> bool {
        (0..self.count).all(|index| !self.cell(index).is_busy())
    }

    /// Frees the memory.
    ///
    /// # Safety
    ///
    /// Nobody touches a cell again; no future is in one.
    unsafe fn free(&mut self) {
        if let Some(layout) = self.layout()
            && layout.size() != 0
        {
            // SAFETY: allocated in `new` with this very layout; the caller promises that nothing is in it.
            unsafe { dealloc(self.base.as_ptr(), layout) };
        }
    }
}

/// One cell of a pool that is alive, by the word that says whether it is busy.
#[derive(Clone, Copy)]
struct CellRef(NonNull<Cell<bool>>);

impl CellRef {
    #[inline(always)]
    fn is_busy(self) -> bool {
        // SAFETY: `Cells` made it, and wrote the byte; cells are freed only when none is in use any more.
        unsafe { self.0.as_ref() }.get()
    }

    #[inline(always)]
    fn set_busy(self, busy: bool) {
        // SAFETY: as in `is_busy`.
        unsafe { self.0.as_ref() }.set(busy);
    }

    /// Where what is in the cell is, or goes.
    #[inline(always)]
    fn handler<F, K>(self) -> *mut Handler<F, K> {
        // SAFETY: a cell is longer than `FUTURE` bytes.
        unsafe { self.0.cast::<u8>().add(FUTURE) }.as_ptr().cast()
    }
}

/// Cells for handlers, each with a task entry of its own, and what the handlers share.
pub struct Pool<P: Platform, H: Shared> {
    local: Rc<Local<P>>,
    /// The core of `local`, for comparing only.
    core: *const Core,
    first: u16,
    /// What watchers are told when handlers are started.
    announced: u32,
    name: &'static str,
    // `Drop` may have to leak both; this one has no destructor.
    cells: Cells<H>,
    shared: ManuallyDrop<Box<H>>,
}

/// What became of a future that was started in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// Its first poll finished it.
    Finished,
    /// It waits, as this task.
    Waits(u16),
}

/// The cell is in use, or there is no such cell: whoever sent the request holds no such credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellInUse;

impl<P: Platform, H: Shared> Pool<P, H> {
    /// A pool of `count` cells whose tasks run in `band`.
    ///
    /// # Errors
    ///
    /// [`TableFull`] when the executor has not as many task entries left in a row.
    pub fn new(
        executor: &Handle<P>,
        count: usize,
        band: Band,
        name: &'static str,
        shared: H,
    ) -> Result<Self, TableFull> {
        let local = executor.local().clone();
        let first = local.core.reserve(count, band)?;
        Ok(Pool {
            core: &raw const local.core,
            local,
            first,
            announced: Running::new_handlers(first),
            name,
            cells: Cells::new(count),
            shared: ManuallyDrop::new(Box::new(shared)),
        })
    }

    /// What all handlers share.
    #[inline]
    pub fn shared(&self) -> &H {
        &self.shared
    }

    /// How many cells there are.
    pub fn capacity(&self) -> usize {
        self.cells.count
    }

    /// The task entry of cell `index`.
    #[inline]
    pub fn task(&self, index: u16) -> u16 {
        self.first.wrapping_add(index)
    }

    /// Whether cell `index` holds a future that waits.
    #[inline]
    pub fn is_waiting(&self, index: u16) -> bool {
        usize::from(index) < self.capacity() && self.local.core.is_live(self.task(index))
    }

    /// The right to start handlers on the spot, if `turn` is one of this pool's executor: then none of its handlers is being polled.
    #[inline]
    pub fn starts<'t>(&'t self, turn: InTurn<'t>) -> Option<Starts<'t, P, H>> {
        core::ptr::eq(turn.0, self.core).then(|| Starts {
            pool: self,
            cells: self.cells,
            lent: self.shared.lend(),
            turn,
        })
    }

    /// Has `begin` start a future in cell `index`, which is only made ready.
    ///
    /// # Errors
    ///
    /// [`CellInUse`]; `begin` has not been called then.
    pub fn place(
        &self,
        index: u16,
        begin: impl for<'a> FnOnce(H::Lent<'a>, FreeCell<'a, P>) -> Started,
    ) -> Result<Started, CellInUse> {
        let cell = self.free_cell(self.cells, index, false)?;
        Ok(begin(self.shared.lend(), cell))
    }

    #[inline(always)]
    fn free_cell(
        &self,
        cells: Cells<H>,
        index: u16,
        polls: bool,
    ) -> Result<FreeCell<'_, P>, CellInUse> {
        let cell = cells.get(index).ok_or(CellInUse)?;
        if cell.is_busy() {
            return Err(CellInUse);
        }
        cell.set_busy(true);
        Ok(FreeCell {
            core: &self.local.core,
            cell,
            room: H::CELLS.stride(),
            task: self.task(index),
            name: self.name,
            polls,
            lent: PhantomData,
        })
    }

    /// Drops the future in cell `index`, if one waits there; says whether one did.
    pub fn cancel(&self, index: u16) -> bool {
        self.is_waiting(index) && self.local.core.cancel_now(self.task(index))
    }
}

impl<P: Platform, H: Shared> Drop for Pool<P, H> {
    fn drop(&mut self) {
        for index in 0..self.cells.count {
            self.local.core.cancel_now(self.first + index as u16);
        }
        // Otherwise one of the handlers is being polled right now and dropped its own pool. Its cell, and what it borrows, must
        // outlive it.
        if self.cells.all_free() {
            self.local.core.release(self.first, self.cells.count);
            // SAFETY: the pool is being dropped and does not touch the cells again; no future is in them.
            unsafe { self.cells.free() };
            // SAFETY: as above; whoever borrowed it is gone.
            unsafe { ManuallyDrop::drop(&mut self.shared) };
        }
    }
}

/// The right to poll the handlers of a pool in the moment in which they start: a turn of its executor is under way, and no poll.
pub struct Starts<'t, P: Platform, H: Shared> {
    pool: &'t Pool<P, H>,
    /// The pool's, at hand.
    cells: Cells<H>,
    lent: H::Lent<'t>,
    turn: InTurn<'t>,
}

impl<P: Platform, H: Shared> Clone for Starts<'_, P, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform, H: Shared> Copy for Starts<'_, P, H> {}

impl<'t, P: Platform, H: Shared> Starts<'t, P, H> {
    /// The turn that it is of.
    #[inline]
    pub fn turn(self) -> InTurn<'t> {
        self.turn
    }

    /// What the handlers share.
    #[inline(always)]
    pub fn lent(self) -> H::Lent<'t> {
        self.lent
    }

    /// Tells watchers that handlers are being started, once for many: which one is polled they are not told.
    #[inline(always)]
    pub fn announce(self) {
        self.turn.0.running.begin_new(self.pool.announced);
    }

    /// Has the task of cell `index` count as running, until the next one does or until [`InTurn::end`]: for the trace.
    #[inline]
    pub fn note(self, index: u16) {
        self.turn.0.begin_poll(self.pool.task(index));
    }

    /// Has `begin` start a future in cell `index`, which is polled on the spot; it may borrow what the pool's handlers share.
    ///
    /// Its task does not count as running: it is none yet, and nobody can cancel it.
    ///
    /// # Errors
    ///
    /// [`CellInUse`]; `begin` has not been called then.
    #[inline(always)]
    pub fn start(
        self,
        index: u16,
        begin: impl for<'a> FnOnce(H::Lent<'a>, FreeCell<'a, P>) -> Started,
    ) -> Result<Started, CellInUse> {
        let cell = self.pool.free_cell(self.cells, index, true)?;
        Ok(begin(self.lent, cell))
    }
}

/// The right to start one future in one cell. Dropped unused, it gives the cell back.
///
/// `'a` stands for as long as the pool's futures may live; whatever such a future borrows must live at least as long.
pub struct FreeCell<'a, P: Platform> {
    core: &'a Core,
    cell: CellRef,
    /// Bytes of the cell.
    room: usize,
    task: u16,
    name: &'static str,
    /// Whether a turn of this executor is under way, and no poll.
    polls: bool,
    /// Invariant in `'a`, so that nobody can make it shorter than what `Starts::start` lent.
    lent: PhantomData<Cell<&'a P>>,
}

impl<P: Platform> Drop for FreeCell<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.cell.set_busy(false);
    }
}

impl<'a, P: Platform> FreeCell<'a, P> {
    /// Writes `future` into the cell and polls it once, or makes it ready if it was to be [placed](Pool::place); when it finishes, now or
    /// later, `next` is called with its output.
    ///
    /// Dropped before that, `future` is dropped first and `next` after it, uncalled. Both stay where they were written: an `async` block
    /// around them would copy `future`, arguments and all, into itself before the first poll.
    ///
    /// They find room in the cell if [`CellSize::fit`] was told of their types, and are put on the heap otherwise.
    #[inline(always)]
    pub fn start<F, K>(self, future: F, next: K) -> Started
    where
        F: Future + 'a,
        K: FnOnce(F::Output, When) + 'a,
    {
        let room = self.room;
        if const { fits_in_cells::<Handler<F, K>>() } && FUTURE + size_of::<Handler<F, K>>() <= room
        {
            self.start_in_cell(future, next)
        } else {
            self.start_on_heap(future, next)
        }
    }

    #[cold]
    #[inline(never)]
    fn start_on_heap<F, K>(self, future: F, next: K) -> Started
    where
        F: Future + 'a,
        K: FnOnce(F::Output, When) + 'a,
    {
        // The smallest cell has room for a pointer and nothing.
        // Named first, `future` is dropped first, too, when it was never polled: before `next`, which may hold the right to answer.
        let both = async move {
            let output = future.await;
            next(output, When::LATER);
        };
        self.start_in_cell(Box::pin(both), |(), _| {})
    }

    #[inline(always)]
    fn start_in_cell<F, K>(self, future: F, next: K) -> Started
    where
        F: Future + 'a,
        K: FnOnce(F::Output, When) + 'a,
    {
        let cell = self.cell;
        let handler = Handler { future, next };
        // SAFETY: the cell is busy with this start, so nothing is in it; the caller checked that there is room and that a cell's
        // alignment is enough.
        unsafe { cell.handler::<F, K>().write(handler) };
        let (core, task, name, polls) = (self.core, self.task, self.name, self.polls);
        // From here on the handler is responsible for the cell.
        core::mem::forget(self);
        if polls {
            let waker = waker::<P>(core.waker_data(task));
            // SAFETY: `polls` says that a turn of this executor is under way and no poll. The handler was just written and does not move
            // while the cell is busy: cells stay where they are (`Pool`'s
            // destructor leaks them rather than free a busy one), and so does what it borrows.
            let finished = unsafe { poll_at_once::<F, K>(cell, &waker) };
            if finished {
                return Started::Finished;
            }
        }
        core.set_live(
            task,
            Body {
                poll: poll::<F, K>,
                cancel: cancel::<F, K>,
                data: cell.0.as_ptr().cast(),
            },
            name,
        );
        if !polls {
            core.wake(task);
        }
        Started::Waits(task)
    }
}

/// What is in a busy cell: both are there until the future has finished.
struct Handler<F, K> {
    future: F,
    next: K,
}

/// # Safety
///
/// The task's data points to a busy cell with a `Handler<F, K>` that has not finished and is not being polled.
unsafe fn poll<F: Future, K: FnOnce(F::Output, When)>(task: &Task) {
    // SAFETY: the caller promises a cell, which is not at address zero.
    let cell = CellRef(unsafe { NonNull::new_unchecked(task.data().cast()) });
    // SAFETY: the caller promises the same.
    if let Poll::Ready(output) = unsafe { poll_future::<F, K>(cell, &task.waker) } {
        task.take_body();
        // SAFETY: as above, and it has finished; with the body taken nothing else reaches it, also when this panics.
        unsafe { finish::<F, K>(cell, output, When::LATER) };
        task.set_dead();
    }
}

/// Polls the handler in a cell for the first time, when it is no task yet; says whether it has finished. Then, or when it panics, it is gone
/// and the cell is free again.
///
/// Always part of its caller: right after the handler was written, the compiler knows its state.
///
/// # Safety
///
/// The cell is busy, with a `Handler<F, K>` that has not been polled.
#[inline(always)]
unsafe fn poll_at_once<F: Future, K: FnOnce(F::Output, When)>(
    cell: CellRef,
    waker: &Waker,
) -> bool {
    let panicked = DropOnPanic::<F, K>(cell, PhantomData);
    // SAFETY: the caller promises it.
    let polled = unsafe { poll_future::<F, K>(cell, waker) };
    core::mem::forget(panicked);
    let Poll::Ready(output) = polled else {
        return false;
    };
    // SAFETY: it has finished, and no task leads to it.
    unsafe { finish::<F, K>(cell, output, When::AT_ONCE) };
    true
}

/// # Safety
///
/// The cell is busy, with a `Handler<F, K>` that has not finished and is not being polled.
#[inline(always)]
unsafe fn poll_future<F: Future, K>(cell: CellRef, waker: &Waker) -> Poll<F::Output> {
    let mut context = Context::from_waker(waker);
    // SAFETY: the cell is busy, so there is a future, pinned in it; polls do not nest, so this is the only reference to it.
    let future = unsafe { Pin::new_unchecked(&mut (*cell.handler::<F, K>()).future) };
    future.poll(&mut context)
}

/// Drops a future that has finished, passes its output on, and gives the cell back.
///
/// # Safety
///
/// The cell is busy, with a `Handler<F, K>` that has finished and that nothing else reaches.
#[inline(always)]
unsafe fn finish<F: Future, K: FnOnce(F::Output, When)>(
    cell: CellRef,
    output: F::Output,
    when: When,
) {
    let handler = cell.handler::<F, K>();
    let _free = FreeAfter(cell);
    // SAFETY: `next` is taken once: nothing touches the handler again, and the cell is busy until both are gone.
    let next = unsafe { (&raw const (*handler).next).read() };
    // SAFETY: it has finished, so nothing polls it again; dropped in place, as pinning wants it.
    unsafe { (&raw mut (*handler).future).drop_in_place() };
    next(output, when);
}

/// Gives a cell back whose handler is gone, also when its destructor panicked.
struct FreeAfter(CellRef);

impl Drop for FreeAfter {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.set_busy(false);
    }
}

/// Drops a handler whose first poll panicked, and frees its cell: the peer may use the credit again.
struct DropOnPanic<F, K>(CellRef, PhantomData<(F, K)>);

impl<F, K> Drop for DropOnPanic<F, K> {
    fn drop(&mut self) {
        let _free = FreeAfter(self.0);
        // SAFETY: only dropped when the poll unwound. The handler is in its busy cell, the reference that polled it is gone,
        // and no task leads to it. Fields drop in their order.
        unsafe { self.0.handler::<F, K>().drop_in_place() };
    }
}

/// # Safety
///
/// `data` points to a busy cell with a `Handler<F, K>` that has not finished and is not running.
unsafe fn cancel<F, K>(data: *mut ()) {
    // SAFETY: the caller promises a cell, which is not at address zero.
    let cell = CellRef(unsafe { NonNull::new_unchecked(data.cast()) });
    let _free = FreeAfter(cell);
    // SAFETY: the cell is busy, so there is a handler; it is dropped exactly here, its fields in their order.
    unsafe { cell.handler::<F, K>().drop_in_place() };
}
