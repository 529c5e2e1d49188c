//! Objects and capability slots out of untyped memory.
//!
//! seL4's untypeds already allocate: objects follow one another in each, and revoking it takes them all back. So there are two
//! allocators: [`Allocator`] has all of boot info's memory and slots and gives objects for good, or a part as an [`Arena`]; the
//! arena gives objects too, and takes all of them back at once.

use baton_sel4::abi::object::ObjectType;
use baton_sel4::{BootInfo, CNode, CPtr, CapType, Capability, Error, Page, Slot, Untyped};
use core::fmt;

/// Why there is no object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exhausted {
    /// No untyped has room for it.
    Memory {
        /// Size that was asked for (bytes, log2).
        size_bits: u64,
    },
    /// All capability slots are taken.
    Slots,
    /// No device is there.
    NoDevice {
        /// The physical address that was asked for.
        paddr: u64,
    },
    /// The kernel refused; the allocator's view differs from the kernel's.
    Kernel(Error),
}

impl From<Error> for Exhausted {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { size_bits } => write!(f, "no untyped has room for 2^{size_bits} bytes"),
            Self::Slots => write!(f, "all capability slots are taken"),
            Self::NoDevice { paddr } => write!(f, "there is no device memory at {paddr:#x}"),
            Self::Kernel(error) => write!(f, "the kernel refused: {error}"),
        }
    }
}

/// Where objects and slots come from.
pub trait ObjectSource {
    /// The capability space in which the slots are.
    fn cnode(&self) -> CNode;

    /// An empty slot.
    ///
    /// # Errors
    /// That there is none.
    fn slot(&mut self) -> Result<CPtr, Exhausted>;

    /// Makes an object; `size_bits` counts for untyped memory (bytes) and CNodes (slots) alone.
    ///
    /// # Errors
    /// That memory or slots are used up.
    fn object(&mut self, object: ObjectType, size_bits: u64) -> Result<CPtr, Exhausted>;

    /// Makes an object of a type whose size is fixed.
    ///
    /// # Errors
    /// That memory or slots are used up.
    fn make<T: CapType>(&mut self) -> Result<T, Exhausted> {
        Ok(T::from_cptr(self.object(T::OBJECT, 0)?))
    }

    /// Makes a CNode of 2^`size_bits` slots.
    ///
    /// # Errors
    /// That memory or slots are used up.
    fn make_cnode(&mut self, size_bits: u64) -> Result<CNode, Exhausted> {
        Ok(CNode::new(self.object(ObjectType::CapTable, size_bits)?))
    }

    /// Makes an untyped of 2^`size_bits` bytes.
    ///
    /// # Errors
    /// That memory or slots are used up.
    fn make_untyped(&mut self, size_bits: u64) -> Result<Untyped, Exhausted> {
        Ok(Untyped::new(self.object(ObjectType::Untyped, size_bits)?))
    }

    /// The slot of a capability in this space, for operations on the slot itself.
    fn place(&self, capability: impl Capability) -> Slot {
        self.cnode().slot(capability.cptr())
    }

    /// A copy of a capability with all its rights.
    ///
    /// # Errors
    /// That slots are used up, or that it cannot be copied.
    fn copy_of<T: Capability>(&mut self, capability: T) -> Result<T, Exhausted> {
        let slot = self.slot()?;
        let from = self.place(capability);
        self.cnode()
            .slot(slot)
            .copy_from(from, baton_sel4::CapRights::ALL)?;
        Ok(T::from_cptr(slot))
    }
}

/// One untyped, and how much of it is used.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    untyped: Untyped,
    paddr: u64,
    size_bits: u64,
    used: u64,
    is_device: bool,
}

impl Chunk {
    /// Where an object of this size would start, if there is room: the kernel aligns it to its size.
    fn place(&self, size_bits: u64) -> Option<u64> {
        let size = 1_u64.checked_shl(size_bits as u32)?;
        let start = self.used.checked_next_multiple_of(size)?;
        let end = start.checked_add(size)?;
        (end <= 1 << self.size_bits).then_some(start)
    }

    fn size(&self) -> u64 {
        1 << self.size_bits
    }
}

/// Untypeds that an allocator can know: those of boot info, and what is left beside device frames.
const MAX_CHUNKS: usize = 320;

/// Empty slots that follow one another.
#[derive(Clone, Copy, Debug)]
struct Slots {
    next: CPtr,
    end: CPtr,
}

impl Slots {
    /// The next one, which stays here until [`Slots::take`].
    fn first(&self) -> Result<CPtr, Exhausted> {
        if self.next < self.end {
            Ok(self.next)
        } else {
            Err(Exhausted::Slots)
        }
    }

    fn take(&mut self) -> Result<CPtr, Exhausted> {
        let slot = self.first()?;
        self.next += 1;
        Ok(slot)
    }

    /// Takes `count` of them at once.
    fn split(&mut self, count: u64) -> Result<Self, Exhausted> {
        if self.left() < count {
            return Err(Exhausted::Slots);
        }
        let next = self.next;
        self.next += count;
        Ok(Self {
            next,
            end: self.next,
        })
    }

    fn left(&self) -> u64 {
        self.end - self.next
    }
}

/// All memory and slots of the root task.
#[derive(Debug)]
pub struct Allocator {
    cnode: CNode,
    slots: Slots,
    chunks: [Option<Chunk>; MAX_CHUNKS],
}

impl Allocator {
    /// All that boot info lists.
    pub(crate) fn new(cnode: CNode, boot_info: &BootInfo) -> Self {
        let mut chunks = [None; MAX_CHUNKS];
        let listed = (boot_info.untyped.start..boot_info.untyped.end).zip(&boot_info.untyped_list);
        for (chunk, (slot, description)) in chunks.iter_mut().zip(listed) {
            *chunk = Some(Chunk {
                untyped: Untyped::new(slot),
                paddr: description.paddr,
                size_bits: description.size_bits.into(),
                used: 0,
                is_device: description.is_device != 0,
            });
        }
        Self {
            cnode,
            slots: Slots {
                next: boot_info.empty.start,
                end: boot_info.empty.end,
            },
            chunks,
        }
    }

    /// Empty slots that are left.
    pub fn slots_left(&self) -> u64 {
        self.slots.left()
    }

    /// Bytes of RAM that are left, in pieces that may be small.
    pub fn bytes_left(&self) -> u64 {
        let ram = self
            .chunks
            .iter()
            .flatten()
            .filter(|chunk| !chunk.is_device);
        ram.map(|chunk| chunk.size() - chunk.used).sum()
    }

    /// Sets a part aside: 2^`size_bits` bytes and `slots` slots.
    ///
    /// # Errors
    /// That there is not so much left.
    pub fn arena(&mut self, size_bits: u64, slots: u64) -> Result<Arena, Exhausted> {
        let untyped = self.make_untyped(size_bits)?;
        let slots = self.slots.split(slots)?;
        Ok(Arena {
            cnode: self.cnode,
            first_slot: slots.next,
            slots,
            chunk: Chunk {
                untyped,
                paddr: 0,
                size_bits,
                used: 0,
                is_device: false,
            },
        })
    }

    /// The page of device memory at `paddr`. What lies before it in its untyped stays available.
    ///
    /// # Errors
    /// That there is none, or slots are used up.
    pub fn device_page(&mut self, paddr: u64) -> Result<Page, Exhausted> {
        let page_bits = ObjectType::Page.size_bits(0);
        let holds = |chunk: &Chunk| {
            let free = chunk.paddr + chunk.used;
            chunk.is_device && free <= paddr && paddr < chunk.paddr + chunk.size()
        };
        let found = self
            .chunks
            .iter()
            .position(|chunk| chunk.as_ref().is_some_and(holds));
        let (Some(index), true) = (found, paddr.is_multiple_of(1 << page_bits)) else {
            return Err(Exhausted::NoDevice { paddr });
        };
        let Some(mut chunk) = self.chunks[index] else {
            return Err(Exhausted::NoDevice { paddr });
        };
        // The kernel gives out an untyped from its start on: take what lies before as untypeds, as large as their alignment allows.
        loop {
            let (at, gap) = (chunk.used, paddr - chunk.paddr - chunk.used);
            if gap == 0 {
                break;
            }
            let fitting = u64::from(gap.ilog2());
            let aligned = if at == 0 {
                fitting
            } else {
                at.trailing_zeros().into()
            };
            let size_bits = fitting.min(aligned);
            let slot = self.slot()?;
            self.retype(&mut chunk, ObjectType::Untyped, size_bits, slot)?;
            self.chunks[index] = Some(chunk);
            let left = Chunk {
                untyped: Untyped::new(slot),
                paddr: chunk.paddr + at,
                size_bits,
                used: 0,
                is_device: true,
            };
            if let Some(free) = self.chunks.iter_mut().find(|chunk| chunk.is_none()) {
                *free = Some(left);
            }
        }
        let slot = self.slot()?;
        self.retype(&mut chunk, ObjectType::Page, 0, slot)?;
        self.chunks[index] = Some(chunk);
        Ok(Page::new(slot))
    }

    fn retype(
        &self,
        chunk: &mut Chunk,
        object: ObjectType,
        size_bits: u64,
        slot: CPtr,
    ) -> Result<(), Exhausted> {
        retype(self.cnode, chunk, object, size_bits, slot)
    }
}

fn retype(
    cnode: CNode,
    chunk: &mut Chunk,
    object: ObjectType,
    size_bits: u64,
    slot: CPtr,
) -> Result<(), Exhausted> {
    let object_bits = object.size_bits(size_bits);
    let start = chunk.place(object_bits).ok_or(Exhausted::Memory {
        size_bits: object_bits,
    })?;
    chunk
        .untyped
        .retype(object, size_bits, cnode.slot_at(0, 0), slot, 1)?;
    chunk.used = start + (1 << object_bits);
    Ok(())
}

impl ObjectSource for Allocator {
    fn cnode(&self) -> CNode {
        self.cnode
    }

    fn slot(&mut self) -> Result<CPtr, Exhausted> {
        self.slots.take()
    }

    fn object(&mut self, object: ObjectType, size_bits: u64) -> Result<CPtr, Exhausted> {
        let object_bits = object.size_bits(size_bits);
        // The smallest that has room, so that the large ones stay whole.
        let fits = |chunk: &&mut Chunk| !chunk.is_device && chunk.place(object_bits).is_some();
        let chunks = self.chunks.iter_mut().flatten().filter(fits);
        let Some(best) = chunks.min_by_key(|chunk| chunk.size() - chunk.used) else {
            return Err(Exhausted::Memory {
                size_bits: object_bits,
            });
        };
        retype(self.cnode, best, object, size_bits, self.slots.first()?)?;
        self.slots.take()
    }
}

/// A part of the memory and slots whose objects are all given back at once.
#[derive(Debug)]
pub struct Arena {
    cnode: CNode,
    /// Where `slots` began, to which a reset goes back.
    first_slot: CPtr,
    slots: Slots,
    chunk: Chunk,
}

impl Arena {
    /// Deletes all objects and empties all slots that were given out.
    ///
    /// # Errors
    /// What the kernel answers; the arena is then as it was.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.cnode.slot(self.chunk.untyped.cptr()).revoke()?;
        // What was made of this memory is gone; copies of other capabilities are not.
        for slot in self.first_slot..self.slots.next {
            self.cnode.slot(slot).delete()?;
        }
        self.chunk.used = 0;
        self.slots.next = self.first_slot;
        Ok(())
    }

    /// Bytes that are left.
    pub fn bytes_left(&self) -> u64 {
        self.chunk.size() - self.chunk.used
    }
}

impl ObjectSource for Arena {
    fn cnode(&self) -> CNode {
        self.cnode
    }

    fn slot(&mut self) -> Result<CPtr, Exhausted> {
        self.slots.take()
    }

    fn object(&mut self, object: ObjectType, size_bits: u64) -> Result<CPtr, Exhausted> {
        let slot = self.slots.first()?;
        retype(self.cnode, &mut self.chunk, object, size_bits, slot)?;
        self.slots.take()
    }
}
