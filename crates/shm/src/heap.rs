//! A region on the heap, for tests, simulations, and rings inside one process.

use crate::region::{Backing, Region};
use alloc::sync::Arc;
use alloc::vec::Vec;
use baton_sync::AtomicU64;
use core::ptr::NonNull;

/// A run of zeroed words on the heap, aligned to a cache line.
pub struct HeapWords {
    words: Vec<AtomicU64>,
    skip: usize,
    len: usize,
}

impl HeapWords {
    /// A region of `words` zeroed words of its own.
    pub fn region(words: usize) -> Region {
        // One cache line more than asked for, so that the first word can be aligned to one.
        let held: Vec<AtomicU64> = (0..words + 8).map(|_| AtomicU64::new(0)).collect();
        let misaligned = held.as_ptr() as usize % 64;
        let skip = if cfg!(loom) || misaligned == 0 {
            0
        } else {
            (64 - misaligned) / 8
        };
        Region::new(Arc::new(HeapWords {
            words: held,
            skip,
            len: words,
        }))
    }
}

// SAFETY: the vector is never resized, so its elements stay where they are until the value is dropped; `skip` is at most 7
// and 8 more words than `len` were allocated. Only atomic operations reach them.
unsafe impl Backing for HeapWords {
    fn base(&self) -> NonNull<AtomicU64> {
        NonNull::from(&self.words[self.skip])
    }

    fn words(&self) -> usize {
        self.len
    }
}
