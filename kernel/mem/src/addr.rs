//! Physical addresses.

use core::fmt;

/// A physical address, in bytes: of a kernel object, a frame, a device register, or nothing ([`Paddr::NULL`]).
///
/// Only a number. It becomes a handle through [`crate::Memory::get`], which checks it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
#[repr(transparent)]
pub struct Paddr(u64);

impl Paddr {
    /// No object: address 0, at which no object of the kernel ever lies.
    pub const NULL: Paddr = Paddr(0);

    /// The address `value`.
    #[inline(always)]
    pub const fn new(value: u64) -> Self {
        Paddr(value)
    }

    /// The address as a number of bytes.
    #[inline(always)]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Whether this is [`Paddr::NULL`].
    #[inline(always)]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address `bytes` further on (wrapping: what comes out is checked when it is used).
    #[inline(always)]
    pub const fn add(self, bytes: u64) -> Self {
        Paddr(self.0.wrapping_add(bytes))
    }

    /// The distance in bytes from `start` to this address (wrapping).
    #[inline(always)]
    pub const fn since(self, start: Paddr) -> u64 {
        self.0.wrapping_sub(start.0)
    }

    /// Whether the lowest `bits` bits are zero (`bits` below 64).
    #[inline(always)]
    pub const fn is_aligned(self, bits: u32) -> bool {
        self.0 & ((1 << bits) - 1) == 0
    }
}

impl fmt::Debug for Paddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Paddr({:#x})", self.0)
    }
}

impl fmt::LowerHex for Paddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}
