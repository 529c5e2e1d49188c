//! Frames that the broker mapped for this process: regions, and pages of single words.
//!
//! The kernel decides by capability rights who may write what; the types here only say the same. A connection's mappings stay until
//! the last thing that refers to them is dropped: then the broker is told ([`Lease`]) and takes them back.

use crate::protocol::RELEASE;
use alloc::sync::Arc;
use baton_sel4::{Endpoint, Message};
use baton_shm::{Backing, ReadRegion, Region};
use baton_sync::AtomicU64;
use core::ptr::NonNull;

/// Keeps a connection's mappings; when the last copy is dropped, the broker may take them back.
pub(crate) struct Lease {
    pub(crate) broker: Endpoint,
    pub(crate) index: u32,
    pub(crate) generation: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let words = [u64::from(self.index), self.generation];
        // The broker knows of the connection as long as we have not said this, so there is nothing that it could refuse.
        self.broker.call(&Message::new(RELEASE, &words));
    }
}

/// Words that the broker mapped.
struct Frames {
    base: NonNull<AtomicU64>,
    words: usize,
    /// None for what stays as long as the process.
    _lease: Option<Arc<Lease>>,
}

// SAFETY: the words are reached by atomic operations only, from whatever thread.
unsafe impl Send for Frames {}
// SAFETY: as for `Send`.
unsafe impl Sync for Frames {}

// SAFETY: the broker, whom this process trusts with its memory, maps `words` words at `base` before it says so, and does not unmap them
// before the lease is dropped: where it must take frames back earlier it maps others in their place, in the worst case when the first
// access faults. Other processes write them from their own protection domains. What may only be read is wrapped by
// `ReadRegion` only (`read_only`).
unsafe impl Backing for Frames {
    fn base(&self) -> NonNull<AtomicU64> {
        self.base
    }

    fn words(&self) -> usize {
        self.words
    }
}

fn frames(address: u64, words: usize, lease: Option<Arc<Lease>>) -> Arc<Frames> {
    // The addresses are constants of the protocol, none of which is 0.
    let base = NonNull::new(address as *mut AtomicU64).unwrap_or(NonNull::dangling());
    Arc::new(Frames {
        base,
        words,
        _lease: lease,
    })
}

/// Words at `address` that this process may write.
pub(crate) fn writable(address: u64, words: usize, lease: Option<Arc<Lease>>) -> Region {
    Region::new(frames(address, words, lease))
}

/// Words at `address` that this process may only read.
pub(crate) fn read_only(address: u64, words: usize, lease: Option<Arc<Lease>>) -> ReadRegion {
    ReadRegion::new(frames(address, words, lease))
}
