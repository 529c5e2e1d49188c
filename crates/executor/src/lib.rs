//! An executor whose ready queue is its inbox.
//!
//! Purpose: DESIGN.md section 5. What the executor takes next is either a local task to resume or a message from a lane: a
//! request starts its handler on the spot, an answer resumes the task that waits for it. There is no dispatcher in between and
//! no heap in the loop.
//!
//! | file | what |
//! | --- | --- |
//! | `config` | sizes, modes, errors |
//! | `source` | where messages come from |
//! | `run` | the executor and its turn |
//! | `run/idle` | what it does when a turn has found nothing: its modes |
//! | `table` | task entries: taking, polling, dropping |
//! | `ready` | the ready queue, which runs through the entries |
//! | `pool` | cells for the handlers of a connection |
//! | `spawn` | tasks of one's own: spawn, join, cancel |
//! | `root` | the future that `run_until` drives |
//! | `timer` | deadlines |
//! | `waker` | wakers, which are numbers |
//! | `foreign` | wakes from other threads |
//! | `watch` | what other threads may see of an executor |
//! | `registry` | from the number in a waker to its executor |
//!
//! # Example
//!
//! An executor of local tasks only: its source of messages is `()`. The platform `Alone` (not shown) neither sleeps nor rings;
//! `host/linux` and `host/inprocess` have real ones.
//!
//! ```
//! # use baton_inbox::{Bell, InSlot, Platform};
//! # use std::cell::Cell;
//! # thread_local! {
//! #     static CURRENT: Cell<*const ()> = const { Cell::new(std::ptr::null()) };
//! # }
//! # struct Alone;
//! # struct NoBell;
//! # impl Bell for NoBell {
//! #     fn ring(&self) {}
//! # }
//! # impl Platform for Alone {
//! #     type Bell = NoBell;
//! #     type Publication = InSlot;
//! #     fn wait(&self, _deadline_ns: Option<u64>) {}
//! #     fn own_bell(&self) -> NoBell {
//! #         NoBell
//! #     }
//! #     fn now_ns(&self) -> u64 {
//! #         0
//! #     }
//! #     fn spin_budget_ns(&self) -> u64 {
//! #         0
//! #     }
//! #     fn spin_ended(&self, _spun_ns: u64, _found_work: bool) {}
//! #     fn current() -> *const () {
//! #         CURRENT.get()
//! #     }
//! #     fn set_current(current: *const ()) {
//! #         CURRENT.set(current);
//! #     }
//! # }
//! use baton_executor::{Config, Executor, Mode};
//! use baton_shm::HeapWords;
//! use baton_trace::Ring;
//! use std::sync::Arc;
//!
//! let state = HeapWords::region(8).word(0)?;
//! let executor = Executor::new(Alone, state, Arc::new(Ring::new(64)), Config::default())?;
//!
//! let double = executor.spawn(async { 2 * 21 })?;
//! let answer = executor.run_until(&(), Mode::Poll, double)?;
//! assert_eq!(answer, Ok(42));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Neighbours: `baton-inbox` below; `baton-rpc` above implements [`Source`], through which messages come in.
//!
//! This is one of the few crates that contain `unsafe`: futures of unknown type stand behind raw pointers in the task table.
//! See `docs/soundness.md`.
#![cfg_attr(not(loom), no_std)]

extern crate alloc;

mod config;
pub mod foreign;
mod next_turn;
mod pool;
mod ready;
pub mod registry;
mod root;
mod run;
mod source;
mod spawn;
mod table;
mod timer;
mod waker;
mod watch;

pub use config::{Config, Mode, NewExecutorError, RunError};
pub use next_turn::next_turn;
pub use pool::{CellInUse, CellSize, FreeCell, Pool, Shared, Started, Starts, When};
pub use run::{Executor, Handle, Turns};
pub use source::{ATTEND_TURNS, FLUSH_TURNS, InTurn, Source};
pub use spawn::{JoinError, JoinHandle};
pub use table::{MAX_TASKS, NO_TASK, TableFull, TaskInfo};
pub use timer::{DeadlineError, Sleep, TooManyTimers};
pub use watch::{Polled, Watch};
