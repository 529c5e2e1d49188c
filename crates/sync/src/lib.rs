//! The only importer of atomics in Baton's `no_std` crates.
//!
//! Purpose: one place where the model checker [loom](https://docs.rs/loom) can take over. Built with
//! `--cfg loom`, every type below is loom's; otherwise it is `core`'s and costs nothing.
//!
//! Invariant: no other crate in `crates/` names `core::sync::atomic`. Publication protocols use
//! *fences* and *read-modify-writes* for their store-load ordering, never sequentially consistent loads
//! and stores, because loom models those as weaker than they are.
//!
//! Neighbours: `baton-shm` builds shared words out of [`AtomicU64`]; `baton-executor` uses the others for
//! wakes from foreign threads.
#![cfg_attr(not(loom), no_std)]
#![forbid(unsafe_code)]

#[cfg(not(loom))]
pub use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

#[cfg(loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// Words that one thread writes and others only look at, now and then: no protocol rests on them, so the model checker leaves them out, and
/// whoever unwinds out of a failed model may still touch them.
pub mod watched {
    pub use core::sync::atomic::{AtomicU32, AtomicU64};
}

/// Tells the processor (or the model checker) that the caller is spinning.
#[inline]
pub fn spin_loop() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
