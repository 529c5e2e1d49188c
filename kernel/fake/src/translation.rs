//! Memory as the running thread sees it: Sv39, with a cache of translations that is as stale as the hardware allows.
//!
//! A translation once used stays in force until the kernel flushes it: so a missing flush shows as an access that
//! should have faulted.

use crate::Fake;
use baton_kernel_core::mem::Paddr;
use baton_sel4_abi::PAGE_BITS;

/// A kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Instruction fetch.
    Fetch,
    /// Load.
    Load,
    /// Store.
    Store,
}

impl Access {
    /// The exception that a failed access raises. Source: RISC-V Privileged Architecture, table of causes.
    pub const fn cause(self) -> u64 {
        match self {
            Access::Fetch => 12,
            Access::Load => 13,
            Access::Store => 15,
        }
    }

    /// The permission bit that a leaf entry needs.
    const fn permission(self) -> u64 {
        match self {
            Access::Fetch => 1 << 3,
            Access::Load => 1 << 1,
            Access::Store => 1 << 2,
        }
    }
}

/// An access that hardware refuses; [`Fake::fault`] tells the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// What was tried.
    pub access: Access,
    /// Where.
    pub vaddr: u64,
}

const VALID: u64 = 1;
const USER: u64 = 1 << 4;
const LEAF: u64 = 0b1110;

impl Fake {
    /// Where an access of the running thread goes (physical).
    ///
    /// # Errors
    /// Hardware would raise a page fault.
    pub fn translate(&self, access: Access, vaddr: u64) -> Result<u64, PageFault> {
        let fault = PageFault { access, vaddr };
        let (root, asid) = self.hardware.address_space();
        let page = vaddr >> PAGE_BITS << PAGE_BITS;
        let known = self.hardware.cached.borrow().get(&(asid, page)).copied();
        let (entry, bits) = match known {
            Some(known) => known,
            None => {
                let found = self.walk(root.value(), vaddr).ok_or(fault)?;
                self.hardware
                    .cached
                    .borrow_mut()
                    .insert((asid, page), found);
                found
            }
        };
        if entry & USER == 0 || entry & access.permission() == 0 {
            return Err(fault);
        }
        let frame = (entry >> 10 << PAGE_BITS) & !((1 << bits) - 1);
        Ok(frame | (vaddr & ((1 << bits) - 1)))
    }

    /// The leaf entry for an address, and its size (bytes, log2).
    fn walk(&self, root: u64, vaddr: u64) -> Option<(u64, u32)> {
        // Canonical addresses only.
        if root == 0 || (vaddr as i64) << 25 >> 25 != vaddr as i64 {
            return None;
        }
        let mut table = root;
        for bits in [30, 21, 12] {
            let index = (vaddr >> bits) & 511;
            // A table where no memory is would be an access fault.
            let at = Paddr::new(table.wrapping_add(index * 8));
            let [entry] = self.memory.user_words::<1>(at)?;
            let entry = entry.get();
            if entry & VALID == 0 {
                return None;
            }
            if entry & LEAF != 0 {
                return Some((entry, bits));
            }
            table = (entry >> 10 & ((1 << 44) - 1)) << PAGE_BITS;
        }
        None
    }

    /// Looks whether a flush is missing: whatever translations are cached, and the table in force, are those of address
    /// spaces that still exist, and as their tables are now.
    ///
    /// # Panics
    /// If one is not.
    pub(crate) fn check_translations(&self) {
        let kernel = self.kernel();
        let (root, asid) = self.hardware.address_space();
        assert!(
            root.is_null() || kernel.address_space(asid) == Some(root),
            "the table at {root:?} is in force and no address space any more"
        );
        for (&(asid, page), &cached) in self.hardware.cached.borrow().iter() {
            let now = kernel
                .address_space(asid)
                .and_then(|root| self.walk(root.value(), page));
            assert!(
                now == Some(cached),
                "{page:#x} of address space {asid} is cached as {cached:x?}, and the tables say {now:x?}"
            );
        }
    }

    /// The running thread loads a word.
    ///
    /// # Errors
    /// Hardware would raise a page fault.
    pub fn load(&self, vaddr: u64) -> Result<u64, PageFault> {
        Ok(self.physical(self.translate(Access::Load, vaddr)?))
    }

    /// The running thread stores a word.
    ///
    /// # Errors
    /// Hardware would raise a page fault.
    pub fn store(&self, vaddr: u64, value: u64) -> Result<(), PageFault> {
        let at = self.translate(Access::Store, vaddr)?;
        self.set_physical(at, value);
        Ok(())
    }

    /// The running thread fetches an instruction.
    ///
    /// # Errors
    /// Hardware would raise a page fault.
    pub fn fetch(&self, vaddr: u64) -> Result<(), PageFault> {
        self.translate(Access::Fetch, vaddr).map(|_| ())
    }

    /// Enters the kernel for an access that failed.
    pub fn fault(&self, fault: PageFault) {
        self.exception(fault.access.cause(), fault.vaddr);
    }
}
