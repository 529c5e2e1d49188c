//! The pair of hostile processes, which can reach into one another: each has the other's thread, capability space and address space.
//! All that they have is made of one arena, and is taken back and made anew every so many calls.

use crate::honest::PRIORITY;
use crate::supervisor::{Error, PROCESS};
use baton_runtime::process::{Gift, slots};
use baton_runtime::sel4::abi::ASID_POOL_BITS;
use baton_runtime::sel4::{
    AsidPool, CNodeCapData, CPtr, CapRights, Capability, Endpoint, IrqHandler, Notification, Page,
    PageTable, Spaces, VmAttributes,
};
use baton_runtime::{Arena, Mapped, ObjectSource, Process, ProcessConfig, Root, Window};

/// Role of `baton-hostile-process`.
const HOSTILE: u64 = 0;
/// Slots of a capability space (count, log2).
const CNODE_BITS: u64 = 6;
/// Where each has the frame in which it counts.
const SHARED: u64 = 0x20_0000_0000;
/// Where a process has its IPC buffer.
const IPC_BUFFER: u64 = 0x3f_f000_0000;
/// Untyped memory to play with (bytes, log2).
const UNTYPED_BITS: u64 = 16;
/// More calls than this in one lap are not calls: the process has written over its count.
const MOST_CALLS_A_LAP: u64 = 200_000;
/// Laps without a call after which a process counts as dead: everybody of its priority has had its turn by then.
const PATIENCE_LAPS: u64 = 2;

/// One of the two.
#[derive(Clone, Copy)]
struct Hostile {
    process: Process,
    counted: Mapped,
    /// What it had counted at the last lap.
    calls: u64,
    /// Laps since it last made a call.
    stale: u64,
}

/// Both, while they live.
pub struct Pair([Hostile; 2]);

/// What a pair needs from outside.
pub struct Outside<'a> {
    /// The root task's capabilities.
    pub root: &'a Root,
    /// Where what each of them tells its parent goes, its faults too.
    pub parents: [Endpoint; 2],
    /// The frames in which they count.
    pub frames: [(Page, Mapped); 2],
    /// An interrupt handler of a source that is never raised.
    pub irq: IrqHandler,
}

impl Pair {
    /// Makes and starts both; `seed` is where their random numbers start.
    pub fn make(
        outside: &Outside<'_>,
        arena: &mut Arena,
        window: &mut Window,
        seed: u64,
    ) -> Result<Self, Error> {
        let mut one = |index: usize| make_one(outside, arena, window, index, seed);
        let pair = [one(0)?, one(1)?];
        let endpoint = arena.make::<Endpoint>()?;
        let notification = arena.make::<Notification>()?;
        let own_pool = make_pool(outside.root, arena)?;
        for (mine, other) in [(0, 1), (1, 0)] {
            let (process, other) = (pair[mine].process, pair[other].process);
            let gifts = [
                (8, endpoint.cptr(), 0),
                (9, endpoint.cptr(), 5),
                (10, notification.cptr(), 0),
                (11, notification.cptr(), 3),
                (14, other.tcb.cptr(), 0),
                (16, other.vspace.root().cptr(), 0),
                (17, arena.make::<Page>()?.cptr(), 0),
                (18, arena.make::<Page>()?.cptr(), 0),
                (21, own_pool.cptr(), 0),
                (22, outside.irq.cptr(), 0),
                (23, outside.root.asid_control.cptr(), 0),
            ];
            for (slot, from, badge) in gifts {
                let gift = Gift {
                    from: arena.cnode().slot(from),
                    rights: CapRights::ALL,
                    badge,
                };
                process.give(slot, &gift)?;
            }
            let other_cnode = arena.place(other.cnode);
            let guard = CNodeCapData::skip_to(CNODE_BITS);
            process.slot(15).mint_guarded_from(other_cnode, guard)?;
            // What cannot be copied, or not without taking it from itself.
            for (slot, from) in [
                (12, arena.make_untyped(UNTYPED_BITS)?.cptr()),
                (13, arena.make_untyped(ASID_POOL_BITS)?.cptr()),
                (19, arena.make::<PageTable>()?.cptr()),
                (20, arena.make::<PageTable>()?.cptr()),
            ] {
                process.slot(slot).move_from(arena.cnode().slot(from))?;
            }
        }
        for hostile in &pair {
            hostile.process.start()?;
        }
        Ok(Self(pair))
    }

    /// A lap is over: how many calls both have made since the last. Who has made none for a while is started again.
    pub fn lap(&mut self, root: &Root) -> Result<u64, Error> {
        let mut made = 0;
        for index in 0..2 {
            let hostile = &mut self.0[index];
            let calls = hostile.counted.read(0);
            let since = calls.wrapping_sub(hostile.calls);
            if since == 0 || since > MOST_CALLS_A_LAP {
                hostile.stale += 1;
                hostile.counted.write(0, hostile.calls);
                if hostile.stale > PATIENCE_LAPS {
                    self.revive(index, root)?;
                }
                continue;
            }
            hostile.stale = 0;
            hostile.calls = calls;
            made += since;
        }
        Ok(made)
    }

    /// Calls that both have made in their lives.
    pub fn calls(&self) -> u64 {
        self.0.iter().map(|hostile| hostile.calls).sum()
    }

    /// Invocations of both that were done, by their own count.
    pub fn done(&self) -> u64 {
        let done = self.0.iter().map(|hostile| hostile.counted.read(16));
        // What one of them has written over does not count.
        done.zip(self.0)
            .map(|(done, hostile)| done.min(hostile.calls))
            .sum()
    }

    /// Lets one go on from the beginning of its program, whatever it has done to its thread.
    pub fn revive(&mut self, index: usize, root: &Root) -> Result<(), Error> {
        let hostile = &mut self.0[index];
        hostile.stale = 0;
        let process = hostile.process;
        let spaces = Spaces {
            fault_endpoint: slots::PARENT,
            cspace: process.cnode,
            cspace_data: CNodeCapData::skip_to(CNODE_BITS),
            vspace: process.vspace.root(),
        };
        process.tcb.configure(&spaces, IPC_BUFFER, process.page)?;
        process.tcb.set_sched_params(root.tcb, PRIORITY, PRIORITY)?;
        process.start()?;
        Ok(())
    }
}

fn make_one(
    outside: &Outside<'_>,
    arena: &mut Arena,
    window: &mut Window,
    index: usize,
    seed: u64,
) -> Result<Hostile, Error> {
    let root = outside.root;
    let config = ProcessConfig {
        elf: PROCESS,
        parent: arena.place(outside.parents[index]),
        badge: 0,
        authority: root.tcb,
        priority: PRIORITY,
        asid_pool: root.asid_pool,
        cnode_size_bits: CNODE_BITS,
        stack_pages: 4,
        features: 0,
        heap_bytes: 0,
        timebase_hz: 0,
        arguments: &[HOSTILE, SHARED, seed.wrapping_mul(2) + 1 + index as u64],
        gifts: &[],
    };
    let process = Process::make(arena, window, &config)?;
    let (page, counted) = outside.frames[index];
    let shared = arena.copy_of(page)?;
    counted.write(0, 0);
    counted.write(8, 0);
    counted.write(16, 0);
    let rights = CapRights::READ_WRITE;
    let attributes = VmAttributes::EXECUTE_NEVER;
    process
        .vspace
        .map(arena, shared, SHARED, rights, attributes)?;
    Ok(Hostile {
        process,
        counted,
        calls: 0,
        stale: 0,
    })
}

/// A pool of identifiers of their own: they may use all of it up.
fn make_pool(root: &Root, arena: &mut Arena) -> Result<AsidPool, Error> {
    let untyped = arena.make_untyped(ASID_POOL_BITS)?;
    let slot: CPtr = arena.slot()?;
    root.asid_control
        .make_pool(untyped, arena.cnode().slot(slot))?;
    Ok(AsidPool::from_cptr(slot))
}
