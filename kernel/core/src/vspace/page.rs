//! Frames: mapping them, with rights and attributes, and unmapping them.

use super::table::Entry;
use super::{DONE, INITIAL_ASID};
use crate::cap::{Cap, FrameSize};
use crate::error::{Answer, Decoded, LookupFailure, SyscallError};
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::Paddr;
use baton_sel4_abi::{CapRights, Label, USER_TOP, VmAttributes};

/// What a mapping permits: what the capability and the request both do. The hardware has no write-only pages, so
/// without reading there is nothing.
pub(crate) fn frame_rights(cap: CapRights, mask: CapRights) -> CapRights {
    let both = cap.intersection(mask).intersection(CapRights::READ_WRITE);
    if both.contains(CapRights::READ) {
        both
    } else {
        CapRights::NONE
    }
}

impl<'m, M: Machine> Kernel<'m, M> {
    pub(super) fn decode_frame(self, inv: &Invocation<'m>, cap: Cap) -> Decoded {
        match Label::from_number(inv.label) {
            Some(Label::PageMap) => self.page_map(inv, cap),
            Some(Label::PageUnmap) => self.page_unmap(inv, cap),
            Some(Label::PageGetAddress) => match cap {
                Cap::Frame { address, .. } => Ok(Answer::Word(address.value())),
                _ => Err(SyscallError::InvalidCapability(0).into()),
            },
            _ => Err(SyscallError::IllegalOperation.into()),
        }
    }

    fn page_map(self, inv: &Invocation<'m>, cap: Cap) -> Decoded {
        inv.need(3)?;
        let root = inv.extra::<0>()?;
        let Cap::Frame {
            address,
            size,
            rights,
            device,
            asid: mapped_asid,
            vaddr: mapped_vaddr,
        } = cap
        else {
            return Err(SyscallError::InvalidCapability(0).into());
        };
        let vaddr = inv.arg::<0>();
        let mask = CapRights::from_word(inv.arg::<1>());
        let attributes = VmAttributes::from_word(inv.arg::<2>());
        let vspace = self.vspace_in(root)?;
        self.check_vspace(vspace)?;
        let last = (1 << size.bits()) - 1;
        // An address so high that the sum wraps is refused like any other beyond the user's.
        if vaddr.checked_add(last).is_none_or(|end| end >= USER_TOP) {
            return Err(SyscallError::InvalidArgument(0).into());
        }
        if vaddr & last != 0 {
            return Err(SyscallError::AlignmentError.into());
        }
        let place = self.walk(vspace.root, vaddr);
        if place.bits != size.bits() {
            // Some table is missing, or something larger is mapped there.
            return Err(SyscallError::FailedLookup {
                source: false,
                failure: LookupFailure::MissingCapability {
                    bits_left: place.bits,
                },
            }
            .into());
        }
        let there = Entry(place.entry.get());
        if mapped_asid != 0 {
            // Mapped by this capability already: only rights and attributes may change.
            if mapped_asid != vspace.asid {
                return Err(SyscallError::InvalidCapability(1).into());
            }
            if mapped_vaddr != vaddr {
                return Err(SyscallError::InvalidArgument(0).into());
            }
            if there.is_table() {
                return Err(SyscallError::DeleteFirst.into());
            }
        } else if there.is_valid() {
            return Err(SyscallError::DeleteFirst.into());
        }
        let mapped = Cap::Frame {
            address,
            size,
            rights,
            device,
            asid: vspace.asid,
            vaddr,
        };
        inv.slot.set_cap(mapped.encode());
        let executable = !attributes.is_execute_never();
        let entry = Entry::page(address, frame_rights(rights, mask), executable);
        place.entry.set(entry.0);
        self.machine.flush_page(vaddr, vspace.asid);
        DONE
    }

    fn page_unmap(self, inv: &Invocation<'m>, cap: Cap) -> Decoded {
        if let Cap::Frame {
            address,
            size,
            rights,
            device,
            asid,
            vaddr,
        } = cap
        {
            if asid != 0 {
                self.unmap_page(size, asid, vaddr, address);
            }
            let unmapped = Cap::Frame {
                address,
                size,
                rights,
                device,
                asid: 0,
                vaddr: 0,
            };
            inv.slot.set_cap(unmapped.encode());
        }
        DONE
    }

    /// Takes a frame out of the address space, if it is what is mapped there.
    pub(super) fn unmap_page(self, size: FrameSize, asid: u64, vaddr: u64, frame: Paddr) {
        let Some(root) = self.root_of(asid) else {
            return;
        };
        let place = self.walk(root, vaddr);
        let there = Entry(place.entry.get());
        let same = place.bits == size.bits()
            && there.is_valid()
            && !there.is_table()
            && there.address() == frame;
        if same {
            place.entry.set(Entry::NONE.0);
            self.machine.flush_page(vaddr, asid);
        }
    }

    /// Maps a 4 KiB frame of the initial thread, all rights, and returns its capability. Its tables are there.
    pub(crate) fn boot_map_page(self, root: Paddr, frame: Paddr, vaddr: u64) -> Cap {
        let place = self.walk(root, vaddr);
        place
            .entry
            .set(Entry::page(frame, CapRights::READ_WRITE, true).0);
        Cap::Frame {
            address: frame,
            size: FrameSize::Page,
            rights: CapRights::READ_WRITE,
            device: false,
            asid: INITIAL_ASID,
            vaddr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_writable_that_is_not_readable() {
        let all = CapRights::READ_WRITE;
        for (cap, mask, left) in [
            (all, all, all),
            (all, CapRights::READ, CapRights::READ),
            (all, CapRights::WRITE, CapRights::NONE),
            (CapRights::READ, all, CapRights::READ),
            (CapRights::NONE, all, CapRights::NONE),
            (all, CapRights::ALL, all),
        ] {
            assert_eq!(frame_rights(cap, mask), left);
        }
    }
}
