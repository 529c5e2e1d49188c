//! Where the loader puts things in physical memory: kernel, device tree, root task, one behind the other.
//!
//! Kernels that speak this boot protocol take the root task as one block, whose virtual and physical addresses differ by one
//! offset, and the loader as memory that is free afterwards.

use crate::elf::Elf;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Why the parts do not fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlacementError {
    /// The kernel's physical and virtual addresses do not differ by one offset.
    KernelNotCongruent,
    /// The kernel does not start on a 2 MiB page, so that it cannot be mapped as it must be.
    KernelNotAligned,
    /// The root task has addresses that end beyond what can be mapped.
    RootTaskTooLarge,
    /// The parts would end above this limit, in the loader itself.
    TooLarge {
        /// Where they would end.
        end: u64,
    },
}

/// Physical addresses of everything that the kernel is told about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The kernel's memory, whole pages.
    pub kernel: (u64, u64),
    /// The kernel's lowest virtual address.
    pub kernel_vaddr: u64,
    /// Start of the device tree.
    pub device_tree: u64,
    /// The root task's memory, whole pages.
    pub root_task: (u64, u64),
    /// The root task's lowest virtual address, rounded down to a page.
    pub root_task_vaddr: u64,
}

impl Placement {
    /// Places the parts; all must end at or below `limit`.
    ///
    /// # Errors
    /// Why they cannot be placed.
    pub fn plan(
        kernel: &Elf<'_>,
        device_tree_bytes: usize,
        root_task: &Elf<'_>,
        limit: u64,
    ) -> Result<Self, PlacementError> {
        let (kernel_vaddr, _) = kernel.virtual_range();
        let (kernel_start, kernel_end) = kernel.physical_range();
        let offset = kernel_vaddr.wrapping_sub(kernel_start);
        if !kernel
            .segments()
            .all(|segment| segment.vaddr.wrapping_sub(segment.paddr) == offset)
        {
            return Err(PlacementError::KernelNotCongruent);
        }
        const LARGE_PAGE: u64 = 2 << 20;
        if !kernel_start.is_multiple_of(LARGE_PAGE) || !kernel_vaddr.is_multiple_of(LARGE_PAGE) {
            return Err(PlacementError::KernelNotAligned);
        }
        let too_large = |end| PlacementError::TooLarge { end };
        let up = |address: u64| {
            address
                .checked_next_multiple_of(PAGE)
                .filter(|&end| end <= limit)
                .ok_or(too_large(address))
        };
        let device_tree = up(kernel_end)?;
        let root_start = up(device_tree.saturating_add(device_tree_bytes as u64))?;
        let (low, high) = root_task.virtual_range();
        let root_task_vaddr = low & !(PAGE - 1);
        let size = high
            .checked_next_multiple_of(PAGE)
            .ok_or(PlacementError::RootTaskTooLarge)?
            - root_task_vaddr;
        let root_end = up(root_start.saturating_add(size))?;
        Ok(Self {
            kernel: (kernel_start, device_tree),
            kernel_vaddr,
            device_tree,
            root_task: (root_start, root_end),
            root_task_vaddr,
        })
    }

    /// What the kernel is told: the root task's physical minus its virtual addresses.
    pub const fn root_task_offset(&self) -> u64 {
        self.root_task.0.wrapping_sub(self.root_task_vaddr)
    }
}
