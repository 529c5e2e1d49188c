//! A kernel that performs calls in order, one at a time, when it is told to; and that notices whatever a server must not do.

use baton_memory::{BLOCK_PAGES, Machine, Object, Refused};
use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

const PAGE: u64 = 4096;
const LEAF: u64 = 512 * PAGE;

#[derive(Clone, Copy, Debug)]
enum Call {
    MakeFrames(u32, u64),
    MakeTable(Object),
    Map(Object, u32, u64),
    Unmap(Object),
    MapTable(Object, u32, u64),
    TakeBack(u32),
}

type Result = std::result::Result<(), Refused>;

/// What is mapped in an address space.
#[derive(Debug, Default)]
pub struct Space {
    pub frames: BTreeMap<u64, (u32, u64)>,
    /// Tables by the address that they lead to: of the second level, and of the last.
    root: Option<(u32, u64)>,
    leaves: BTreeMap<u64, (u32, u64)>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Frame,
    Table,
}

#[derive(Debug, Default)]
struct Block {
    objects: BTreeMap<u64, Kind>,
    /// In whose address space something of it has been mapped since it was taken back.
    user: Option<u32>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Call)>,
    results: BTreeMap<u64, Result>,
    next: u64,
    blocks: BTreeMap<u32, Block>,
    spaces: BTreeMap<u32, Space>,
    /// Refuse one in so many makings and mappings; 0 for none.
    refuse: u64,
    performed: u64,
}

/// See the module.
#[derive(Clone, Default)]
pub struct Kernel(Rc<RefCell<State>>);

impl Kernel {
    /// Refuses one in so many makings and mappings that it could have done.
    pub fn refuse_one_in(&self, calls: u64) {
        self.0.borrow_mut().refuse = calls;
    }

    /// There is an address space of that number now.
    pub fn add_space(&self, space: u32) {
        self.0.borrow_mut().spaces.insert(space, Space::default());
    }

    /// The address space is gone.
    pub fn remove_space(&self, space: u32) {
        self.0.borrow_mut().spaces.remove(&space);
    }

    /// Whether that is what is mapped from `address` on: the given number of pages, or none of them.
    pub fn maps(&self, space: u32, address: u64, pages: u64) -> u64 {
        let state = self.0.borrow();
        let end = address + pages * PAGE;
        let frames = &state.spaces[&space].frames;
        frames.range(address..end).count() as u64
    }

    /// Pages that are mapped in an address space.
    pub fn mapped(&self, space: u32) -> u64 {
        self.0.borrow().spaces[&space].frames.len() as u64
    }

    /// Blocks of which something is made.
    pub fn used(&self) -> usize {
        let state = self.0.borrow();
        let used = |block: &&Block| !block.objects.is_empty();
        state.blocks.values().filter(used).count()
    }

    /// Performs the next call, if there is one.
    pub fn step(&self) -> bool {
        let mut state = self.0.borrow_mut();
        let Some((number, call)) = state.queue.pop_front() else {
            return false;
        };
        let result = state.perform(call);
        state.results.insert(number, result);
        true
    }

    fn submit(&self, call: Call) -> impl Future<Output = Result> + use<> {
        let mut state = self.0.borrow_mut();
        let number = state.next;
        state.next += 1;
        state.queue.push_back((number, call));
        let kernel = self.clone();
        poll_fn(
            move |_| match kernel.0.borrow_mut().results.remove(&number) {
                Some(result) => Poll::Ready(result),
                None => Poll::Pending,
            },
        )
    }

    /// As `submit`, when it is first polled.
    fn submit_later(&self, call: Call) -> impl Future<Output = Result> + use<> {
        let kernel = self.clone();
        async move { kernel.submit(call).await }
    }
}

impl State {
    fn refuses(&mut self) -> bool {
        self.performed += 1;
        self.refuse != 0 && self.performed.is_multiple_of(self.refuse)
    }

    fn made(&self, object: Object, table: bool) -> bool {
        let block = self.blocks.get(&object.block);
        let made = block.and_then(|block| block.objects.get(&object.number));
        match made {
            Some(Kind::Frame) => !table,
            Some(Kind::Table) => table,
            None => false,
        }
    }

    fn perform(&mut self, call: Call) -> Result {
        match call {
            Call::MakeFrames(block, count) => {
                assert!((1..=BLOCK_PAGES).contains(&count));
                if self.refuses() {
                    return Err(Refused::Other);
                }
                let block = self.blocks.entry(block).or_default();
                assert!(block.objects.is_empty(), "a block was handed out twice");
                block.objects = (0..count).map(|number| (number, Kind::Frame)).collect();
            }
            Call::MakeTable(Object { block, number }) => {
                if self.refuses() {
                    return Err(Refused::Other);
                }
                let block = self.blocks.entry(block).or_default();
                // The kernel makes them one behind the other: one that was refused leaves no gap.
                assert!(!block.objects.contains_key(&number));
                assert!(
                    block
                        .objects
                        .values()
                        .all(|kind| matches!(kind, Kind::Table))
                );
                block.objects.insert(number, Kind::Table);
            }
            Call::Map(frame, space, address) => {
                assert!(self.made(frame, false), "no such frame: {frame:?}");
                if self.refuses() {
                    return Err(Refused::Other);
                }
                let key = (frame.block, frame.number);
                let Some(mapped) = self.spaces.get_mut(&space) else {
                    return Err(Refused::NoSpace);
                };
                assert!(mapped.root.is_some(), "no table leads to {address:#x}");
                assert!(mapped.leaves.contains_key(&(address / LEAF)));
                assert!(!mapped.frames.values().any(|mapped| *mapped == key));
                if mapped.frames.contains_key(&address) {
                    return Err(Refused::Occupied);
                }
                mapped.frames.insert(address, key);
                let user = &mut self.blocks.entry(frame.block).or_default().user;
                assert_eq!(
                    *user.get_or_insert(space),
                    space,
                    "two clients have a block"
                );
            }
            Call::Unmap(frame) => {
                if !self.made(frame, false) {
                    return Err(Refused::Other);
                }
                let key = (frame.block, frame.number);
                for space in self.spaces.values_mut() {
                    space.frames.retain(|_, mapped| *mapped != key);
                }
            }
            Call::MapTable(table, space, address) => {
                assert!(self.made(table, true), "no such table: {table:?}");
                if self.refuses() {
                    return Err(Refused::Other);
                }
                let key = (table.block, table.number);
                let Some(mapped) = self.spaces.get_mut(&space) else {
                    return Err(Refused::NoSpace);
                };
                if mapped.root.is_none() {
                    mapped.root = Some(key);
                } else if let Entry::Vacant(leaf) = mapped.leaves.entry(address / LEAF) {
                    leaf.insert(key);
                } else {
                    return Err(Refused::Occupied);
                }
            }
            Call::TakeBack(block) => {
                let of_block = |mapped: &(u32, u64)| mapped.0 == block;
                for space in self.spaces.values_mut() {
                    space.frames.retain(|_, mapped| !of_block(mapped));
                    space.leaves.retain(|_, table| !of_block(table));
                    space.root = space.root.filter(|table| !of_block(table));
                }
                self.blocks.remove(&block);
            }
        }
        Ok(())
    }
}

/// A kernel whose `make_frames` and `make_table` are made when they are first polled, as those of a kernel lane.
pub struct Fake {
    pub kernel: Kernel,
    /// Refuses to take back the next block.
    pub keep: Cell<bool>,
}

impl Machine for Fake {
    fn make_frames(&self, block: u32, count: u64) -> impl Future<Output = Result> {
        self.kernel.submit_later(Call::MakeFrames(block, count))
    }

    fn make_table(&self, table: Object) -> impl Future<Output = Result> {
        self.kernel.submit_later(Call::MakeTable(table))
    }

    fn map(
        &self,
        frame: Object,
        space: u32,
        address: u64,
        _write: bool,
    ) -> impl Future<Output = Result> + Unpin {
        self.kernel.submit(Call::Map(frame, space, address))
    }

    fn unmap(&self, frame: Object) -> impl Future<Output = Result> + Unpin {
        self.kernel.submit(Call::Unmap(frame))
    }

    fn map_table(&self, table: Object, space: u32, address: u64) -> impl Future<Output = Result> {
        self.kernel.submit(Call::MapTable(table, space, address))
    }

    fn take_back(&self, block: u32) -> impl Future<Output = Result> + Unpin {
        let keep = self.keep.replace(false);
        let call = self.kernel.submit(Call::TakeBack(block));
        Box::pin(async move {
            call.await?;
            if keep { Err(Refused::Other) } else { Ok(()) }
        })
    }
}
