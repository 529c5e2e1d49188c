//! Who has which block of memory.
//!
//! A block is an untyped of [`BLOCK_PAGES`] pages. One call of the kernel makes all its frames, and one revokes it with all that was made of
//! it; in between it is one client's.

use alloc::vec::Vec;

/// Pages of a block.
pub const BLOCK_PAGES: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Free,
    /// With the number of the client that has it.
    Of(u64),
    Lost,
}

/// All blocks of a server.
#[derive(Debug)]
pub(crate) struct Pool {
    blocks: Vec<Block>,
    /// The numbers of the free ones.
    free: Vec<u32>,
    lost: u64,
}

impl Pool {
    /// That many blocks, all free.
    pub(crate) fn new(blocks: u32) -> Self {
        Pool {
            blocks: alloc::vec![Block::Free; blocks as usize],
            // The first is handed out first.
            free: (0..blocks).rev().collect(),
            lost: 0,
        }
    }

    /// Takes `count` blocks for a client; none if there are not so many.
    pub(crate) fn take(&mut self, client: u64, count: usize) -> Option<Vec<u32>> {
        let rest = self.free.len().checked_sub(count)?;
        let taken = self.free.split_off(rest);
        for &block in &taken {
            self.set(block, Block::Free, Block::Of(client));
        }
        Some(taken)
    }

    /// Takes back a block that was revoked.
    pub(crate) fn give(&mut self, client: u64, block: u32) {
        if self.set(block, Block::Of(client), Block::Free) {
            self.free.push(block);
        }
    }

    /// Notes that the kernel would not revoke a block.
    pub(crate) fn lose(&mut self, client: u64, block: u32) {
        if self.set(block, Block::Of(client), Block::Lost) {
            self.lost += 1;
        }
    }

    /// Whether the block was `from`, and so is `to` now. What is not as it must be stays as it is: it is not handed out.
    fn set(&mut self, block: u32, from: Block, to: Block) -> bool {
        let found = self.blocks.get_mut(block as usize);
        let found = found.filter(|found| **found == from);
        debug_assert!(found.is_some(), "block {block} is not {from:?}");
        found.is_some_and(|found| {
            *found = to;
            true
        })
    }

    /// Blocks in all, free ones, lost ones.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [self.blocks.len() as u64, self.free.len() as u64, self.lost]
    }

    /// Blocks that this client has.
    #[cfg(test)]
    pub(crate) fn of(&self, client: u64) -> usize {
        let all = self.blocks.iter();
        all.filter(|block| **block == Block::Of(client)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_one_owner_and_comes_back() {
        let mut pool = Pool::new(3);
        let mine = pool.take(1, 2).expect("three are free");
        assert_eq!(pool.take(2, 2), None);
        let other = pool.take(2, 1).expect("one is left");
        assert!(!mine.contains(&other[0]));
        pool.give(1, mine[0]);
        pool.lose(1, mine[1]);
        assert_eq!(pool.counts(), [3, 1, 1]);
        assert_eq!((pool.of(1), pool.of(2)), (0, 1));
        assert_eq!(pool.take(2, 1), Some(alloc::vec![mine[0]]));
    }

    #[test]
    #[cfg_attr(not(debug_assertions), ignore = "checked in debug builds")]
    #[should_panic(expected = "is not Of(2)")]
    fn who_does_not_have_a_block_cannot_give_it_back() {
        let mut pool = Pool::new(1);
        let taken = pool.take(1, 1).expect("one is free");
        pool.give(2, taken[0]);
    }
}
