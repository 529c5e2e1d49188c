//! CNodes: what moves, copies and deletes capabilities.

use crate::capability::{CNode, Capability};
use crate::error::Error;
use crate::invocation::invoke;
use baton_sel4_abi::{CNodeCapData, CPtr, CapRights, Label, WORD_BITS};

/// A slot: what `index` names when `depth` bits of it are looked up from the CNode `root`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// Where the lookup starts.
    pub root: CNode,
    /// What to look up.
    pub index: CPtr,
    /// Bits of that, 1 to 64.
    pub depth: u64,
}

/// Words of a badge or guard, and the slots of a rotation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Receives what is in the pivot.
    pub dest: Slot,
    /// New guard of that.
    pub dest_data: u64,
    /// Receives what is in the source.
    pub pivot: Slot,
    /// New guard of that.
    pub pivot_data: u64,
    /// Is empty afterwards, unless it is the destination.
    pub src: Slot,
}

impl CNode {
    /// The slot that `cptr` names at full depth, with this CNode as the root.
    pub const fn slot(self, cptr: CPtr) -> Slot {
        self.slot_at(cptr, WORD_BITS)
    }

    /// The slot that `depth` bits of `index` name, with this CNode as the root.
    pub const fn slot_at(self, index: u64, depth: u64) -> Slot {
        Slot {
            root: self,
            index,
            depth,
        }
    }
}

impl Slot {
    /// Copies the capability of `src` into this empty slot, with at most `rights`.
    ///
    /// # Errors
    /// As `seL4_CNode_Copy`.
    pub fn copy_from(self, src: Slot, rights: CapRights) -> Result<(), Error> {
        self.two_slots(Label::CNodeCopy, src, &[rights.word()])
    }

    /// As [`Slot::copy_from`], with a badge (endpoints and notifications) or guard (CNodes).
    ///
    /// # Errors
    /// As `seL4_CNode_Mint`.
    pub fn mint_from(self, src: Slot, rights: CapRights, badge: u64) -> Result<(), Error> {
        self.two_slots(Label::CNodeMint, src, &[rights.word(), badge])
    }

    /// [`Slot::mint_from`] of a CNode, with all rights and a guard.
    ///
    /// # Errors
    /// As `seL4_CNode_Mint`.
    pub fn mint_guarded_from(self, src: Slot, guard: CNodeCapData) -> Result<(), Error> {
        self.mint_from(src, CapRights::ALL, guard.word())
    }

    /// Moves the capability of `src` into this empty slot.
    ///
    /// # Errors
    /// As `seL4_CNode_Move`.
    pub fn move_from(self, src: Slot) -> Result<(), Error> {
        self.two_slots(Label::CNodeMove, src, &[])
    }

    /// As [`Slot::move_from`], with a new badge or guard.
    ///
    /// # Errors
    /// As `seL4_CNode_Mutate`.
    pub fn mutate_from(self, src: Slot, badge: u64) -> Result<(), Error> {
        self.two_slots(Label::CNodeMutate, src, &[badge])
    }

    /// Deletes the capability, and the object with its last one.
    ///
    /// # Errors
    /// As `seL4_CNode_Delete`.
    pub fn delete(self) -> Result<(), Error> {
        self.one_slot(Label::CNodeDelete)
    }

    /// Deletes all capabilities that were derived from this one.
    ///
    /// # Errors
    /// As `seL4_CNode_Revoke`.
    pub fn revoke(self) -> Result<(), Error> {
        self.one_slot(Label::CNodeRevoke)
    }

    /// Cancels all sends that wait with the badge of this endpoint capability.
    ///
    /// # Errors
    /// As `seL4_CNode_CancelBadgedSends`.
    pub fn cancel_badged_sends(self) -> Result<(), Error> {
        self.one_slot(Label::CNodeCancelBadgedSends)
    }

    /// Keeps the reply capability of the last call that the calling thread received.
    ///
    /// # Errors
    /// As `seL4_CNode_SaveCaller`.
    pub fn save_caller(self) -> Result<(), Error> {
        self.one_slot(Label::CNodeSaveCaller)
    }

    fn one_slot(self, label: Label) -> Result<(), Error> {
        invoke(self.root.cptr(), label, &[self.index, self.depth], &[])?;
        Ok(())
    }

    fn two_slots(self, label: Label, src: Slot, further: &[u64]) -> Result<(), Error> {
        let mut words = [0; 6];
        let fixed = [self.index, self.depth, src.index, src.depth];
        let all = fixed.iter().chain(further);
        let length = words
            .iter_mut()
            .zip(all)
            .map(|(word, value)| *word = *value)
            .count();
        invoke(
            self.root.cptr(),
            label,
            words.get(..length).unwrap_or(&[]),
            &[src.root.cptr()],
        )?;
        Ok(())
    }
}

impl Rotation {
    /// Moves pivot to destination and source to pivot, in one step.
    ///
    /// # Errors
    /// As `seL4_CNode_Rotate`.
    pub fn rotate(&self) -> Result<(), Error> {
        invoke(
            self.dest.root.cptr(),
            Label::CNodeRotate,
            &[
                self.dest.index,
                self.dest.depth,
                self.dest_data,
                self.pivot.index,
                self.pivot.depth,
                self.pivot_data,
                self.src.index,
                self.src.depth,
            ],
            &[self.pivot.root.cptr(), self.src.root.cptr()],
        )?;
        Ok(())
    }
}
