//! The machine below the executor of a root task: one thread, one notification, and the kernel as a peer.

use alloc::sync::Arc;
use alloc::vec::Vec;
use baton_inbox::{Bell, Platform, TailWord};
use baton_lane::{Kernel, link_parts};
use baton_rpc::{Binding, Config, Node};
use baton_runtime::sel4::abi::baton::{kernel_lane_in_page, kernel_lane_pages};
use baton_runtime::sel4::{
    Capability, Error, KernelLane, LaneShape, Notification, ObjectType, Page, doorbell, park,
    set_thread_local_word, thread_local_word, yield_now,
};
use baton_runtime::{Allocator, Exhausted, MapError, ObjectSource, Root, Window};
use baton_shm::{HeapWords, ReadRegion, Region};
use baton_trace::Ring;

/// The machine.
pub struct Local {
    /// What the thread waits at.
    pub notification: Notification,
    /// Ticks of the clock in a second.
    pub timebase_hz: u64,
}

/// Whom a bell wakes.
pub enum Rings {
    /// Who waits at a notification.
    Thread(Notification),
    /// The kernel.
    Kernel,
}

impl Bell for Rings {
    fn ring(&self) {
        match self {
            Rings::Thread(notification) => notification.signal(),
            Rings::Kernel => {
                // What became of it stands in the lane's flags.
                doorbell();
            }
        }
    }
}

impl Platform for Local {
    type Bell = Rings;
    type Publication = TailWord;

    fn wait(&self, deadline_ns: Option<u64>) {
        match deadline_ns {
            None => {
                park(self.notification);
            }
            // No timer wakes this thread.
            Some(deadline_ns) => {
                while self.now_ns() < deadline_ns && self.notification.poll() == 0 {
                    yield_now();
                }
            }
        }
    }

    fn own_bell(&self) -> Rings {
        Rings::Thread(self.notification)
    }

    fn now_ns(&self) -> u64 {
        let ticks = u128::from(baton_counting::time());
        (ticks * 1_000_000_000 / u128::from(self.timebase_hz.max(1))) as u64
    }

    fn event_time(&self) -> u64 {
        baton_counting::instret()
    }

    fn spin_budget_ns(&self) -> u64 {
        0
    }

    fn spin_ended(&self, _spun_ns: u64, _found_work: bool) {}

    fn current() -> *const () {
        thread_local_word() as *const ()
    }

    fn set_current(current: *const ()) {
        set_thread_local_word(current as usize);
    }
}

/// An executor of the root task's thread with the kernel bound to it.
pub struct Joined {
    /// The executor.
    pub node: Node<Local>,
    /// The kernel.
    pub kernel: Kernel<Local>,
    /// The lane.
    pub lane: KernelLane,
    /// Words of the region that this thread writes.
    pub outgoing: Region,
    /// The region that the kernel writes.
    pub incoming: ReadRegion,
    /// Where this thread waits.
    pub notification: Notification,
}

/// Why the kernel could not be joined.
pub enum JoinError {
    /// Memory or slots are used up.
    Exhausted(Exhausted),
    /// A frame cannot be mapped.
    Map(MapError),
    /// The kernel refuses a system call.
    Kernel(Error),
    /// The executor or the connection cannot be made of what there is.
    Lane(&'static str),
}

impl From<Exhausted> for JoinError {
    fn from(error: Exhausted) -> Self {
        JoinError::Exhausted(error)
    }
}

impl From<MapError> for JoinError {
    fn from(error: MapError) -> Self {
        JoinError::Map(error)
    }
}

impl From<Error> for JoinError {
    fn from(error: Error) -> Self {
        JoinError::Kernel(error)
    }
}

impl Joined {
    /// Makes a lane of 2^`size_bits` bytes, maps its regions and binds it to the root task's thread, and to an executor with room for so
    /// many tasks that keeps so many events.
    pub fn make(
        root: &Root,
        allocator: &mut Allocator,
        window: &mut Window,
        (size_bits, shape): (u64, LaneShape),
        (tasks, events): (usize, usize),
    ) -> Result<Self, JoinError> {
        let lane = KernelLane::from_cptr(allocator.object(ObjectType::KernelLane, size_bits)?);
        let mut frames = Vec::new();
        for page in 1..kernel_lane_pages(size_bits) {
            let slot = allocator.slot()?;
            lane.frame(page, allocator.cnode().slot(slot))?;
            frames.push(Page::from_cptr(slot));
        }
        let (own, kernels) = frames.split_at(kernel_lane_in_page(size_bits) as usize - 1);
        let outgoing = window.map_shared(allocator, own)?.region();
        let incoming = window.map_shared(allocator, kernels)?.read_only();
        lane.bind(root.tcb, shape)?;
        let notification: Notification = allocator.make()?;
        let platform = Local {
            notification,
            timebase_hz: root.timebase_hz(),
        };
        // Nobody else looks at these: the kernel needs neither state nor hint.
        let words = HeapWords::region(3);
        let word = |index| {
            words
                .word(index)
                .map_err(|_| JoinError::Lane("three words"))
        };
        let config = Config {
            tasks,
            ..Config::default()
        };
        let ring = Arc::new(Ring::new(events));
        let node = Node::new(platform, word(0)?, word(1)?, ring, config)
            .map_err(|_| JoinError::Lane("no executor"))?;
        let parts = link_parts(
            shape,
            outgoing.clone(),
            incoming.clone(),
            word(2)?,
            Rings::Kernel,
        )
        .map_err(|_| JoinError::Lane("the regions are not those of the lane"))?;
        let client = node
            .bind_client(parts, Binding::default())
            .map_err(|_| JoinError::Lane("the kernel cannot be bound"))?;
        Ok(Joined {
            kernel: Kernel::new(client),
            node,
            lane,
            outgoing,
            incoming,
            notification,
        })
    }
}
