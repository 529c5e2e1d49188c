//! What requests take, in instructions of client, server and kernel together: the machine counts all that its one core does.

use crate::shared::said;
use crate::work::Wrong;
use crate::{Process, Server, wrong};
use alloc::vec::Vec;
use baton_counting::instret;
use baton_memory::{Access, Place, RegionNumber};

/// Requests of each kind that a task makes in one measurement.
const ROUNDS: u64 = 32;
/// How often a measurement is made; the least counts, for a tick only adds.
const REPEATS: u64 = 5;

#[derive(Clone, Copy)]
enum Kind {
    Usage,
    AllocFree,
    MapUnmap,
}

/// Measures, and says what it has counted.
pub fn run(process: &Process) -> u64 {
    let (handle, server) = process.connected();
    let (tasks, pages) = (process.info.argument(1), process.info.argument(2));
    let regions = process.run(async {
        let mut regions = Vec::new();
        for _ in 0..tasks {
            regions.push(server.alloc(pages).await?.map_err(Wrong::Alloc)?);
        }
        Ok::<_, Wrong>(regions)
    });
    let regions = match regions {
        Ok(regions) => regions,
        Err(error) => return wrong(error),
    };
    let mut counted = [0; 3];
    for (kind, counted) in [Kind::Usage, Kind::AllocFree, Kind::MapUnmap]
        .into_iter()
        .zip(&mut counted)
    {
        let mut least = u64::MAX;
        // Once more than counts: the first makes page tables, and finds fresh memory.
        for repeat in 0..=REPEATS {
            let before = instret();
            if let Err(error) = measure(process, &server, &regions, kind, pages) {
                return wrong(error);
            }
            if repeat != 0 {
                least = least.min(instret() - before);
            }
        }
        *counted = least / (tasks * ROUNDS * 2);
    }
    process.say(said::COUNTED, &counted);
    handle.disconnect(server.client());
    0
}

/// Makes two requests a round and task.
fn measure(
    process: &Process,
    server: &Server,
    regions: &[RegionNumber],
    kind: Kind,
    pages: u64,
) -> Result<(), Wrong> {
    let handle = process.node.handle();
    let tasks = regions.iter().map(|&region| {
        let server = server.clone();
        let task = handle.executor().spawn(async move {
            for _ in 0..ROUNDS {
                match kind {
                    Kind::Usage => {
                        server.usage().await?;
                        server.usage().await?;
                    }
                    Kind::AllocFree => {
                        let region = server.alloc(pages).await?.map_err(Wrong::Alloc)?;
                        server.free(region).await?.map_err(Wrong::Free)?;
                    }
                    Kind::MapUnmap => {
                        let mapped = server.map(region, Place::Anywhere, Access::ReadWrite);
                        mapped.await?.map_err(Wrong::Map)?;
                        server.unmap(region).await?.map_err(Wrong::Unmap)?;
                    }
                }
            }
            Ok::<(), Wrong>(())
        });
        match task {
            Ok(task) => task,
            Err(error) => panic!("no task: {error}"),
        }
    });
    let tasks: Vec<_> = tasks.collect();
    process.run(async {
        for task in tasks {
            match task.await {
                Ok(done) => done?,
                Err(error) => panic!("a task: {error}"),
            }
        }
        Ok(())
    })
}
