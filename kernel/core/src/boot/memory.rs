//! Free memory while booting: a short list of regions, from which objects are taken.

use super::Region;
use baton_kernel_mem::Paddr;

/// Regions that are kept; smaller ones beyond that are left alone.
const MAX_REGIONS: usize = 32;

/// Free memory: disjoint regions in ascending order.
#[derive(Clone, Copy)]
pub(super) struct FreeMemory {
    regions: [Region; MAX_REGIONS],
    count: usize,
}

impl FreeMemory {
    /// All of these regions.
    pub(super) fn new(regions: &[Region]) -> Self {
        let mut free = Self {
            regions: [Region::default(); MAX_REGIONS],
            count: 0,
        };
        for &region in regions {
            free.add(region);
        }
        free
    }

    /// The regions.
    pub(super) fn regions(&self) -> &[Region] {
        self.regions.get(..self.count).unwrap_or_default()
    }

    /// Adds a region that does not overlap the others. Without room for it, the smallest of all is forgotten.
    pub(super) fn add(&mut self, region: Region) {
        if region.size() == 0 {
            return;
        }
        if self.count == MAX_REGIONS {
            let smallest = (0..self.count).min_by_key(|&index| self.regions[index].size());
            match smallest {
                Some(index) if self.regions[index].size() < region.size() => self.remove(index),
                _ => return,
            }
        }
        let at = self
            .regions()
            .iter()
            .position(|other| other.start > region.start)
            .unwrap_or(self.count);
        self.regions.copy_within(at..self.count, at + 1);
        self.regions[at] = region;
        self.count += 1;
    }

    fn remove(&mut self, index: usize) {
        self.regions.copy_within(index + 1..self.count, index);
        self.count -= 1;
    }

    /// Takes what overlaps `hole` out.
    pub(super) fn exclude(&mut self, hole: Region) {
        if hole.size() == 0 {
            return;
        }
        let mut index = 0;
        while let Some(&region) = self.regions().get(index) {
            if region.end <= hole.start || hole.end <= region.start {
                index += 1;
                continue;
            }
            self.remove(index);
            let before = Region {
                start: region.start,
                end: hole.start.min(region.end).max(region.start),
            };
            let after = Region {
                start: hole.end.max(region.start).min(region.end),
                end: region.end,
            };
            // Neither overlaps the hole, so that looking at them again ends.
            self.add(before);
            self.add(after);
        }
    }

    /// Takes `1 << bits` bytes, aligned to their size, from as high as possible.
    pub(super) fn take(&mut self, bits: u64) -> Option<Paddr> {
        let size = 1_u64 << bits;
        let (index, at) = (0..self.count).rev().find_map(|index| {
            let region = self.regions.get(index)?;
            let at = region.end.value().checked_sub(size)? & !(size - 1);
            (at >= region.start.value()).then_some((index, at))
        })?;
        let region = self.regions[index];
        self.remove(index);
        self.add(Region {
            start: region.start,
            end: Paddr::new(at),
        });
        self.add(Region {
            start: Paddr::new(at + size),
            end: region.end,
        });
        Some(Paddr::new(at))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn region(start: u64, end: u64) -> Region {
        Region {
            start: Paddr::new(start),
            end: Paddr::new(end),
        }
    }

    fn bounds(free: &FreeMemory) -> Vec<(u64, u64)> {
        let regions = free.regions().iter();
        regions.map(|r| (r.start.value(), r.end.value())).collect()
    }

    #[test]
    fn holes_are_cut_out_wherever_they_lie() {
        let mut free = FreeMemory::new(&[region(0x1000, 0x9000), region(0xa000, 0xb000)]);
        free.exclude(region(0x3000, 0x4000));
        free.exclude(region(0, 0x2000));
        free.exclude(region(0x8000, 0xa800));
        free.exclude(region(0x5000, 0x5000));
        assert_eq!(
            bounds(&free),
            [(0x2000, 0x3000), (0x4000, 0x8000), (0xa800, 0xb000)]
        );
        free.exclude(region(0, u64::MAX));
        assert!(free.regions().is_empty());
    }

    #[test]
    fn objects_are_aligned_and_do_not_overlap() {
        let mut free = FreeMemory::new(&[region(0x1000, 0x9800)]);
        assert_eq!(free.take(14), Some(Paddr::new(0x4000)));
        assert_eq!(free.take(12), Some(Paddr::new(0x8000)));
        assert_eq!(free.take(11), Some(Paddr::new(0x9000)));
        assert_eq!(free.take(12), Some(Paddr::new(0x3000)));
        assert_eq!(free.take(14), None);
        assert_eq!(bounds(&free), [(0x1000, 0x3000)]);
    }

    #[test]
    fn full_list_forgets_the_smallest() {
        let many: Vec<_> = (1..=40)
            .map(|i| region(i * 0x10000, i * 0x10000 + i))
            .collect();
        let free = FreeMemory::new(&many);
        assert_eq!(free.regions().len(), MAX_REGIONS);
        assert_eq!(free.regions()[0].size(), 9);
    }
}
