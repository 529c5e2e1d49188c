//! One client's requests.

use crate::batch::{Batch, all};
use crate::books::{Books, Part, give_or_lose};
use crate::janitor::{Job, Undo};
use crate::machine::{Machine, Object, Refused};
use crate::pool::BLOCK_PAGES;
use crate::server::Shared;
use crate::service::{
    Access, AllocError, Figures, FreeError, MapError, Memory, Place, RegionNumber, UnmapError,
    Usage,
};
use crate::tables::Tables;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// What a client's requests share.
pub(crate) struct State<M> {
    pub(crate) shared: Rc<Shared<M>>,
    /// The client's number, which no other has or had.
    client: u64,
    pub(crate) space: u32,
    pub(crate) books: RefCell<Books>,
    pub(crate) tables: Tables,
    /// Requests under way, and those that are being undone.
    in_use: Cell<u64>,
    gone: Cell<bool>,
    /// Who waits until none is.
    quiet: Cell<Option<Waker>>,
}

/// One that was never used need not be ended.
impl<M> Drop for State<M> {
    fn drop(&mut self) {
        if !self.gone.get() {
            let clients = &self.shared.clients;
            clients.set(clients.get() - 1);
        }
    }
}

/// What serves one client. Cheap to clone.
pub struct Session<M>(Rc<State<M>>);

impl<M> Clone for Session<M> {
    fn clone(&self) -> Self {
        Session(self.0.clone())
    }
}

/// Keeps what a client has from being taken back while a request works with it.
pub(crate) struct InUse<M>(Rc<State<M>>);

impl<M> InUse<M> {
    fn new(state: &Rc<State<M>>) -> Self {
        state.in_use.set(state.in_use.get() + 1);
        InUse(state.clone())
    }

    pub(crate) fn session(&self) -> &State<M> {
        &self.0
    }
}

impl<M> Drop for InUse<M> {
    fn drop(&mut self) {
        let left = self.0.in_use.get() - 1;
        self.0.in_use.set(left);
        if left == 0
            && let Some(waker) = self.0.quiet.take()
        {
            waker.wake();
        }
    }
}

/// A request that works on a busy region. If it is dropped before it is finished, the janitor puts the region in order.
struct Request<M> {
    /// None once it is finished.
    client: Option<InUse<M>>,
    region: RegionNumber,
    undo: Undo,
}

impl<M> Request<M> {
    fn new(state: &Rc<State<M>>, region: RegionNumber, undo: Undo) -> Self {
        Request {
            client: Some(InUse::new(state)),
            region,
            undo,
        }
    }

    /// The region is in order.
    fn finish(mut self) {
        self.client = None;
    }
}

impl<M> Drop for Request<M> {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        let shared = client.0.shared.clone();
        let job = Job {
            client,
            region: self.region,
            undo: self.undo,
        };
        shared.jobs.borrow_mut().push_back(job);
        if let Some(waker) = shared.janitor.take() {
            waker.wake();
        }
    }
}

/// The objects of a region's pages, in their order.
fn frames(part: &Part) -> impl Iterator<Item = Object> + '_ {
    let all = part
        .blocks
        .iter()
        .flat_map(|&block| (0..BLOCK_PAGES).map(move |number| Object { block, number }));
    all.take(part.pages as usize)
}

impl<M: Machine> State<M> {
    /// The address of a page of the window.
    pub(crate) fn address(&self, page: u64) -> u64 {
        self.shared.limits.window + page * 4096
    }

    /// Has the kernel take blocks back, and tells the places of those that it would not.
    async fn take_back(&self, blocks: &[u32]) -> Vec<(usize, Refused)> {
        let machine = &self.shared.machine;
        let calls = blocks.iter().map(|&block| machine.take_back(block));
        let mut calls = Batch::of(calls);
        calls.failures().await
    }

    /// Frees a busy region, whatever is made or mapped of it. Says whether all of it came back.
    pub(crate) async fn free_region(&self, region: RegionNumber) -> bool {
        let blocks = self.books.borrow_mut().blocks(region);
        let kept = self.take_back(&blocks).await;
        let mut pool = self.shared.pool.borrow_mut();
        self.books.borrow_mut().is_free(region, &kept, &mut pool);
        kept.is_empty()
    }

    /// Unmaps a busy region, as far as it is mapped. Says whether it is unmapped.
    pub(crate) async fn unmap_region(&self, region: RegionNumber) -> bool {
        let part = self.books.borrow_mut().part(region);
        let Some(part) = part else {
            return false;
        };
        let machine = &self.shared.machine;
        let mut calls = Batch::of(frames(&part).map(|frame| machine.unmap(frame)));
        let unmapped = calls.failures().await.is_empty();
        self.books.borrow_mut().is_unmapped(region, unmapped);
        unmapped
    }

    /// Maps all pages of a region, or fails at the first that cannot be; some are mapped then.
    async fn map_pages(&self, part: &Part, write: bool) -> Result<(), MapError> {
        if !self.has_tables_for(part.first, part.pages) {
            self.make_tables_for(part.first, part.pages).await?;
        }
        let machine = &self.shared.machine;
        let addresses = (part.first..).map(|page| self.address(page));
        let calls = frames(part)
            .zip(addresses)
            .map(|(frame, address)| machine.map(frame, self.space, address, write));
        let mut calls = Batch::of(calls);
        let failures = calls.failures().await;
        failures
            .first()
            .map_or(Ok(()), |(_, refused)| match refused {
                Refused::Occupied => Err(MapError::Occupied),
                Refused::NoSpace => Err(MapError::NoSpace),
                Refused::Other => Err(MapError::Broken),
            })
    }
}

impl<M: Machine> Session<M> {
    pub(crate) fn new(shared: Rc<Shared<M>>, client: u64, space: u32) -> Self {
        let books = Books::new(client, &shared.limits);
        Session(Rc::new(State {
            shared,
            client,
            space,
            books: RefCell::new(books),
            tables: Tables::default(),
            in_use: Cell::new(0),
            gone: Cell::new(false),
            quiet: Cell::new(None),
        }))
    }

    fn count(&self) {
        let requests = &self.0.shared.requests;
        requests.set(requests.get() + 1);
    }

    /// Takes back all that the client has, after its last request is over or undone. The client makes no requests any more; its address
    /// space may be gone, but its number must be nobody else's yet.
    ///
    /// It comes back after the kernel has done all that was ever asked of it for this client.
    pub async fn end(&self) {
        let state = &self.0;
        if state.gone.replace(true) {
            return;
        }
        poll_fn(|context| match state.in_use.get() {
            0 => Poll::Ready(()),
            _ => {
                state.quiet.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await;
        let mut blocks = state.books.borrow_mut().forget_all();
        blocks.extend(state.tables.forget_all());
        let kept = state.take_back(&blocks).await;
        let mut pool = state.shared.pool.borrow_mut();
        give_or_lose(&mut pool, state.client, &blocks, &kept);
        let clients = &state.shared.clients;
        clients.set(clients.get() - 1);
    }
}

impl<M: Machine> Memory for Session<M> {
    async fn alloc(&self, pages: u64) -> Result<RegionNumber, AllocError> {
        self.count();
        let state = &self.0;
        if state.gone.get() {
            return Err(AllocError::Exhausted);
        }
        let part = {
            let mut pool = state.shared.pool.borrow_mut();
            state.books.borrow_mut().begin_alloc(pages, &mut pool)?
        };
        let request = Request::new(state, part.number, Undo::Free);
        let machine = &state.shared.machine;
        let mut left = pages;
        let calls = part.blocks.iter().map(|&block| {
            let count = left.min(BLOCK_PAGES);
            left -= count;
            machine.make_frames(block, count)
        });
        let made = all(calls).await;
        if !made {
            state.free_region(part.number).await;
            request.finish();
            return Err(AllocError::Broken);
        }
        state.books.borrow_mut().is_unmapped(part.number, true);
        request.finish();
        Ok(part.number)
    }

    async fn map(&self, region: RegionNumber, at: Place, access: Access) -> Result<u64, MapError> {
        self.count();
        let state = &self.0;
        let part = state.books.borrow_mut().begin_map(region, at)?;
        let request = Request::new(state, region, Undo::Unmap);
        let mapped = state.map_pages(&part, access == Access::ReadWrite).await;
        match mapped {
            Ok(()) => state.books.borrow_mut().is_mapped(region),
            Err(_) => {
                state.unmap_region(region).await;
            }
        }
        request.finish();
        mapped.map(|()| state.address(part.first))
    }

    async fn unmap(&self, region: RegionNumber) -> Result<(), UnmapError> {
        self.count();
        let state = &self.0;
        state.books.borrow_mut().begin_unmap(region)?;
        let request = Request::new(state, region, Undo::Unmap);
        let unmapped = state.unmap_region(region).await;
        request.finish();
        unmapped.then_some(()).ok_or(UnmapError::Broken)
    }

    async fn free(&self, region: RegionNumber) -> Result<(), FreeError> {
        self.count();
        let state = &self.0;
        state.books.borrow_mut().begin_free(region)?;
        let request = Request::new(state, region, Undo::Free);
        let back = state.free_region(region).await;
        request.finish();
        back.then_some(()).ok_or(FreeError::Broken)
    }

    async fn usage(&self) -> Usage {
        self.count();
        self.0.books.borrow().usage()
    }

    async fn figures(&self) -> Figures {
        self.count();
        self.0.shared.figures()
    }
}
