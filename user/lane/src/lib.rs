//! Asynchronous system calls: the invocations of `baton-sel4` as futures, over a kernel lane.
//!
//! Purpose: the kernel is a peer of the inbox like any other, bound to an executor as a connection ([`link_parts`]); [`Kernel`] calls it.
//! A call is submitted when it is made, without a trap; the executor rings once a turn (the system call `Doorbell`), and the
//! answers come back as those of every peer do. Arguments are those of the synchronous forms, and so are the errors.
//!
//! Invariants: nothing here makes a system call; a lane is one thread's, so [`Kernel`] belongs to one executor; what makes no sense out
//! of a lane (`docs/abi.md`) has no method here, and `IllegalOperation` if it is asked for all the same.
//!
//! Neighbours: `baton-sel4` (the synchronous forms, and the lane's own invocations), `baton-rpc` (calls, credits), the kernel's `drain`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod answer;
mod calls;
mod link;

pub use answer::{Answer, AsyncError, LongAnswer};
pub use calls::{Invoking, Kernel};
pub use link::link_parts;
