//! Address spaces: page tables, pages, and the identifiers (ASIDs) under which the hardware caches translations.
//!
//! Purpose: the invocations of page tables, frames, ASID control and ASID pools; switching between address spaces;
//! unmapping what is deleted; what a memory exception means. Reference manual, chapter 7.
//!
//! Invariants:
//! - only the kernel writes page tables, so whatever a valid entry without rights points to is a page table;
//! - an address space is in use only while its root stands in the ASID pool under the identifier in its capability; so
//!   a capability that has outlived its address space maps and unmaps nothing;
//! - the upper half of every root holds the kernel's own mappings;
//! - a TCB remembers its address space for as long as no capability of a page table or ASID pool is deleted anywhere;
//! - an identifier is never given away again while the hardware may still have translations under it: unmapping and
//!   deleting flush, so that switching need not.
//!
//! Neighbours: `cspace` and `derivation` hand over what is deleted; `scheduler` switches; `boot` makes the first.

mod asid;
mod page;
mod table;

use crate::cap::Cap;
use crate::error::{Answer, Decoded, LookupFailure, SyscallError};
use crate::fault::Fault;
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Paddr, Slot, Tcb, tcb_slot};

pub(crate) use asid::INITIAL_ASID;
pub(crate) use page::frame_rights;

/// `scause` of the exceptions that are about memory.
mod cause {
    pub(super) const FETCH_ACCESS: u64 = 1;
    pub(super) const LOAD_ACCESS: u64 = 5;
    pub(super) const STORE_ACCESS: u64 = 7;
    pub(super) const FETCH_PAGE: u64 = 12;
    pub(super) const LOAD_PAGE: u64 = 13;
    pub(super) const STORE_PAGE: u64 = 15;
}

/// An address space to map into, named by the capability of its root.
#[derive(Clone, Copy)]
struct VSpace {
    root: Paddr,
    asid: u64,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Decodes and performs an invocation of a frame, a page table, ASID control or an ASID pool.
    pub(crate) fn decode_vspace(self, inv: &Invocation<'m>, cap: Cap) -> Decoded {
        match cap {
            Cap::Frame { .. } => self.decode_frame(inv, cap),
            Cap::PageTable { .. } => self.decode_page_table(inv, cap),
            Cap::AsidControl => self.decode_asid_control(inv),
            Cap::AsidPool { address, base } => self.decode_asid_pool(inv, address, base),
            _ => Err(SyscallError::InvalidCapability(0).into()),
        }
    }

    /// What a copy of such a capability is: a frame's copy is not mapped, and a page table that is not mapped cannot
    /// be copied, so that whoever maps it holds the only capability that can unmap it.
    pub(crate) fn derive_vspace_cap(self, cap: Cap) -> Result<Cap, SyscallError> {
        match cap {
            Cap::Frame {
                address,
                size,
                rights,
                device,
                ..
            } => Ok(Cap::Frame {
                address,
                size,
                rights,
                device,
                asid: 0,
                vaddr: 0,
            }),
            Cap::PageTable { mapped: false, .. } => Err(SyscallError::IllegalOperation),
            other => Ok(other),
        }
    }

    /// Undoes what a capability that is being deleted has mapped; `last` if no other is left for the object.
    pub(crate) fn finalise_vspace_cap(self, cap: Cap, last: bool) {
        // It may be a thread's capability to its address space, or end one.
        if !matches!(cap, Cap::Frame { .. }) {
            self.forget_spaces();
        }
        match cap {
            Cap::Frame {
                address,
                size,
                asid,
                vaddr,
                ..
            } if asid != 0 => self.unmap_page(size, asid, vaddr, address),
            Cap::PageTable {
                address,
                mapped: true,
                asid,
                vaddr,
            } if last => {
                if self.root_of(asid) == Some(address) {
                    self.delete_asid(asid);
                } else {
                    self.unmap_table(asid, vaddr, address);
                }
            }
            Cap::AsidPool { address, base } if last => self.delete_asid_pool(address, base),
            _ => {}
        }
    }

    /// Whether a thread may have this as its address space. Whether it still is one is looked at when it runs.
    pub(crate) fn is_vspace_root(self, cap: Cap) -> bool {
        matches!(cap, Cap::PageTable { mapped: true, .. })
    }

    /// Goes to the thread's address space; to one without any user mapping if it has none (any more).
    #[inline]
    pub(crate) fn switch_vspace(self, tcb: &'m Tcb) {
        if tcb.space_epoch.get() == self.core.space_epoch.get() {
            self.machine.set_address_space(tcb.space.get());
        } else {
            self.find_vspace(tcb);
        }
    }

    /// Goes to the thread's address space, and remembers it.
    #[inline(never)]
    fn find_vspace(self, tcb: &'m Tcb) {
        match self.space_of(tcb) {
            Some(space) => {
                tcb.space.set(space);
                tcb.space_epoch.set(self.core.space_epoch.get());
                self.machine.set_address_space(space);
            }
            None => self.machine.set_kernel_address_space(),
        }
    }

    /// The address space that the thread's capability names, if it is one (still).
    pub(crate) fn space_of(self, tcb: &Tcb) -> Option<u64> {
        match Cap::decode(tcb.slots[tcb_slot::VTABLE].cap()) {
            Cap::PageTable { address, asid, .. } if self.root_of(asid) == Some(address) => {
                Some(self.machine.address_space(address, asid))
            }
            _ => None,
        }
    }

    /// Makes what TCBs remember of their address spaces void.
    fn forget_spaces(self) {
        let epoch = &self.core.space_epoch;
        epoch.set(epoch.get().wrapping_add(1));
    }

    /// Goes to the running thread's address space again, after something was taken from under it.
    fn switch_vspace_again(self) {
        match self.current() {
            Some(current) => self.switch_vspace(current),
            None => self.machine.set_kernel_address_space(),
        }
    }

    /// What an exception means, by `scause` and `stval`; nothing if it is not about memory.
    pub(crate) fn vm_fault(self, cause: u64, value: u64) -> Option<Fault> {
        // Page faults and access faults (memory that is not there) are reported alike.
        let status = match cause {
            cause::FETCH_ACCESS | cause::FETCH_PAGE => cause::FETCH_ACCESS,
            cause::LOAD_ACCESS | cause::LOAD_PAGE => cause::LOAD_ACCESS,
            cause::STORE_ACCESS | cause::STORE_PAGE => cause::STORE_ACCESS,
            _ => return None,
        };
        Some(Fault::Vm {
            address: value,
            status,
            fetch: status == cause::FETCH_ACCESS,
        })
    }

    /// The address space whose root is in that slot, sent as the first extra capability.
    fn vspace_in(self, slot: &'m Slot) -> Result<VSpace, SyscallError> {
        match Cap::decode(slot.cap()) {
            Cap::PageTable {
                address,
                mapped: true,
                asid,
                ..
            } => Ok(VSpace {
                root: address,
                asid,
            }),
            _ => Err(SyscallError::InvalidCapability(1)),
        }
    }

    /// Refuses an address space that is none (any more).
    fn check_vspace(self, vspace: VSpace) -> Result<(), SyscallError> {
        match self.root_of(vspace.asid) {
            None => Err(SyscallError::FailedLookup {
                source: false,
                failure: LookupFailure::InvalidRoot,
            }),
            Some(root) if root != vspace.root => Err(SyscallError::InvalidCapability(1)),
            Some(_) => Ok(()),
        }
    }
}

/// What an invocation answers that has nothing to say.
const DONE: Decoded = Ok(Answer::Empty);
