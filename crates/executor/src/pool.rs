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
use core::cell::UnsafeCell;
use core::future::Future;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::task::{Context, Poll};

type CellOf<F> = UnsafeCell<MaybeUninit<F>>;

/// Cells for futures of one type, each with a task entry of its own.
pub struct Pool<P: Platform, F: Future<Output = ()>> {
    local: Rc<Local<P>>,
    first: u16,
    name: &'static str,
    // Option only so that `Drop` can leak it.
    cells: Option<Box<[CellOf<F>]>>,
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
            cells: Some(
                (0..count)
                    .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
                    .collect(),
            ),
        })
    }

    /// How many cells there are.
    pub fn capacity(&self) -> usize {
        self.cells.as_ref().map_or(0, |cells| cells.len())
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
    /// # Errors
    ///
    /// [`CellInUse`]; `make` has not been called then.
    #[inline]
    pub fn start(&self, index: u16, make: impl FnOnce() -> F) -> Result<Started, CellInUse> {
        let cells = self.cells.as_deref().unwrap_or(&[]);
        let cell = cells.get(usize::from(index)).ok_or(CellInUse)?;
        let task = self.task(index);
        let core = &self.local.core;
        if core.is_live(task) || core.is_running(task) {
            return Err(CellInUse);
        }
        let future = make();
        let data = cell.get().cast::<F>();
        // SAFETY: the cell's task is not live, so the cell holds no future, and it is not running, so nobody is inside it.
        unsafe { data.write(future) };
        core.begin_poll(task);
        let guard = DropOnUnwind(data);
        // SAFETY: the future was just written and does not move while it lives: cells stay where they are (`Drop` leaks them
        // rather than free one in use).
        let finished = unsafe { poll::<P, F>(data.cast(), core.waker_data(task)) };
        core::mem::forget(guard);
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

    /// Drops the future in cell `index`, if one waits there; says whether one did.
    pub fn cancel(&self, index: u16) -> bool {
        self.is_waiting(index) && self.local.core.cancel_now(self.task(index))
    }
}

impl<P: Platform, F: Future<Output = ()>> Drop for Pool<P, F> {
    fn drop(&mut self) {
        let count = self.cells.as_ref().map_or(0, |cells| cells.len());
        let mut all_gone = true;
        for index in 0..count {
            all_gone &= self.local.core.cancel_now(self.first + index as u16);
        }
        if all_gone {
            self.local.core.release(self.first, count);
        } else {
            // One of the handlers is being polled right now and dropped its own pool. Its cell must outlive it.
            core::mem::forget(self.cells.take());
        }
    }
}

/// Drops the future if its first poll panics.
struct DropOnUnwind<F>(*mut F);

impl<F> Drop for DropOnUnwind<F> {
    fn drop(&mut self) {
        // SAFETY: only dropped when the first poll unwound; the future is still in its cell and nobody else will drop it.
        unsafe { self.0.drop_in_place() };
    }
}

/// # Safety
///
/// `data` points to a pinned, live `F`.
#[inline]
unsafe fn poll<P: Platform, F: Future<Output = ()>>(data: *mut (), waker_data: usize) -> bool {
    let future = data.cast::<F>();
    let waker = waker::<P>(waker_data);
    let mut context = Context::from_waker(&waker);
    // SAFETY: the caller promises a live, pinned future.
    match unsafe { Pin::new_unchecked(&mut *future) }.poll(&mut context) {
        Poll::Ready(()) => {
            // SAFETY: it has finished and is dropped exactly here; the caller does not touch it again.
            unsafe { future.drop_in_place() };
            true
        }
        Poll::Pending => false,
    }
}

/// # Safety
///
/// `data` points to a live `F` that is not touched again.
unsafe fn cancel<F>(data: *mut ()) {
    // SAFETY: the caller promises it.
    unsafe { data.cast::<F>().drop_in_place() };
}
