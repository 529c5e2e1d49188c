//! Asynchronous system calls: the kernel as a peer of the root task's own inbox.

use crate::local::Joined;
use crate::stage::Wrong;
use crate::{row, system_calls};
use alloc::string::String;
use alloc::vec::Vec;
use baton_counting::instret;
use baton_lane::AsyncError;
use baton_rpc::Mode;
use baton_runtime::sel4::abi::baton::{FEATURE_KERNEL_LANES, FEATURE_PARK};
use baton_runtime::sel4::{LaneShape, Tcb};
use baton_runtime::{Allocator, ObjectSource, Root, Window, println};
use baton_trace::{Event, Peer, Unit, write_lines};

/// Calls behind each row.
const CALLS: u64 = 1024;
/// Events kept: more than the calls of a row make.
const EVENTS: usize = 1 << 14;
/// Size of the lane (bytes, log2).
const LANE_BITS: u64 = 16;
const SHAPE: LaneShape = LaneShape {
    slot_bits: 5,
    request_bulk: 0,
    answer_bulk: 0,
    start: 0,
};
/// The number that the root task has in the trace; the broker gives its processes others.
const ROOT: u32 = 0;

/// Prints what system calls take, made one by one and by a lane, and what was recorded of some. Says so where the kernel has no lanes.
pub fn show(root: &Root, allocator: &mut Allocator, window: &mut Window) -> Result<(), Wrong> {
    let thread: Tcb = allocator.make()?;
    let before = instret();
    for base in 0..CALLS {
        thread.set_tls_base(base)?;
    }
    row("synchronous", 1, CALLS, CALLS, instret() - before);
    let needed = FEATURE_KERNEL_LANES | FEATURE_PARK;
    if root.features() & needed != needed {
        println!("this kernel has no lanes");
        return Ok(());
    }
    let lane = Joined::make(root, allocator, window, (LANE_BITS, SHAPE), (64, EVENTS))?;
    for outstanding in [1, 2, 8, 32] {
        let took = lane.set_bases(thread, outstanding, CALLS)?;
        let recorded = lane.record(thread, outstanding, CALLS)?;
        row("lane", outstanding, CALLS, system_calls(&recorded), took);
    }
    let recorded = [lane.record(thread, 1, 4)?, lane.record(thread, 4, 8)?].concat();
    let connection = lane.kernel.client().connection().index();
    let connections = [(connection, Peer::Kernel, "kernel")];
    let mut lines = String::new();
    // Writing to a string cannot fail.
    let unit = Unit::Instructions;
    let _ = write_lines(ROOT, unit, "root task", connections, &recorded, &mut lines);
    for line in lines.lines() {
        println!("{line}");
    }
    Ok(lane.lane.unbind()?)
}

impl Joined {
    /// Has so many tasks make so many calls in all, and says how many instructions that took.
    fn set_bases(&self, thread: Tcb, tasks: u64, calls: u64) -> Result<u64, Wrong> {
        let before = instret();
        let started: Result<Vec<_>, _> = (0..tasks)
            .map(|task| {
                let kernel = self.kernel.clone();
                self.node.executor().spawn(async move {
                    for base in (task..calls).step_by(tasks as usize) {
                        kernel.set_tls_base(thread, base).await?;
                    }
                    Ok::<(), AsyncError>(())
                })
            })
            .collect();
        let started = started.map_err(|_| Wrong::Lane)?;
        let done = self.node.run_until(Mode::Park, async {
            for task in started {
                match task.await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return Err(Wrong::Lane),
                }
            }
            Ok(())
        });
        done.map_err(|_| Wrong::Lane)??;
        Ok(instret() - before)
    }

    /// As [`Joined::set_bases`], and returns what was recorded of it.
    fn record(&self, thread: Tcb, tasks: u64, calls: u64) -> Result<Vec<(u64, Event)>, Wrong> {
        let ring = self.node.executor().trace();
        let first = ring.recorded();
        self.node.set_tracing(true);
        self.set_bases(thread, tasks, calls)?;
        self.node.set_tracing(false);
        let mut recorded = ring.snapshot();
        recorded.retain(|(number, _)| *number >= first);
        match ring.recorded() - first == recorded.len() as u64 {
            true => Ok(recorded),
            false => Err(Wrong::Lost),
        }
    }
}
