//! Clients that work at random, and those that touch what they may not.

use crate::memory::{execute, fill, read, write};
use crate::shared::{UNDER_WAY, code, said, trespass};
use crate::work::{Worker, Wrong};
use crate::{Process, Server, wrong};
use alloc::rc::Rc;
use alloc::vec::Vec;
use baton_memory::{Access, Place, Usage};
use baton_rpc::{CallError, JoinHandle, next_turn};
use baton_runtime::sel4::{Message, yield_now};
use baton_runtime::{Random, println};
use core::cell::Cell;

type Task = JoinHandle<baton_platform::User, Result<(), Wrong>>;

/// Starts the tasks, each with that many steps, or without an end.
fn start(process: &Process, server: &Server, steps: Option<u64>) -> Vec<Task> {
    let seed = process.info.argument(1);
    let done = Rc::new(Cell::new(0_u64));
    let parent = process.info.parent();
    let handle = process.node.handle();
    let tasks = (0..process.info.argument(3)).map(|task| {
        let random = Random::new(seed << 8 | task);
        let mut worker = Worker::new(server.clone(), random, steps.is_none());
        let done = done.clone();
        let task = handle.executor().spawn(async move {
            let mut left = steps;
            while left != Some(0) {
                worker.step().await?;
                left = left.map(|left| left - 1);
                done.set(done.get() + 1);
                if done.get() == UNDER_WAY {
                    parent.send(&Message::new(said::UNDER_WAY, &[]));
                }
            }
            worker.finish().await
        });
        match task {
            Ok(task) => task,
            Err(error) => panic!("no task: {error}"),
        }
    });
    tasks.collect()
}

/// Works, and gives all back.
pub fn run(process: &Process) -> u64 {
    let (handle, server) = process.connected();
    let tasks = start(process, &server, Some(process.info.argument(2)));
    println!("works with seed {}", process.info.argument(1));
    let done = process.run(async {
        for task in tasks {
            match task.await {
                Ok(done) => done?,
                Err(error) => panic!("a task: {error}"),
            }
        }
        Ok::<Usage, Wrong>(server.usage().await?)
    });
    match done {
        // Page tables stay, of which there are 33 in at most 5 blocks.
        Ok(usage) if usage.regions == 0 && usage.mapped == 0 && usage.charged_pages <= 40 => {}
        Ok(usage) => return wrong(format_args!("after all was freed: {usage:?}")),
        Err(error) => return wrong(error),
    }
    handle.disconnect(server.client());
    0
}

/// Works until its connection ends.
pub fn run_on(process: &Process) -> u64 {
    let (_handle, server) = process.connected();
    let tasks = start(process, &server, None);
    process.run(async {
        for task in tasks {
            match task.await {
                Ok(Err(Wrong::Call(CallError::Failed(_)))) => {}
                Ok(Err(error)) => return wrong(error),
                Ok(Ok(())) => return wrong("a task has come to an end"),
                Err(error) => panic!("a task: {error}"),
            }
        }
        0
    })
}

/// Touches what it may not, which must fault.
pub fn trespass(process: &Process) -> u64 {
    let (handle, server) = process.connected();
    let kind = process.info.argument(1);
    const PAGES: u64 = 3;
    let prepared = process.run(async {
        let region = server.alloc(PAGES).await?.map_err(Wrong::Alloc)?;
        let access = if kind == trespass::READ_ONLY {
            Access::Read
        } else {
            Access::ReadWrite
        };
        let mapped = server.map(region, Place::Anywhere, access).await?;
        let address = mapped.map_err(Wrong::Map)?;
        if kind != trespass::READ_ONLY {
            fill(address, PAGES, 1);
        }
        match kind {
            trespass::UNMAPPED => server.unmap(region).await?.map_err(Wrong::Unmap)?,
            trespass::FREED => server.free(region).await?.map_err(Wrong::Free)?,
            _ => {}
        }
        Ok::<u64, Wrong>(address)
    });
    let address = match prepared {
        Ok(address) => address,
        Err(error) => return wrong(error),
    };
    let target = match kind {
        trespass::BEHIND => address + PAGES * 4096,
        _ => address,
    };
    process.say(said::TOUCHES, &[target]);
    match kind {
        trespass::READ_ONLY => write(target, 1),
        trespass::EXECUTED => execute(target),
        trespass::LEFT => {
            handle.disconnect(server.client());
            drop(server);
            // Until the server has heard of it.
            for _ in 0..100_000 {
                process.run(next_turn());
                yield_now();
                read(target);
            }
        }
        _ => {
            read(target);
        }
    }
    println!("nothing has stopped it");
    code::LET_IN
}
