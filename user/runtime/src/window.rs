//! Frames in one's own address space.
//!
//! A [`Window`] hands out addresses for frames; a [`Mapped`] is a frame there, reached as bytes and words with volatile accesses, so
//! that it makes no difference who else has it mapped.

use crate::allocator::ObjectSource;
use crate::vspace::{MapError, VSpace};
use alloc::sync::Arc;
use baton_sel4::abi::PAGE_BITS;
use baton_sel4::{CapRights, Error, Page, VmAttributes};
use baton_shm::{Backing, ReadRegion, Region};
use baton_sync::AtomicU64;
use core::ptr::NonNull;

/// Addresses of one's own address space that are free for frames.
#[derive(Debug)]
pub struct Window {
    vspace: VSpace,
    next: u64,
    end: u64,
}

/// A frame that is mapped in one's own address space.
///
/// The accesses check their bounds and panic beyond them: a mistake of this program, not something that another one can cause.
/// While the value lives the frame stays mapped, unless this program unmaps its capability by other means: then an access faults.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    base: u64,
    length: u64,
}

/// Frames behind one another in one's own address space, as words that others share.
#[derive(Debug)]
pub struct Shared {
    base: u64,
    words: usize,
}

impl Window {
    /// Where windows begin: above every program's image.
    pub const BASE: u64 = 0x10_0000_0000;

    /// The `bytes` at `base`, which must be addresses of this program that nothing else uses.
    pub const fn new(vspace: VSpace, base: u64, bytes: u64) -> Self {
        Self {
            vspace,
            next: base,
            end: base + bytes,
        }
    }

    /// Free addresses, aligned to 2^`size_bits`.
    ///
    /// # Panics
    /// When the window is used up.
    pub fn reserve(&mut self, size_bits: u64, count: u64) -> u64 {
        let start = self.next.next_multiple_of(1 << size_bits);
        let end = start + (count << size_bits);
        assert!(end <= self.end, "the window of addresses is used up");
        self.next = end;
        start
    }

    /// Maps a frame of 2^`size_bits` bytes for reading and writing.
    ///
    /// # Errors
    /// That the kernel refuses, or memory for page tables is used up.
    pub fn map(
        &mut self,
        objects: &mut impl ObjectSource,
        page: Page,
        size_bits: u64,
    ) -> Result<Mapped, MapError> {
        let base = self.reserve(size_bits, 1);
        self.map_at(objects, page, base, size_bits)
    }

    /// [`Window::map`] at an address that was reserved.
    ///
    /// # Errors
    /// As [`Window::map`].
    pub fn map_at(
        &mut self,
        objects: &mut impl ObjectSource,
        page: Page,
        base: u64,
        size_bits: u64,
    ) -> Result<Mapped, MapError> {
        self.vspace.map(
            objects,
            page,
            base,
            CapRights::READ_WRITE,
            VmAttributes::EXECUTE_NEVER,
        )?;
        Ok(Mapped {
            base,
            length: 1 << size_bits,
        })
    }

    /// Maps frames of 4 KiB behind one another as words that others share, with what rights their capabilities have.
    ///
    /// # Errors
    /// As [`Window::map`].
    pub fn map_shared(
        &mut self,
        objects: &mut impl ObjectSource,
        pages: &[Page],
    ) -> Result<Shared, MapError> {
        let base = self.reserve(PAGE_BITS, pages.len() as u64);
        for (&page, vaddr) in pages.iter().zip((base..).step_by(1 << PAGE_BITS)) {
            let (rights, attributes) = (CapRights::READ_WRITE, VmAttributes::EXECUTE_NEVER);
            self.vspace.map(objects, page, vaddr, rights, attributes)?;
        }
        Ok(Shared {
            base,
            words: pages.len() << (PAGE_BITS - 3),
        })
    }

    /// The address space.
    pub const fn vspace(&self) -> VSpace {
        self.vspace
    }
}

impl Shared {
    /// The words, which this program may write: where the capabilities did not have the right, writing faults.
    pub fn region(self) -> Region {
        Region::new(Arc::new(self))
    }

    /// The words, to be read only.
    pub fn read_only(self) -> ReadRegion {
        ReadRegion::new(Arc::new(self))
    }
}

// SAFETY: the words are mapped from the address on for this purpose alone, for good unless this program unmaps them by other means, and then
// an access faults (as for `Mapped`); memory is always initialised. Others that have the frames, the kernel among them, write from their own
// protection domains.
unsafe impl Backing for Shared {
    fn base(&self) -> NonNull<AtomicU64> {
        // A window does not begin at 0.
        NonNull::new(self.base as *mut AtomicU64).unwrap_or(NonNull::dangling())
    }

    fn words(&self) -> usize {
        self.words
    }
}

impl Mapped {
    /// Its address.
    pub const fn address(&self) -> u64 {
        self.base
    }

    fn at(&self, offset: u64, bytes: u64) -> u64 {
        let fits = offset
            .checked_add(bytes)
            .is_some_and(|end| end <= self.length);
        assert!(
            fits && offset.is_multiple_of(bytes),
            "offset {offset:#x} is outside of a frame of {:#x} bytes, or not aligned",
            self.length
        );
        self.base + offset
    }

    /// The word at `offset` (bytes).
    pub fn read(&self, offset: u64) -> u64 {
        let address = self.at(offset, 8) as *const u64;
        // SAFETY: aligned and within the frame, which is mapped for this purpose alone (see the type).
        unsafe { address.read_volatile() }
    }

    /// Sets the word at `offset` (bytes).
    pub fn write(&self, offset: u64, value: u64) {
        let address = self.at(offset, 8) as *mut u64;
        // SAFETY: as in `read`.
        unsafe { address.write_volatile(value) }
    }

    /// The half word (32 bits) at `offset`, as devices want it.
    pub fn read_u32(&self, offset: u64) -> u32 {
        let address = self.at(offset, 4) as *const u32;
        // SAFETY: as in `read`.
        unsafe { address.read_volatile() }
    }

    /// Sets the half word (32 bits) at `offset`.
    pub fn write_u32(&self, offset: u64, value: u32) {
        let address = self.at(offset, 4) as *mut u32;
        // SAFETY: as in `read`.
        unsafe { address.write_volatile(value) }
    }

    /// The byte at `offset`.
    pub fn read_u8(&self, offset: u64) -> u8 {
        let address = self.at(offset, 1) as *const u8;
        // SAFETY: as in `read`.
        unsafe { address.read_volatile() }
    }

    /// Sets the byte at `offset`.
    pub fn write_u8(&self, offset: u64, value: u8) {
        let address = self.at(offset, 1) as *mut u8;
        // SAFETY: as in `read`.
        unsafe { address.write_volatile(value) }
    }

    /// Copies bytes to `offset`; what goes beyond the frame is a panic, before anything is written.
    pub fn copy_in(&self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        assert!(end <= self.length, "{end:#x} is outside of the frame");
        let (head, words) = if offset.is_multiple_of(8) {
            bytes.as_chunks::<8>()
        } else {
            (&[][..], bytes)
        };
        for (index, word) in head.iter().enumerate() {
            self.write(offset + index as u64 * 8, u64::from_ne_bytes(*word));
        }
        let behind = offset + head.len() as u64 * 8;
        for (index, byte) in words.iter().enumerate() {
            self.write_u8(behind + index as u64, *byte);
        }
    }

    /// Unmaps the frame and orders instruction fetches behind what was written.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn unmap(self, page: Page) -> Result<(), Error> {
        // SAFETY: only orders accesses.
        unsafe { core::arch::asm!("fence.i", options(nostack)) };
        page.unmap()
    }
}
