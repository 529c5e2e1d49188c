//! What the root task begins with.

use crate::allocator::{Allocator, ObjectSource};
use crate::vspace::{MapError, VSpace};
use crate::window::Window;
use baton_boot::fdt::Fdt;
use baton_sel4::abi::baton::HEADER_BATON;
use baton_sel4::abi::bootinfo::{BootInfoHeader, HEADER_FDT};
use baton_sel4::abi::slots;
use baton_sel4::{
    AsidControl, AsidPool, BootInfo, CNode, Capability, DomainSet, IrqControl, ObjectType, Page,
    PageTable, Tcb,
};

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

    /// What the kernel below can do beyond seL4, one bit a feature: from a chunk that seL4's kernel does not add, so none on that.
    pub fn features(&self) -> u64 {
        let word = self.chunk(HEADER_BATON).and_then(|chunk| chunk.get(..8));
        word.and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes)
    }

    /// Ticks per second of the machine's clock (`rdtime`), from the device tree; 0 when that does not say.
    pub fn timebase_hz(&self) -> u64 {
        let mut found = None;
        if let Some(tree) = self.device_tree() {
            // What cannot be read of the tree says nothing.
            let _ = tree.walk(|node| found = found.or(node.word("timebase-frequency")));
        }
        found.unwrap_or(0).into()
    }

    /// Adds `frames` frames of 2 MiB to the root task's heap, for good.
    ///
    /// # Errors
    /// That memory or slots are used up, or the kernel refuses.
    pub fn add_heap(
        &self,
        allocator: &mut Allocator,
        window: &mut Window,
        frames: u64,
    ) -> Result<(), MapError> {
        const FRAME_BITS: u64 = 21;
        for _ in 0..frames {
            let frame = Page::from_cptr(allocator.object(ObjectType::MegaPage, 0)?);
            let mapped = window.map(allocator, frame, FRAME_BITS)?;
            // SAFETY: the window gives addresses out once, and nobody else has the frame's capability.
            unsafe { crate::heap::add(mapped.address() as usize, 1 << FRAME_BITS) };
        }
        Ok(())
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
