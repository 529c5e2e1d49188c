//! Processes: an ELF file in an address space and a capability space of its own.
//!
//! A process is started with one word, the address of its [`StartInfo`], in a page that it shares with nobody after the start.
//! Its capability space resolves plain slot numbers at full depth and holds, in slots with fixed numbers, only what the parent gave.

use crate::allocator::{Exhausted, ObjectSource};
use crate::protocol;
use crate::start::START_INFO_OFFSET;
use crate::vspace::{MapError, VSpace};
use crate::window::Window;
use baton_boot::elf::{Elf, ElfError};
use baton_sel4::{
    AsidPool, CNode, CNodeCapData, CPtr, CapRights, Capability, Endpoint, Error, Message,
    ObjectType, Page, Slot, Spaces, Tcb, ThreadArea, UserContext, VmAttributes,
};
use core::fmt;

/// Slots of a process's capability space with a fixed meaning.
pub mod slots {
    /// Its first thread.
    pub const TCB: u64 = 1;
    /// Its capability space.
    pub const CNODE: u64 = 2;
    /// Its address space.
    pub const VSPACE: u64 = 3;
    /// The endpoint on which its parent listens; its faults go there too.
    pub const PARENT: u64 = 4;
    /// The first of those that the parent gave.
    pub const GIVEN: u64 = 8;
}

/// Where the page with IPC buffer and start information is in each process.
const THREAD_PAGE: u64 = 0x3f_f000_0000;
/// Where the heap begins.
const HEAP: u64 = 0x8_0000_0000;
/// The heap comes in frames of 2 MiB.
const HEAP_FRAME_BITS: u32 = 21;
const MAX_HEAP_FRAMES: usize = 64;
/// Where the stack ends.
const STACK_TOP: u64 = 0x3f_e000_0000;
const PAGE: u64 = 4096;
const MAX_ARGUMENTS: usize = 8;
/// Says that a page holds start information.
const MAGIC: u64 = u64::from_le_bytes(*b"BatonPrc");

/// What a process is told when it starts. All members are valid for every bit pattern.
#[repr(C)]
#[derive(Debug)]
pub struct StartInfo {
    pub(crate) area: ThreadArea,
    magic: u64,
    features: u64,
    cnode_size_bits: u64,
    first_free_slot: u64,
    heap: u64,
    heap_bytes: u64,
    timebase_hz: u64,
    arguments: [u64; MAX_ARGUMENTS],
}

impl StartInfo {
    /// What the kernel below can do beyond seL4: one bit a feature, none on seL4 itself.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Ticks per second of the machine's clock (`rdtime`); 0 when the parent does not know.
    pub fn timebase_hz(&self) -> u64 {
        self.timebase_hz
    }

    /// Address and bytes of the memory for the heap.
    pub(crate) fn heap(&self) -> (u64, u64) {
        (self.heap, self.heap_bytes)
    }

    /// Argument `index`; 0 when the parent gave not so many.
    pub fn argument(&self, index: usize) -> u64 {
        self.arguments.get(index).copied().unwrap_or(0)
    }

    /// The endpoint on which the parent listens.
    pub fn parent(&self) -> Endpoint {
        Endpoint::new(slots::PARENT)
    }

    /// Capability number `index` of those that the parent gave.
    pub fn given<T: Capability>(&self, index: u64) -> T {
        T::from_cptr(slots::GIVEN + index)
    }

    /// This process's capability space.
    pub fn cnode(&self) -> CNode {
        CNode::new(slots::CNODE)
    }

    /// Slots of that (count, log2).
    pub fn cnode_size_bits(&self) -> u64 {
        self.cnode_size_bits
    }

    /// The first slot that is empty.
    pub fn first_free_slot(&self) -> CPtr {
        self.first_free_slot
    }

    /// Its first thread.
    pub fn tcb(&self) -> Tcb {
        Tcb::new(slots::TCB)
    }

    /// Tells the parent that the process has ended, and stops.
    pub fn exit(&self, code: u64) -> ! {
        self.parent().send(&Message::new(protocol::EXIT, &[code]));
        loop {
            let _ = self.tcb().suspend();
        }
    }
}

/// A capability to give to a process.
#[derive(Clone, Copy, Debug)]
pub struct Gift {
    /// Where it is.
    pub from: Slot,
    /// What the process may do with it.
    pub rights: CapRights,
    /// Badge to set; 0 leaves it as it is.
    pub badge: u64,
}

/// How a process is made.
#[derive(Clone, Copy, Debug)]
pub struct ProcessConfig<'a> {
    /// The program.
    pub elf: &'a [u8],
    /// The endpoint on which the parent listens.
    pub parent: Slot,
    /// Badge by which the parent knows the process; 0 leaves the endpoint's as it is.
    pub badge: u64,
    /// Whose maximum controlled priority allows the process's.
    pub authority: Tcb,
    /// Priority of its first thread, and the highest that it can give others.
    pub priority: u64,
    /// Gives the address space its identifier.
    pub asid_pool: AsidPool,
    /// Slots of its capability space (count, log2).
    pub cnode_size_bits: u64,
    /// Pages of its stack.
    pub stack_pages: u64,
    /// Bytes of its heap, rounded up to frames of 2 MiB; 0 for none, at most 128 MiB.
    pub heap_bytes: u64,
    /// See [`StartInfo::timebase_hz`].
    pub timebase_hz: u64,
    /// See [`StartInfo::features`].
    pub features: u64,
    /// Words for it, eight at most.
    pub arguments: &'a [u64],
    /// Capabilities for it.
    pub gifts: &'a [Gift],
}

/// Why a process was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// The program is no ELF file for this machine.
    Elf(ElfError),
    /// A segment does not begin where the pages of the one before end.
    Overlap {
        /// Where it begins.
        vaddr: u64,
    },
    /// Memory is used up, or the kernel refuses.
    Map(MapError),
}

impl<E: Into<MapError>> From<E> for SpawnError {
    fn from(error: E) -> Self {
        Self::Map(error.into())
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elf(error) => write!(f, "the program cannot be loaded: {error:?}"),
            Self::Overlap { vaddr } => write!(f, "two segments share the page at {vaddr:#x}"),
            Self::Map(error) => error.fmt(f),
        }
    }
}

/// A process.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its first thread.
    pub tcb: Tcb,
    /// Its capability space, as the parent sees it.
    pub cnode: CNode,
    /// Slots of that (count, log2).
    pub cnode_size_bits: u64,
    /// Its address space.
    pub vspace: VSpace,
    /// Frame of its IPC buffer and start information.
    pub page: Page,
    /// Where it starts.
    pub entry: u64,
}

impl Process {
    /// Makes a process out of `objects`; it does not run yet. Its pages are filled through one page of `window`.
    ///
    /// # Errors
    /// That the program is none, memory or slots are used up, or the kernel refuses.
    pub fn make(
        objects: &mut impl ObjectSource,
        window: &mut Window,
        config: &ProcessConfig<'_>,
    ) -> Result<Self, SpawnError> {
        let elf = Elf::parse(config.elf).map_err(SpawnError::Elf)?;
        // First, for large frames behind small objects would leave a gap.
        let heap = make_heap(objects, config)?;
        let vspace = VSpace::make(objects, config.asid_pool)?;
        let scratch = window.reserve(12, 1);
        load(objects, window, vspace, scratch, &elf)?;
        for index in 1..=config.stack_pages {
            let page = objects.make::<Page>()?;
            vspace.map(
                objects,
                page,
                STACK_TOP - index * PAGE,
                CapRights::READ_WRITE,
                VmAttributes::EXECUTE_NEVER,
            )?;
        }
        for (index, frame) in heap.into_iter().flatten().enumerate() {
            vspace.map(
                objects,
                frame,
                HEAP + ((index as u64) << HEAP_FRAME_BITS),
                CapRights::READ_WRITE,
                VmAttributes::EXECUTE_NEVER,
            )?;
        }
        let page = objects.make::<Page>()?;
        fill_thread_page(objects, window, scratch, page, config)?;
        vspace.map(
            objects,
            page,
            THREAD_PAGE,
            CapRights::READ_WRITE,
            VmAttributes::EXECUTE_NEVER,
        )?;
        let tcb = objects.make::<Tcb>()?;
        let cnode = objects.make_cnode(config.cnode_size_bits)?;
        let process = Self {
            tcb,
            cnode,
            cnode_size_bits: config.cnode_size_bits,
            vspace,
            page,
            entry: elf.entry(),
        };
        process.fill_cnode(objects, config)?;
        let spaces = Spaces {
            fault_endpoint: slots::PARENT,
            cspace: cnode,
            cspace_data: CNodeCapData::skip_to(config.cnode_size_bits),
            vspace: vspace.root(),
        };
        tcb.configure(&spaces, THREAD_PAGE, page)?;
        tcb.set_sched_params(config.authority, config.priority, config.priority)?;
        Ok(process)
    }

    /// A slot of its capability space, as the parent reaches it.
    pub fn slot(&self, index: u64) -> Slot {
        self.cnode.slot_at(index, self.cnode_size_bits)
    }

    /// Its registers when it starts.
    pub fn context(&self) -> UserContext {
        let start_info = THREAD_PAGE + START_INFO_OFFSET;
        UserContext {
            pc: self.entry,
            sp: STACK_TOP,
            tp: start_info,
            a0: start_info,
            ..UserContext::default()
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn start(&self) -> Result<(), Error> {
        self.tcb.write_all_registers(true, &self.context())
    }

    fn fill_cnode(
        &self,
        objects: &impl ObjectSource,
        config: &ProcessConfig<'_>,
    ) -> Result<(), Error> {
        let root = objects.cnode();
        let all = CapRights::ALL;
        self.slot(slots::TCB)
            .copy_from(root.slot(self.tcb.cptr()), all)?;
        let guard = CNodeCapData::skip_to(self.cnode_size_bits);
        self.slot(slots::CNODE)
            .mint_guarded_from(root.slot(self.cnode.cptr()), guard)?;
        self.slot(slots::VSPACE)
            .copy_from(root.slot(self.vspace.root().cptr()), all)?;
        let parent = Gift {
            from: config.parent,
            // Not to receive: it would hear what others tell the parent.
            rights: all.without(CapRights::READ),
            badge: config.badge,
        };
        self.give(slots::PARENT, &parent)?;
        for (index, gift) in config.gifts.iter().enumerate() {
            self.give(slots::GIVEN + index as u64, gift)?;
        }
        Ok(())
    }

    /// Puts a capability into a slot of its capability space.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn give(&self, slot: u64, gift: &Gift) -> Result<(), Error> {
        let to = self.slot(slot);
        // Minting with badge 0 is refused where there is one already.
        if gift.badge == 0 {
            to.copy_from(gift.from, gift.rights)
        } else {
            to.mint_from(gift.from, gift.rights, gift.badge)
        }
    }
}

/// The frames of the heap, not mapped yet.
fn make_heap(
    objects: &mut impl ObjectSource,
    config: &ProcessConfig<'_>,
) -> Result<[Option<Page>; MAX_HEAP_FRAMES], Exhausted> {
    let mut heap = [None; MAX_HEAP_FRAMES];
    let frames = heap_frames(config);
    if frames > MAX_HEAP_FRAMES as u64 {
        let size_bits = config.heap_bytes.next_power_of_two().ilog2().into();
        return Err(Exhausted::Memory { size_bits });
    }
    for frame in heap.iter_mut().take(frames as usize) {
        *frame = Some(Page::from_cptr(objects.object(ObjectType::MegaPage, 0)?));
    }
    Ok(heap)
}

fn heap_frames(config: &ProcessConfig<'_>) -> u64 {
    config.heap_bytes.div_ceil(1 << HEAP_FRAME_BITS)
}

/// Maps the program's segments, each page filled through `scratch` first.
fn load(
    objects: &mut impl ObjectSource,
    window: &mut Window,
    vspace: VSpace,
    scratch: u64,
    elf: &Elf<'_>,
) -> Result<(), SpawnError> {
    let mut mapped_to = 0;
    for segment in elf.segments() {
        let first = segment.vaddr / PAGE * PAGE;
        if first < mapped_to {
            return Err(SpawnError::Overlap {
                vaddr: segment.vaddr,
            });
        }
        let mut rights = CapRights::READ;
        if segment.permissions.write {
            rights = CapRights::READ_WRITE;
        }
        let attributes = if segment.permissions.execute {
            VmAttributes::DEFAULT
        } else {
            VmAttributes::EXECUTE_NEVER
        };
        let mut at = first;
        while at < segment.vaddr_end() {
            let page = objects.make::<Page>()?;
            // Where page and file overlap: new frames are zero already.
            let from = at.max(segment.vaddr);
            let skip = (from - segment.vaddr) as usize;
            let rest = segment.data.get(skip..).unwrap_or(&[]);
            let room = (at + PAGE - from) as usize;
            let bytes = rest.get(..room).unwrap_or(rest);
            if !bytes.is_empty() {
                let frame = window.map_at(objects, page, scratch, 12)?;
                frame.copy_in(from - at, bytes);
                frame.unmap(page)?;
            }
            vspace.map(objects, page, at, rights, attributes)?;
            at += PAGE;
        }
        mapped_to = at;
    }
    Ok(())
}

fn fill_thread_page(
    objects: &mut impl ObjectSource,
    window: &mut Window,
    scratch: u64,
    page: Page,
    config: &ProcessConfig<'_>,
) -> Result<(), MapError> {
    if config.arguments.len() > MAX_ARGUMENTS {
        return Err(Exhausted::Slots.into());
    }
    let frame = window.map_at(objects, page, scratch, 12)?;
    let fixed = [
        THREAD_PAGE,
        slots::TCB,
        0,
        MAGIC,
        config.features,
        config.cnode_size_bits,
        slots::GIVEN + config.gifts.len() as u64,
        HEAP,
        heap_frames(config) << HEAP_FRAME_BITS,
        config.timebase_hz,
    ];
    for (index, word) in fixed.iter().chain(config.arguments).enumerate() {
        frame.write(START_INFO_OFFSET + index as u64 * 8, *word);
    }
    frame.unmap(page)?;
    Ok(())
}
