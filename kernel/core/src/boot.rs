//! Boot: from memory and an image to the initial thread.
//!
//! The kernel keeps nothing for itself but its image and a table of interrupt slots; everything else becomes the initial
//! thread's: its image, its objects, and untyped memory. Reference manual, chapter 9 (system bootstrapping).
//!
//! The initial thread's address space: the image, then its IPC buffer, then boot info, then the extra boot info, each
//! from the next page on. Slots from [`slots::NUM_INITIAL_CAPS`] on: page tables, extra boot info, image, untypeds.

mod memory;

use crate::cap::Cap;
use crate::config::COUNTS_ENTRIES;
use crate::machine::Machine;
use crate::state::Kernel;
use crate::tcb::ThreadState;
use crate::vspace::INITIAL_ASID;
use baton_kernel_mem::{Paddr, Slot, Tcb, UserWord, reg, tcb_slot};
use baton_sel4_abi::baton::{
    FEATURE_KERNEL_ENTRIES, FEATURE_KERNEL_LANES, FEATURE_PARK, FEATURES_CHUNK_BYTES, HEADER_BATON,
};
use baton_sel4_abi::bootinfo::{HEADER_FDT, word};
use baton_sel4_abi::{
    ASID_POOL_BITS, CNodeCapData, GIGA_PAGE_BITS, MAX_BOOTINFO_UNTYPEDS, MAX_PRIORITY,
    MAX_UNTYPED_BITS, MEGA_PAGE_BITS, MIN_UNTYPED_BITS, PAGE_BITS, PAGE_TABLE_BITS,
    ROOT_CNODE_SIZE_BITS, SLOT_BITS, TCB_BITS, TIME_SLICE_TICKS, USER_TOP, slots,
};
use memory::FreeMemory;

const PAGE: u64 = 1 << PAGE_BITS;
/// Bytes of the header before the device tree in the extra boot info.
const CHUNK_HEADER: u64 = 16;
/// What this kernel has beyond seL4.
const FEATURES: u64 = FEATURE_KERNEL_LANES
    | FEATURE_PARK
    | if COUNTS_ENTRIES {
        FEATURE_KERNEL_ENTRIES
    } else {
        0
    };
/// Physical addresses from here on are given to nobody.
const DEVICE_TOP: u64 = 1 << 39;
/// The kernel's own table of interrupt slots (bytes, log2).
const IRQ_TABLE_BITS: u64 = 12;

/// A range of physical memory, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Region {
    /// First address.
    pub start: Paddr,
    /// First address behind.
    pub end: Paddr,
}

impl Region {
    /// Bytes; 0 if it is none.
    pub const fn size(self) -> u64 {
        self.end.value().saturating_sub(self.start.value())
    }
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
    /// The root task's image, whole pages.
    pub image: Region,
    /// Physical minus virtual address of the image (wrapping).
    pub image_offset: u64,
    /// Where the root task starts (virtual).
    pub entry: u64,
    /// The flattened device tree, empty if there is none; it starts on a page.
    pub device_tree: Region,
}

/// Why the kernel cannot boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The memory does not suffice for the initial thread's objects.
    NotEnoughMemory,
    /// The image is not made of whole pages of RAM, or its virtual addresses are not usable.
    BadImage,
    /// The device tree does not lie in RAM, or not on a page.
    BadDeviceTree,
    /// The root CNode or boot info has no room for all that there is.
    TooManyCapabilities,
}

/// Where things are in the initial thread's address space; all on pages.
struct Layout {
    image: (u64, u64),
    ipc_buffer: u64,
    boot_info: u64,
    extra: u64,
    /// Bytes of the extra boot info.
    extra_bytes: u64,
    end: u64,
}

impl Layout {
    fn plan(image: &BootImage<'_>) -> Result<Self, BootError> {
        let start = image.image.start.value().wrapping_sub(image.image_offset);
        let end = start
            .checked_add(image.image.size())
            .ok_or(BootError::BadImage)?;
        if !(start | end | image.image.start.value()).is_multiple_of(PAGE) || start >= end {
            return Err(BootError::BadImage);
        }
        let extra_bytes = tree_chunk_bytes(image) + FEATURES_CHUNK_BYTES;
        let extra = end.checked_add(2 * PAGE).ok_or(BootError::BadImage)?;
        let top = extra
            .checked_add(extra_bytes)
            .and_then(|top| top.checked_next_multiple_of(PAGE))
            .filter(|&top| top < USER_TOP)
            .ok_or(BootError::BadImage)?;
        Ok(Self {
            image: (start, end),
            ipc_buffer: end,
            boot_info: end + PAGE,
            extra,
            extra_bytes,
            end: top,
        })
    }
}

/// Bytes of the chunk that holds the device tree; 0 if there is none. The next chunk begins on a word.
fn tree_chunk_bytes(image: &BootImage<'_>) -> u64 {
    match image.device_tree.size() {
        0 => 0,
        size => size.saturating_add(CHUNK_HEADER + 7) & !7,
    }
}

/// The memory of the initial thread's objects.
struct Objects {
    cnode: Paddr,
    root: Paddr,
    asid_pool: Paddr,
    ipc_buffer: Paddr,
    boot_info: Paddr,
    tcb: Paddr,
    irq_table: Paddr,
}

/// Boot in progress.
struct Boot<'m, M> {
    kernel: Kernel<'m, M>,
    free: FreeMemory,
    objects: Objects,
    info: &'m [UserWord; 512],
    /// The next free slot of the root CNode.
    next_slot: u64,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Makes the initial thread, which is the running thread afterwards.
    ///
    /// # Errors
    /// Why it cannot be made; then the kernel must not be used.
    pub fn boot(self, image: &BootImage<'_>) -> Result<(), BootError> {
        let layout = Layout::plan(image)?;
        if !self.mem.contains(image.image.start, image.image.size()) {
            return Err(BootError::BadImage);
        }
        let mut boot = Boot::new(self, image)?;
        boot.fixed_caps();
        boot.info_words(&layout);
        let extra = boot.extra_info(image, &layout)?;
        boot.address_space(&layout)?;
        boot.map_fixed_frames(&layout);
        boot.map_extra_info(extra, &layout)?;
        boot.map_image(image, &layout)?;
        boot.untypeds(image)?;
        boot.thread(image, &layout);
        Ok(())
    }
}

impl<'m, M: Machine> Boot<'m, M> {
    /// Takes the memory of the initial thread's objects.
    fn new(kernel: Kernel<'m, M>, image: &BootImage<'_>) -> Result<Self, BootError> {
        let mut free = FreeMemory::new(image.ram);
        for &region in image
            .reserved
            .iter()
            .chain([&image.image, &image.device_tree])
        {
            free.exclude(region);
        }
        // The largest first: what is left beside them is not cut up.
        let mut take = |bits| {
            let at = free.take(bits).ok_or(BootError::NotEnoughMemory)?;
            kernel.mem.zero(at, 1 << bits);
            Ok(at)
        };
        let objects = Objects {
            cnode: take(ROOT_CNODE_SIZE_BITS + SLOT_BITS)?,
            root: take(PAGE_TABLE_BITS)?,
            asid_pool: take(ASID_POOL_BITS)?,
            ipc_buffer: take(PAGE_BITS)?,
            boot_info: take(PAGE_BITS)?,
            irq_table: take(IRQ_TABLE_BITS)?,
            tcb: take(TCB_BITS)?,
        };
        let info = kernel
            .mem
            .user_words(objects.boot_info)
            .ok_or(BootError::NotEnoughMemory)?;
        Ok(Self {
            kernel,
            free,
            objects,
            info,
            next_slot: slots::NUM_INITIAL_CAPS,
        })
    }

    /// A slot of the root CNode.
    fn slot(&self, number: u64) -> &'m Slot {
        let mem = self.kernel.mem;
        mem.get(self.objects.cnode.add(number << SLOT_BITS))
    }

    /// Puts a capability into a slot; it derives from no other.
    fn put(&self, number: u64, cap: Cap) {
        self.kernel.insert_root_cap(self.slot(number), cap);
    }

    /// Puts a capability into the next free slot.
    fn provide(&mut self, cap: Cap) -> Result<(), BootError> {
        if self.next_slot >= 1 << ROOT_CNODE_SIZE_BITS {
            return Err(BootError::TooManyCapabilities);
        }
        self.put(self.next_slot, cap);
        self.next_slot += 1;
        Ok(())
    }

    /// Sets a word of boot info.
    fn set_info(&self, index: usize, value: u64) {
        if let Some(word) = self.info.get(index) {
            word.set(value);
        }
    }

    /// Says which slots hold what.
    fn set_region(&self, index: usize, start: u64, end: u64) {
        self.set_info(index, start);
        self.set_info(index + 1, end);
    }

    /// The capabilities that have fixed slots, but for those of mapped frames and the address space.
    fn fixed_caps(&self) {
        let objects = &self.objects;
        let cnode = Cap::CNode {
            address: objects.cnode,
            radix: ROOT_CNODE_SIZE_BITS,
            guard: CNodeCapData::skip_to(ROOT_CNODE_SIZE_BITS),
        };
        let pool = Cap::AsidPool {
            address: objects.asid_pool,
            base: INITIAL_ASID & !((1 << baton_sel4_abi::ASID_POOL_INDEX_BITS) - 1),
        };
        self.put(slots::INIT_THREAD_CNODE, cnode);
        self.put(slots::INIT_THREAD_TCB, Cap::Thread { tcb: objects.tcb });
        self.put(slots::IRQ_CONTROL, Cap::IrqControl);
        self.put(slots::ASID_CONTROL, Cap::AsidControl);
        self.put(slots::INIT_THREAD_ASID_POOL, pool);
        self.put(slots::DOMAIN, Cap::Domain);
        self.kernel.core.irq_table.set(objects.irq_table);
    }

    /// What boot info says at once; regions of slots are filled in when they are known.
    fn info_words(&self, layout: &Layout) {
        self.set_info(word::EXTRA_LEN, layout.extra_bytes);
        self.set_info(word::NUM_NODES, 1);
        self.set_info(word::IPC_BUFFER, layout.ipc_buffer);
        self.set_info(word::INIT_THREAD_CNODE_SIZE_BITS, ROOT_CNODE_SIZE_BITS);
    }

    /// Copies the device tree to pages of its own behind a header, says behind it what this kernel has beyond seL4, and returns
    /// where they are. The memory where the tree was is free afterwards.
    fn extra_info(&mut self, image: &BootImage<'_>, layout: &Layout) -> Result<Paddr, BootError> {
        let mem = self.kernel.mem;
        let bad = BootError::BadDeviceTree;
        let tree = image.device_tree;
        let bytes = tree.size();
        let usable = tree.start.value().is_multiple_of(PAGE)
            && mem.contains(tree.start, bytes.next_multiple_of(8));
        if bytes != 0 && !usable {
            return Err(bad);
        }
        let bits = u64::from(layout.extra_bytes.next_power_of_two().ilog2()).max(PAGE_BITS);
        let extra = self.free.take(bits).ok_or(BootError::NotEnoughMemory)?;
        mem.zero(extra, 1 << bits);
        let put = |offset: u64, value: u64| -> Result<(), BootError> {
            let [word] = mem.user_words(extra.add(offset)).ok_or(bad)?;
            word.set(value);
            Ok(())
        };
        let chunk = tree_chunk_bytes(image);
        if chunk != 0 {
            put(0, HEADER_FDT)?;
            put(8, chunk)?;
        }
        for (index, value) in [HEADER_BATON, FEATURES_CHUNK_BYTES, FEATURES]
            .into_iter()
            .enumerate()
        {
            put(chunk + index as u64 * 8, value)?;
        }
        for offset in (0..bytes).step_by(8) {
            let [word] = mem.user_words(tree.start.add(offset)).ok_or(bad)?;
            // The last word may have bytes that are not the tree's.
            let mask = match bytes - offset {
                left @ 1..8 => (1 << (left * 8)) - 1,
                _ => u64::MAX,
            };
            put(CHUNK_HEADER + offset, word.get() & mask)?;
        }
        // Pages that the extra boot info does not need, and those of the original.
        let used = layout.extra_bytes.next_multiple_of(PAGE);
        self.free.add(Region {
            start: extra.add(used),
            end: extra.add(1 << bits),
        });
        self.free.add(Region {
            start: tree.start,
            end: tree.start.add(bytes & !(PAGE - 1)),
        });
        Ok(extra)
    }

    /// The initial address space, with all page tables that its 4 KiB frames need.
    fn address_space(&mut self, layout: &Layout) -> Result<(), BootError> {
        let kernel = self.kernel;
        let root = self.objects.root;
        self.put(slots::INIT_THREAD_VSPACE, kernel.boot_new_root(root));
        kernel.boot_set_asid(self.objects.asid_pool, root);
        let first = self.next_slot;
        for bits in [GIGA_PAGE_BITS, MEGA_PAGE_BITS] {
            let mut vaddr = layout.image.0 & !((1 << bits) - 1);
            while vaddr < layout.end {
                let table = self
                    .free
                    .take(PAGE_TABLE_BITS)
                    .ok_or(BootError::NotEnoughMemory)?;
                kernel.mem.zero(table, 1 << PAGE_TABLE_BITS);
                self.provide(kernel.boot_map_table(root, table, vaddr))?;
                vaddr += 1 << bits;
            }
        }
        self.set_region(word::USER_IMAGE_PAGING, first, self.next_slot);
        Ok(())
    }

    /// The frames of boot info and IPC buffer.
    fn map_fixed_frames(&self, layout: &Layout) {
        let objects = &self.objects;
        let map = |frame, vaddr| self.kernel.boot_map_page(objects.root, frame, vaddr);
        let info = map(objects.boot_info, layout.boot_info);
        self.put(slots::BOOT_INFO_FRAME, info);
        let buffer = map(objects.ipc_buffer, layout.ipc_buffer);
        self.put(slots::INIT_THREAD_IPC_BUFFER, buffer);
    }

    fn map_extra_info(&mut self, extra: Paddr, layout: &Layout) -> Result<(), BootError> {
        let (start, end) = self.map_pages(extra, layout.extra, layout.end)?;
        self.set_region(word::EXTRA_BI_PAGES, start, end);
        Ok(())
    }

    fn map_image(&mut self, image: &BootImage<'_>, layout: &Layout) -> Result<(), BootError> {
        let (start, end) = layout.image;
        let (start, end) = self.map_pages(image.image.start, start, end)?;
        self.set_region(word::USER_IMAGE_FRAMES, start, end);
        Ok(())
    }

    /// Maps the pages from `frame` on to these addresses, and returns the slots of their capabilities.
    fn map_pages(&mut self, frame: Paddr, start: u64, end: u64) -> Result<(u64, u64), BootError> {
        let first = self.next_slot;
        for vaddr in (start..end).step_by(PAGE as usize) {
            let page = frame.add(vaddr - start);
            let cap = self.kernel.boot_map_page(self.objects.root, page, vaddr);
            self.provide(cap)?;
        }
        Ok((first, self.next_slot))
    }

    /// All that is left: devices first, then memory.
    fn untypeds(&mut self, image: &BootImage<'_>) -> Result<(), BootError> {
        let first = self.next_slot;
        let mut start = 0;
        let (mut ram, mut devices) = (image.ram, image.devices_of_kernel);
        // What is neither memory nor the kernel's, between the two lists merged by address.
        loop {
            let next = match (ram, devices) {
                ([memory, rest @ ..], [device, ..]) if memory.start < device.start => {
                    ram = rest;
                    *memory
                }
                (_, [device, rest @ ..]) => {
                    devices = rest;
                    *device
                }
                ([memory, rest @ ..], []) => {
                    ram = rest;
                    *memory
                }
                ([], []) => break,
            };
            self.untyped_region(first, start, next.start.value(), true)?;
            start = start.max(next.end.value());
        }
        self.untyped_region(first, start, DEVICE_TOP, true)?;
        let free = self.free;
        for region in free.regions() {
            self.untyped_region(first, region.start.value(), region.end.value(), false)?;
        }
        self.set_region(word::UNTYPED, first, self.next_slot);
        self.set_region(word::EMPTY, self.next_slot, 1 << ROOT_CNODE_SIZE_BITS);
        Ok(())
    }

    /// Cuts a region into untypeds, each aligned to its size. `first` is the slot of the first of all.
    fn untyped_region(
        &mut self,
        first: u64,
        mut start: u64,
        end: u64,
        device: bool,
    ) -> Result<(), BootError> {
        while start < end {
            let alignment = match start {
                0 => MAX_UNTYPED_BITS,
                start => u64::from(start.trailing_zeros()),
            };
            let size_bits = u64::from((end - start).ilog2())
                .min(alignment)
                .min(MAX_UNTYPED_BITS);
            let index = self.next_slot - first;
            // Too small for any object, or no room to tell of it: it is left alone.
            if size_bits >= MIN_UNTYPED_BITS && index < MAX_BOOTINFO_UNTYPEDS as u64 {
                self.provide(Cap::Untyped {
                    address: Paddr::new(start),
                    size_bits,
                    device,
                    // Nobody knows what is in memory: all of it counts as used, so that the first retype clears it.
                    used: if device { 0 } else { 1 << size_bits },
                })?;
                let entry = word::UNTYPED_LIST + 2 * index as usize;
                self.set_info(entry, start);
                self.set_info(entry + 1, word::untyped_flags(size_bits, device));
            }
            start += 1 << size_bits;
        }
        Ok(())
    }

    /// The initial thread itself.
    fn thread(&self, image: &BootImage<'_>, layout: &Layout) {
        let kernel = self.kernel;
        let tcb: &'m Tcb = kernel.mem.get(self.objects.tcb);
        for (number, place) in [
            (slots::INIT_THREAD_CNODE, tcb_slot::CTABLE),
            (slots::INIT_THREAD_VSPACE, tcb_slot::VTABLE),
        ] {
            let from = self.slot(number);
            kernel.insert_cap(Cap::decode(from.cap()), from, &tcb.slots[place]);
        }
        let from = self.slot(slots::INIT_THREAD_IPC_BUFFER);
        // A frame can always be copied.
        if let Ok(buffer) = kernel.derive_vspace_cap(Cap::decode(from.cap())) {
            kernel.insert_cap(buffer, from, &tcb.slots[tcb_slot::BUFFER]);
        }
        tcb.ipc_buffer.set(layout.ipc_buffer);
        tcb.context.set::<{ reg::A0 }>(layout.boot_info);
        tcb.context.set::<{ reg::NEXT_PC }>(image.entry);
        tcb.priority.set(MAX_PRIORITY);
        tcb.mcp.set(MAX_PRIORITY);
        tcb.time_slice.set(TIME_SLICE_TICKS);
        kernel.setup_reply_master(tcb);
        kernel.remember_thread(tcb);
        kernel.set_name(tcb, "root task");
        kernel.boot_interrupts();
        kernel.boot_domains();
        kernel.set_state(tcb, ThreadState::RUNNING);
        kernel.enqueue(tcb);
        kernel.reschedule();
        kernel.schedule();
    }
}
