//! The kernel below, asynchronous or not.

use crate::pool::BLOCK_PAGES;
use baton_lane::{AsyncError, Invoking, Kernel};
use baton_rpc::Platform;
use baton_sel4::{
    CNode, CPtr, CapRights, Capability, Error, LookupFailure, ObjectType, Page, PageTable, Slot,
    Untyped, VmAttributes,
};
use core::cell::Cell;
use core::future::{Future, ready};
use core::pin::Pin;
use core::task::{Context, Poll};

/// One of the objects that were made of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// The block.
    pub block: u32,
    /// Which of its objects, below [`BLOCK_PAGES`].
    pub number: u64,
}

/// Why the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Something is mapped there already.
    Occupied,
    /// There is no such address space (any more).
    NoSpace,
    /// Anything else: a mistake of the server, or the kernel did not answer.
    Other,
}

/// What a memory server asks of the kernel.
///
/// Each method makes its call at once, or at the latest when the future is first polled; calls are performed in the order in which they
/// were made, also when the future is dropped.
pub trait Machine: 'static {
    /// Makes `count` frames, at most [`BLOCK_PAGES`], of a block of which nothing is made.
    fn make_frames(&self, block: u32, count: u64) -> impl Future<Output = Result<(), Refused>>;

    /// Makes a page table of what is left of a block.
    fn make_table(&self, table: Object) -> impl Future<Output = Result<(), Refused>>;

    /// Maps a frame into the address space number `space`.
    fn map(
        &self,
        frame: Object,
        space: u32,
        address: u64,
        write: bool,
    ) -> impl Future<Output = Result<(), Refused>> + Unpin;

    /// Unmaps a frame, if it is mapped.
    fn unmap(&self, frame: Object) -> impl Future<Output = Result<(), Refused>> + Unpin;

    /// Maps a page table where the next one is missing on the way to `address`.
    fn map_table(
        &self,
        table: Object,
        space: u32,
        address: u64,
    ) -> impl Future<Output = Result<(), Refused>>;

    /// Deletes all that was made of a block, wherever it is mapped.
    fn take_back(&self, block: u32) -> impl Future<Output = Result<(), Refused>> + Unpin;
}

/// Where in the server's capability space what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The server's capability node, by whose slots' numbers its thread finds capabilities.
    pub cnode: CNode,
    /// The untyped of block 0; those of the others follow.
    pub blocks: CPtr,
    /// As many empty slots as there are pages: object 0 of block 0 comes first.
    pub objects: CPtr,
    /// Address space number 0; the others follow.
    pub spaces: CPtr,
}

impl Slots {
    fn untyped(&self, block: u32) -> Untyped {
        Untyped::new(self.blocks + u64::from(block))
    }

    fn object(&self, object: Object) -> CPtr {
        self.objects + u64::from(object.block) * BLOCK_PAGES + object.number
    }

    fn page(&self, object: Object) -> Page {
        Page::from_cptr(self.object(object))
    }

    fn table(&self, object: Object) -> PageTable {
        PageTable::new(self.object(object))
    }

    fn space(&self, space: u32) -> PageTable {
        PageTable::new(self.spaces + u64::from(space))
    }

    /// The node itself, as the destination of new objects.
    fn root(&self) -> Slot {
        self.cnode.slot_at(0, 0)
    }

    fn slot(&self, block: u32) -> Slot {
        self.cnode.slot(self.untyped(block).cptr())
    }
}

fn rights(write: bool) -> CapRights {
    if write {
        CapRights::READ_WRITE
    } else {
        CapRights::READ
    }
}

/// Memory that is handed out holds no code.
const ATTRIBUTES: VmAttributes = VmAttributes::EXECUTE_NEVER;

/// What an error means to whoever asked for a mapping.
fn refused(error: Error) -> Refused {
    match error {
        Error::DeleteFirst => Refused::Occupied,
        Error::InvalidCapability { capability: 1 }
        | Error::FailedLookup {
            failure: LookupFailure::InvalidRoot,
            ..
        } => Refused::NoSpace,
        _ => Refused::Other,
    }
}

/// Makes system calls, one after the other: for kernels without lanes.
#[derive(Debug)]
pub struct Calls {
    slots: Slots,
    made: Cell<u64>,
}

impl Calls {
    /// With these slots.
    pub fn new(slots: Slots) -> Self {
        Calls {
            slots,
            made: Cell::new(0),
        }
    }

    /// System calls that were made.
    pub fn made(&self) -> u64 {
        self.made.get()
    }

    fn done(&self, result: Result<(), Error>) -> core::future::Ready<Result<(), Refused>> {
        self.made.set(self.made.get() + 1);
        ready(result.map_err(refused))
    }
}

impl Machine for Calls {
    fn make_frames(&self, block: u32, count: u64) -> impl Future<Output = Result<(), Refused>> {
        let first = self.slots.object(Object { block, number: 0 });
        let untyped = self.slots.untyped(block);
        self.done(untyped.retype(ObjectType::Page, 0, self.slots.root(), first, count))
    }

    fn make_table(&self, table: Object) -> impl Future<Output = Result<(), Refused>> {
        let untyped = self.slots.untyped(table.block);
        let slot = self.slots.object(table);
        self.done(untyped.retype(ObjectType::PageTable, 0, self.slots.root(), slot, 1))
    }

    fn map(
        &self,
        frame: Object,
        space: u32,
        address: u64,
        write: bool,
    ) -> impl Future<Output = Result<(), Refused>> + Unpin {
        let (page, space) = (self.slots.page(frame), self.slots.space(space));
        self.done(page.map(space, address, rights(write), ATTRIBUTES))
    }

    fn unmap(&self, frame: Object) -> impl Future<Output = Result<(), Refused>> + Unpin {
        self.done(self.slots.page(frame).unmap())
    }

    fn map_table(
        &self,
        table: Object,
        space: u32,
        address: u64,
    ) -> impl Future<Output = Result<(), Refused>> {
        let (table, space) = (self.slots.table(table), self.slots.space(space));
        self.done(table.map(space, address, VmAttributes::DEFAULT))
    }

    fn take_back(&self, block: u32) -> impl Future<Output = Result<(), Refused>> + Unpin {
        self.done(self.slots.slot(block).revoke())
    }
}

/// Calls the kernel through a lane.
pub struct Lane<P: Platform> {
    kernel: Kernel<P>,
    slots: Slots,
    made: Cell<u64>,
}

impl<P: Platform> Lane<P> {
    /// With these slots.
    pub fn new(kernel: Kernel<P>, slots: Slots) -> Self {
        Lane {
            kernel,
            slots,
            made: Cell::new(0),
        }
    }

    /// Asynchronous calls that were made.
    pub fn made(&self) -> u64 {
        self.made.get()
    }

    fn count(&self) {
        self.made.set(self.made.get() + 1);
    }

    #[inline]
    fn short<'k>(&self, call: Invoking<'k, P>) -> Asked<'k, P> {
        self.count();
        Asked(call)
    }

    fn long(
        &self,
        call: impl Future<Output = Result<(), AsyncError>>,
    ) -> impl Future<Output = Result<(), Refused>> {
        self.count();
        async move { call.await.map_err(no_answer) }
    }
}

fn no_answer(error: AsyncError) -> Refused {
    match error {
        AsyncError::Kernel(error) => refused(error),
        AsyncError::Lane(_) | AsyncError::TooLong { .. } => Refused::Other,
    }
}

/// Waits for what has been submitted already.
struct Asked<'k, P: Platform>(Invoking<'k, P>);

impl<P: Platform> Future for Asked<'_, P> {
    type Output = Result<(), Refused>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.map(|_| ()).map_err(no_answer))
    }
}

impl<P: Platform> Machine for Lane<P> {
    fn make_frames(&self, block: u32, count: u64) -> impl Future<Output = Result<(), Refused>> {
        let first = self.slots.object(Object { block, number: 0 });
        let untyped = self.slots.untyped(block);
        let root = self.slots.root();
        let kernel = &self.kernel;
        self.long(kernel.retype(untyped, ObjectType::Page, 0, root, first, count))
    }

    fn make_table(&self, table: Object) -> impl Future<Output = Result<(), Refused>> {
        let untyped = self.slots.untyped(table.block);
        let (root, slot) = (self.slots.root(), self.slots.object(table));
        let kernel = &self.kernel;
        self.long(kernel.retype(untyped, ObjectType::PageTable, 0, root, slot, 1))
    }

    #[inline]
    fn map(
        &self,
        frame: Object,
        space: u32,
        address: u64,
        write: bool,
    ) -> impl Future<Output = Result<(), Refused>> + Unpin {
        let (page, space) = (self.slots.page(frame), self.slots.space(space));
        let kernel = &self.kernel;
        self.short(kernel.map(page, space, address, rights(write), ATTRIBUTES))
    }

    #[inline]
    fn unmap(&self, frame: Object) -> impl Future<Output = Result<(), Refused>> + Unpin {
        self.short(self.kernel.unmap(self.slots.page(frame)))
    }

    fn map_table(
        &self,
        table: Object,
        space: u32,
        address: u64,
    ) -> impl Future<Output = Result<(), Refused>> {
        let (table, space) = (self.slots.table(table), self.slots.space(space));
        let kernel = &self.kernel;
        self.short(kernel.map_table(table, space, address, VmAttributes::DEFAULT))
    }

    fn take_back(&self, block: u32) -> impl Future<Output = Result<(), Refused>> + Unpin {
        self.short(self.kernel.revoke(self.slots.slot(block)))
    }
}
