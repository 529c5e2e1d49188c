//! Capability slots: what a CNode consists of.

use core::cell::Cell;

/// The two words of a capability as they are stored. What they mean is `baton-kernel-core`'s business (`cap.rs`).
pub type CapWords = [u64; 2];

/// One slot: a capability (two words) and its place in the derivation tree (two words); 32 bytes.
#[repr(C, align(32))]
pub struct Slot {
    cap: [Cell<u64>; 2],
    /// Address of the previous slot in the derivation tree's order.
    pub prev: Cell<u64>,
    /// Address of the next slot, and two flags in the lowest bits.
    pub next: Cell<u64>,
}

impl Slot {
    /// Size of a slot, as a power of two of bytes.
    pub const BITS: u32 = 5;

    /// The capability stored here.
    #[inline(always)]
    pub fn cap(&self) -> CapWords {
        [self.cap[0].get(), self.cap[1].get()]
    }

    /// The first word of the capability: enough to tell its type.
    #[inline(always)]
    pub fn cap_first(&self) -> u64 {
        self.cap[0].get()
    }

    /// The second word of the capability.
    #[inline(always)]
    pub fn cap_second(&self) -> u64 {
        self.cap[1].get()
    }

    /// Stores a capability, leaving the slot's place in the tree as it is.
    #[inline(always)]
    pub fn set_cap(&self, cap: CapWords) {
        self.cap[0].set(cap[0]);
        self.cap[1].set(cap[1]);
    }
}
