//! Boot: from memory and an image to the initial thread.

use baton_kernel_mem::Paddr;

/// A range of physical memory, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Region {
    /// First address.
    pub start: Paddr,
    /// First address behind.
    pub end: Paddr,
}

/// What the loader and the machine tell the kernel.
#[derive(Clone, Copy, Debug)]
pub struct BootImage<'a> {
    /// All RAM that the kernel may use, in ascending order: without the firmware's. The kernel's own image may be in it.
    pub ram: &'a [Region],
    /// What must not be used within that: the kernel's image, in ascending order.
    pub reserved: &'a [Region],
    /// Device registers that no user may have (the interrupt controller), in ascending order.
    pub devices_of_kernel: &'a [Region],
    /// The root task's image.
    pub image: Region,
    /// Physical minus virtual address of the image (wrapping).
    pub image_offset: u64,
    /// Where the root task starts (virtual).
    pub entry: u64,
    /// The flattened device tree, empty if there is none.
    pub device_tree: Region,
}

/// Why the kernel cannot boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The memory does not suffice for the initial thread's objects.
    NotEnoughMemory,
    /// The image's virtual addresses are not usable.
    BadImage,
    /// The root CNode or boot info has no room for all that there is.
    TooManyCapabilities,
}
