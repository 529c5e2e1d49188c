//! Invocations of CNodes. Reference manual, section 10.3.2.

use crate::cap::Cap;
use crate::error::{Answer, Decoded, LookupFailure, SyscallError};
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Slot, tcb_slot};
use baton_sel4_abi::{CapRights, Label};

impl<'m, M: Machine> Kernel<'m, M> {
    pub(crate) fn decode_cnode(self, inv: &Invocation<'m>, root: Cap) -> Decoded {
        let label = match Label::from_number(inv.label) {
            Some(
                label @ (Label::CNodeRevoke
                | Label::CNodeDelete
                | Label::CNodeCancelBadgedSends
                | Label::CNodeCopy
                | Label::CNodeMint
                | Label::CNodeMove
                | Label::CNodeMutate
                | Label::CNodeRotate
                | Label::CNodeSaveCaller),
            ) => label,
            _ => return Err(SyscallError::IllegalOperation.into()),
        };
        inv.need(2)?;
        let dest = self.lookup_slot_at(root, inv.arg::<0>(), inv.arg::<1>(), false)?;
        match label {
            Label::CNodeCopy | Label::CNodeMint => self.cnode_copy(inv, label, dest),
            Label::CNodeMove | Label::CNodeMutate => self.cnode_move(inv, label, dest),
            Label::CNodeRevoke => {
                self.revoke(dest)?;
                Ok(Answer::Empty)
            }
            Label::CNodeDelete => {
                self.delete(dest)?;
                Ok(Answer::Empty)
            }
            Label::CNodeSaveCaller => {
                self.ensure_empty(dest)?;
                let caller = &inv.caller.slots[tcb_slot::CALLER];
                if let Cap::Reply { master: false, .. } = Cap::decode(caller.cap()) {
                    self.move_cap(caller.cap(), caller, dest);
                }
                Ok(Answer::Empty)
            }
            Label::CNodeCancelBadgedSends => {
                let Cap::Endpoint {
                    address,
                    badge,
                    rights: CapRights::ALL,
                } = Cap::decode(dest.cap())
                else {
                    return Err(SyscallError::IllegalOperation.into());
                };
                if badge != 0 {
                    self.cancel_badged_sends(inv.caller, self.mem.get(address), badge)?;
                }
                Ok(Answer::Empty)
            }
            _ => self.cnode_rotate(inv, dest),
        }
    }

    /// The slot that arguments 2 and 3 name from the first extra capability on, which must hold a capability, while `dest` must not.
    fn cnode_source(
        self,
        inv: &Invocation<'m>,
        dest: &'m Slot,
    ) -> Result<(&'m Slot, Cap), SyscallError> {
        inv.need(4)?;
        let root = Cap::decode(inv.extra::<0>()?.cap());
        let depth = inv.arg::<3>();
        self.ensure_empty(dest)?;
        let source = self.lookup_slot_at(root, inv.arg::<2>(), depth, true)?;
        let cap = full_slot(source, depth, true)?;
        Ok((source, cap))
    }

    fn cnode_copy(self, inv: &Invocation<'m>, label: Label, dest: &'m Slot) -> Decoded {
        let (source, cap) = self.cnode_source(inv, dest)?;
        inv.need(5)?;
        let mut cap = cap.masked(CapRights::from_word(inv.arg::<4>()));
        if label == Label::CNodeMint {
            inv.need(6)?;
            cap = cap.with_data(false, inv.arg::<5>());
        }
        let copy = self.derive_cap(source, cap)?;
        if copy == Cap::Null {
            return Err(SyscallError::IllegalOperation.into());
        }
        self.insert_cap(copy, source, dest);
        Ok(Answer::Empty)
    }

    fn cnode_move(self, inv: &Invocation<'m>, label: Label, dest: &'m Slot) -> Decoded {
        let (source, cap) = self.cnode_source(inv, dest)?;
        let moved = if label == Label::CNodeMutate {
            inv.need(5)?;
            cap.with_data(true, inv.arg::<4>())
        } else {
            cap
        };
        if moved == Cap::Null {
            return Err(SyscallError::IllegalOperation.into());
        }
        self.move_cap(moved.encode(), source, dest);
        Ok(Answer::Empty)
    }

    /// Moves the source into the pivot and the pivot into the destination, or swaps the two if source and
    /// destination are one slot.
    fn cnode_rotate(self, inv: &Invocation<'m>, dest: &'m Slot) -> Decoded {
        inv.need(8)?;
        let pivot_root = Cap::decode(inv.extra::<0>()?.cap());
        let source_root = Cap::decode(inv.extra::<1>()?.cap());
        let (pivot_data, pivot_depth) = (inv.arg::<2>(), inv.arg::<4>());
        let (source_data, source_depth) = (inv.arg::<5>(), inv.arg::<7>());
        let source = self.lookup_slot_at(source_root, inv.arg::<6>(), source_depth, true)?;
        let pivot = self.lookup_slot_at(pivot_root, inv.arg::<3>(), pivot_depth, true)?;
        if core::ptr::eq(pivot, source) || core::ptr::eq(pivot, dest) {
            return Err(SyscallError::IllegalOperation.into());
        }
        let swap = core::ptr::eq(source, dest);
        if !swap {
            self.ensure_empty(dest)?;
        }
        let source_cap = full_slot(source, source_depth, true)?.with_data(true, source_data);
        let pivot_cap = full_slot(pivot, pivot_depth, false)?.with_data(true, pivot_data);
        if source_cap == Cap::Null || pivot_cap == Cap::Null {
            return Err(SyscallError::IllegalOperation.into());
        }
        if swap {
            self.swap_caps(source_cap.encode(), source, pivot_cap.encode(), pivot);
        } else {
            self.move_cap(pivot_cap.encode(), pivot, dest);
            self.move_cap(source_cap.encode(), source, pivot);
        }
        Ok(Answer::Empty)
    }
}

/// The capability in a slot that must not be empty.
fn full_slot(slot: &Slot, depth: u64, source: bool) -> Result<Cap, SyscallError> {
    match Cap::decode(slot.cap()) {
        Cap::Null => Err(SyscallError::FailedLookup {
            source,
            failure: LookupFailure::MissingCapability { bits_left: depth },
        }),
        cap => Ok(cap),
    }
}
