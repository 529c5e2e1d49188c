//! A lock that is waited for asynchronously, for what must not be done twice at a time.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// Held by one task at most.
#[derive(Debug, Default)]
pub(crate) struct Lock {
    taken: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// Holds the lock until it is dropped.
pub(crate) struct Locked<'l>(&'l Lock);

impl Lock {
    /// Waits until the lock is free, and takes it.
    pub(crate) async fn lock(&self) -> Locked<'_> {
        poll_fn(|context| {
            if self.taken.replace(true) {
                self.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        Locked(self)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.taken.set(false);
        // All of them: who is dropped meanwhile must not keep the others waiting.
        for waker in self.0.waiting.take() {
            waker.wake();
        }
    }
}
