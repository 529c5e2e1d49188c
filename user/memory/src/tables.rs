//! Page tables of one client's window: made when they are needed, and kept until the client goes.
//!
//! The window lies within 1 GiB, so one table of the second level leads to it, and one of the third to each 2 MiB of it. One request at a
//! time makes tables; all others find them there. Tables are made of blocks like all else, which count against the client's quota.

use crate::lock::Lock;
use crate::machine::{Machine, Object, Refused};
use crate::pool::BLOCK_PAGES;
use crate::service::MapError;
use crate::session::State;
use alloc::vec::Vec;
use core::cell::RefCell;

/// Pages that one table of the last level leads to.
const LEAF_PAGES: u64 = 512;

#[derive(Debug, Default)]
struct Made {
    /// Whether the table is there that leads to those of the last level.
    root: bool,
    /// Whether those of the last level are.
    leaves: Vec<bool>,
    /// Blocks of which tables are made, and how many of the last.
    blocks: Vec<u32>,
    of_last: u64,
    /// Tables that turned out not to be needed.
    spare: Vec<Object>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    lock: Lock,
    made: RefCell<Made>,
}

/// The tables of the last level that lead to these pages, of which there is at least one.
fn leaves(first: u64, pages: u64) -> impl Iterator<Item = u64> {
    first / LEAF_PAGES..=(first + pages - 1) / LEAF_PAGES
}

impl Made {
    fn has(&self, leaf: u64) -> bool {
        self.leaves.get(leaf as usize) == Some(&true)
    }

    /// A place in the last block for one more.
    fn next(&mut self) -> Option<Object> {
        let block = *self.blocks.last()?;
        let number = self.of_last;
        (number < BLOCK_PAGES).then(|| {
            self.of_last += 1;
            Object { block, number }
        })
    }
}

impl Tables {
    /// Forgets all, and returns the blocks.
    pub(crate) fn forget_all(&self) -> Vec<u32> {
        self.made.take().blocks
    }
}

impl<M: Machine> State<M> {
    /// Whether tables lead to these pages of the window.
    pub(crate) fn has_tables_for(&self, first: u64, pages: u64) -> bool {
        let made = self.tables.made.borrow();
        leaves(first, pages).all(|leaf| made.has(leaf))
    }

    /// Makes the tables that lead to these pages of the window, as far as they are missing.
    pub(crate) async fn make_tables_for(&self, first: u64, pages: u64) -> Result<(), MapError> {
        let made = &self.tables.made;
        let _locked = self.tables.lock.lock().await;
        for leaf in leaves(first, pages) {
            let address = self.address(leaf * LEAF_PAGES);
            // Bound first: the cell must not be held while we wait.
            let root = made.borrow().root;
            if !root {
                self.make_table(address).await?;
                made.borrow_mut().root = true;
            }
            let there = made.borrow().has(leaf);
            if !there {
                self.make_table(address).await?;
                let leaves = &mut made.borrow_mut().leaves;
                let length = leaves.len().max(leaf as usize + 1);
                leaves.resize(length, false);
                leaves[leaf as usize] = true;
            }
        }
        Ok(())
    }

    /// Maps a table where the next one is missing on the way to `address`; if none is missing, an earlier request was dropped before it
    /// knew that it had made it.
    async fn make_table(&self, address: u64) -> Result<(), MapError> {
        let table = match self.spare_table() {
            Some(table) => table,
            None => self.new_table().await?,
        };
        let machine = &self.shared.machine;
        match machine.map_table(table, self.space, address).await {
            Ok(()) => Ok(()),
            Err(refused) => {
                self.tables.made.borrow_mut().spare.push(table);
                match refused {
                    Refused::Occupied => Ok(()),
                    Refused::NoSpace => Err(MapError::NoSpace),
                    Refused::Other => Err(MapError::Broken),
                }
            }
        }
    }

    fn spare_table(&self) -> Option<Object> {
        self.tables.made.borrow_mut().spare.pop()
    }

    async fn new_table(&self) -> Result<Object, MapError> {
        // Counted before it is made, so that nobody makes another in its place if this request is dropped.
        let next = self.tables.made.borrow_mut().next();
        let table = match next {
            Some(table) => table,
            None => {
                let mut books = self.books.borrow_mut();
                let block = books.take_for_tables(&mut self.shared.pool.borrow_mut())?;
                let mut made = self.tables.made.borrow_mut();
                made.blocks.push(block);
                made.of_last = 1;
                Object { block, number: 0 }
            }
        };
        match self.shared.machine.make_table(table).await {
            Ok(()) => Ok(table),
            Err(_) => Err(MapError::Broken),
        }
    }
}
