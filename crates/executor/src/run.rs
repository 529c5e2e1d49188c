//! The run loop: draining the inbox *is* scheduling.
//!
//! ```text
//! turn:  foreign wakes ─▶ timers ─▶ for the first band that has work:
//!                                       lanes   (answers resume their tasks in place, requests start their handlers)
//!                                       ready tasks, at most a quantum
//!                                   ─▶ flush: publish heads, one fence, one ring per destination
//! ```
//!
//! A turn serves one band only and then looks from the top again, so that a higher band waits for at most a quantum of a
//! lower one. What to do when a turn found nothing is the [`Mode`], see `run/idle`.

mod idle;

use crate::config::{Config, Mode, NewExecutorError, RunError};
use crate::registry::{Key, registry};
use crate::root::{Root, RootTask};
use crate::source::{ATTEND_TURNS, FLUSH_TURNS, InTurn, Source};
use crate::table::{ATTEND_SOURCE, ATTEND_TIMERS, Core, MAX_TASKS, NO_TASK, TaskInfo};
use crate::timer::{DeadlineError, Sleep, Timers};
use crate::waker::{Entered, enter, leave, task_of, waker};
use crate::watch::Watch;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use baton_inbox::{Band, OwnState, Platform, epoch};
use baton_trace::{Event, Ring, Step};
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::ops::Deref;
use core::pin::pin;
use core::task::{Poll, Waker};

/// What stands behind an executor and its handles.
pub struct Local<P: Platform> {
    pub(crate) core: Core,
    pub(crate) platform: P,
    pub(crate) timers: RefCell<Timers>,
    state: OwnState,
    quantum: u32,
    in_turn: Cell<bool>,
    ended: Cell<bool>,
    idle_turns: Cell<u32>,
    /// Times that the core may still be yielded before the next sleep.
    yields_left: Cell<u32>,
    spin_since_ns: Cell<u64>,
    /// How long this spin may take.
    budget_ns: Cell<u64>,
    /// Turns with a timer armed since the source was attended to.
    timer_turns: Cell<u32>,
}

/// An executor. When it is dropped, all its tasks are.
///
/// It stays on the thread that made it; only wakers cross threads. Everything that its tasks need is on its [`Handle`].
pub struct Executor<P: Platform>(Handle<P>);

/// A handle to an executor, for its tasks and whoever else lives on its thread.
pub struct Handle<P: Platform>(Rc<Local<P>>);

impl<P: Platform> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Handle(self.0.clone())
    }
}

impl<P: Platform> Executor<P> {
    /// Drops all tasks. Nothing runs from now on, and wakers that are still about do nothing.
    pub fn end(&self) {
        self.0.0.end();
    }
}

impl<P: Platform> Deref for Executor<P> {
    type Target = Handle<P>;

    #[inline]
    fn deref(&self) -> &Handle<P> {
        &self.0
    }
}

impl<P: Platform> Drop for Executor<P> {
    fn drop(&mut self) {
        self.0.0.end();
        // What was spawned since an earlier end, or was running then: it may hold handles, and must not live by itself.
        self.0.0.core.clear();
    }
}

impl<P: Platform> Executor<P> {
    /// Makes an executor on `platform` whose senders read the state word `state`.
    ///
    /// # Errors
    ///
    /// [`NewExecutorError`] when there are too many, or too many tasks were asked for.
    pub fn new(
        platform: P,
        state: baton_shm::Word,
        trace: Arc<Ring>,
        config: Config,
    ) -> Result<Self, NewExecutorError> {
        if config.tasks > MAX_TASKS {
            return Err(NewExecutorError::TooManyTasks(config.tasks));
        }
        let (key, foreign) = registry().register(config.tasks)?;
        foreign.set_bell(Some(Box::new(platform.own_bell())));
        let local = Rc::new(Local {
            core: Core::new(key, foreign, trace, config.tasks, waker::<P>),
            timers: RefCell::new(Timers::new(config.timers)),
            state: OwnState::new(state),
            quantum: config.quantum.max(1),
            in_turn: Cell::new(false),
            ended: Cell::new(false),
            idle_turns: Cell::new(0),
            yields_left: Cell::new(idle::YIELDS),
            spin_since_ns: Cell::new(0),
            budget_ns: Cell::new(0),
            timer_turns: Cell::new(0),
            platform,
        });
        local.core.settle_down();
        // SAFETY: it stands in a box that lives until `Local` is dropped, and whoever drops that calls `end` before, which has it forgotten.
        unsafe { foreign.set_running(&local.core.running) };
        Ok(Executor(Handle(local)))
    }
}

impl<P: Platform> Handle<P> {
    #[inline]
    pub(crate) fn local(&self) -> &Rc<Local<P>> {
        &self.0
    }

    /// The machine below.
    #[inline]
    pub fn platform(&self) -> &P {
        &self.0.platform
    }

    /// The event ring.
    #[inline]
    pub fn trace(&self) -> &Ring {
        &self.0.core.trace
    }

    /// Records an event with the present time, if tracing is on.
    #[inline]
    pub fn event(&self, step: Step, connection: u16, task: u16, token: u64, detail: u32) {
        if self.0.core.trace.is_on() {
            self.record(step, connection, task, token, detail);
        }
    }

    #[cold]
    fn record(&self, step: Step, connection: u16, task: u16, token: u64, detail: u32) {
        self.0.core.trace.record(Event {
            time_ns: self.0.platform.event_time(),
            step,
            connection,
            task,
            token,
            detail,
        });
    }

    /// What watchers on other threads may look at.
    pub fn watch(&self) -> Watch {
        Watch(self.0.core.foreign)
    }

    /// The task that is being polled, or [`crate::NO_TASK`].
    #[inline]
    pub fn running(&self) -> u16 {
        self.0.core.running()
    }

    /// The task of this executor that `waker` wakes, if it is one of its own.
    #[inline]
    pub fn task_of(&self, waker: &Waker) -> Option<u16> {
        task_of(waker, self.waker_key())
    }

    /// Puts task `index` into the ready queue.
    #[inline]
    pub fn wake(&self, index: u16) {
        self.0.core.wake(index);
    }

    /// Has [`Source::attend`] called at the beginning of the next turn.
    #[inline]
    pub fn attend(&self) {
        self.0.core.attend(ATTEND_SOURCE);
    }

    /// The data word that this executor's wakers have in common: all but the task index.
    #[inline]
    pub fn waker_key(&self) -> usize {
        self.0.core.waker_data(0)
    }

    /// The task that `waker` wakes, if it is one of the executor with this key. Spares a way to the executor itself.
    #[inline]
    pub fn task_of_key(waker: &Waker, key: usize) -> Option<u16> {
        task_of(waker, key)
    }

    /// Waits until `deadline_ns` of the platform's clock.
    pub fn sleep_until(&self, deadline_ns: u64) -> Sleep<P> {
        Sleep::new(self.0.clone(), deadline_ns)
    }

    /// Waits for `duration_ns`.
    pub fn sleep(&self, duration_ns: u64) -> Sleep<P> {
        self.sleep_until(self.0.platform.now_ns().saturating_add(duration_ns))
    }

    /// Runs `future` until `deadline_ns` of the platform's clock, and drops it if it has not finished then.
    ///
    /// # Errors
    ///
    /// [`DeadlineError`] when the deadline passed, or could not be armed.
    pub async fn before<F: Future>(
        &self,
        deadline_ns: u64,
        future: F,
    ) -> Result<F::Output, DeadlineError> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep_until(deadline_ns));
        core::future::poll_fn(move |context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            match sleep.as_mut().poll(context) {
                Poll::Ready(Ok(())) => Poll::Ready(Err(DeadlineError::Passed)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(DeadlineError::TooManyTimers(error))),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Takes the executor over for turns that the caller makes himself.
    ///
    /// Of several executors driven on one thread, the one taken over last has the short way for local wakes.
    ///
    /// # Errors
    ///
    /// [`RunError::Nested`] when it is being driven already, by whom one of its tasks was called, for one.
    #[inline]
    pub fn turns(&self) -> Result<Turns<'_, P>, RunError> {
        let local = &*self.0;
        Ok(Turns {
            _driving: local.enter()?,
            local,
        })
    }

    /// Does one turn and says how much was done: messages drained and tasks polled.
    ///
    /// # Errors
    ///
    /// [`RunError::Nested`] when called from inside a task of this executor.
    #[inline]
    pub fn turn<S: Source>(&self, source: &S) -> Result<u32, RunError> {
        Ok(self.turns()?.turn(source, &mut source.hold()))
    }

    /// Turns until `future` has finished, and returns its result. Other tasks run meanwhile.
    ///
    /// # Errors
    ///
    /// [`RunError`] when called from inside a task, when the table is full, or when the executor is ended meanwhile.
    pub fn run_until<S: Source, F: Future>(
        &self,
        source: &S,
        mode: Mode,
        future: F,
    ) -> Result<F::Output, RunError> {
        let local = &*self.0;
        let _entered = local.enter()?;
        let mut held = source.hold();
        let root = pin!(Root::new(future));
        let root = RootTask::new(&local.core, root).map_err(RunError::TableFull)?;
        let mut busy_turns = 0;
        let mut streak = 0u32;
        loop {
            let done = local.work(source, &mut held);
            busy_turns += 1;
            streak = streak.saturating_add(done);
            // Not by its entry, which may have been taken by another task in the turn in which it finished or was dropped.
            let ended = root.is_over();
            if done == 0 || ended || busy_turns >= FLUSH_TURNS {
                source.flush(&held);
                if done != 0 || ended {
                    local.platform.ring_deferred();
                }
                busy_turns = 0;
            }
            if ended {
                return root.output().ok_or(RunError::Ended);
            }
            if done == 0 {
                local.idle(source, &mut held, mode, streak);
                streak = 0;
            } else {
                local.busy();
            }
        }
    }

    /// Tells senders whether to set their bits in the hint word; see [`OwnState::set_hinted`].
    pub fn set_hinted(&self, hinted: bool) {
        self.0.state.set_hinted(hinted);
    }

    /// Calls `visit` for each live task.
    pub fn each_task(&self, visit: impl FnMut(TaskInfo)) {
        self.0.core.each_live(visit);
    }

    /// How often the executor has announced sleep.
    pub fn sleeps(&self) -> u64 {
        epoch(self.state_raw())
    }

    /// The state word as senders see it.
    pub fn state_raw(&self) -> u64 {
        self.0.state.raw()
    }
}

/// An executor that is being driven turn by turn; see [`Handle::turns`].
pub struct Turns<'a, P: Platform> {
    local: &'a Local<P>,
    _driving: Driving<'a, P>,
}

impl<P: Platform> Turns<'_, P> {
    /// Does one turn and says how much was done: messages drained and tasks polled. `held` came from [`Source::hold`], once for all
    /// turns.
    #[inline]
    pub fn turn<S: Source>(&mut self, source: &S, held: &mut S::Held) -> u32 {
        self.local.turn(source, held)
    }
}

/// Restores what was before a run of turns.
struct Driving<'a, P: Platform> {
    in_turn: &'a Cell<bool>,
    _entered: Entered<'a, P>,
}

impl<P: Platform> Drop for Driving<'_, P> {
    fn drop(&mut self) {
        self.in_turn.set(false);
    }
}

impl<P: Platform> Local<P> {
    #[inline]
    fn enter(&self) -> Result<Driving<'_, P>, RunError> {
        if self.in_turn.replace(true) {
            return Err(RunError::Nested);
        }
        // A panic that unwound out of an earlier turn may have left its task marked as running.
        self.core.end_poll();
        Ok(Driving {
            in_turn: &self.in_turn,
            _entered: enter::<P>(&self.core),
        })
    }

    #[inline(always)]
    fn turn<S: Source>(&self, source: &S, held: &mut S::Held) -> u32 {
        let done = self.work(source, held);
        source.flush(held);
        self.platform.ring_deferred();
        done
    }

    /// A turn without its end: what it wrote is visible to whoever looks, but nobody has been rung.
    #[inline(always)]
    fn work<S: Source>(&self, source: &S, held: &mut S::Held) -> u32 {
        let core = &self.core;
        if core.foreign.is_pending() {
            core.take_foreign();
        }
        if core.needs_attention() {
            self.attend(source, held);
        }
        let ready = core.ready_bands();
        // With nothing ready and one connection to look at, or no connection at all, there is no order to decide about.
        if ready == 0 {
            if let Some(drained) = source.drain_single(held, InTurn(core)) {
                // Seldom anything is ready now: answers resume their tasks in place.
                if core.ready_bands() == 0 {
                    return drained;
                }
                return drained + core.run_ready(source.single_band(held), self.quantum);
            }
        } else if source.bands() == 0 {
            return core.run_ready(Band::wrapping(ready.trailing_zeros()), self.quantum);
        }
        self.work_by_bands(source, held)
    }

    /// The lanes and ready tasks of the first band that has work.
    #[inline(never)]
    fn work_by_bands<S: Source>(&self, source: &S, held: &mut S::Held) -> u32 {
        let core = &self.core;
        let candidates = source.candidates();
        let mut bands = source.bands() | core.ready_bands();
        while bands != 0 {
            let band = Band::wrapping(bands.trailing_zeros());
            bands &= bands - 1;
            let mut done = source.drain(held, InTurn(core), candidates, band);
            if core.ready_bands() != 0 {
                done += core.run_ready(band, self.quantum);
            }
            if done != 0 {
                return done;
            }
        }
        0
    }

    #[cold]
    #[inline(never)]
    fn attend<S: Source>(&self, source: &S, held: &mut S::Held) {
        self.core
            .foreign
            .count_turns(self.core.turns_since_attention());
        let attention = self.core.take_attention(ATTEND_TURNS);
        let mut source_is_due = attention != ATTEND_TIMERS;
        if attention & ATTEND_TIMERS != 0 {
            // With a timer armed every turn comes here, so the turns of the source are counted apart.
            let turns = self.timer_turns.get() + 1;
            self.timer_turns.set(turns);
            source_is_due |= turns >= ATTEND_TURNS;
            self.fire_timers();
        }
        if source_is_due {
            self.timer_turns.set(0);
            self.platform.attend();
            source.attend(held);
        }
    }

    fn fire_timers(&self) {
        let now_ns = self.platform.now_ns();
        loop {
            // The borrow ends before the wake: a waker may be anybody's code.
            let passed = self.timers.borrow_mut().pop_passed(now_ns);
            match passed {
                Some(waker) => {
                    self.event(Step::Timer);
                    waker.wake();
                }
                None => break,
            }
        }
        if self.timers.borrow().next_ns().is_some() {
            self.core.attend(ATTEND_TIMERS);
        }
    }

    /// Records an event of the executor itself, if tracing is on.
    fn event(&self, step: Step) {
        if self.core.trace.is_on() {
            self.core.trace.record(Event {
                time_ns: self.platform.event_time(),
                step,
                connection: u16::MAX,
                task: NO_TASK,
                token: u64::MAX,
                detail: 0,
            });
        }
    }

    fn end(&self) {
        if !self.ended.replace(true) {
            // Also when a destructor panics: others must not find what may be freed.
            let _gone = Unregister(self.core.key);
            self.core.clear();
        }
    }
}

struct Unregister(Key);

impl Drop for Unregister {
    fn drop(&mut self) {
        registry().unregister(self.0);
    }
}

impl<P: Platform> Drop for Local<P> {
    fn drop(&mut self) {
        self.end();
        // What was spawned after the end.
        self.core.clear();
        // A guard that was forgotten would leave it current.
        leave::<P>(&self.core);
    }
}
