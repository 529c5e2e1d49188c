//! Random programs of tasks on two executors of one thread.
//!
//! A task's body is the input: each poll does the next few operations, among them waking, spawning, joining, cancelling,
//! sleeping, driving the other executor, and ending its own. Dropping a task does one operation as well.
//!
//! What must hold: nothing panics; each live task that was woken is polled, by whatever way the wake went; everything comes to
//! rest; and (the address sanitizer's part) nothing is touched after its end or left behind.

use baton_executor::{Config, Executor, JoinHandle, Mode, RunError, Sleep};
use baton_inbox::{Band, Bell, InSlot, Platform};
use baton_shm::HeapWords;
use baton_trace::Ring;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Executors on the thread.
const SIDES: usize = 2;
/// Turns after which everything must have come to rest.
const MOST_TURNS: u32 = 20_000;
/// Tasks spawned in one run.
const MOST_TASKS: usize = 200;
/// Wakes by a thread of their own in one run; they cost time.
const MOST_THREADS: u32 = 4;

thread_local! {
    static CURRENT: Cell<*const ()> = const { Cell::new(std::ptr::null()) };
}

/// A machine whose clock stands still until somebody sleeps on it.
struct Still {
    now_ns: Rc<Cell<u64>>,
}

struct NoBell;

impl Bell for NoBell {
    fn ring(&self) {}
}

impl Platform for Still {
    type Bell = NoBell;
    type Publication = InSlot;

    fn wait(&self, deadline_ns: Option<u64>) {
        // Returning early is allowed, so nobody needs to ring.
        if let Some(deadline_ns) = deadline_ns.filter(|deadline_ns| *deadline_ns != u64::MAX) {
            self.now_ns.set(self.now_ns.get().max(deadline_ns));
        }
    }

    fn own_bell(&self) -> NoBell {
        NoBell
    }

    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn spin_budget_ns(&self) -> u64 {
        0
    }

    fn spin_ended(&self, _spun_ns: u64, _found_work: bool) {}

    fn current() -> *const () {
        CURRENT.get()
    }

    fn set_current(current: *const ()) {
        CURRENT.set(current);
    }
}

/// What is known of a task beside its future.
struct Known {
    side: usize,
    /// Its future exists.
    live: Cell<bool>,
    /// It was woken after its latest poll began.
    woken: Cell<bool>,
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    handle: RefCell<Option<JoinHandle<Still, u32>>>,
}

/// What all tasks share.
struct World {
    executors: RefCell<[Option<Rc<Executor<Still>>>; SIDES]>,
    ended: [Cell<bool>; SIDES],
    now_ns: Rc<Cell<u64>>,
    program: Vec<u8>,
    at: Cell<usize>,
    tasks: RefCell<Vec<Rc<Known>>>,
    threads: Cell<u32>,
}

/// The whole input is the program.
pub fn run(input: &[u8]) {
    let world = Rc::new(World::new(input));
    while !world.is_over() {
        world.step();
    }
    world.finish();
}

impl World {
    fn new(program: &[u8]) -> Self {
        let now_ns = Rc::new(Cell::new(0));
        let config = Config {
            tasks: 24,
            timers: 6,
            quantum: 3,
        };
        let executor = || {
            let word = HeapWords::region(8).word(0).expect("it has words");
            let platform = Still {
                now_ns: now_ns.clone(),
            };
            let made = Executor::new(platform, word, Arc::new(Ring::new(8)), config);
            Some(Rc::new(made.expect("there is room for two")))
        };
        World {
            executors: RefCell::new([executor(), executor()]),
            ended: Default::default(),
            now_ns,
            program: program.to_vec(),
            at: Cell::new(0),
            tasks: RefCell::default(),
            threads: Cell::new(0),
        }
    }

    fn is_over(&self) -> bool {
        self.at.get() >= self.program.len()
    }

    fn byte(&self) -> u8 {
        let at = self.at.get();
        self.at.set(at + 1);
        self.program.get(at).copied().unwrap_or(0)
    }

    fn side(&self) -> usize {
        usize::from(self.byte()) % SIDES
    }

    fn executor(&self, side: usize) -> Option<Rc<Executor<Still>>> {
        self.executors.borrow().get(side).cloned().flatten()
    }

    /// One of the tasks, which may have ended.
    fn any(&self) -> Option<Rc<Known>> {
        let tasks = self.tasks.borrow();
        let which = usize::from(self.byte()).checked_rem(tasks.len())?;
        tasks.get(which).cloned()
    }

    /// Does one thing that can be done outside of tasks and inside.
    fn step(self: &Rc<Self>) {
        match self.byte() % 14 {
            0 | 1 => self.wake(false),
            2 => self.wake(true),
            3 | 4 => self.spawn(),
            5 => self.cancel(),
            6 => {
                let handle = self
                    .any()
                    .and_then(|known| known.handle.borrow_mut().take());
                drop(handle);
            }
            7 | 8 => self.turn(),
            9 => self.run_until(),
            10 => self.crossed(),
            11 => {
                // Rarely: what comes after an end is not very interesting.
                if self.byte() % 8 == 0 {
                    self.end(usize::from(self.byte()) % SIDES);
                }
            }
            _ => self.now_ns.set(self.now_ns.get() + u64::from(self.byte())),
        }
    }

    fn wake(&self, by_thread: bool) {
        let Some(known) = self.any() else { return };
        let Some(waker) = known.waker.borrow().clone() else {
            return;
        };
        known.woken.set(true);
        if by_thread && self.threads.get() < MOST_THREADS {
            self.threads.set(self.threads.get() + 1);
            let thread = std::thread::spawn(move || waker.wake());
            thread.join().expect("a wake does not panic");
        } else {
            waker.wake();
        }
    }

    fn spawn(self: &Rc<Self>) {
        let side = self.side();
        let band = Band::wrapping(u32::from(self.byte()) % 3 * 2);
        if self.tasks.borrow().len() >= MOST_TASKS {
            return;
        }
        let Some(executor) = self.executor(side) else {
            return;
        };
        let known = Rc::new(Known {
            side,
            live: Cell::new(true),
            // It is ready from the start.
            woken: Cell::new(true),
            cancelled: Cell::new(false),
            waker: RefCell::default(),
            handle: RefCell::default(),
        });
        let script = Script {
            world: self.clone(),
            known: known.clone(),
            joins: Vec::new(),
            sleeps: Vec::new(),
        };
        self.tasks.borrow_mut().push(known.clone());
        // A full table drops the script, which may do anything.
        if let Ok(handle) = executor.spawn_in(band, "script", script) {
            *known.handle.borrow_mut() = Some(handle);
        }
    }

    fn cancel(&self) {
        if let Some(known) = self.any()
            && let Some(handle) = known.handle.borrow().as_ref()
        {
            handle.cancel();
            known.cancelled.set(true);
        }
    }

    fn turn(&self) {
        if let Some(executor) = self.executor(self.side()) {
            match executor.turn(&()) {
                Ok(_) | Err(RunError::Nested) => {}
                Err(error) => panic!("a turn needs no entry: {error}"),
            }
        }
    }

    fn run_until(&self) {
        let Some(executor) = self.executor(self.side()) else {
            return;
        };
        let mode = match self.byte() % 2 {
            0 => Mode::Park,
            _ => Mode::Adaptive,
        };
        let mut left = self.byte() % 8;
        let root = poll_fn(|context: &mut Context<'_>| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        });
        match executor.run_until(&(), mode, root) {
            Ok(()) => assert_eq!(left, 0),
            Err(RunError::Nested | RunError::TableFull(_) | RunError::Ended) => {}
        }
    }

    /// Drives both executors, and stops with the first one first.
    fn crossed(&self) {
        let (Some(first), Some(second)) = (self.executor(0), self.executor(1)) else {
            return;
        };
        let Ok(mut turns) = first.turns() else { return };
        let Ok(mut others) = second.turns() else {
            return;
        };
        turns.turn(&(), &mut ());
        others.turn(&(), &mut ());
        drop(turns);
        self.wake(false);
        others.turn(&(), &mut ());
    }

    fn end(&self, side: usize) {
        if let Some(executor) = self.executor(side) {
            self.ended[side].set(true);
            executor.end();
        }
    }

    fn finish(self: &Rc<Self>) {
        let mut idle = 0;
        for turn in 0.. {
            assert!(turn < MOST_TURNS, "still busy after {MOST_TURNS} turns");
            self.now_ns.set(self.now_ns.get() + 1000);
            let done: u32 = (0..SIDES)
                .filter_map(|side| self.executor(side))
                .map(|executor| executor.turn(&()).expect("no task runs"))
                .sum();
            idle = if done == 0 { idle + 1 } else { 0 };
            if idle == 4 {
                break;
            }
        }
        for known in self.tasks.borrow().iter() {
            if !self.ended[known.side].get() && known.live.get() {
                assert!(!known.woken.get(), "a wake was lost");
                assert!(!known.cancelled.get(), "a cancelled task lives on");
            }
        }
        for side in 0..SIDES {
            let executor = self.executors.borrow_mut()[side].take();
            drop(executor);
            // Wakes of what has ended, and of what goes on.
            let tasks = self.tasks.borrow().clone();
            for known in tasks {
                if let Some(waker) = known.waker.borrow().as_ref() {
                    waker.wake_by_ref();
                }
            }
        }
        for known in self.tasks.take() {
            assert!(!known.live.get(), "a task outlives its executor");
        }
    }
}

/// A task's future.
struct Script {
    world: Rc<World>,
    known: Rc<Known>,
    joins: Vec<JoinHandle<Still, u32>>,
    sleeps: Vec<Pin<Box<Sleep<Still>>>>,
}

impl Script {
    /// Takes what has come of what it waits for.
    fn look(&mut self, context: &mut Context<'_>) {
        self.sleeps
            .retain_mut(|sleep| sleep.as_mut().poll(context).is_pending());
        self.joins
            .retain_mut(|join| Pin::new(join).poll(context).is_pending());
    }
}

impl Future for Script {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        let this = &mut *self;
        let world = this.world.clone();
        this.known.woken.set(false);
        *this.known.waker.borrow_mut() = Some(context.waker().clone());
        this.look(context);
        for _ in 0..4 {
            if world.is_over() {
                break;
            }
            match world.byte() % 10 {
                0 => return Poll::Ready(7),
                1 => break,
                2 => {
                    let handle = world
                        .any()
                        .and_then(|known| known.handle.borrow_mut().take());
                    this.joins.extend(handle);
                    this.look(context);
                }
                3 => {
                    let deadline_ns = world.now_ns.get() + u64::from(world.byte());
                    if let Some(executor) = world.executor(world.side()) {
                        this.sleeps
                            .push(Box::pin(executor.sleep_until(deadline_ns)));
                        this.look(context);
                    }
                }
                4 => {
                    this.sleeps.pop();
                    this.joins.pop();
                }
                _ => world.step(),
            }
        }
        Poll::Pending
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.known.live.set(false);
        let world = self.world.clone();
        if !world.is_over() && world.byte() % 2 == 0 {
            world.step();
        }
    }
}
