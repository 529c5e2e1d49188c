//! The input of a target, read from front to back; what is missing at its end reads as zero.

use arbitrary::{Arbitrary, Unstructured};

/// The rest of an input.
pub struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(Unstructured::new(bytes))
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value of a type of fixed size: integers are little-endian.
    pub fn get<T: Arbitrary<'a> + Default>(&mut self) -> T {
        self.0.arbitrary().unwrap_or_default()
    }

    /// A number below `bound`, or 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 => 0,
            1..=256 => usize::from(self.get::<u8>()) % bound,
            _ => usize::from(self.get::<u16>()) % bound,
        }
    }

    /// A word: more often than not one that is near what the program compares with.
    pub fn word(&mut self) -> u64 {
        let kind: u8 = self.get();
        match kind % 8 {
            0..=3 => u64::from(self.get::<u8>()),
            4 => u64::from(self.get::<i8>() as u64),
            5 => u64::from(self.get::<u32>()),
            6 => u64::from(self.get::<u32>()) << 32 | u64::from(self.get::<u8>()),
            _ => self.get(),
        }
    }
}
