//! Numbers that look random and repeat for a seed: for tests and benchmarks, not for secrets.

/// A small generator (xorshift); its state is never 0, which would stay 0.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed; neighbouring seeds begin far apart.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Goes on from a state that [`Random::state`] has told.
    pub fn resume(state: u64) -> Self {
        Self(state.max(1))
    }

    /// Where it is.
    pub fn state(&self) -> u64 {
        self.0
    }

    /// The next number, never 0.
    #[expect(
        clippy::should_implement_trait,
        reason = "it has no end, and none of its users iterates"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    /// One of these.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
