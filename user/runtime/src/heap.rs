//! The heap of a program, for those that use `alloc`.
//!
//! Processes get memory for it from whoever starts them ([`ProcessConfig::heap_bytes`](crate::ProcessConfig)); a root task adds
//! some itself ([`Root::add_heap`](crate::Root::add_heap)). What cannot be had is a null pointer, which `alloc` reports as a panic.
//!
//! One lock guards it. Who finds it taken gives up the core until it is free, so threads that allocate must have one priority: one of
//! higher priority would wait for ever for one of lower that holds it.

use baton_sel4::yield_now;
use baton_sync::{AtomicBool, Ordering};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use talc::{ErrOnOom, Span, Talc};

struct Heap {
    taken: AtomicBool,
    talc: UnsafeCell<Talc<ErrOnOom>>,
}

// SAFETY: `talc` is reached under the lock only ([`Heap::with`]).
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap {
    taken: AtomicBool::new(false),
    talc: UnsafeCell::new(Talc::new(ErrOnOom)),
};

impl Heap {
    fn with<T>(&self, work: impl FnOnce(&mut Talc<ErrOnOom>) -> T) -> T {
        // Acquire: pairs with the Release store below.
        while self.taken.swap(true, Ordering::Acquire) {
            yield_now();
        }
        // SAFETY: whoever sets the flag is alone until it clears it, and `work` does not come back here: it allocates nothing.
        let result = work(unsafe { &mut *self.talc.get() });
        // Release: pairs with the Acquire swap above.
        self.taken.store(false, Ordering::Release);
        result
    }
}

// SAFETY: talc keeps the promises of the trait; every block comes from memory that `add` was given for good.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout has a size that is not 0.
        let block = self.with(|talc| unsafe { talc.malloc(layout) });
        block.map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller got the block from `alloc`, with this layout.
            self.with(|talc| unsafe { talc.free(block, layout) });
        }
    }
}

/// Adds memory to the heap, for good.
///
/// # Safety
/// The `bytes` at `start` are mapped for reading and writing as long as the program runs, and nothing else uses them.
pub(crate) unsafe fn add(start: usize, bytes: usize) {
    let span = Span::from_base_size(start as *mut u8, bytes);
    // SAFETY: the caller's promise. Too little for even the bookkeeping is refused, and is then not there.
    let _ = HEAP.with(|talc| unsafe { talc.claim(span) });
}
