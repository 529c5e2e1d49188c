//! Words that the threads of a case share. All are 0 when a case begins.

use baton_runtime::sync::{AtomicU64, Ordering};

const COUNT: usize = 64;
static WORDS: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];

/// The word, for what spins on it.
pub fn word(index: usize) -> &'static AtomicU64 {
    &WORDS[index]
}

/// Its value.
pub fn get(index: usize) -> u64 {
    WORDS[index].load(Ordering::SeqCst)
}

/// Sets it.
pub fn set(index: usize, value: u64) {
    WORDS[index].store(value, Ordering::SeqCst);
}

/// Adds to it, and returns what it was.
pub fn add(index: usize, value: u64) -> u64 {
    WORDS[index].fetch_add(value, Ordering::SeqCst)
}

/// Sets all to 0.
pub fn reset() {
    for word in &WORDS {
        word.store(0, Ordering::SeqCst);
    }
}
