//! Page tables: their entries, the walk, and the invocations that map and unmap them.

use super::{DONE, INITIAL_ASID};
use crate::cap::Cap;
use crate::error::{Decoded, SyscallError};
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Paddr, PageTable};
use baton_sel4_abi::{
    CapRights, Label, PAGE_BITS, PAGE_TABLE_BITS, PAGE_TABLE_INDEX_BITS, PAGE_TABLE_LEVELS,
    USER_TOP,
};
use core::cell::Cell;

/// Bits of an entry. Source: RISC-V Privileged Architecture, chapter 10.3.
const VALID: u64 = 1;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
const USER: u64 = 1 << 4;
/// Accessed and dirty, so that the hardware need not note it: the kernel does not ask.
const USED: u64 = 3 << 6;
const ADDRESS_SHIFT: u32 = 10;
/// Bits that hold the address; above are bits that this kernel leaves zero.
const ADDRESS_MASK: u64 = (1 << 44) - 1;

/// Entries of a table.
const ENTRIES: usize = 1 << PAGE_TABLE_INDEX_BITS;
/// Where the kernel's half of a root begins.
const KERNEL_HALF: usize = ENTRIES / 2;

/// An entry of a page table, in the hardware's format.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u64);

impl Entry {
    /// Maps nothing.
    pub(super) const NONE: Self = Self(0);

    /// The next level is at `table`.
    pub(super) fn table(table: Paddr) -> Self {
        Self(address_bits(table) | VALID)
    }

    /// Maps a frame for the user. Without any right, and not executable, it maps nothing.
    pub(super) fn page(frame: Paddr, rights: CapRights, executable: bool) -> Self {
        let mut bits = 0;
        if rights.contains(CapRights::READ) {
            bits |= READ;
        }
        if rights.contains(CapRights::WRITE) {
            bits |= WRITE;
        }
        if executable {
            bits |= EXECUTE;
        }
        match bits {
            0 => Self::NONE,
            _ => Self(address_bits(frame) | bits | USER | USED | VALID),
        }
    }

    pub(super) fn is_valid(self) -> bool {
        self.0 & VALID != 0
    }

    /// Whether it leads to another table.
    pub(super) fn is_table(self) -> bool {
        self.0 & (VALID | READ | WRITE | EXECUTE) == VALID
    }

    /// The address of the table or frame.
    pub(super) fn address(self) -> Paddr {
        Paddr::new(((self.0 >> ADDRESS_SHIFT) & ADDRESS_MASK) << PAGE_BITS)
    }
}

fn address_bits(address: Paddr) -> u64 {
    (address.value() >> PAGE_BITS) << ADDRESS_SHIFT
}

/// Where a walk has ended.
#[derive(Clone, Copy)]
pub(super) struct Place<'m> {
    /// The entry: a frame's, or one that maps nothing.
    pub(super) entry: &'m Cell<u64>,
    /// What it maps (bytes, log2).
    pub(super) bits: u64,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Follows the page tables to the entry at which `vaddr` is, or would be, mapped.
    pub(super) fn walk(self, root: Paddr, vaddr: u64) -> Place<'m> {
        let mut table = root;
        let mut bits = PAGE_BITS + PAGE_TABLE_INDEX_BITS * (PAGE_TABLE_LEVELS - 1);
        loop {
            let entry = self.entry(table, vaddr, bits);
            let value = Entry(entry.get());
            if !value.is_table() || bits == PAGE_BITS {
                return Place { entry, bits };
            }
            table = value.address();
            bits -= PAGE_TABLE_INDEX_BITS;
        }
    }

    /// The entry for `vaddr` in a table whose entries map `1 << bits` bytes.
    fn entry(self, table: Paddr, vaddr: u64, bits: u64) -> &'m Cell<u64> {
        let index = (vaddr >> bits) as usize % ENTRIES;
        &self.mem.get::<PageTable>(table).entries[index]
    }

    pub(super) fn decode_page_table(self, inv: &Invocation<'m>, cap: Cap) -> Decoded {
        match Label::from_number(inv.label) {
            Some(Label::PageTableMap) => self.page_table_map(inv, cap),
            Some(Label::PageTableUnmap) => self.page_table_unmap(inv, cap),
            _ => Err(SyscallError::IllegalOperation.into()),
        }
    }

    fn page_table_map(self, inv: &Invocation<'m>, cap: Cap) -> Decoded {
        inv.need(2)?;
        let root = inv.extra::<0>()?;
        let Cap::PageTable {
            address,
            mapped: false,
            ..
        } = cap
        else {
            return Err(SyscallError::InvalidCapability(0).into());
        };
        let vaddr = inv.arg::<0>();
        let vspace = self.vspace_in(root)?;
        if vaddr >= USER_TOP {
            return Err(SyscallError::InvalidArgument(0).into());
        }
        self.check_vspace(vspace)?;
        let place = self.walk(vspace.root, vaddr);
        if place.bits == PAGE_BITS || Entry(place.entry.get()).is_valid() {
            return Err(SyscallError::DeleteFirst.into());
        }
        let mapped = Cap::PageTable {
            address,
            mapped: true,
            asid: vspace.asid,
            vaddr: vaddr & !((1 << place.bits) - 1),
        };
        inv.slot.set_cap(mapped.encode());
        place.entry.set(Entry::table(address).0);
        self.machine.flush_address_space(vspace.asid);
        DONE
    }

    fn page_table_unmap(self, inv: &Invocation<'m>, cap: Cap) -> Decoded {
        // Copies would go on believing that it is mapped.
        if !self.is_final(inv.slot) {
            return Err(SyscallError::RevokeFirst.into());
        }
        if let Cap::PageTable {
            address,
            mapped: true,
            asid,
            vaddr,
        } = cap
        {
            if self.root_of(asid) == Some(address) {
                // A root is not mapped anywhere: it goes by being deleted.
                return Err(SyscallError::RevokeFirst.into());
            }
            self.unmap_table(asid, vaddr, address);
            self.mem.zero(address, 1 << PAGE_TABLE_BITS);
            let unmapped = Cap::PageTable {
                address,
                mapped: false,
                asid,
                vaddr,
            };
            inv.slot.set_cap(unmapped.encode());
        }
        DONE
    }

    /// Takes a table out of the address space, if it is there.
    pub(super) fn unmap_table(self, asid: u64, vaddr: u64, table: Paddr) {
        let Some(root) = self.root_of(asid) else {
            return;
        };
        let mut parent = root;
        let mut bits = PAGE_BITS + PAGE_TABLE_INDEX_BITS * (PAGE_TABLE_LEVELS - 1);
        while bits > PAGE_BITS {
            let entry = self.entry(parent, vaddr, bits);
            let value = Entry(entry.get());
            if !value.is_table() {
                return;
            }
            if value.address() == table {
                entry.set(Entry::NONE.0);
                self.machine.flush_address_space(asid);
                return;
            }
            parent = value.address();
            bits -= PAGE_TABLE_INDEX_BITS;
        }
    }

    /// Gives a root the kernel's half.
    pub(super) fn map_kernel(self, root: Paddr) {
        let table: &PageTable = self.mem.get(root);
        for (index, entry) in table.entries.iter().enumerate().skip(KERNEL_HALF) {
            entry.set(self.machine.kernel_entry(index));
        }
    }

    /// Makes a cleared table the root of the initial thread's address space, and returns its capability.
    pub(crate) fn boot_new_root(self, root: Paddr) -> Cap {
        self.map_kernel(root);
        Cap::PageTable {
            address: root,
            mapped: true,
            asid: INITIAL_ASID,
            vaddr: 0,
        }
    }

    /// Maps a cleared table for `vaddr` on the level below the lowest that is there, and returns its capability.
    pub(crate) fn boot_map_table(self, root: Paddr, table: Paddr, vaddr: u64) -> Cap {
        let place = self.walk(root, vaddr);
        place.entry.set(Entry::table(table).0);
        Cap::PageTable {
            address: table,
            mapped: true,
            asid: INITIAL_ASID,
            vaddr: vaddr & !((1 << place.bits) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_what_the_hardware_reads() {
        let frame = Paddr::new(0x8765_4000);
        assert_eq!(Entry::table(frame).0, 0x8_7654 << 10 | 1);
        assert!(Entry::table(frame).is_table());
        let page = Entry::page(frame, CapRights::READ_WRITE, false);
        assert_eq!(page.0, 0x8_7654 << 10 | 0b1101_0111);
        assert!(page.is_valid() && !page.is_table());
        assert_eq!(page.address(), frame);
        assert_eq!(
            Entry::page(frame, CapRights::READ, true).0 & 0xff,
            0b1101_1011
        );
        assert_eq!(
            Entry::page(frame, CapRights::NONE, true).0 & 0xff,
            0b1101_1001
        );
        assert!(Entry::page(frame, CapRights::NONE, false) == Entry::NONE);
    }
}
