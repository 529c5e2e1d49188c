//! Pools: room for the handlers of one connection, one cell a credit.
//!
//! A polled future must not move, so a handler is written into its cell before its first poll. If that poll finishes it, the
//! cell is free again at once and the task table never hears of it; only a handler that waits becomes a task. The cell's number
//! is the credit's, so an answer, a CANCEL or a second request on the same credit finds it without a search.

use crate::run::{Handle, Local};
use crate::table::{Body, TableFull};
use crate::waker::waker;
use alloc::boxed::Box;
use alloc::rc::Rc;
use baton_inbox::{Band, Platform};
use core::cell::{Cell, UnsafeCell};
use core::future::Future;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::pin::Pin;
use core::task::Context;

/// A place for one future.
struct PoolCell<F> {
    /// Whether a future is in it, running its first poll or waiting.
    busy: Cell<bool>,
    future: UnsafeCell<MaybeUninit<F>>,
}

/// Cells for futures of one type, each with a task entry of its own.
pub struct Pool<P: Platform, F: Future<Output = ()>> {
    local: Rc<Local<P>>,
    first: u16,
    name: &'static str,
    // `Drop` may have to leak it.
    cells: ManuallyDrop<Box<[PoolCell<F>]>>,
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

impl<P: Platform, F: Future<Output = ()> + 'static> Pool<P, F> {
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
    ) -> Result<Self, TableFull> {
        let local = executor.local().clone();
        let first = local.core.reserve(count, band)?;
        Ok(Pool {
            local,
            first,
            name,
            cells: ManuallyDrop::new(
                (0..count)
                    .map(|_| PoolCell {
                        busy: Cell::new(false),
                        future: UnsafeCell::new(MaybeUninit::uninit()),
                    })
                    .collect(),
            ),
        })
    }

    /// How many cells there are.
    pub fn capacity(&self) -> usize {
        self.cells.len()
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

    /// Writes the future that `make` returns into cell `index` and polls it once.
    ///
    /// A future that has finished is not dropped but forgotten: an `async` block has nothing left then, and the call to its
    /// destructor is spared. Another kind of future leaks what it still holds.
    ///
    /// # Errors
    ///
    /// [`CellInUse`]; `make` has not been called then.
    #[inline(always)]
    pub fn start(&self, index: u16, make: impl FnOnce() -> F) -> Result<Started, CellInUse> {
        let cell = self.cells.get(usize::from(index)).ok_or(CellInUse)?;
        if cell.busy.replace(true) {
            return Err(CellInUse);
        }
        let data: *mut PoolCell<F> = core::ptr::from_ref(cell).cast_mut();
        let core = &self.local.core;
        let task = self.task(index);
        core.begin_poll(task);
        let panicked = FreeOnPanic(&cell.busy);
        let future = make();
        core::mem::forget(panicked);
        // SAFETY: the cell was not busy, so no future is in it and nobody is inside one.
        unsafe { cell.future.get().cast::<F>().write(future) };
        // SAFETY: the future was just written and does not move while the cell is busy: cells stay where they are (`Drop`
        // leaks them rather than free a busy one).
        let finished = unsafe { poll_in_place::<P, F>(data.cast(), core.waker_data(task)) };
        core.end_poll();
        if finished {
            return Ok(Started::Finished);
        }
        core.set_live(
            task,
            Body {
                poll: poll::<P, F>,
                cancel: cancel::<F>,
                data: data.cast(),
            },
            self.name,
        );
        Ok(Started::Waits(task))
    }

    /// Writes the future that `make` returns into cell `index` and puts its task into the ready queue, without polling it.
    ///
    /// # Errors
    ///
    /// [`CellInUse`]; `make` has not been called then.
    pub fn place(&self, index: u16, make: impl FnOnce() -> F) -> Result<u16, CellInUse> {
        let cell = self.cells.get(usize::from(index)).ok_or(CellInUse)?;
        if cell.busy.replace(true) {
            return Err(CellInUse);
        }
        let data: *mut PoolCell<F> = core::ptr::from_ref(cell).cast_mut();
        let future = make();
        // SAFETY: as in `start`.
        unsafe { cell.future.get().cast::<F>().write(future) };
        let task = self.task(index);
        let core = &self.local.core;
        core.set_live(
            task,
            Body {
                poll: poll::<P, F>,
                cancel: cancel::<F>,
                data: data.cast(),
            },
            self.name,
        );
        core.wake(task);
        Ok(task)
    }

    /// Drops the future in cell `index`, if one waits there; says whether one did.
    pub fn cancel(&self, index: u16) -> bool {
        self.is_waiting(index) && self.local.core.cancel_now(self.task(index))
    }
}

impl<P: Platform, F: Future<Output = ()>> Drop for Pool<P, F> {
    fn drop(&mut self) {
        for index in 0..self.cells.len() {
            self.local.core.cancel_now(self.first + index as u16);
        }
        // Otherwise one of the handlers is being polled right now and dropped its own pool. Its cell must outlive it.
        if self.cells.iter().all(|cell| !cell.busy.get()) {
            self.local.core.release(self.first, self.cells.len());
            // SAFETY: the pool is being dropped and does not touch the cells again.
            unsafe { ManuallyDrop::drop(&mut self.cells) };
        }
    }
}

/// Polls the future in a cell; when it has finished, the cell is free again.
///
/// The future's destructor does not run then: what is started here is an `async` block or leaves nothing to drop like one,
/// see [`Pool::start`].
///
/// # Safety
///
/// `data` points to a busy cell whose future has not finished.
unsafe fn poll<P: Platform, F: Future<Output = ()>>(data: *mut (), waker_data: usize) -> bool {
    // SAFETY: the caller promises the same.
    unsafe { poll_in_place::<P, F>(data, waker_data) }
}

/// As [`poll`], but always part of its caller: right after the future was written, the compiler knows its state.
///
/// # Safety
///
/// As for [`poll`].
#[inline(always)]
unsafe fn poll_in_place<P: Platform, F: Future<Output = ()>>(
    data: *mut (),
    waker_data: usize,
) -> bool {
    // SAFETY: the caller promises a cell. Only shared references to cells exist.
    let cell = unsafe { &*data.cast::<PoolCell<F>>() };
    let waker = waker::<P>(waker_data);
    let mut context = Context::from_waker(&waker);
    // SAFETY: the cell is busy, so there is a future, pinned in it; polls do not nest, so this is the only reference to it.
    let future = unsafe { Pin::new_unchecked((*cell.future.get()).assume_init_mut()) };
    let panicked = DropOnPanic(cell);
    let finished = future.poll(&mut context).is_ready();
    core::mem::forget(panicked);
    if finished {
        cell.busy.set(false);
    }
    finished
}

/// Frees a cell whose future was never made.
struct FreeOnPanic<'a>(&'a Cell<bool>);

impl Drop for FreeOnPanic<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Drops a future whose poll panicked, and frees its cell: the peer may use the credit again.
struct DropOnPanic<'a, F>(&'a PoolCell<F>);

impl<F> Drop for DropOnPanic<'_, F> {
    fn drop(&mut self) {
        // SAFETY: only dropped when the poll unwound. The future is in its busy cell, the reference that polled it is gone,
        // and `Core::poll` and `Pool::start` forget the task, so nothing reaches it again.
        unsafe { self.0.future.get().cast::<F>().drop_in_place() };
        self.0.busy.set(false);
    }
}

/// # Safety
///
/// `data` points to a busy cell whose future has not finished and is not running.
unsafe fn cancel<F>(data: *mut (), _waker_data: usize) -> bool {
    // SAFETY: the caller promises a cell.
    let cell = unsafe { &*data.cast::<PoolCell<F>>() };
    // SAFETY: the cell is busy, so there is a future; it is dropped exactly here.
    unsafe { cell.future.get().cast::<F>().drop_in_place() };
    cell.busy.set(false);
    true
}
