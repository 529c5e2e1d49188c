//! The kernel as a connection of the inbox: a kernel lane of the process's own making.
//!
//! Only where the features word says that the kernel has lanes; `docs/abi.md` specifies them.

use crate::memory::{read_only, writable};
use crate::node::UserHandle;
use crate::platform::{User, UserBell};
use crate::protocol::space;
use alloc::string::ToString;
use baton_inbox::layout::MAX_CONNECTIONS;
use baton_inbox::{LinkError, TailWord};
use baton_lane::link_parts;
use baton_rpc::{BindError, Binding, Client};
use baton_runtime::StartInfo;
use baton_runtime::process::slots::VSPACE;
use baton_sel4::abi::PAGE_BITS;
use baton_sel4::abi::baton::{
    FEATURE_KERNEL_LANES, FEATURE_PARK, kernel_lane_in_page, kernel_lane_pages,
};
use baton_sel4::{
    CPtr, CapRights, Capability, Error, KernelLane, LaneShape, ObjectType, Page, PageTable,
    Untyped, VmAttributes,
};
use baton_shm::HeapWords;
use core::fmt;

/// The number that the kernel's connection has in the inbox: the last, so that the broker hands it out last.
pub const KERNEL_INDEX: u32 = MAX_CONNECTIONS as u32 - 1;

/// What a kernel lane is made of.
#[derive(Clone, Copy, Debug)]
pub struct LaneMemory {
    /// Untyped memory of at least 2^`size_bits` bytes of which nothing is made.
    pub untyped: Untyped,
    /// Bytes of the lane (log2), 14 to [`space::KERNEL_LANE_BITS`].
    pub size_bits: u64,
    /// The first of as many empty slots as the lane has pages, in the process's own capability node.
    pub first_slot: CPtr,
}

/// Why the kernel could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindKernelError {
    /// The kernel has no lanes: call it synchronously.
    NoLanes,
    /// The size is none that fits into the addresses for it.
    Size(u64),
    /// The kernel refused to make, map or bind the lane.
    Kernel(Error),
    /// The regions are not those of a lane of this shape.
    Link(LinkError),
    /// The inbox has no room.
    Bind(BindError),
}

impl From<Error> for BindKernelError {
    fn from(error: Error) -> Self {
        BindKernelError::Kernel(error)
    }
}

impl fmt::Display for BindKernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindKernelError::NoLanes => {
                f.write_str("the kernel has no lanes, call it synchronously")
            }
            BindKernelError::Size(bits) => write!(
                f,
                "a kernel lane has 2^14 to 2^{} bytes here, not 2^{bits}",
                space::KERNEL_LANE_BITS
            ),
            BindKernelError::Kernel(error) => write!(f, "the kernel refuses the lane: {error}"),
            BindKernelError::Link(error) => error.fmt(f),
            BindKernelError::Bind(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BindKernelError {}

/// How a lane's pages are mapped.
const NOT_CODE: VmAttributes = VmAttributes::EXECUTE_NEVER;

impl UserHandle<TailWord> {
    /// Makes a kernel lane and binds it to the calling thread, which must be the process's first, and to this node. The lane stays as long
    /// as the process.
    ///
    /// # Errors
    ///
    /// [`BindKernelError`].
    pub fn bind_kernel(
        &self,
        info: &StartInfo,
        memory: LaneMemory,
        shape: LaneShape,
    ) -> Result<Client<User<TailWord>>, BindKernelError> {
        let needed = FEATURE_KERNEL_LANES | FEATURE_PARK;
        if info.features() & needed != needed {
            return Err(BindKernelError::NoLanes);
        }
        let LaneMemory {
            untyped,
            size_bits,
            first_slot,
        } = memory;
        if !(14..=space::KERNEL_LANE_BITS).contains(&size_bits) {
            return Err(BindKernelError::Size(size_bits));
        }
        let cnode = info.cnode();
        let root = cnode.slot_at(0, 0);
        untyped.retype(ObjectType::KernelLane, size_bits, root, first_slot, 1)?;
        let lane = KernelLane::from_cptr(first_slot);
        let own = kernel_lane_in_page(size_bits);
        for page in 1..kernel_lane_pages(size_bits) {
            let slot = first_slot + page;
            lane.frame(page, cnode.slot(slot))?;
            let address = space::KERNEL_LANE + (page << PAGE_BITS);
            let rights = if page < own {
                CapRights::READ_WRITE
            } else {
                CapRights::READ
            };
            let vspace = PageTable::new(VSPACE);
            Page::from_cptr(slot).map(vspace, address, rights, NOT_CODE)?;
        }
        lane.bind(info.tcb(), shape)?;
        let address = |page: u64| space::KERNEL_LANE + (page << PAGE_BITS);
        let words = |pages: u64| (pages << (PAGE_BITS - 3)) as usize;
        let pages = kernel_lane_pages(size_bits);
        let outgoing = writable(address(1), words(own - 1), None);
        let incoming = read_only(address(own), words(pages - own), None);
        // The kernel needs no hints.
        let hint = HeapWords::region(1)
            .word(0)
            .map_err(|error| BindKernelError::Link(error.into()))?;
        let parts = link_parts(shape, outgoing, incoming, hint, UserBell::Kernel)
            .map_err(BindKernelError::Link)?;
        let binding = Binding {
            index: Some(KERNEL_INDEX),
            name: "the kernel".to_string(),
            ..Binding::default()
        };
        let client = self
            .node()
            .bind_client(parts, binding)
            .map_err(BindKernelError::Bind)?;
        self.executor().platform().use_lane();
        Ok(client)
    }
}
