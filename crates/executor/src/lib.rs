//! An executor whose ready queue is its inbox.
//!
//! Purpose: DESIGN.md section 5. What the executor takes next is either a local task to resume or a message from a lane: a
//! request starts its handler on the spot, an answer resumes the task that waits for it. There is no dispatcher in between and
//! no heap in the loop.
//!
//! | file | what |
//! | --- | --- |
//! | `run` | the executor, its turn, its modes |
//! | `table` | task entries and the ready queue |
//! | `pool` | cells for the handlers of a connection |
//! | `spawn` | tasks of one's own: spawn, join, cancel |
//! | `root` | the future that `run_until` drives |
//! | `timer` | deadlines |
//! | `waker` | wakers, which are numbers |
//! | `foreign` | wakes from other threads |
//! | `registry` | from the number in a waker to its executor |
//!
//! Neighbours: `baton-inbox` below; `baton-rpc` above implements [`Source`], through which messages come in.
//!
//! This is one of the few crates that contain `unsafe`: futures of unknown type stand behind raw pointers in the task table.
//! See `docs/soundness.md`.
#![cfg_attr(not(loom), no_std)]

extern crate alloc;

pub mod foreign;
mod pool;
pub mod registry;
mod root;
mod run;
mod spawn;
mod table;
mod timer;
mod waker;

pub use pool::{CellInUse, Pool, Started};
pub use run::{
    ATTEND_TURNS, Config, Executor, Handle, InTurn, Mode, NewExecutorError, RunError, Source,
    Turns, Watch,
};
pub use spawn::{JoinError, JoinHandle};
pub use table::{MAX_TASKS, NO_TASK, TableFull, TaskInfo};
pub use timer::{DeadlineError, Sleep, TooManyTimers};
