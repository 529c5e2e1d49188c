//! The root task: a future on the stack of whoever runs the executor.

use crate::table::{Body, Core, TableFull, Task};
use baton_inbox::Band;
use core::cell::Cell;
use core::future::Future;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::task::{Context, Poll};

/// A future and the place for its result.
pub(crate) struct Root<F: Future> {
    future: core::cell::UnsafeCell<F>,
    output: Cell<Option<F::Output>>,
    /// It has finished, or was dropped with the other tasks: its entry may be another's.
    over: Cell<bool>,
    _pinned: PhantomPinned,
}

impl<F: Future> Root<F> {
    pub(crate) fn new(future: F) -> Self {
        Root {
            future: core::cell::UnsafeCell::new(future),
            output: Cell::new(None),
            over: Cell::new(false),
            _pinned: PhantomPinned,
        }
    }
}

/// Its task entry, given back when this is dropped; so the table never points to a stack frame that is gone.
pub(crate) struct RootTask<'a, F: Future> {
    core: &'a Core,
    root: Pin<&'a mut Root<F>>,
    pub(crate) index: u16,
}

impl<'a, F: Future> RootTask<'a, F> {
    pub(crate) fn new(core: &'a Core, root: Pin<&'a mut Root<F>>) -> Result<Self, TableFull> {
        let index = core.reserve_one(Band::NORMAL)?;
        let data = core::ptr::from_ref(root.as_ref().get_ref())
            .cast_mut()
            .cast();
        core.set_spawned(
            index,
            Body {
                poll: poll::<F>,
                cancel: cancel::<F>,
                data,
            },
            "root",
        );
        Ok(RootTask { core, root, index })
    }

    /// Whether it has finished, or was dropped with the other tasks.
    pub(crate) fn is_over(&self) -> bool {
        self.root.over.get()
    }

    pub(crate) fn output(&self) -> Option<F::Output> {
        self.root.output.take()
    }
}

impl<F: Future> Drop for RootTask<'_, F> {
    fn drop(&mut self) {
        // Also when a poll unwound: then the entry counts as running, and must be forgotten all the same.
        self.core.end_poll();
        if !self.is_over() {
            self.core.cancel_now(self.index);
        }
    }
}

/// # Safety
///
/// The task's data points to a pinned `Root<F>` that is alive; as for every `PollFn`.
unsafe fn poll<F: Future>(task: &Task) {
    // SAFETY: the caller promises it; only shared references to the root exist, and the future inside is only touched here.
    let root = unsafe { &*task.data().cast::<Root<F>>() };
    let mut context = Context::from_waker(&task.waker);
    // SAFETY: the root is pinned, and so is the future in it; polls do not nest.
    let future = unsafe { Pin::new_unchecked(&mut *root.future.get()) };
    if let Poll::Ready(output) = future.poll(&mut context) {
        task.set_dead();
        root.output.set(Some(output));
        root.over.set(true);
    }
}

/// # Safety
///
/// `data` points to a `Root<F>` that is alive.
unsafe fn cancel<F: Future>(data: *mut ()) {
    // SAFETY: the caller promises a root that is alive. The future itself stays until whoever runs the executor returns.
    unsafe { &*data.cast::<Root<F>>() }.over.set(true);
}
