//! Address spaces whose page tables come when they are needed.

use crate::allocator::{Exhausted, ObjectSource};
use baton_sel4::{AsidPool, CapRights, Error, Page, PageTable, VmAttributes};
use core::fmt;

/// Why a page was not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The kernel refused.
    Kernel(Error),
    /// Memory for page tables is used up.
    Exhausted(Exhausted),
}

impl From<Error> for MapError {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl From<Exhausted> for MapError {
    fn from(error: Exhausted) -> Self {
        Self::Exhausted(error)
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(f),
            Self::Exhausted(error) => error.fmt(f),
        }
    }
}

/// An address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VSpace {
    root: PageTable,
}

impl VSpace {
    /// The address space of that root.
    pub const fn new(root: PageTable) -> Self {
        Self { root }
    }

    /// Makes an empty one.
    ///
    /// # Errors
    /// That memory, slots or identifiers are used up.
    pub fn make(objects: &mut impl ObjectSource, pool: AsidPool) -> Result<Self, Exhausted> {
        let root = objects.make::<PageTable>()?;
        pool.assign(root)?;
        Ok(Self { root })
    }

    /// Its root.
    pub const fn root(self) -> PageTable {
        self.root
    }

    /// Maps a frame of any size at `vaddr`, with page tables made of `objects` where they are missing.
    ///
    /// # Errors
    /// That the kernel refuses, or memory for page tables is used up.
    pub fn map(
        self,
        objects: &mut impl ObjectSource,
        page: Page,
        vaddr: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), MapError> {
        loop {
            match page.map(self.root, vaddr, rights, attributes) {
                Ok(()) => return Ok(()),
                // A table is missing on the way.
                Err(Error::FailedLookup { .. }) => {
                    let table = objects.make::<PageTable>()?;
                    table.map(self.root, vaddr, VmAttributes::DEFAULT)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
