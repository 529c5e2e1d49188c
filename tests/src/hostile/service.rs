//! What the victim serves, and what it calls back.

use baton_rpc::{BulkIn, BulkOut, service};

/// Answers that an honest client can check.
#[service]
pub trait Guarded {
    /// What [`mixed`] makes of the words.
    async fn mix(&self, words: [u64; 4]) -> [u64; 4];
    /// Returns every byte plus one.
    async fn turn(&self, data: BulkIn, out: BulkOut) -> (u64, BulkOut);
    /// Takes `time_ns`.
    async fn linger(&self, time_ns: u64) -> u64;
    /// Counts one for `session`.
    fn note(&self, session: u64);
    /// What was counted for `session`.
    async fn noted(&self, session: u64) -> u64;
}

/// What the victim calls at the hostile process, which implements none of it.
#[service]
pub trait Lies {
    /// Some words for some words.
    async fn tell(&self, words: [u64; 2]) -> bool;
    /// Some bytes for some bytes.
    async fn show(&self, data: BulkIn, out: BulkOut) -> (u64, BulkOut);
    /// Nothing comes back.
    fn mutter(&self, number: u64);
}

/// The hostile process serves nothing honestly; this only gives the trait an implementation to name.
#[derive(Debug)]
pub struct Liar;

impl Lies for Liar {
    async fn tell(&self, words: [u64; 2]) -> bool {
        words[0] == words[1]
    }

    async fn show(&self, data: BulkIn, out: BulkOut) -> (u64, BulkOut) {
        (data.len() as u64, out)
    }

    fn mutter(&self, _number: u64) {}
}

/// An answer that nobody can guess who has not read the question.
pub fn mixed(words: [u64; 4]) -> [u64; 4] {
    let [a, b, c, d] = words;
    [
        a.rotate_left(7) ^ d,
        b.wrapping_add(a),
        c.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        d ^ b.rotate_left(31),
    ]
}

/// A session that no random number hits: its upper half follows from its lower.
pub fn session(number: u32) -> u64 {
    u64::from(number) | u64::from(number.rotate_left(9) ^ 0x5eed_cafe) << 32
}
