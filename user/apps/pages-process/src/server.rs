//! The server's process.
//!
//! It holds the untyped memory that its parent gave, and its clients' address spaces as long as they are connected. Its capability space:
//!
//! ```text
//!    0..256   what every process with an inbox has, the two untypeds, bells, and address spaces (baton-platform's slots)
//!  256..512   the kernel lane and its pages
//! 1024..1280  the blocks' untypeds
//! 2048..4096  frames and page tables
//! ```

use crate::Process;
use crate::memory::read;
use crate::shared::{
    CNODE_BITS, CREDITS, LANE_BITS, MEMORY_BITS, QUOTA_PAGES, REGION_PAGES, REGIONS, WINDOW_PAGES,
    code, said,
};
use alloc::rc::Rc;
use baton_inbox::epoch;
use baton_lane::Kernel;
use baton_memory::{
    BLOCK_PAGES, Calls, Lane, Limits, Machine, MemoryServer, Server, Session, Slots,
};
use baton_platform::protocol::{slots, space};
use baton_platform::{BindKernelError, Grants, LaneMemory, ServiceNumber, UserHandle};
use baton_rpc::{Band, Client, next_turn};
use baton_runtime::println;
use baton_runtime::sel4::abi::PAGE_BITS;
use baton_runtime::sel4::abi::baton::{kernel_lane_in_page, region};
use baton_runtime::sel4::{Error, LaneShape, ObjectType, Untyped};

const LANE_SLOT: u64 = 256;
const BLOCK_BITS: u64 = 15;
const BLOCK_COUNT: u64 = 1 << (MEMORY_BITS - BLOCK_BITS);
const BLOCK_SLOTS: u64 = 1024;
const OBJECT_SLOTS: u64 = 2048;

const _: () = assert!(1 << BLOCK_BITS == BLOCK_PAGES * 4096);
const _: () = assert!(OBJECT_SLOTS + BLOCK_COUNT * BLOCK_PAGES <= 1 << CNODE_BITS);

/// Calls that can be under way: those of 64 requests for 8 pages. A call beyond that waits its turn.
const SHAPE: LaneShape = LaneShape {
    slot_bits: 9,
    request_bulk: 64,
    answer_bulk: 64,
    start: 0,
};

const LIMITS: Limits = Limits {
    quota_pages: QUOTA_PAGES,
    region_pages: REGION_PAGES,
    regions: REGIONS,
    window: space::OPEN,
    window_pages: WINDOW_PAGES,
};

/// What clients connect to.
pub type Interface = MemoryServer<Session<Calls>>;

/// How often the kernel has performed what was in the lane: it counts that in its state word.
fn drains() -> u64 {
    let kernels = space::KERNEL_LANE + (kernel_lane_in_page(LANE_BITS) << PAGE_BITS);
    epoch(read(kernels + region::STATE as u64 * 8))
}

/// Serves until all who came have gone, and all memory is back.
pub fn run(process: &Process) -> u64 {
    let info = process.info;
    let handle = process.node.handle();
    let memory = Untyped::new(slots::SERVICES);
    if let Err(error) = make_blocks(process, memory) {
        panic!("no blocks can be made of the memory: {error}");
    }
    let slots = Slots {
        cnode: info.cnode(),
        blocks: BLOCK_SLOTS,
        objects: OBJECT_SLOTS,
        spaces: slots::SPACES,
    };
    let lane = LaneMemory {
        untyped: Untyped::new(slots::SERVICES + 1),
        size_bits: LANE_BITS,
        first_slot: LANE_SLOT,
    };
    match handle.bind_kernel(info, lane, SHAPE) {
        Ok(client) => {
            let machine = Lane::new(Kernel::new(client), slots);
            serve(process, machine, |machine| (machine.made(), drains()))
        }
        Err(BindKernelError::NoLanes) => serve(process, Calls::new(slots), |machine| {
            (machine.made(), machine.made())
        }),
        Err(error) => panic!("{error}"),
    }
}

fn make_blocks(process: &Process, memory: Untyped) -> Result<(), Error> {
    let root = process.info.cnode().slot_at(0, 0);
    memory.retype(
        ObjectType::Untyped,
        BLOCK_BITS,
        root,
        BLOCK_SLOTS,
        BLOCK_COUNT,
    )
}

fn serve<M: Machine>(process: &Process, machine: M, made: impl Fn(&M) -> (u64, u64)) -> u64 {
    let handle = process.node.handle();
    let server = Server::new(machine, BLOCK_COUNT as u32, LIMITS);
    spawn(&handle, server.janitor().run());
    let grants = Grants {
        max_credits: CREDITS,
        ..Grants::default()
    };
    let number = ServiceNumber(process.info.argument(1) as u32);
    let sessions = server.clone();
    let watching = handle.clone();
    let served = handle.serve_each(
        number,
        move |peer| Rc::new(MemoryServer(sessions.session(peer.index))),
        &grants,
        Band::NORMAL,
        move |client, _, service| spawn(&watching, watch(client, service)),
    );
    if let Err(error) = served {
        panic!("cannot serve: {error}");
    }
    process.say(said::READY, &[]);
    process.run(async {
        handle.idle_after(process.info.argument(2)).await;
        while server.figures().clients != 0 {
            next_turn().await;
        }
    });
    let figures = server.figures();
    let (calls, entries) = made(server.machine());
    println!(
        "served {} requests with {calls} calls of the kernel in {entries} entries; undone {}; {} of {} blocks are free, {} lost",
        figures.requests, figures.undone, figures.free_blocks, figures.blocks, figures.lost_blocks
    );
    if handle.turned_away().0 != 0 || figures.free_blocks != figures.blocks {
        return code::LEFT;
    }
    match whole(process) {
        Ok(()) => 0,
        Err(error) => {
            println!("the memory is not whole: {error}");
            code::LEFT
        }
    }
}

/// Spawns a task; there is room for one a connection beside all handlers.
fn spawn(handle: &UserHandle, task: impl Future<Output = ()> + 'static) {
    if let Err(error) = handle.executor().spawn(task) {
        panic!("the executor is too small: {error}");
    }
}

/// Takes back what a client has when it has gone. The connection, and with it the number of the client's address space, is kept until then.
async fn watch<M: Machine>(
    client: Client<baton_platform::User>,
    service: Rc<MemoryServer<Session<M>>>,
) {
    client.connection().ended().await;
    service.0.end().await;
    drop(client);
}

/// Revokes all memory, and makes one object of it.
fn whole(process: &Process) -> Result<(), Error> {
    let cnode = process.info.cnode();
    let memory = Untyped::new(slots::SERVICES);
    cnode.slot(slots::SERVICES).revoke()?;
    memory.retype(
        ObjectType::Untyped,
        MEMORY_BITS,
        cnode.slot_at(0, 0),
        BLOCK_SLOTS,
        1,
    )?;
    cnode.slot(BLOCK_SLOTS).delete()
}
