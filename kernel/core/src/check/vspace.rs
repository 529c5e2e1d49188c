//! Do address spaces show users what they hold capabilities to, and nothing else?

extern crate std;

use super::{BLOCK_WORDS, Checked, Found};
use crate::cap::Cap;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{AsidPool, Paddr, PageTable};
use baton_sel4_abi::{ASID_POOL_INDEX_BITS, CapRights, PAGE_BITS, PAGE_TABLE_INDEX_BITS};
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::vec::Vec;

/// Bits of an entry. Source: RISC-V Privileged Architecture, chapter 10.3.
const VALID: u64 = 1;
const WRITE: u64 = 1 << 2;
const LEAF: u64 = 0b1110;
const USER: u64 = 1 << 4;
const ADDRESS_MASK: u64 = (1 << 44) - 1;

/// Bytes that an entry of the root maps (log2).
const TOP_BITS: u64 = PAGE_BITS + 2 * PAGE_TABLE_INDEX_BITS;

/// What is mapped, by what the capabilities say.
#[derive(Default)]
struct Mapped {
    /// Untyped memory: first address, and first behind.
    untyped: Vec<(u64, u64)>,
    /// Address and first identifier of ASID pools.
    pools: BTreeSet<(u64, u64)>,
    /// Page tables: address and identifier.
    tables: BTreeSet<(u64, u64)>,
    /// Frames: address, size (bytes, log2), identifier, virtual address; and whether one of the capabilities may write.
    frames: BTreeMap<(u64, u64, u64, u64), bool>,
}

impl Mapped {
    /// Whether an object without capability may be there all the same: one that is older than all untyped memory, whose
    /// capability is in a CNode that nothing leads to any more. Others are found by their neighbours in the tree.
    fn may_be_out_of_reach(&self, at: u64) -> bool {
        let mut untyped = self.untyped.iter();
        !untyped.any(|&(start, end)| (start..end).contains(&at))
    }
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// The root of the address space with that identifier.
    pub fn address_space(self, asid: u64) -> Option<Paddr> {
        self.root_of(asid)
    }

    /// Every page that an address space maps is one that a capability has mapped there, and every table one that has a
    /// capability; the kernel's half is the kernel's.
    pub(super) fn check_vspaces(self, found: &Found) -> Checked {
        let mut mapped = Mapped::default();
        for &cap in found.slots.values() {
            match cap {
                Cap::Frame {
                    address,
                    size,
                    rights,
                    asid,
                    vaddr,
                    ..
                } if asid != 0 => {
                    let place = (address.value(), size.bits(), asid, vaddr);
                    let writable = mapped.frames.entry(place).or_default();
                    *writable |= rights.contains(CapRights::WRITE);
                }
                Cap::PageTable {
                    address,
                    mapped: true,
                    asid,
                    ..
                } => {
                    mapped.tables.insert((address.value(), asid));
                }
                Cap::AsidPool { address, base } => {
                    mapped.pools.insert((address.value(), base));
                }
                Cap::Untyped {
                    address, size_bits, ..
                } => {
                    let start = address.value();
                    mapped.untyped.push((start, start + (1 << size_bits)));
                }
                _ => {}
            }
        }
        for (index, pool) in self.core.asid_pools.iter().enumerate() {
            let base = (index as u64) << ASID_POOL_INDEX_BITS;
            let Some(pool) = self.mem.get_or_null::<AsidPool>(pool.get()) else {
                continue;
            };
            let at = self.mem.address(pool).value();
            ensure!(
                mapped.pools.contains(&(at, base)) || mapped.may_be_out_of_reach(at),
                "there is no capability to the ASID pool of {base:#x}"
            );
            for (number, block) in pool.roots.chunks(BLOCK_WORDS).enumerate() {
                let first = number as u64 * BLOCK_WORDS as u64;
                if self.is_block_clear(at + first * 8) {
                    continue;
                }
                for (asid, root) in (base + first..).zip(block) {
                    if root.get() != 0 {
                        self.check_table(&mapped, asid, Paddr::new(root.get()), 0, TOP_BITS)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at a table that maps addresses from `base` on, `1 << bits` bytes an entry.
    fn check_table(self, mapped: &Mapped, asid: u64, at: Paddr, base: u64, bits: u64) -> Checked {
        ensure!(
            mapped.tables.contains(&(at.value(), asid)) || mapped.may_be_out_of_reach(at.value()),
            "there is no capability to the page table {at:?} of address space {asid}"
        );
        let table: &PageTable = self.mem.get(at);
        let half = table.entries.len() / 2;
        // The upper half of a root is the kernel's.
        let end = if bits == TOP_BITS { half } else { 2 * half };
        for (number, block) in table.entries[..end].chunks(BLOCK_WORDS).enumerate() {
            let first = number * BLOCK_WORDS;
            if self.is_block_clear(at.value() + first as u64 * 8) {
                continue;
            }
            for (index, entry) in (first..).zip(block) {
                let vaddr = base + ((index as u64) << bits);
                self.check_entry(mapped, asid, entry.get(), vaddr, bits)?;
            }
        }
        if bits == TOP_BITS {
            let mut upper = table.entries.iter().enumerate().skip(half);
            let other =
                upper.find(|&(index, entry)| entry.get() != self.machine.kernel_entry(index));
            ensure!(
                other.is_none(),
                "the kernel's half of the root {at:?} is not the kernel's"
            );
        }
        Ok(())
    }

    /// Looks at an entry that maps `1 << bits` bytes at `vaddr`.
    fn check_entry(self, mapped: &Mapped, asid: u64, entry: u64, vaddr: u64, bits: u64) -> Checked {
        let to = ((entry >> 10) & ADDRESS_MASK) << PAGE_BITS;
        if entry & VALID == 0 {
            return Ok(());
        }
        if entry & LEAF == 0 {
            ensure!(bits > PAGE_BITS, "a table below the lowest at {vaddr:#x}");
            let next = bits - PAGE_TABLE_INDEX_BITS;
            return self.check_table(mapped, asid, Paddr::new(to), vaddr, next);
        }
        let writable = mapped.frames.get(&(to, bits, asid, vaddr));
        if writable.is_none() && mapped.may_be_out_of_reach(to) {
            return Ok(());
        }
        ensure!(
            entry & USER != 0 && writable.is_some(),
            "{to:#x} is mapped at {vaddr:#x} in address space {asid}, and no capability says so"
        );
        ensure!(
            entry & WRITE == 0 || writable == Some(&true),
            "{to:#x} is writable at {vaddr:#x} in address space {asid}, and no capability permits it"
        );
        Ok(())
    }
}
