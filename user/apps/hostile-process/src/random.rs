//! Numbers that repeat for a seed (xorshift).

/// The generator; its state is never 0.
pub struct Random(u64);

impl Random {
    /// Goes on from a state that [`Random::state`] has told, or starts from a seed.
    pub fn new(state: u64) -> Self {
        Self(state.max(1))
    }

    /// Where it is.
    pub fn state(&self) -> u64 {
        self.0
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
