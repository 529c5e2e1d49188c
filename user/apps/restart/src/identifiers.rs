//! How many address space identifiers are free, by taking them all.

use baton_runtime::sel4::{AsidPool, PageTable};
use baton_runtime::{Allocator, Arena, Exhausted, ObjectSource, Root};

/// As many identifiers as a pool has.
const MOST: u64 = 512;
/// Memory for as many page tables (bytes, log2).
const ARENA_BITS: u64 = 21;

/// Takes identifiers and gives them back.
pub struct Identifiers {
    pool: AsidPool,
    arena: Arena,
}

impl Identifiers {
    /// With memory of its own, for good.
    ///
    /// # Errors
    /// That there is not so much.
    pub fn new(root: &Root, allocator: &mut Allocator) -> Result<Self, Exhausted> {
        Ok(Identifiers {
            pool: root.asid_pool,
            arena: allocator.arena(ARENA_BITS, MOST)?,
        })
    }

    /// How many are free in the pool that processes get theirs from.
    pub fn free(&mut self) -> u64 {
        let mut count = 0;
        while count < MOST
            && let Ok(table) = self.arena.make::<PageTable>()
            && self.pool.assign(table).is_ok()
        {
            count += 1;
        }
        // What cannot be taken back would be missing the next time.
        match self.arena.reset() {
            Ok(()) => count,
            Err(_) => 0,
        }
    }
}
