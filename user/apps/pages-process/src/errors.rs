//! A client that uses up its quota, and makes every mistake.

use crate::shared::{QUOTA_PAGES, REGION_PAGES, REGIONS, WINDOW_PAGES};
use crate::work::Wrong;
use crate::{Process, Server, wrong};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use baton_memory::{
    Access, AllocError, BLOCK_PAGES, FreeError, MapError, Place, RegionNumber, UnmapError,
};
use baton_platform::protocol::space;
use baton_runtime::println;
use core::fmt::Debug;

/// What was found.
type Found<T> = Result<T, String>;

/// Does it.
pub fn run(process: &Process) -> u64 {
    let (handle, server) = process.connected();
    let done = process.run(async {
        mistakes(&server).await?;
        quota(&server).await
    });
    match done {
        Ok(regions) => println!("{regions} regions of one page, then the quota was used up"),
        Err(what) => return wrong(what),
    }
    handle.disconnect(server.client());
    0
}

fn same<T: PartialEq + Debug>(what: &str, expected: T, actual: T) -> Found<()> {
    if expected == actual {
        Ok(())
    } else {
        Err(format!("{what}: {actual:?} in place of {expected:?}"))
    }
}

fn came<T>(result: Result<T, impl Into<Wrong>>) -> Found<T> {
    result.map_err(|error| format!("{}", error.into()))
}

async fn mistakes(server: &Server) -> Found<()> {
    let no_region = RegionNumber(0x7_0000);
    let most_pages = REGION_PAGES;
    let too_large = Err(AllocError::TooLarge { most_pages });
    same(
        "no pages",
        Err(AllocError::Nothing),
        came(server.alloc(0).await)?,
    )?;
    same(
        "too many",
        too_large,
        came(server.alloc(REGION_PAGES + 1).await)?,
    )?;
    same("too many", too_large, came(server.alloc(u64::MAX).await)?)?;
    let map = |region, at| server.map(region, at, Access::ReadWrite);
    let missing = came(map(no_region, Place::Anywhere).await)?;
    same("map what is not", Err(MapError::NoRegion), missing)?;
    let missing = came(server.unmap(no_region).await)?;
    same("unmap what is not", Err(UnmapError::NoRegion), missing)?;
    let missing = came(server.free(no_region).await)?;
    same("free what is not", Err(FreeError::NoRegion), missing)?;

    let alloc = came(server.alloc(2).await)?;
    let region = alloc.map_err(|error| format!("{error}"))?;
    let unmapped = came(server.unmap(region).await)?;
    same("unmap early", Err(UnmapError::NotMapped), unmapped)?;
    let end = space::OPEN + WINDOW_PAGES * 4096;
    for (address, error) in [
        (space::OPEN + 8, MapError::Misaligned),
        (space::OPEN - 4096, MapError::OutsideWindow),
        (end - 4096, MapError::OutsideWindow),
        (0x1f_0000_0000, MapError::OutsideWindow),
        (u64::MAX - 4095, MapError::OutsideWindow),
    ] {
        let mapped = came(map(region, Place::At { address }).await)?;
        same("map outside", Err(error), mapped)?;
    }
    // Both are under way at once: the first is at work when the second comes.
    let (first, second) = (map(region, Place::Anywhere), map(region, Place::Anywhere));
    let first = came(first.await)?;
    let second = came(second.await)?;
    let address = first.map_err(|error| format!("{error}"))?;
    let is_refused = matches!(second, Err(MapError::Busy | MapError::Mapped));
    same("a second mapping is refused", true, is_refused)?;
    let again = came(map(region, Place::Anywhere).await)?;
    same("map again", Err(MapError::Mapped), again)?;
    let alloc = came(server.alloc(2).await)?;
    let other = alloc.map_err(|error| format!("{error}"))?;
    let over = Place::At {
        address: address + 4096,
    };
    let mapped = came(map(other, over).await)?;
    same("map over another", Err(MapError::Occupied), mapped)?;
    for region in [region, other] {
        same("free", Ok(()), came(server.free(region).await)?)?;
        let twice = came(server.free(region).await)?;
        same("free twice", Err(FreeError::NoRegion), twice)?;
    }
    Ok(())
}

/// Uses up the quota twice: what was freed can be had again. Returns how many regions there were.
async fn quota(server: &Server) -> Found<u64> {
    let mut counts = [0, 0];
    for count in &mut counts {
        let before = came(server.usage().await)?;
        let expected = (QUOTA_PAGES - before.charged_pages) / BLOCK_PAGES;
        let mut regions = Vec::new();
        let last = loop {
            match came(server.alloc(1).await)? {
                Ok(region) => regions.push(region),
                Err(error) => break error,
            }
            if regions.len() as u64 > REGIONS {
                return Err("there is no end of regions".to_string());
            }
        };
        same("the last", AllocError::Quota { left_pages: 0 }, last)?;
        *count = regions.len() as u64;
        same("regions", expected, *count)?;
        for region in regions {
            same("free", Ok(()), came(server.free(region).await)?)?;
        }
        let after = came(server.usage().await)?;
        same("what is charged", before.charged_pages, after.charged_pages)?;
    }
    same("the second time", counts[0], counts[1])?;
    Ok(counts[0])
}
