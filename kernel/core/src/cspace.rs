//! Capability spaces: from a capability pointer to the slot it names. Reference manual, section 3.3.

use crate::cap::{Cap, address_of, kind, kind_of};
use crate::error::{LookupFailure, SyscallError};
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{CapWords, Slot, Tcb, tcb_slot};
use baton_sel4_abi::{CNodeCapData, WORD_BITS};

/// Where a resolution ended.
struct Resolved<'m> {
    slot: &'m Slot,
    /// Bits of the pointer that were not needed: a capability that is no CNode stood in the way.
    bits_left: u64,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Resolves `depth` bits of `pointer` from the CNode in `root` on; guards of each CNode first, then its index.
    #[inline]
    fn resolve(
        self,
        root: CapWords,
        pointer: u64,
        depth: u64,
    ) -> Result<Resolved<'m>, LookupFailure> {
        if kind_of(root[0]) != kind::CNODE {
            return Err(LookupFailure::InvalidRoot);
        }
        let mut node = root;
        let mut bits_left = depth;
        loop {
            let radix = cnode_radix(node[0]);
            let data = CNodeCapData::from_word(node[1]);
            let guard_bits = data.guard_size();
            let level_bits = radix + guard_bits;
            // Shifts are modulo 64: with all bits left and none of them guard, the mask makes it nothing.
            let guard = pointer.wrapping_shr(bits_left.wrapping_sub(guard_bits) as u32)
                & low_bits(guard_bits);
            if guard_bits > bits_left || guard != data.guard() {
                return Err(LookupFailure::GuardMismatch {
                    bits_left,
                    guard_found: data.guard(),
                    bits_found: guard_bits,
                });
            }
            if level_bits > bits_left {
                return Err(LookupFailure::DepthMismatch {
                    bits_left,
                    bits_found: level_bits,
                });
            }
            bits_left -= level_bits;
            let index = pointer.wrapping_shr(bits_left as u32) & low_bits(radix);
            let slot: &'m Slot = self.mem.get(address_of(node[0]).add(index << Slot::BITS));
            if bits_left == 0 {
                return Ok(Resolved { slot, bits_left });
            }
            node = slot.cap();
            // A CNode that resolves nothing would never end.
            if kind_of(node[0]) != kind::CNODE || level_bits == 0 {
                return Ok(Resolved { slot, bits_left });
            }
        }
    }

    /// The slot that `pointer` names in the thread's own capability space, if all of the pointer is used up.
    #[inline(always)]
    pub(crate) fn find_slot(self, thread: &'m Tcb, pointer: u64) -> Option<&'m Slot> {
        let mut node = thread.slots[tcb_slot::CTABLE].cap();
        // What is not resolved yet, in the highest bits.
        let mut rest = pointer;
        let mut bits_left = WORD_BITS;
        loop {
            if kind_of(node[0]) != kind::CNODE {
                return None;
            }
            let radix = cnode_radix(node[0]);
            let data = CNodeCapData::from_word(node[1]);
            let guard_bits = data.guard_size();
            // Shifted twice, for a guard may have no bits.
            let guard = (rest >> 1) >> ((WORD_BITS - 1 - guard_bits) & 63);
            if guard != data.guard() {
                return None;
            }
            rest <<= guard_bits;
            let index = (rest >> 1) >> ((WORD_BITS - 1 - radix) & 63);
            let slot: &Slot = self
                .mem
                .find(address_of(node[0]).add(index << Slot::BITS))?;
            let level_bits = guard_bits + radix;
            if level_bits == bits_left {
                return Some(slot);
            }
            if level_bits > bits_left || level_bits == 0 {
                return None;
            }
            bits_left -= level_bits;
            rest <<= radix & 63;
            node = slot.cap();
        }
    }

    /// The slot that `pointer` names in the thread's own capability space.
    #[inline(always)]
    pub(crate) fn lookup_slot(
        self,
        thread: &'m Tcb,
        pointer: u64,
    ) -> Result<&'m Slot, LookupFailure> {
        match self.find_slot(thread, pointer) {
            Some(slot) => Ok(slot),
            None => self.lookup_odd_slot(thread, pointer),
        }
    }

    /// The same, for a pointer that is not used up, or does not resolve.
    #[cold]
    #[inline(never)]
    fn lookup_odd_slot(self, thread: &'m Tcb, pointer: u64) -> Result<&'m Slot, LookupFailure> {
        let root = thread.slots[tcb_slot::CTABLE].cap();
        Ok(self.resolve(root, pointer, WORD_BITS)?.slot)
    }

    /// The slot that an operation on CNodes names: exactly `depth` bits of `index` from `root` on. `source` only tells the
    /// caller which of its lookups failed.
    #[inline]
    pub(crate) fn lookup_slot_at(
        self,
        root: Cap,
        index: u64,
        depth: u64,
        source: bool,
    ) -> Result<&'m Slot, SyscallError> {
        let failed = |failure| SyscallError::FailedLookup { source, failure };
        if !matches!(root, Cap::CNode { .. }) {
            return Err(failed(LookupFailure::InvalidRoot));
        }
        if !(1..=WORD_BITS).contains(&depth) {
            return Err(SyscallError::RangeError {
                min: 1,
                max: WORD_BITS,
            });
        }
        let found = self.resolve(root.encode(), index, depth).map_err(failed)?;
        if found.bits_left != 0 {
            return Err(failed(LookupFailure::DepthMismatch {
                bits_left: found.bits_left,
                bits_found: 0,
            }));
        }
        Ok(found.slot)
    }
}

#[inline(always)]
fn cnode_radix(first: u64) -> u64 {
    (first >> 5) & 0x3f
}

/// A mask of the lowest `bits` (below 64).
#[inline(always)]
fn low_bits(bits: u64) -> u64 {
    !(u64::MAX << (bits & 63))
}
