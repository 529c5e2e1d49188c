//! What the root task begins with.

use crate::allocator::Allocator;
use crate::vspace::VSpace;
use baton_boot::fdt::Fdt;
use baton_sel4::abi::bootinfo::{BootInfoHeader, HEADER_FDT};
use baton_sel4::abi::slots;
use baton_sel4::{AsidControl, AsidPool, BootInfo, CNode, DomainSet, IrqControl, PageTable, Tcb};

/// The root task's capabilities, and what the kernel said about them.
#[derive(Debug)]
pub struct Root {
    /// What the kernel said.
    pub boot_info: &'static BootInfo,
    /// Chunks behind boot info.
    pub extra: &'static [u8],
    /// The initial thread.
    pub tcb: Tcb,
    /// Its capability space; plain slot numbers are capability pointers.
    pub cnode: CNode,
    /// Its address space.
    pub vspace: VSpace,
    /// Makes interrupt handlers.
    pub irq_control: IrqControl,
    /// Makes ASID pools.
    pub asid_control: AsidControl,
    /// Gives address spaces identifiers.
    pub asid_pool: AsidPool,
    /// Puts threads into domains.
    pub domains: DomainSet,
}

impl Root {
    /// From boot info at `address`; chunks follow on the next page.
    pub(crate) fn new(address: usize, boot_info: &'static BootInfo) -> Self {
        let length = boot_info.extra_len as usize;
        let extra = if length == 0 {
            &[][..]
        } else {
            // SAFETY: the kernel maps `extra_len` bytes on the pages behind boot info, for good, and nothing writes to them.
            unsafe { core::slice::from_raw_parts((address + 4096) as *const u8, length) }
        };
        Self {
            boot_info,
            extra,
            tcb: Tcb::new(slots::INIT_THREAD_TCB),
            cnode: CNode::new(slots::INIT_THREAD_CNODE),
            vspace: VSpace::new(PageTable::new(slots::INIT_THREAD_VSPACE)),
            irq_control: IrqControl::new(slots::IRQ_CONTROL),
            asid_control: AsidControl::new(slots::ASID_CONTROL),
            asid_pool: AsidPool::new(slots::INIT_THREAD_ASID_POOL),
            domains: DomainSet::new(slots::DOMAIN),
        }
    }

    /// An allocator of all memory and empty slots that boot info lists. Make one, or they will be in one another's way.
    pub fn allocator(&self) -> Allocator {
        Allocator::new(self.cnode, self.boot_info)
    }

    /// The chunk with this identifier behind boot info, without its header.
    pub fn chunk(&self, id: u64) -> Option<&'static [u8]> {
        let mut rest = self.extra;
        loop {
            let word = |at: usize| {
                let bytes = rest.get(at..at + 8)?;
                Some(u64::from_le_bytes(bytes.try_into().ok()?))
            };
            let (found, length) = (word(0)?, word(8)? as usize);
            let chunk = rest.get(size_of::<BootInfoHeader>()..length)?;
            if found == id {
                return Some(chunk);
            }
            rest = rest.get(length..)?;
        }
    }

    /// The machine's device tree.
    pub fn device_tree(&self) -> Option<Fdt<'static>> {
        bundled_device_tree(self.chunk(HEADER_FDT)?)
    }
}

/// The device tree in a chunk of boot info.
pub fn bundled_device_tree(chunk: &'static [u8]) -> Option<Fdt<'static>> {
    Fdt::new(chunk).ok()
}
