//! What a client's tasks do: whatever the random numbers say, checking all that they read.

use crate::Server;
use crate::memory::{check, fill};
use crate::shared::WINDOW_PAGES;
use alloc::vec::Vec;
use baton_memory::{Access, AllocError, FreeError, MapError, Place, RegionNumber, UnmapError};
use baton_platform::protocol::space;
use baton_rpc::{CallError, next_turn};
use baton_runtime::Random;
use core::fmt;

/// Why a task gave up.
#[derive(Debug)]
pub enum Wrong {
    Call(CallError),
    Alloc(AllocError),
    Map(MapError),
    Unmap(UnmapError),
    Free(FreeError),
    /// At this address is something else than was written there, or than zeros.
    Contents(u64),
    /// It is mapped elsewhere than was asked for.
    Elsewhere(u64),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Call(error) => error.fmt(f),
            Wrong::Alloc(error) => write!(f, "alloc: {error}"),
            Wrong::Map(error) => write!(f, "map: {error}"),
            Wrong::Unmap(error) => write!(f, "unmap: {error}"),
            Wrong::Free(error) => write!(f, "free: {error}"),
            Wrong::Contents(address) => write!(f, "{address:#x} has something else in it"),
            Wrong::Elsewhere(address) => write!(f, "it is mapped at {address:#x}"),
        }
    }
}

impl From<CallError> for Wrong {
    fn from(error: CallError) -> Self {
        Wrong::Call(error)
    }
}

/// A region that the task has.
struct Held {
    number: RegionNumber,
    pages: u64,
    /// Where it is mapped, and whether it may be written.
    at: Option<(u64, bool)>,
    /// What it was filled with.
    pattern: Option<u64>,
}

/// One task of a client.
pub struct Worker {
    server: Server,
    random: Random,
    held: Vec<Held>,
    /// Whether to drop requests half-way.
    drops: bool,
}

/// Regions that a task has at most.
const HELD: u64 = 6;

impl Worker {
    pub fn new(server: Server, random: Random, drops: bool) -> Self {
        Worker {
            server,
            random,
            held: Vec::new(),
            drops,
        }
    }

    /// One step: a request or two.
    pub async fn step(&mut self) -> Result<(), Wrong> {
        let which = self.random.below(HELD) as usize;
        if self.drops && self.random.below(8) == 0 {
            return self.drop_one().await;
        }
        let Some(region) = self.held.get_mut(which) else {
            return self.alloc().await;
        };
        match region.at {
            None if self.random.below(4) == 0 => self.free(which).await,
            None => self.map(which).await,
            Some((address, _)) => match self.random.below(4) {
                // Mapped as it is.
                0 => self.free(which).await,
                1 => check(address, region.pages, region.pattern).map_err(Wrong::Contents),
                _ => {
                    check(address, region.pages, region.pattern).map_err(Wrong::Contents)?;
                    let unmapped = self.server.unmap(region.number).await?;
                    region.at = None;
                    unmapped.map_err(Wrong::Unmap)
                }
            },
        }
    }

    async fn alloc(&mut self) -> Result<(), Wrong> {
        let pages = 1 + self.random.below(24);
        match self.server.alloc(pages).await? {
            Ok(number) => self.held.push(Held {
                number,
                pages,
                at: None,
                pattern: None,
            }),
            // What all tasks of this client want together may be more than its quota.
            Err(AllocError::Quota { left_pages }) if left_pages < pages.next_multiple_of(8) => {}
            Err(error) => return Err(Wrong::Alloc(error)),
        }
        Ok(())
    }

    async fn map(&mut self, which: usize) -> Result<(), Wrong> {
        let region = &mut self.held[which];
        let page = self.random.below(WINDOW_PAGES - region.pages);
        let place = match self.random.below(4) {
            0 => Place::At {
                address: space::OPEN + page * 4096,
            },
            _ => Place::Anywhere,
        };
        let write = region.pattern.is_none() || self.random.below(4) != 0;
        let access = if write {
            Access::ReadWrite
        } else {
            Access::Read
        };
        let address = match self.server.map(region.number, place, access).await? {
            Ok(address) => address,
            // Another task of this client may have something there; and tables count as well.
            Err(MapError::Occupied) if place != Place::Anywhere => return Ok(()),
            Err(MapError::Quota) => return Ok(()),
            Err(error) => return Err(Wrong::Map(error)),
        };
        if matches!(place, Place::At { address: asked } if asked != address) {
            return Err(Wrong::Elsewhere(address));
        }
        check(address, region.pages, region.pattern).map_err(Wrong::Contents)?;
        region.at = Some((address, write));
        if write {
            let pattern = self.random.next();
            fill(address, region.pages, pattern);
            region.pattern = Some(pattern);
        }
        Ok(())
    }

    async fn free(&mut self, which: usize) -> Result<(), Wrong> {
        let region = self.held.swap_remove(which);
        if let Some((address, _)) = region.at {
            check(address, region.pages, region.pattern).map_err(Wrong::Contents)?;
        }
        self.server.free(region.number).await?.map_err(Wrong::Free)
    }

    /// Begins a request and drops it.
    async fn drop_one(&mut self) -> Result<(), Wrong> {
        if self.held.is_empty() || self.random.below(2) == 0 {
            // If it was answered before it was dropped, the region stays: it counts until this client goes.
            drop(self.server.alloc(1 + self.random.below(8)));
            return Ok(());
        }
        let last = self.held.len() - 1;
        let region = self
            .held
            .swap_remove(self.random.below(last as u64 + 1) as usize);
        match region.at {
            Some(_) => drop(self.server.unmap(region.number)),
            None => {
                let call = self
                    .server
                    .map(region.number, Place::Anywhere, Access::Read);
                if self.random.below(2) == 0 {
                    // So that it has begun.
                    next_turn().await;
                }
                drop(call);
            }
        }
        // Whatever has become of it, it can be freed when that is over.
        loop {
            match self.server.free(region.number).await? {
                Ok(()) => return Ok(()),
                Err(FreeError::Busy) => next_turn().await,
                Err(error) => return Err(Wrong::Free(error)),
            }
        }
    }

    /// Frees all that is left.
    pub async fn finish(&mut self) -> Result<(), Wrong> {
        while !self.held.is_empty() {
            self.free(0).await?;
        }
        Ok(())
    }
}
