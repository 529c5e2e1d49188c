//! Address-space identifiers: pools of 512 of them, made of untyped memory.

use super::DONE;
use crate::cap::Cap;
use crate::error::{Decoded, LookupFailure, SyscallError};
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{AsidPool, Paddr};
use baton_sel4_abi::{ASID_POOL_BITS, ASID_POOL_INDEX_BITS, Label};
use core::cell::Cell;

/// The identifier of the initial thread's address space. 0 means none.
pub(crate) const INITIAL_ASID: u64 = 1;

const POOL_SIZE: usize = 1 << ASID_POOL_INDEX_BITS;

impl<'m, M: Machine> Kernel<'m, M> {
    /// The root of the address space with that identifier.
    #[inline]
    pub(crate) fn root_of(self, asid: u64) -> Option<Paddr> {
        let root = Paddr::new(self.asid_entry(asid)?.get());
        (!root.is_null()).then_some(root)
    }

    /// Where the root of that address space stands; nothing if there is no such pool.
    #[inline]
    fn asid_entry(self, asid: u64) -> Option<&'m Cell<u64>> {
        let pool = self.pool_cell(asid)?.get();
        let pool = self.mem.get_or_null::<AsidPool>(pool)?;
        Some(&pool.roots[asid as usize % POOL_SIZE])
    }

    /// Where the pool of that identifier stands.
    #[inline]
    fn pool_cell(self, asid: u64) -> Option<&'m Cell<Paddr>> {
        let index = usize::try_from(asid >> ASID_POOL_INDEX_BITS).ok()?;
        self.core.asid_pools.get(index)
    }

    /// Makes a pool of an untyped of exactly its size.
    pub(super) fn decode_asid_control(self, inv: &Invocation<'m>) -> Decoded {
        if Label::from_number(inv.label) != Some(Label::AsidControlMakePool) {
            return Err(SyscallError::IllegalOperation.into());
        }
        inv.need(2)?;
        let parent = inv.extra::<0>()?;
        let cnode = inv.extra::<1>()?;
        let (index, depth) = (inv.arg::<0>(), inv.arg::<1>());
        let free = self
            .core
            .asid_pools
            .iter()
            .position(|pool| pool.get().is_null());
        let Some(number) = free else {
            return Err(SyscallError::DeleteFirst.into());
        };
        let Cap::Untyped {
            address,
            size_bits: ASID_POOL_BITS,
            device: false,
            ..
        } = Cap::decode(parent.cap())
        else {
            return Err(SyscallError::InvalidCapability(1).into());
        };
        self.ensure_no_children(parent)?;
        let root = Cap::decode(cnode.cap());
        let slot = self.lookup_slot_at(root, index, depth, false)?;
        self.ensure_empty(slot)?;

        // All of the untyped is used.
        let used = Cap::Untyped {
            address,
            size_bits: ASID_POOL_BITS,
            device: false,
            used: 1 << ASID_POOL_BITS,
        };
        parent.set_cap(used.encode());
        self.mem.zero(address, 1 << ASID_POOL_BITS);
        let base = (number as u64) << ASID_POOL_INDEX_BITS;
        let pool = Cap::AsidPool { address, base };
        self.insert_cap(pool, parent, slot);
        if let Some(cell) = self.pool_cell(base) {
            cell.set(address);
        }
        DONE
    }

    /// Gives an address space an identifier of the pool.
    pub(super) fn decode_asid_pool(self, inv: &Invocation<'m>, pool: Paddr, base: u64) -> Decoded {
        if Label::from_number(inv.label) != Some(Label::AsidPoolAssign) {
            return Err(SyscallError::IllegalOperation.into());
        }
        let slot = inv.extra::<0>()?;
        let Cap::PageTable {
            address,
            mapped: false,
            ..
        } = Cap::decode(slot.cap())
        else {
            return Err(SyscallError::InvalidCapability(1).into());
        };
        match self.pool_cell(base).map(Cell::get) {
            Some(there) if there == pool => {}
            Some(there) if !there.is_null() => {
                return Err(SyscallError::InvalidCapability(0).into());
            }
            _ => {
                return Err(SyscallError::FailedLookup {
                    source: false,
                    failure: LookupFailure::InvalidRoot,
                }
                .into());
            }
        }
        let pool: &AsidPool = self.mem.get(pool);
        // Identifier 0 means none, so the first pool has one less.
        let free = (0_u64..)
            .zip(&pool.roots)
            .find(|(index, root)| base + index != 0 && root.get() == 0);
        let Some((index, root)) = free else {
            return Err(SyscallError::DeleteFirst.into());
        };
        let assigned = Cap::PageTable {
            address,
            mapped: true,
            asid: base + index,
            vaddr: 0,
        };
        slot.set_cap(assigned.encode());
        self.map_kernel(address);
        root.set(address.value());
        DONE
    }

    /// Ends an address space: its identifier is free again.
    pub(super) fn delete_asid(self, asid: u64) {
        if let Some(entry) = self.asid_entry(asid) {
            entry.set(0);
            self.switch_vspace_again();
            self.machine.flush_address_space(asid);
        }
    }

    /// Ends all address spaces of a pool.
    pub(super) fn delete_asid_pool(self, pool: Paddr, base: u64) {
        if let Some(cell) = self.pool_cell(base)
            && cell.get() == pool
        {
            cell.set(Paddr::NULL);
            self.switch_vspace_again();
            self.machine.fence_tables();
        }
    }

    /// Makes the first pool, with the initial thread's address space in it.
    pub(crate) fn boot_set_asid(self, pool: Paddr, root: Paddr) {
        if let Some(cell) = self.pool_cell(INITIAL_ASID) {
            cell.set(pool);
        }
        if let Some(entry) = self.asid_entry(INITIAL_ASID) {
            entry.set(root.value());
        }
    }
}
