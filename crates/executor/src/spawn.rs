//! Spawning, joining and cancelling tasks.
//!
//! Spawning allocates once, for the future and its result together; the loop never does.

use crate::run::{Handle, Local};
use crate::table::{Body, TableFull, Task};
use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use baton_inbox::{Band, Platform};
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// What a task leaves for whoever joins it.
struct Outcome<T> {
    state: RefCell<State<T>>,
    joiner: Cell<Option<Waker>>,
}

enum State<T> {
    Running,
    Finished(T),
    Cancelled,
    Taken,
}

/// Why a join brings no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The task was cancelled, or its executor ended.
    Cancelled,
    /// The result was taken by an earlier poll of the same handle.
    Taken,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinError::Cancelled => "the task was cancelled before it finished",
            JoinError::Taken => "the result of the task was taken already",
        })
    }
}

impl core::error::Error for JoinError {}

/// Waits for a spawned task. Dropping it lets the task go on.
pub struct JoinHandle<P: Platform, T> {
    outcome: Rc<Outcome<T>>,
    local: Weak<Local<P>>,
    index: u16,
}

struct Spawned<F: Future> {
    future: F,
    outcome: Rc<Outcome<F::Output>>,
}

impl<P: Platform> Handle<P> {
    /// Starts `future` as a task of its own in the ordinary band.
    ///
    /// # Errors
    ///
    /// [`TableFull`] when the table has no free entry; the future is dropped.
    pub fn spawn<F>(&self, future: F) -> Result<JoinHandle<P, F::Output>, TableFull>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.spawn_in(Band::NORMAL, "task", future)
    }

    /// Starts `future` as a task with a priority band and a name for dumps.
    ///
    /// # Errors
    ///
    /// [`TableFull`] when the table has no free entry; the future is dropped.
    pub fn spawn_in<F>(
        &self,
        band: Band,
        name: &'static str,
        future: F,
    ) -> Result<JoinHandle<P, F::Output>, TableFull>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let local = self.local();
        let index = local.core.reserve_one(band)?;
        let outcome = Rc::new(Outcome {
            state: RefCell::new(State::Running),
            joiner: Cell::new(None),
        });
        let data = Box::into_raw(Box::new(Spawned {
            future,
            outcome: outcome.clone(),
        }));
        local.core.set_spawned(
            index,
            Body {
                poll: poll::<F>,
                cancel: cancel::<F>,
                data: data.cast(),
            },
            name,
        );
        Ok(JoinHandle {
            outcome,
            local: Rc::downgrade(local),
            index,
        })
    }
}

impl<T> Outcome<T> {
    fn set(&self, state: State<T>) {
        *self.state.borrow_mut() = state;
        if let Some(joiner) = self.joiner.take() {
            joiner.wake();
        }
    }
}

/// # Safety
///
/// The task's data came from `Box::into_raw` in `spawn_in` and has not been freed; as for every `PollFn`.
unsafe fn poll<F: Future>(entry: &Task) {
    let task = entry.data().cast::<Spawned<F>>();
    let mut context = Context::from_waker(&entry.waker);
    // SAFETY: the caller promises a live box; its content never moves.
    let polled = unsafe { Pin::new_unchecked(&mut (*task).future) }.poll(&mut context);
    if let Poll::Ready(output) = polled {
        entry.take_body();
        // SAFETY: as above; with its body taken, nothing reaches the box again, also when this panics.
        unsafe { end(task, State::Finished(output)) };
        entry.set_dead();
    }
}

/// Frees a task and leaves `state` for whoever joins it, also when its destructor panics.
///
/// # Safety
///
/// `task` came from `Box::into_raw`, has not been freed, and is not touched again.
unsafe fn end<F: Future>(task: *mut Spawned<F>, state: State<F::Output>) {
    // SAFETY: the caller promises it.
    let task = unsafe { Box::from_raw(task) };
    let leave = Leave(task.outcome.clone(), Some(state));
    drop(task);
    drop(leave);
}

struct Leave<T>(Rc<Outcome<T>>, Option<State<T>>);

impl<T> Drop for Leave<T> {
    fn drop(&mut self) {
        if let Some(state) = self.1.take() {
            self.0.set(state);
        }
    }
}

/// # Safety
///
/// `data` came from `Box::into_raw` in `spawn_in`, has not been freed, and is not touched again.
unsafe fn cancel<F: Future>(data: *mut ()) {
    // SAFETY: the caller promises it.
    unsafe { end(data.cast::<Spawned<F>>(), State::Cancelled) };
}

impl<P: Platform, T> JoinHandle<P, T> {
    /// Drops the task's future the next time its turn comes; joining it then says [`JoinError::Cancelled`].
    ///
    /// Nothing happens when it has finished.
    pub fn cancel(&self) {
        let running = matches!(*self.outcome.state.borrow(), State::Running);
        if running && let Some(local) = self.local.upgrade() {
            local.core.cancel(self.index);
        }
    }

    /// Whether the task has finished or been cancelled.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.outcome.state.borrow(), State::Running)
    }

    /// Takes the result if it is there.
    ///
    /// # Errors
    ///
    /// [`JoinError`] when there will be none.
    pub fn try_take(&self) -> Option<Result<T, JoinError>> {
        let mut state = self.outcome.state.borrow_mut();
        if matches!(*state, State::Running) {
            return None;
        }
        Some(match core::mem::replace(&mut *state, State::Taken) {
            State::Finished(output) => Ok(output),
            State::Cancelled => Err(JoinError::Cancelled),
            State::Running | State::Taken => Err(JoinError::Taken),
        })
    }
}

impl<P: Platform, T> Future for JoinHandle<P, T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.try_take() {
            Some(result) => Poll::Ready(result),
            None => {
                self.outcome.joiner.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}
