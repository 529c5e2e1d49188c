//! Words that both sides of a measurement have mapped.

/// A page that both sides have mapped: one writes, the other reads after a system call that passed control.
#[derive(Clone, Copy, Debug)]
pub struct Mailbox {
    base: *mut u64,
}

impl Mailbox {
    /// Words of a page.
    pub const WORDS: usize = 512;

    /// The page at that address.
    ///
    /// # Safety
    /// It must be mapped for reading and writing, stay so, and hold nothing that Rust knows of.
    pub const unsafe fn at(address: u64) -> Self {
        Self {
            base: address as *mut u64,
        }
    }

    /// The word with that index; 0 for one that the page does not have.
    pub fn read(self, index: usize) -> u64 {
        if index >= Self::WORDS {
            return 0;
        }
        // SAFETY: within the page, which is mapped (the promise made to `at`); volatile, for the other side writes it.
        unsafe { self.base.add(index).read_volatile() }
    }

    /// Sets the word with that index; one that the page does not have is ignored.
    pub fn write(self, index: usize, value: u64) {
        if index < Self::WORDS {
            // SAFETY: as in `read`.
            unsafe { self.base.add(index).write_volatile(value) }
        }
    }
}
