//! Address spaces: frames, page tables, identifiers.

use crate::capability::{AsidControl, AsidPool, Capability, Page, PageTable, Untyped};
use crate::cnode::Slot;
use crate::error::Error;
use crate::invocation::invoke;
use baton_sel4_abi::{CapRights, Label, VmAttributes};

impl Page {
    /// Maps the frame, or changes the rights of its mapping there.
    ///
    /// # Errors
    /// As `seL4_RISCV_Page_Map`.
    pub fn map(
        self,
        vspace: PageTable,
        vaddr: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), Error> {
        invoke(
            self.cptr(),
            Label::PageMap,
            &[vaddr, rights.word(), attributes.word()],
            &[vspace.cptr()],
        )?;
        Ok(())
    }

    /// Unmaps the frame, if this capability maps it.
    ///
    /// # Errors
    /// As `seL4_RISCV_Page_Unmap`.
    pub fn unmap(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::PageUnmap, &[], &[])?;
        Ok(())
    }

    /// The frame's physical address.
    ///
    /// # Errors
    /// As `seL4_RISCV_Page_GetAddress`.
    pub fn address(self) -> Result<u64, Error> {
        Ok(invoke(self.cptr(), Label::PageGetAddress, &[], &[])?[0])
    }
}

impl PageTable {
    /// Maps the table where the next one is missing on the way to `vaddr`.
    ///
    /// # Errors
    /// As `seL4_RISCV_PageTable_Map`.
    pub fn map(self, vspace: PageTable, vaddr: u64, attributes: VmAttributes) -> Result<(), Error> {
        invoke(
            self.cptr(),
            Label::PageTableMap,
            &[vaddr, attributes.word()],
            &[vspace.cptr()],
        )?;
        Ok(())
    }

    /// Unmaps the table.
    ///
    /// # Errors
    /// As `seL4_RISCV_PageTable_Unmap`.
    pub fn unmap(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::PageTableUnmap, &[], &[])?;
        Ok(())
    }
}

impl AsidControl {
    /// Makes a pool of 4 KiB of untyped memory.
    ///
    /// # Errors
    /// As `seL4_RISCV_ASIDControl_MakePool`.
    pub fn make_pool(self, untyped: Untyped, dest: Slot) -> Result<(), Error> {
        invoke(
            self.cptr(),
            Label::AsidControlMakePool,
            &[dest.index, dest.depth],
            &[untyped.cptr(), dest.root.cptr()],
        )?;
        Ok(())
    }
}

impl AsidPool {
    /// Makes a page table the root of an address space.
    ///
    /// # Errors
    /// As `seL4_RISCV_ASIDPool_Assign`.
    pub fn assign(self, vspace: PageTable) -> Result<(), Error> {
        invoke(self.cptr(), Label::AsidPoolAssign, &[], &[vspace.cptr()])?;
        Ok(())
    }
}
