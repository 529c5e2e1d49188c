//! The registry: from the number in a waker to the executor it belongs to.
//!
//! A waker holds `key | task index`, never a pointer: a stale one finds an outdated generation and does nothing. Slots and
//! what they point to are never freed, only used again.

use crate::foreign::Foreign;
use alloc::boxed::Box;
use baton_sync::{AtomicPtr, AtomicU64, Ordering};

/// Executors that can exist in one process at the same time.
pub const MAX_EXECUTORS: usize = 64;

/// Bits of a waker's data word below the key: the task index.
pub const INDEX_BITS: u32 = 16;

const SLOT_BITS: u32 = 6;

/// Set in every key. With the bit below clear it makes the word one that is no address, so that no other runtime's waker has it.
const MARK: usize = 1 << (usize::BITS - 1);

/// Bits of the generation in a key.
const GENERATION_BITS: u32 = usize::BITS - INDEX_BITS - SLOT_BITS - 2;

/// The executor of a waker: `MARK | generation | slot:6`, shifted above the index bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(pub(crate) usize);

/// All executor slots of the process are taken: end one first. (A slot is given up for good after 2⁴⁰ executors.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyExecutors;

struct Slot {
    /// Odd while an executor lives in the slot.
    generation: AtomicU64,
    foreign: AtomicPtr<Foreign>,
}

/// A table of executors.
pub struct Registry {
    slots: [Slot; MAX_EXECUTORS],
}

impl Slot {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Slot {
            generation: AtomicU64::new(0),
            foreign: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Slot {
            generation: AtomicU64::new(0),
            foreign: AtomicPtr::new(core::ptr::null_mut()),
        }
    }
}

impl Registry {
    /// An empty table.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default)] // `Default` cannot be const.
    pub const fn new() -> Self {
        Registry {
            slots: [const { Slot::new() }; MAX_EXECUTORS],
        }
    }

    /// An empty table.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)] // As above.
    pub fn new() -> Self {
        Registry {
            slots: core::array::from_fn(|_| Slot::new()),
        }
    }

    /// Takes a slot for an executor with `tasks` task entries.
    ///
    /// # Errors
    ///
    /// [`TooManyExecutors`] when all slots are taken.
    pub fn register(&self, tasks: usize) -> Result<(Key, &'static Foreign), TooManyExecutors> {
        for (number, slot) in self.slots.iter().enumerate() {
            let generation = slot.generation.load(Ordering::Relaxed);
            if generation % 2 == 1 || is_worn_out(generation) {
                continue;
            }
            // AcqRel: pairs with the Release in `unregister`; from here on the slot is ours.
            let taken = slot.generation.compare_exchange(
                generation,
                generation.wrapping_add(1),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if taken.is_err() {
                continue;
            }
            let old = slot.foreign.load(Ordering::Relaxed);
            // SAFETY: pointers in slots come from `Box::leak` below and are never freed.
            let kept = unsafe { old.as_ref() }.filter(|foreign| foreign.tasks() >= tasks);
            let foreign = match kept {
                Some(foreign) => foreign,
                None => {
                    let made: &'static Foreign = Box::leak(Box::new(Foreign::new(tasks)));
                    // Release: pairs with the Acquire load in `find`.
                    slot.foreign
                        .store(core::ptr::from_ref(made).cast_mut(), Ordering::Release);
                    made
                }
            };
            foreign.reset();
            return Ok((Key::new(generation.wrapping_add(1), number), foreign));
        }
        Err(TooManyExecutors)
    }

    /// Gives a slot back: wakes with its key do nothing from now on.
    pub fn unregister(&self, key: Key) {
        let Some(slot) = self.slots.get(key.slot()) else {
            return;
        };
        let foreign = slot.foreign.load(Ordering::Relaxed);
        // SAFETY: as in `register`.
        if let Some(foreign) = unsafe { foreign.as_ref() } {
            foreign.set_bell(None);
            foreign.forget_running();
        }
        // Release: pairs with the AcqRel exchange in `register`.
        slot.generation.fetch_add(1, Ordering::Release);
    }

    /// The executor of `key`, if it still lives.
    pub fn find(&self, key: Key) -> Option<&'static Foreign> {
        let slot = self.slots.get(key.slot())?;
        // Relaxed: a stale answer leads to a spurious poll at worst.
        let generation = slot.generation.load(Ordering::Relaxed);
        if Key::new(generation, key.slot()) != key {
            return None;
        }
        // Acquire: pairs with the Release store in `register`.
        let foreign = slot.foreign.load(Ordering::Acquire);
        // SAFETY: as in `register`: never freed once published.
        unsafe { foreign.as_ref() }
    }
}

/// Whether the next executor of a slot would need a key that there has been before. Where words have 32 bits keys come again after some
/// executors; a stale wake may then be a spurious one.
fn is_worn_out(generation: u64) -> bool {
    usize::BITS >= u64::BITS && generation >> GENERATION_BITS != 0
}

impl Key {
    fn new(generation: u64, slot: usize) -> Key {
        let generation = generation as usize & ((1 << GENERATION_BITS) - 1);
        Key(MARK | (generation << SLOT_BITS | slot) << INDEX_BITS)
    }

    fn slot(self) -> usize {
        self.0 >> INDEX_BITS & (MAX_EXECUTORS - 1)
    }

    /// The key part of a waker's data word.
    pub fn of_waker(data: usize) -> Key {
        Key(data >> INDEX_BITS << INDEX_BITS)
    }
}

#[cfg(not(loom))]
static REGISTRY: Registry = Registry::new();

/// The process's table of executors.
#[cfg(not(loom))]
pub fn registry() -> &'static Registry {
    &REGISTRY
}

#[cfg(loom)]
loom::lazy_static! {
    static ref REGISTRY: Registry = Registry::new();
}

/// The process's table of executors; each run of the model has its own.
#[cfg(loom)]
pub fn registry() -> &'static Registry {
    &REGISTRY
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_no_address_and_leaves_the_index_bits_free() {
        // What it leaks stays within reach, as the process's own does.
        static REGISTRY: Registry = Registry::new();
        let registry = &REGISTRY;
        let (key, _) = registry.register(1).expect("all slots are free");
        // On 64-bit machines an address has the two highest bits alike.
        assert_eq!(key.0 >> (usize::BITS - 2), 0b10);
        assert_eq!(key.0 & ((1 << INDEX_BITS) - 1), 0);
        assert_eq!(Key::of_waker(key.0 | 7), key);
    }

    #[test]
    fn an_ended_executor_is_not_found_and_the_next_has_another_key() {
        // What it leaks stays within reach, as the process's own does.
        static REGISTRY: Registry = Registry::new();
        let registry = &REGISTRY;
        let (first, _) = registry.register(1).expect("all slots are free");
        registry.unregister(first);
        assert!(registry.find(first).is_none());
        let (second, _) = registry.register(1).expect("all slots are free");
        assert_ne!(first, second);
        assert!(registry.find(second).is_some());
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_slot_whose_keys_are_used_up_is_not_used_again() {
        // What it leaks stays within reach, as the process's own does.
        static REGISTRY: Registry = Registry::new();
        let registry = &REGISTRY;
        let last = (1 << GENERATION_BITS) - 2;
        registry.slots[0].generation.store(last, Ordering::Relaxed);
        let (key, _) = registry.register(1).expect("one key is left");
        assert_eq!(key.slot(), 0);
        registry.unregister(key);
        let (next, _) = registry.register(1).expect("other slots are free");
        assert_ne!(next.slot(), 0);
    }
}
