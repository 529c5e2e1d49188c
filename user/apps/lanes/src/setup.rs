//! The lane, the executor, and things to work on.

use crate::local::{JoinError, Joined, Local};
use alloc::vec::Vec;
use baton_lane::Kernel;
use baton_rpc::Node;
use baton_runtime::sel4::{KernelLane, LaneShape, Notification, ObjectType, Page, Tcb};
use baton_runtime::{Allocator, Exhausted, MapError, ObjectSource, Root, VSpace, Window};

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

impl From<JoinError> for Wrong {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Exhausted(error) => error.into(),
            JoinError::Map(error) => error.into(),
            JoinError::Kernel(error) => error.into(),
            JoinError::Lane(what) => Wrong(what),
        }
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
    let lane = (LANE_BITS, SHAPE);
    let Joined {
        node,
        kernel,
        lane,
        outgoing,
        incoming,
        notification,
    } = Joined::make(root, allocator, window, lane, (128, 64))?;
    let other: Notification = allocator.make()?;
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
        kernel,
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
