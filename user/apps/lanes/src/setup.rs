//! The lane, the executor, and things to work on.

use crate::local::{Local, Rings};
use alloc::sync::Arc;
use alloc::vec::Vec;
use baton_lane::{Kernel, link_parts};
use baton_rpc::{Binding, Config, Node};
use baton_runtime::sel4::abi::baton::{kernel_lane_in_page, kernel_lane_pages};
use baton_runtime::sel4::{Capability, KernelLane, LaneShape, Notification, ObjectType, Page, Tcb};
use baton_runtime::{Allocator, Exhausted, MapError, ObjectSource, Root, VSpace, Window};
use baton_shm::HeapWords;
use baton_trace::Ring;

/// Calls that are out at a time, in the measurements.
pub const OUTSTANDING: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Pages to map and unmap.
pub const PAGES: usize = 32;
/// Size of the lane (bytes, log2).
const LANE_BITS: u64 = 17;
/// As many slots as calls are ever out.
pub const SHAPE: LaneShape = LaneShape {
    slot_bits: 6,
    request_bulk: 320,
    answer_bulk: 320,
    start: 0,
};

/// What went wrong.
#[derive(Clone, Copy, Debug)]
pub struct Wrong(pub &'static str);

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0)
    }
}

impl From<Exhausted> for Wrong {
    fn from(_: Exhausted) -> Self {
        Wrong("memory or slots are used up")
    }
}

impl From<MapError> for Wrong {
    fn from(_: MapError) -> Self {
        Wrong("a frame cannot be mapped")
    }
}

impl From<baton_runtime::sel4::Error> for Wrong {
    fn from(_: baton_runtime::sel4::Error) -> Self {
        Wrong("the kernel refuses a system call")
    }
}

/// An executor with the kernel bound to it, and things to work on.
pub struct Bound {
    /// The executor.
    pub node: Node<Local>,
    /// The kernel.
    pub kernel: Kernel<Local>,
    /// The lane.
    pub lane: KernelLane,
    /// Words of the region that this thread writes.
    pub outgoing: baton_shm::Region,
    /// The region that the kernel writes.
    pub incoming: baton_shm::ReadRegion,
    /// A thread that does not run.
    pub idle_thread: Tcb,
    /// Frames that are not mapped.
    pub pages: Vec<Page>,
    /// Free addresses for them, with page tables.
    pub free: u64,
    /// The address space.
    pub vspace: VSpace,
    /// Where this thread waits.
    pub notification: Notification,
    /// Another notification.
    pub other: Notification,
    /// An empty slot.
    pub slot: u64,
    /// Memory to make an object of.
    pub untyped: u64,
    /// The initial thread.
    pub own: Tcb,
}

/// Makes a lane of memory, maps its regions and binds it to the root task's thread.
pub fn bind(root: &Root, allocator: &mut Allocator, window: &mut Window) -> Result<Bound, Wrong> {
    let lane = KernelLane::from_cptr(allocator.object(ObjectType::KernelLane, LANE_BITS)?);
    let mut frames = Vec::new();
    for page in 1..kernel_lane_pages(LANE_BITS) {
        let slot = allocator.slot()?;
        lane.frame(page, allocator.cnode().slot(slot))?;
        frames.push(Page::from_cptr(slot));
    }
    let (out, kernels) = frames.split_at(kernel_lane_in_page(LANE_BITS) as usize - 1);
    let outgoing = window.map_shared(allocator, out)?.region();
    let incoming = window.map_shared(allocator, kernels)?.read_only();
    lane.bind(root.tcb, SHAPE)?;
    let notification: Notification = allocator.make()?;
    let other: Notification = allocator.make()?;
    let platform = Local {
        notification,
        timebase_hz: root.timebase_hz(),
    };
    // Nobody else looks at these: the kernel needs neither state nor hint.
    let own = HeapWords::region(3);
    let word = |index| own.word(index).map_err(|_| Wrong("three words"));
    let config = Config {
        tasks: 128,
        ..Config::default()
    };
    let node = Node::new(
        platform,
        word(0)?,
        word(1)?,
        Arc::new(Ring::new(64)),
        config,
    )
    .map_err(|_| Wrong("no executor"))?;
    let parts = link_parts(
        SHAPE,
        outgoing.clone(),
        incoming.clone(),
        word(2)?,
        Rings::Kernel,
    )
    .map_err(|_| Wrong("the regions are not those of the lane"))?;
    let client = node
        .bind_client(parts, Binding::default())
        .map_err(|_| Wrong("the kernel cannot be bound"))?;
    let idle_thread: Tcb = allocator.make()?;
    let pages: Result<Vec<Page>, _> = (0..PAGES).map(|_| allocator.make()).collect();
    let pages = pages?;
    let free = window.reserve(12, PAGES as u64);
    // So that the page tables are there.
    for (number, &page) in pages.iter().enumerate() {
        window.map_at(allocator, page, free + number as u64 * 4096, 12)?;
        page.unmap()?;
    }
    Ok(Bound {
        kernel: Kernel::new(client),
        node,
        lane,
        outgoing,
        incoming,
        idle_thread,
        pages,
        free,
        vspace: root.vspace,
        notification,
        other,
        slot: allocator.slot()?,
        untyped: allocator.object(ObjectType::Untyped, 10)?,
        own: root.tcb,
    })
}
