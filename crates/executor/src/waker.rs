//! Wakers: a number, not a pointer.
//!
//! A waker's data word is `executor key | task index`. On the executor's own thread, while it runs there, a wake goes straight
//! into the ready queue; from anywhere else it goes through the registry and the stack of foreign wakes. A waker of an executor
//! that has ended finds nobody and does nothing.

use crate::registry::{Key, registry};
use crate::table::Core;
use baton_inbox::Platform;
use core::mem::ManuallyDrop;
use core::task::{RawWaker, RawWakerVTable, Waker};

struct Vtable<P>(core::marker::PhantomData<P>);

impl<P: Platform> Vtable<P> {
    const TABLE: RawWakerVTable = RawWakerVTable::new(clone::<P>, wake::<P>, wake::<P>, |_data| {});
    const REF: &'static RawWakerVTable = &Self::TABLE;
}

fn clone<P: Platform>(data: *const ()) -> RawWaker {
    RawWaker::new(data, Vtable::<P>::REF)
}

fn wake<P: Platform>(data: *const ()) {
    let data = data.addr();
    let current = P::current().cast::<Core>();
    // SAFETY: `P::current` is null or what `enter` stored on this thread: a `Core` that is alive, for it leaves the chain
    // before it is freed (`leave`).
    if let Some(core) = unsafe { current.as_ref() }
        && let Some(task) = core.task_of_waker(data)
    {
        return core.enqueue(task);
    }
    wake_foreign(data);
}

#[cold]
#[inline(never)]
fn wake_foreign(data: usize) {
    if let Some(foreign) = registry().find(Key::of_waker(data)) {
        foreign.wake(data as u16);
    }
}

/// The waker with this data word. It owns nothing, so it need not be dropped.
#[inline]
pub(crate) fn waker<P: Platform>(data: usize) -> ManuallyDrop<Waker> {
    let raw = RawWaker::new(core::ptr::without_provenance(data), Vtable::<P>::REF);
    // SAFETY: the functions of the table keep `RawWaker`'s contract: they are thread-safe, clone and drop own nothing.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}

/// The task that `waker` wakes, if it is one of the executor whose wakers have `key` in common.
///
/// The data word alone tells: it is marked as no address ([`crate::registry`]). The functions beside it cannot be compared, for each crate
/// that makes wakers of a platform may have a table of its own.
#[inline]
pub(crate) fn task_of(waker: &Waker, key: usize) -> Option<u16> {
    // The key's index bits are zero.
    u16::try_from(waker.data().addr() ^ key).ok()
}

/// Makes `core` the current executor of this thread until the guard is dropped.
pub(crate) fn enter<P: Platform>(core: &Core) -> Entered<'_, P> {
    core.outer.set(P::current().cast());
    P::set_current(core::ptr::from_ref(core).cast());
    Entered {
        core,
        platform: core::marker::PhantomData,
    }
}

/// Takes `core` out of the executors that were entered on this thread, wherever it stands among them: guards may be dropped in
/// any order, or never. After that nothing leads to it any more.
pub(crate) fn leave<P: Platform>(core: &Core) {
    let gone = core::ptr::from_ref(core);
    if core::ptr::eq(P::current(), gone.cast()) {
        P::set_current(core.outer.replace(core::ptr::null()).cast());
        return;
    }
    let mut at = P::current().cast::<Core>();
    // SAFETY: the chain begins at what `enter` stored on this thread and goes on with what it found there before. Each core in
    // it is alive, for it leaves the chain here before it is freed (`Drop for Local`).
    while let Some(inner) = unsafe { at.as_ref() } {
        if core::ptr::eq(inner.outer.get(), gone) {
            inner.outer.set(core.outer.replace(core::ptr::null()));
            return;
        }
        at = inner.outer.get();
    }
}

pub(crate) struct Entered<'a, P: Platform> {
    core: &'a Core,
    platform: core::marker::PhantomData<P>,
}

impl<P: Platform> Drop for Entered<'_, P> {
    fn drop(&mut self) {
        leave::<P>(self.core);
    }
}
