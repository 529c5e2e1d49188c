//! The bytes of a program, read from front to back; what is missing at their end reads as zero.

/// What is left of a program.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    /// A number below `bound`, which is at least 1 and at most 256.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        u64::from(self.byte()) % bound
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    /// Eight bytes as they are.
    pub(super) fn raw(&mut self) -> u64 {
        u64::from_le_bytes(core::array::from_fn(|_| self.byte()))
    }

    /// A word: more often than not one near what the kernel compares with.
    pub(super) fn word(&mut self) -> u64 {
        match self.below(8) {
            0 | 1 => self.below(256),
            2 => 1 << self.below(64),
            3 => u64::MAX << self.below(64),
            4 => 64,
            5 => i64::from(self.byte() as i8) as u64,
            6 => self.below(256) << 12,
            _ => self.raw(),
        }
    }
}
