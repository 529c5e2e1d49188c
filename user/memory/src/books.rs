//! What one client has: its regions, its addresses, and what counts against its quota. Nothing here waits.

use crate::machine::Refused;
use crate::pool::{BLOCK_PAGES, Pool};
use crate::server::Limits;
use crate::service::{AllocError, FreeError, MapError, Place, RegionNumber, UnmapError, Usage};
use crate::window::{Taken, Window};
use alloc::rc::Rc;
use alloc::vec::Vec;

const PAGE_BYTES: u64 = 4096;
/// A region's number has its place in the lower bits.
const PLACE_BITS: u32 = 16;

/// How a region stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// A request for it is under way.
    Busy,
    Unmapped,
    Mapped,
    /// It could not be unmapped.
    Stuck,
}

#[derive(Clone, Debug)]
struct Region {
    pages: u64,
    blocks: Rc<[u32]>,
    /// First page in the window, while addresses are taken for it.
    first: Option<u64>,
    standing: Standing,
}

/// What a request needs to know of its region.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) number: RegionNumber,
    pub(crate) pages: u64,
    pub(crate) blocks: Rc<[u32]>,
    /// First page in the window, where it is, or is to be, mapped.
    pub(crate) first: u64,
}

#[derive(Debug)]
struct Entry {
    generation: u64,
    region: Option<Region>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Books {
    client: u64,
    limits: Limits,
    entries: Vec<Entry>,
    window: Window,
    charged_pages: u64,
}

impl Books {
    pub(crate) fn new(client: u64, limits: &Limits) -> Self {
        Books {
            client,
            limits: *limits,
            entries: Vec::new(),
            window: Window::new(limits.window_pages),
            charged_pages: 0,
        }
    }

    fn left_pages(&self) -> u64 {
        self.limits.quota_pages.saturating_sub(self.charged_pages)
    }

    /// Takes a block for page tables.
    pub(crate) fn take_for_tables(&mut self, pool: &mut Pool) -> Result<u32, MapError> {
        if self.left_pages() < BLOCK_PAGES {
            return Err(MapError::Quota);
        }
        let block = pool
            .take(self.client, 1)
            .and_then(|blocks| blocks.first().copied());
        let block = block.ok_or(MapError::Exhausted)?;
        self.charged_pages += BLOCK_PAGES;
        Ok(block)
    }

    /// Takes blocks for a region of `pages` pages, which is busy at first.
    pub(crate) fn begin_alloc(&mut self, pages: u64, pool: &mut Pool) -> Result<Part, AllocError> {
        let limits = &self.limits;
        if pages == 0 {
            return Err(AllocError::Nothing);
        }
        if pages > limits.region_pages {
            return Err(AllocError::TooLarge {
                most_pages: limits.region_pages,
            });
        }
        let free = self.entries.iter().position(|entry| entry.region.is_none());
        let most = limits.regions.min(1 << PLACE_BITS);
        if free.is_none() && self.entries.len() as u64 >= most {
            return Err(AllocError::TooManyRegions);
        }
        let count = pages.div_ceil(BLOCK_PAGES);
        let left_pages = self.left_pages();
        if count * BLOCK_PAGES > left_pages {
            return Err(AllocError::Quota { left_pages });
        }
        let blocks = pool.take(self.client, count as usize);
        let blocks: Rc<[u32]> = blocks.ok_or(AllocError::Exhausted)?.into();
        self.charged_pages += count * BLOCK_PAGES;
        let region = Region {
            pages,
            blocks: blocks.clone(),
            first: None,
            standing: Standing::Busy,
        };
        let place = free.unwrap_or(self.entries.len());
        if free.is_none() {
            self.entries.push(Entry {
                generation: 0,
                region: None,
            });
        }
        let entry = &mut self.entries[place];
        entry.generation += 1;
        entry.region = Some(region);
        Ok(Part {
            number: RegionNumber(entry.generation << PLACE_BITS | place as u64),
            pages,
            blocks,
            first: 0,
        })
    }

    fn entry(&mut self, number: RegionNumber) -> Option<&mut Entry> {
        let place = number.0 & ((1 << PLACE_BITS) - 1);
        let entry = self.entries.get_mut(place as usize)?;
        (entry.generation == number.0 >> PLACE_BITS).then_some(entry)
    }

    fn region(&mut self, number: RegionNumber) -> Option<&mut Region> {
        self.entry(number)?.region.as_mut()
    }

    /// Takes addresses for a region, which is busy from then on.
    pub(crate) fn begin_map(&mut self, number: RegionNumber, at: Place) -> Result<Part, MapError> {
        let region = self.region(number).ok_or(MapError::NoRegion)?;
        match region.standing {
            Standing::Unmapped => {}
            Standing::Busy => return Err(MapError::Busy),
            Standing::Mapped => return Err(MapError::Mapped),
            Standing::Stuck => return Err(MapError::Broken),
        }
        let (pages, blocks) = (region.pages, region.blocks.clone());
        let wanted = match at {
            Place::Anywhere => None,
            Place::At { address } if !address.is_multiple_of(PAGE_BYTES) => {
                return Err(MapError::Misaligned);
            }
            Place::At { address } => match address.checked_sub(self.limits.window) {
                Some(offset) => Some(offset / PAGE_BYTES),
                None => return Err(MapError::OutsideWindow),
            },
        };
        let first = match self.window.take(wanted, pages) {
            Taken::From(first) => first,
            Taken::Outside => return Err(MapError::OutsideWindow),
            Taken::Occupied => return Err(MapError::Occupied),
            Taken::NoRoom => return Err(MapError::NoRoom),
        };
        if let Some(region) = self.region(number) {
            region.first = Some(first);
            region.standing = Standing::Busy;
        }
        Ok(Part {
            number,
            pages,
            blocks,
            first,
        })
    }

    /// Makes a mapped region busy.
    pub(crate) fn begin_unmap(&mut self, number: RegionNumber) -> Result<(), UnmapError> {
        let region = self.region(number).ok_or(UnmapError::NoRegion)?;
        match region.standing {
            Standing::Mapped => {}
            Standing::Busy => return Err(UnmapError::Busy),
            Standing::Unmapped => return Err(UnmapError::NotMapped),
            Standing::Stuck => return Err(UnmapError::Broken),
        }
        region.standing = Standing::Busy;
        Ok(())
    }

    /// Makes a region busy that is to go.
    pub(crate) fn begin_free(&mut self, number: RegionNumber) -> Result<(), FreeError> {
        let region = self.region(number).ok_or(FreeError::NoRegion)?;
        if region.standing == Standing::Busy {
            return Err(FreeError::Busy);
        }
        region.standing = Standing::Busy;
        Ok(())
    }

    /// What there is of a region.
    pub(crate) fn part(&mut self, number: RegionNumber) -> Option<Part> {
        let region = self.region(number)?;
        Some(Part {
            number,
            pages: region.pages,
            blocks: region.blocks.clone(),
            first: region.first.unwrap_or(0),
        })
    }

    /// The blocks of a region.
    pub(crate) fn blocks(&mut self, number: RegionNumber) -> Rc<[u32]> {
        let region = self.region(number);
        region.map_or_else(|| Rc::from([]), |region| region.blocks.clone())
    }

    /// A busy region is mapped now.
    pub(crate) fn is_mapped(&mut self, number: RegionNumber) {
        if let Some(region) = self.region(number) {
            region.standing = Standing::Mapped;
        }
    }

    /// A busy region has just been made, or could or could not be unmapped.
    pub(crate) fn is_unmapped(&mut self, number: RegionNumber, unmapped: bool) {
        let Some(region) = self.region(number) else {
            return;
        };
        if !unmapped {
            region.standing = Standing::Stuck;
            return;
        }
        region.standing = Standing::Unmapped;
        let first = region.first.take();
        if let Some(first) = first {
            self.window.give(first);
        }
    }

    /// A busy region is gone; `kept` are the places of those of its blocks that the kernel would not take back.
    pub(crate) fn is_free(
        &mut self,
        number: RegionNumber,
        kept: &[(usize, Refused)],
        pool: &mut Pool,
    ) {
        let region = self.entry(number).and_then(|entry| entry.region.take());
        let Some(region) = region else {
            return;
        };
        if let Some(first) = region.first {
            self.window.give(first);
        }
        self.charged_pages -= region.blocks.len() as u64 * BLOCK_PAGES;
        give_or_lose(pool, self.client, &region.blocks, kept);
    }

    /// Forgets all regions, and returns their blocks.
    pub(crate) fn forget_all(&mut self) -> Vec<u32> {
        let regions = self.entries.drain(..).filter_map(|entry| entry.region);
        let blocks = regions.flat_map(|region| region.blocks.to_vec()).collect();
        self.window = Window::new(self.limits.window_pages);
        self.charged_pages = 0;
        blocks
    }

    pub(crate) fn usage(&self) -> Usage {
        let regions = || {
            self.entries
                .iter()
                .filter_map(|entry| entry.region.as_ref())
        };
        Usage {
            charged_pages: self.charged_pages,
            quota_pages: self.limits.quota_pages,
            regions: regions().count() as u64,
            mapped: regions()
                .filter(|region| region.standing == Standing::Mapped)
                .count() as u64,
        }
    }
}

/// Puts blocks back that the kernel has taken back, and writes off those at the places `kept`.
pub(crate) fn give_or_lose(
    pool: &mut Pool,
    client: u64,
    blocks: &[u32],
    kept: &[(usize, Refused)],
) {
    for (place, &block) in blocks.iter().enumerate() {
        if kept.iter().any(|(at, _)| *at == place) {
            pool.lose(client, block);
        } else {
            pool.give(client, block);
        }
    }
}
