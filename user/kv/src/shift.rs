//! Many requests at a time: a shift of workers that share one heap of work.
//!
//! Each worker is a task with one request under way; so the number of workers is the number of requests outstanding. There is no
//! other machinery: awaiting a call is all that it takes to let the others go on.

use crate::services::{BoardClient, Phase};
use crate::tally::Tally;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use baton_rpc::{CallError, Handle, Platform, TooLong};
use core::cell::{Cell, RefCell};
use core::fmt;

/// Requests between two notes to the board.
const NOTE_EVERY: u64 = 64;

/// When the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After so many items.
    Items(u64),
    /// When so much time has passed.
    AfterNs(u64),
}

/// Why a worker gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkError {
    /// A call brought no answer: the server is gone, or refused.
    Call(CallError),
    /// The server granted too small buffers: connect with larger ones.
    TooLong(TooLong),
    /// The board could not read a report: parent and client are of different builds.
    BadReport,
    /// The executor cannot hold or run so many workers: configure it with more task entries.
    Workers,
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkError::Call(error) => error.fmt(f),
            WorkError::TooLong(error) => error.fmt(f),
            WorkError::BadReport => f.write_str("the parent could not read the report of a phase"),
            WorkError::Workers => {
                f.write_str("the executor has too few task entries for the workers")
            }
        }
    }
}

impl core::error::Error for WorkError {}

impl From<CallError> for WorkError {
    fn from(error: CallError) -> Self {
        WorkError::Call(error)
    }
}

impl From<TooLong> for WorkError {
    fn from(error: TooLong) -> Self {
        WorkError::TooLong(error)
    }
}

/// The work of one client in one phase, and how it went so far.
pub struct Shift<P: Platform, T> {
    handle: Handle<P>,
    board: BoardClient<P>,
    client: u32,
    phase: Phase,
    end: End,
    begun_ns: u64,
    drawn: Cell<u64>,
    results: RefCell<T>,
}

impl<P: Platform, T: Tally> Shift<P, T> {
    /// Begins the work of `client` in `phase`.
    pub fn new(
        handle: &Handle<P>,
        board: &BoardClient<P>,
        client: u32,
        phase: Phase,
        end: End,
    ) -> Rc<Self> {
        Rc::new(Shift {
            begun_ns: handle.platform().now_ns(),
            handle: handle.clone(),
            board: board.clone(),
            client,
            phase,
            end,
            drawn: Cell::new(0),
            results: RefCell::default(),
        })
    }

    /// The number of the next item, or none when the work is done.
    pub fn draw(&self) -> Option<u64> {
        let item = self.drawn.get();
        let left = match self.end {
            End::Items(items) => item < items,
            End::AfterNs(time_ns) => self.now_ns() - self.begun_ns < time_ns,
        };
        left.then(|| {
            self.drawn.set(item + 1);
            item
        })
    }

    /// The time now; give it to [`Shift::answered`].
    pub fn now_ns(&self) -> u64 {
        self.handle.platform().now_ns()
    }

    /// Counts an answer. `wrong` describes it where it is not what it must be.
    pub fn answered(&self, asked_ns: u64, right: bool, wrong: impl FnOnce() -> String) {
        let latency_ns = self.now_ns() - asked_ns;
        let mut results = self.results.borrow_mut();
        results.count(latency_ns, right, wrong);
        let requests = results.requests();
        if requests.is_multiple_of(NOTE_EVERY) {
            // Progress is for the eye: where there is no room for a note, the next one says it all.
            let _ = self.board.note(self.client, self.phase, requests);
        }
    }

    /// Runs `workers` tasks until the work is done, and says how it went.
    ///
    /// # Errors
    ///
    /// [`WorkError`] of the first worker that gave up.
    pub async fn work<F>(
        self: Rc<Self>,
        workers: usize,
        worker: impl Fn(Rc<Self>) -> F,
    ) -> Result<T, WorkError>
    where
        F: Future<Output = Result<(), WorkError>> + 'static,
    {
        let mut under_way = Vec::with_capacity(workers);
        for _ in 0..workers {
            let spawned = self.handle.spawn(worker(self.clone()));
            under_way.push(spawned.map_err(|_| WorkError::Workers)?);
        }
        for worker in under_way {
            worker.await.map_err(|_| WorkError::Workers)??;
        }
        let mut results = self.results.take();
        results.took(self.now_ns() - self.begun_ns);
        Ok(results)
    }
}
