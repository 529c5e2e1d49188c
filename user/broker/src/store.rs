//! Memory, slots and addresses of the broker, used again after use.

use alloc::vec::Vec;
use baton_runtime::sel4::{
    CNode, CPtr, CapRights, Capability, Error, Page, Slot, Untyped, VmAttributes,
};
use baton_runtime::{Allocator, Arena, Exhausted, MapError, Mapped, ObjectSource, Window};

/// Slots of the root task that a process needs at most: its frames, page tables and other objects.
pub(crate) const ARENA_SLOTS: u64 = 320;

/// What of the root task's memory, slots and addresses is with processes and connections, and what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Bytes of memory that are out.
    pub bytes_out: u64,
    /// Pages of addresses that are out.
    pub pages_out: u64,
    /// Capability slots that are free, or come with memory that is.
    pub slots_free: u64,
}

/// What the broker makes things of.
pub(crate) struct Store {
    pub(crate) allocator: Allocator,
    pub(crate) window: Window,
    /// Where a frame is mapped for a moment.
    scratch_address: u64,
    /// Where a capability is put for a moment, so that it can be invoked.
    scratch_slot: CPtr,
    untypeds: Vec<(u64, Untyped)>,
    arenas: Vec<(u64, Arena)>,
    slots: Vec<CPtr>,
    pages: Vec<u64>,
    pages_out: u64,
    bytes_out: u64,
}

impl Store {
    pub(crate) fn new(mut allocator: Allocator, mut window: Window) -> Result<Self, MapError> {
        let scratch_address = window.reserve(12, 1);
        // The page table for it must come from memory that is never given back.
        let page = allocator.make::<Page>()?;
        window
            .map_at(&mut allocator, page, scratch_address, 12)?
            .unmap(page)?;
        Ok(Store {
            scratch_slot: allocator.slot()?,
            scratch_address,
            allocator,
            window,
            untypeds: Vec::new(),
            arenas: Vec::new(),
            slots: Vec::new(),
            pages: Vec::new(),
            pages_out: 0,
            bytes_out: 0,
        })
    }

    /// What is out, and what is free.
    pub(crate) fn stock(&self) -> Stock {
        Stock {
            bytes_out: self.bytes_out,
            pages_out: self.pages_out,
            slots_free: self.allocator.slots_left()
                + self.slots.len() as u64
                + self.untypeds.len() as u64
                + self.arenas.len() as u64 * (1 + ARENA_SLOTS),
        }
    }

    /// An empty slot.
    pub(crate) fn slot(&mut self) -> Result<CPtr, Exhausted> {
        match self.slots.pop() {
            Some(slot) => Ok(slot),
            None => self.allocator.slot(),
        }
    }

    /// Takes back a slot that is empty again.
    pub(crate) fn give_slot(&mut self, slot: CPtr) {
        self.slots.push(slot);
    }

    /// Free addresses of one page, in a region whose page table stays.
    pub(crate) fn page_address(&mut self) -> u64 {
        self.pages_out += 1;
        match self.pages.pop() {
            Some(address) => address,
            None => self.window.reserve(12, 1),
        }
    }

    /// Takes back an address where nothing is mapped any more.
    pub(crate) fn give_page_address(&mut self, address: u64) {
        self.pages_out -= 1;
        self.pages.push(address);
    }

    /// An untyped of 2^`size_bits` bytes of which nothing is made.
    pub(crate) fn untyped(&mut self, size_bits: u64) -> Result<Untyped, Exhausted> {
        let found = self
            .untypeds
            .iter()
            .position(|(bits, _)| *bits == size_bits);
        let untyped = match found {
            Some(found) => self.untypeds.swap_remove(found).1,
            None => self.allocator.make_untyped(size_bits)?,
        };
        self.bytes_out += 1 << size_bits;
        Ok(untyped)
    }

    /// Takes an untyped back, and with it all that was made of it.
    pub(crate) fn give_untyped(&mut self, size_bits: u64, untyped: Untyped) {
        let slot = self.allocator.place(untyped);
        // Refused only if somebody else has deleted it; then it is lost.
        if slot.revoke().is_ok() {
            self.bytes_out -= 1 << size_bits;
            self.untypeds.push((size_bits, untyped));
        }
    }

    /// Memory and slots of one process.
    pub(crate) fn arena(&mut self, size_bits: u64) -> Result<Arena, Exhausted> {
        let found = self.arenas.iter().position(|(bits, _)| *bits == size_bits);
        let arena = match found {
            Some(found) => self.arenas.swap_remove(found).1,
            None => self.allocator.arena(size_bits, ARENA_SLOTS)?,
        };
        self.bytes_out += 1 << size_bits;
        Ok(arena)
    }

    /// Takes back a process's memory, and all that was made of it.
    pub(crate) fn give_arena(&mut self, size_bits: u64, mut arena: Arena) {
        // As in `give_untyped`.
        if arena.reset().is_ok() {
            self.bytes_out -= 1 << size_bits;
            self.arenas.push((size_bits, arena));
        }
    }

    /// One page of addresses for whoever fills pages, always the same.
    pub(crate) fn scratch_window(&self) -> Window {
        Window::new(self.window.vspace(), self.scratch_address, 1 << 12)
    }

    /// Maps the frame whose capability is in `slot` for a moment, for reading and writing.
    pub(crate) fn with_frame(
        &mut self,
        slot: Slot,
        work: impl FnOnce(Mapped),
    ) -> Result<(), MapError> {
        let scratch = self.scratch();
        scratch.copy_from(slot, CapRights::READ_WRITE)?;
        let page = Page::from_cptr(self.scratch_slot);
        let mapped = self
            .window
            .map_at(&mut self.allocator, page, self.scratch_address, 12);
        let result = mapped.map(work);
        scratch.delete()?;
        result
    }

    /// Does something with the capability in `slot`, which is not in this capability space's reach, and puts it back.
    pub(crate) fn invoke_at<T, E: From<Error>>(
        &self,
        slot: Slot,
        invoke: impl FnOnce(CPtr) -> Result<T, E>,
    ) -> Result<T, E> {
        let scratch = self.scratch();
        scratch.move_from(slot)?;
        let result = invoke(self.scratch_slot);
        slot.move_from(scratch)?;
        result
    }

    /// A capability node of 2^`size_bits` slots, made of `untyped`.
    pub(crate) fn cnode_of(
        &mut self,
        untyped: Untyped,
        size_bits: u64,
    ) -> Result<CNode, Exhausted> {
        let slot = self.slot()?;
        let root = self.allocator.cnode();
        let made = untyped.retype(
            baton_runtime::sel4::ObjectType::CapTable,
            size_bits,
            root.slot_at(0, 0),
            slot,
            1,
        );
        match made {
            Ok(()) => Ok(CNode::new(slot)),
            Err(error) => {
                self.give_slot(slot);
                Err(error.into())
            }
        }
    }

    fn scratch(&self) -> Slot {
        self.allocator.cnode().slot(self.scratch_slot)
    }
}

/// How lanes and pages of words are mapped.
pub(crate) const NOT_CODE: VmAttributes = VmAttributes::EXECUTE_NEVER;
