//! The memory that the kernel's objects and the users' frames lie in, and how handles to it are made.

use crate::{Object, Paddr};
use baton_sync::{AtomicU64, Ordering};
#[cfg(not(target_os = "none"))]
use core::cell::Cell;
use core::hint::assert_unchecked;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Where the kernel's window onto physical memory begins in virtual addresses: physical address 0 is seen there.
pub const WINDOW_BASE: u64 = 0xffff_ffc0_0000_0000;

/// What start and size of a [`Memory`] are multiples of (bytes); no object is larger.
const GRANULE: u64 = 4096;

/// Words that are cleared in one turn of a loop.
const UNROLLED: usize = 8;

/// One word of memory that user programs may reach: read and written whole, for it may change at any moment.
#[repr(transparent)]
pub struct UserWord(AtomicU64);

impl UserWord {
    /// What the word holds now; a second look may see something else.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Writes the word.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The range of physical memory in which kernel objects and user frames may lie, as the kernel sees it.
///
/// There is one for a machine; the trap code lends it to the kernel for one entry at a time.
pub struct Memory {
    start: u64,
    size: u64,
    /// Where `start` is seen. On the machine itself it is computed from the window instead, which saves a load.
    #[cfg_attr(target_os = "none", allow(dead_code, reason = "only read on the host"))]
    seen: NonNull<u8>,
    /// Handles that may still be made; see [`Memory::limit_handles`].
    #[cfg(not(target_os = "none"))]
    handles_left: Cell<u64>,
    /// Handles are neither sent to nor shared with other threads.
    _here: PhantomData<*mut u8>,
}

impl Memory {
    /// The memory of `size` bytes from physical address `start` on, seen at `seen`.
    ///
    /// # Safety
    ///
    /// - `seen` must point to `size` bytes that may be read and written for as long as the value lives. On the machine
    ///   (`target_os = "none"`) it must equal [`WINDOW_BASE`] + `start`, with its provenance exposed.
    /// - Nothing that the compiler knows of may lie there (the kernel's code, data and stacks above all): it
    ///   is only accessed through this value, by hardware, and by user programs.
    /// - `start` and `seen` must be multiples of 4096, and `start` not zero. `size` is cut to one.
    pub const unsafe fn new(start: Paddr, size: u64, seen: NonNull<u8>) -> Self {
        Memory {
            start: start.value(),
            size: size & !(GRANULE - 1),
            seen,
            #[cfg(not(target_os = "none"))]
            handles_left: Cell::new(u64::MAX),
            _here: PhantomData,
        }
    }

    /// Lets `count` more handles be made by [`Memory::get`], and then no more. Not on the machine: so that a test with
    /// records that are broken on purpose ends, for whatever walks them makes a handle a step.
    #[cfg(not(target_os = "none"))]
    pub fn limit_handles(&self, count: u64) {
        self.handles_left.set(count);
    }

    /// The first address.
    pub fn start(&self) -> Paddr {
        Paddr::new(self.start)
    }

    /// The first address behind.
    pub fn end(&self) -> Paddr {
        Paddr::new(self.start + self.size)
    }

    /// Whether all of `len` bytes from `at` on lie in this memory.
    #[inline(always)]
    pub fn contains(&self, at: Paddr, len: u64) -> bool {
        let offset = at.value().wrapping_sub(self.start);
        len <= self.size && offset <= self.size - len
    }

    /// Where `at` is seen: only meaningful if it is in range.
    #[inline(always)]
    fn pointer(&self, at: Paddr) -> *mut u8 {
        #[cfg(target_os = "none")]
        return core::ptr::with_exposed_provenance_mut(
            WINDOW_BASE.wrapping_add(at.value()) as usize
        );
        #[cfg(not(target_os = "none"))]
        return self
            .seen
            .as_ptr()
            .wrapping_add(at.value().wrapping_sub(self.start) as usize);
    }

    /// Whether an object at `at` lies in this memory and is aligned.
    #[inline(always)]
    fn is_object<T: Object>(&self, at: Paddr) -> bool {
        // Start and size are multiples of 4096, and an object is aligned to its size, which divides that: if its first
        // byte lies in the memory, so does its last.
        const {
            assert!(size_of::<T>() == align_of::<T>() && size_of::<T>() <= GRANULE as usize);
        }
        let aligned = at.value() & (align_of::<T>() as u64 - 1) == 0;
        aligned && at.value().wrapping_sub(self.start) < self.size
    }

    /// A handle to the object at `at`.
    ///
    /// # Panics
    ///
    /// If the object would leave this memory or is not aligned: then the kernel's own records are broken, which no
    /// user can bring about. Beyond the limit of [`Memory::limit_handles`], where there is one.
    #[inline(always)]
    pub fn get<T: Object>(&self, at: Paddr) -> &T {
        if !self.is_object::<T>(at) {
            broken();
        }
        #[cfg(not(target_os = "none"))]
        match self.handles_left.get().checked_sub(1) {
            Some(left) => self.handles_left.set(left),
            None => endless(),
        }
        let pointer = self.pointer(at).cast::<T>();
        // SAFETY: it points into the memory, as below, where null is not.
        unsafe { assert_unchecked(!pointer.is_null()) };
        // SAFETY: the object lies in the memory that `new` was promised to be accessible, nothing but cells of
        // integers and atomics ever points there (trait `Object`), so any bit pattern and any overlap is allowed;
        // start and size are multiples of 4096, the address is aligned. The handle borrows `self`.
        unsafe { &*pointer }
    }

    /// A handle to the object at `at`, or nothing if it would leave this memory or is not aligned.
    #[inline(always)]
    pub fn find<T: Object>(&self, at: Paddr) -> Option<&T> {
        self.is_object::<T>(at).then(|| self.get(at))
    }

    /// A handle to the object at `at`, or nothing if `at` is [`Paddr::NULL`].
    ///
    /// # Panics
    ///
    /// As [`Memory::get`].
    #[inline(always)]
    pub fn get_or_null<T: Object>(&self, at: Paddr) -> Option<&T> {
        if at.is_null() {
            None
        } else {
            Some(self.get(at))
        }
    }

    /// The physical address of an object: what [`Memory::get`] made the handle from.
    #[inline(always)]
    pub fn address<T: Object>(&self, object: &T) -> Paddr {
        let seen = core::ptr::from_ref(object).addr() as u64;
        #[cfg(target_os = "none")]
        return Paddr::new(seen.wrapping_sub(WINDOW_BASE));
        #[cfg(not(target_os = "none"))]
        return Paddr::new(
            seen.wrapping_sub(self.seen.addr().get() as u64)
                .wrapping_add(self.start),
        );
    }

    /// `N` words of a user's frame from `at` on, which must be a multiple of 8; nothing if they leave this memory
    /// (a device frame).
    #[inline(always)]
    pub fn user_words<const N: usize>(&self, at: Paddr) -> Option<&[UserWord; N]> {
        if !at.is_aligned(3) || !self.contains(at, N as u64 * 8) {
            return None;
        }
        // SAFETY: in range and aligned as above; `UserWord` is an atomic integer, for which any bit pattern and any
        // overlap is allowed.
        Some(unsafe { &*self.pointer(at).cast::<[UserWord; N]>() })
    }

    /// The byte at `at`, if it lies in this memory.
    pub fn user_byte(&self, at: Paddr) -> Option<u8> {
        let word = self.user_words::<1>(Paddr::new(at.value() & !7))?;
        Some(word[0].get().to_le_bytes()[(at.value() & 7) as usize])
    }

    /// Fills `len` bytes from `at` on with zeros; both must be multiples of 8.
    ///
    /// # Panics
    ///
    /// If they leave this memory, as [`Memory::get`].
    pub fn zero(&self, at: Paddr, len: u64) {
        if !at.is_aligned(3) || len & 7 != 0 || !self.contains(at, len) {
            broken();
        }
        let pointer = self.pointer(at).cast::<u64>();
        let words = len as usize / 8;
        let whole = words & !(UNROLLED - 1);
        // Volatile, or the compiler would put its own function in place of this, which takes twice as many instructions.
        let mut done = 0;
        while done < whole {
            for word in done..done + UNROLLED {
                // SAFETY: in range and aligned; whatever handles exist point to cells or atomics, which may be written at
                // any time. It is not a data race with user programs that matters to the language: they are not part of it.
                unsafe { pointer.add(word).write_volatile(0) };
            }
            done += UNROLLED;
        }
        for word in whole..words {
            // SAFETY: as above.
            unsafe { pointer.add(word).write_volatile(0) };
        }
    }
}

#[cold]
#[inline(never)]
fn broken() -> ! {
    panic!("the kernel's records are broken: an object outside its memory");
}

#[cfg(not(target_os = "none"))]
#[cold]
#[inline(never)]
fn endless() -> ! {
    panic!("the kernel does not come to an end");
}
