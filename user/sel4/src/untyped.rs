//! Untyped memory.

use crate::capability::{Capability, Untyped};
use crate::cnode::Slot;
use crate::error::Error;
use crate::invocation::invoke;
use baton_sel4_abi::{Label, ObjectType};

impl Untyped {
    /// Makes `count` objects, whose capabilities go to slots `offset` and following of the CNode that `node` names; a depth of 0
    /// means the root itself. `size_bits` counts for untyped memory (bytes) and CNodes (slots) alone.
    ///
    /// # Errors
    /// As `seL4_Untyped_Retype`.
    pub fn retype(
        self,
        object: ObjectType,
        size_bits: u64,
        node: Slot,
        offset: u64,
        count: u64,
    ) -> Result<(), Error> {
        self.retype_number(object.number(), size_bits, node, offset, count)
    }

    /// [`Untyped::retype`] with the number of a type, which may be one that does not exist.
    ///
    /// # Errors
    /// As `seL4_Untyped_Retype`.
    pub fn retype_number(
        self,
        object: u64,
        size_bits: u64,
        node: Slot,
        offset: u64,
        count: u64,
    ) -> Result<(), Error> {
        invoke(
            self.cptr(),
            Label::UntypedRetype,
            &[object, size_bits, node.index, node.depth, offset, count],
            &[node.root.cptr()],
        )?;
        Ok(())
    }
}
