//! What asynchronous system calls take, in instructions, kernel and program together, beside the same calls made one by one.

use crate::local::Local;
use crate::setup::{Bound, OUTSTANDING, Wrong};
use alloc::vec::Vec;
use baton_counting::instret;
use baton_lane::{AsyncError, Kernel};
use baton_rpc::Mode;
use baton_runtime::println;
use baton_runtime::sel4::{CapRights, Page, PageTable, Tcb, VmAttributes, doorbell};

/// Calls of each task.
const ROUNDS: u64 = 64;
/// How often a measurement is made; the least counts, for a tick only adds.
const REPEATS: usize = 9;

/// The least instructions of `work`, a call.
fn least(calls: u64, mut work: impl FnMut() -> Result<(), Wrong>) -> Result<u64, Wrong> {
    let mut least = u64::MAX;
    for _ in 0..REPEATS {
        let before = instret();
        work()?;
        least = least.min(instret() - before);
    }
    Ok(least / calls)
}

fn row(workload: &str, variant: &str, outstanding: usize, instructions: u64) {
    println!("row,{workload},{variant},{outstanding},instructions,{instructions},instructions");
}

/// Runs one task for each of `outstanding` numbers to its end.
fn run_tasks<F>(bound: &Bound, outstanding: usize, task: impl Fn(usize) -> F) -> Result<(), Wrong>
where
    F: Future<Output = Result<(), AsyncError>> + 'static,
{
    let executor = bound.node.executor();
    let tasks: Result<Vec<_>, _> = (0..outstanding)
        .map(|number| executor.spawn(task(number)))
        .collect();
    let tasks = tasks.map_err(|_| Wrong("no room for a task"))?;
    let ran = bound.node.run_until(Mode::Park, async {
        for task in tasks {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    println!("an asynchronous call: {error}");
                    return Err(Wrong("an asynchronous call failed"));
                }
                Err(_) => return Err(Wrong("a task has ended without its result")),
            }
        }
        Ok(())
    });
    ran.unwrap_or(Err(Wrong("the executor does not run")))
}

async fn set_bases(kernel: Kernel<Local>, thread: Tcb) -> Result<(), AsyncError> {
    for base in 0..ROUNDS {
        kernel.set_tls_base(thread, base).await?;
    }
    Ok(())
}

async fn map_and_unmap(
    kernel: Kernel<Local>,
    page: Page,
    root: PageTable,
    vaddr: u64,
) -> Result<(), AsyncError> {
    for _ in 0..ROUNDS {
        let (rights, attributes) = (CapRights::READ_WRITE, VmAttributes::EXECUTE_NEVER);
        kernel.map(page, root, vaddr, rights, attributes).await?;
        kernel.unmap(page).await?;
    }
    Ok(())
}

/// Says where the instructions of a batch go.
fn parts(bound: &Bound) -> Result<(), Wrong> {
    const BATCH: u64 = 32;
    let (kernel, thread) = (&bound.kernel, bound.idle_thread);
    let counts = bound.node.run_until(Mode::Park, async {
        let mut calls = Vec::with_capacity(BATCH as usize);
        let begin = instret();
        for base in 0..BATCH {
            calls.push(kernel.set_tls_base(thread, base));
        }
        let submitted = instret();
        doorbell();
        let performed = instret();
        for call in calls {
            call.await?;
        }
        let counts = [begin, submitted, performed, instret()];
        Ok::<_, AsyncError>(counts)
    });
    let Ok(Ok([begin, submitted, performed, awaited])) = counts else {
        return Err(Wrong("an asynchronous call failed"));
    };
    println!(
        "of {BATCH} calls in one task, each: {} instructions to submit, {} in the kernel, {} to await",
        (submitted - begin) / BATCH,
        (performed - submitted) / BATCH,
        (awaited - performed) / BATCH
    );
    Ok(())
}

/// Measures and prints all rows.
pub fn run(bound: &Bound) -> Result<(), Wrong> {
    parts(bound)?;
    let thread = bound.idle_thread;
    let failed = |_| Wrong("a system call failed");
    let sync = least(ROUNDS, || {
        for base in 0..ROUNDS {
            thread.set_tls_base(base).map_err(failed)?;
        }
        Ok(())
    })?;
    row("async_set_tls_base", "sync_s1", 1, sync);
    for outstanding in OUTSTANDING {
        let calls = ROUNDS * outstanding as u64;
        let count = least(calls, || {
            run_tasks(bound, outstanding, |_| {
                set_bases(bound.kernel.clone(), thread)
            })
        })?;
        row("async_set_tls_base", "lanes_s1", outstanding, count);
    }
    let root = bound.vspace.root();
    let page = |number: usize| (bound.pages[number], bound.free + (number as u64) * 4096);
    let sync = least(ROUNDS, || {
        let (page, vaddr) = page(0);
        for _ in 0..ROUNDS {
            let (rights, attributes) = (CapRights::READ_WRITE, VmAttributes::EXECUTE_NEVER);
            page.map(root, vaddr, rights, attributes).map_err(failed)?;
            page.unmap().map_err(failed)?;
        }
        Ok(())
    })?;
    row("async_map_unmap", "sync_s1", 1, sync);
    for outstanding in OUTSTANDING {
        let calls = ROUNDS * outstanding as u64;
        let count = least(calls, || {
            run_tasks(bound, outstanding, |number| {
                let (page, vaddr) = page(number);
                map_and_unmap(bound.kernel.clone(), page, root, vaddr)
            })
        })?;
        row("async_map_unmap", "lanes_s1", outstanding, count);
    }
    let nothing = least(1, || {
        run_tasks(bound, 32, |_| core::future::ready(Ok(())))?;
        Ok(())
    })?;
    println!("32 tasks that do nothing take {nothing} instructions, which are in the rows above");
    Ok(())
}
