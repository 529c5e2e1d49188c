//! The memory server against a model: whatever clients ask, drop and leave in the middle, no frame is anybody's twice, everybody gets
//! what is his or the right error, and at the end all memory is back.

mod kernel;

use baton_memory::{
    Access, AllocError, BLOCK_PAGES, FreeError, Janitor, Limits, MapError, Memory, Place,
    RegionNumber, Server, Session, UnmapError, Usage,
};
use kernel::{Fake, Kernel};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

const CLIENTS: usize = 3;
const BLOCKS: u32 = 20;
const LIMITS: Limits = Limits {
    quota_pages: 10 * BLOCK_PAGES,
    region_pages: 40,
    regions: 6,
    window: 0x30_0000_0000,
    // Three tables of the last level, the last in part.
    window_pages: 1100,
};

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

#[derive(Clone, Copy, Debug)]
enum Ask {
    Alloc(u64),
    Map(u8, Option<u64>),
    Unmap(u8),
    Free(u8),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(usize, Ask),
    /// The kernel performs so many calls.
    Kernel(u8),
    /// A request is dropped.
    Drop(u8),
    /// A client ends, and another comes in its place.
    End(usize),
}

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => (0_u64..45).prop_map(Ask::Alloc),
        4 => (any::<u8>(), prop::option::of(0_u64..1110)).prop_map(|(which, at)| Ask::Map(which, at)),
        2 => any::<u8>().prop_map(Ask::Unmap),
        2 => any::<u8>().prop_map(Ask::Free),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..CLIENTS, asks()).prop_map(|(client, ask)| Step::Ask(client, ask)),
        8 => (1_u8..60).prop_map(Step::Kernel),
        2 => any::<u8>().prop_map(Step::Drop),
        1 => (0..CLIENTS).prop_map(Step::End),
    ]
}

/// What a request must come to, if nothing is refused.
#[derive(Debug)]
enum Answer {
    Alloc(u64, Result<RegionNumber, AllocError>),
    Map(RegionNumber, Result<u64, MapError>),
    Unmap(RegionNumber, Result<(), UnmapError>),
    Free(RegionNumber, Result<(), FreeError>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    Busy,
    Unmapped,
    At(u64),
    /// Its request was dropped: what it is, only asking will tell.
    Unknown,
}

struct Client {
    session: Session<Fake>,
    space: u32,
    regions: BTreeMap<RegionNumber, (u64, Standing)>,
}

struct UnderWay {
    client: usize,
    region: Option<RegionNumber>,
    answer: Boxed<Answer>,
}

struct World {
    kernel: Kernel,
    server: Server<Fake>,
    janitor: Boxed<()>,
    clients: Vec<Client>,
    under_way: Vec<UnderWay>,
    refusals: bool,
    /// Whether a request was dropped: tables may have been made that nobody knows of.
    drops: bool,
    next_space: u32,
}

fn poll<T>(future: &mut Boxed<T>) -> Option<T> {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What comes without waiting.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

impl World {
    fn new(refuse: u64) -> Self {
        let kernel = Kernel::default();
        kernel.refuse_one_in(refuse);
        let fake = Fake {
            kernel: kernel.clone(),
            keep: Cell::new(false),
        };
        let server = Server::new(fake, BLOCKS, LIMITS);
        let janitor: Janitor<Fake> = server.janitor();
        let mut world = World {
            kernel,
            janitor: Box::pin(janitor.run()),
            server,
            clients: Vec::new(),
            under_way: Vec::new(),
            refusals: refuse != 0,
            drops: false,
            next_space: 0,
        };
        for _ in 0..CLIENTS {
            let client = world.client();
            world.clients.push(client);
        }
        world
    }

    fn client(&mut self) -> Client {
        let space = self.next_space;
        self.next_space += 1;
        self.kernel.add_space(space);
        Client {
            session: self.server.session(space),
            space,
            regions: BTreeMap::new(),
        }
    }

    fn usage(&self, client: usize) -> Usage {
        now(self.clients[client].session.usage())
    }

    fn ask(&mut self, client: usize, ask: Ask) {
        let usage = self.usage(client);
        let free_blocks = self.server.figures().free_blocks;
        let it = &mut self.clients[client];
        let session = it.session.clone();
        let pick = |which: u8| {
            let count = it.regions.len().max(1);
            it.regions
                .iter()
                .nth(usize::from(which) % count)
                .map(|(number, region)| (*number, *region))
        };
        let (region, expected, answer): (_, _, Boxed<Answer>) = match ask {
            Ask::Alloc(pages) => {
                let blocks = pages.div_ceil(BLOCK_PAGES);
                let left_pages = usage.quota_pages - usage.charged_pages;
                let expected = if pages == 0 {
                    Some(Answer::Alloc(0, Err(AllocError::Nothing)))
                } else if pages > LIMITS.region_pages {
                    let most_pages = LIMITS.region_pages;
                    Some(Answer::Alloc(
                        pages,
                        Err(AllocError::TooLarge { most_pages }),
                    ))
                } else if usage.regions >= LIMITS.regions {
                    Some(Answer::Alloc(pages, Err(AllocError::TooManyRegions)))
                } else if blocks * BLOCK_PAGES > left_pages {
                    Some(Answer::Alloc(pages, Err(AllocError::Quota { left_pages })))
                } else if blocks > free_blocks {
                    Some(Answer::Alloc(pages, Err(AllocError::Exhausted)))
                } else {
                    None
                };
                let answer = async move { Answer::Alloc(pages, session.alloc(pages).await) };
                (None, expected, Box::pin(answer))
            }
            Ask::Map(which, at) => {
                let Some((number, (pages, standing))) = pick(which) else {
                    return;
                };
                let outside = at.is_some_and(|page| page + pages > LIMITS.window_pages);
                let expected = match standing {
                    Standing::Busy => Some(Err(MapError::Busy)),
                    Standing::At(_) => Some(Err(MapError::Mapped)),
                    Standing::Unmapped if outside => Some(Err(MapError::OutsideWindow)),
                    _ => None,
                };
                let expected = expected.map(|error| Answer::Map(number, error));
                let place = at.map_or(Place::Anywhere, |page| Place::At {
                    address: LIMITS.window + page * 4096,
                });
                let answer = async move {
                    let mapped = session.map(number, place, Access::ReadWrite).await;
                    if let (Ok(mapped), Place::At { address }) = (mapped, place) {
                        assert_eq!(mapped, address);
                    }
                    Answer::Map(number, mapped)
                };
                (Some(number), expected, Box::pin(answer))
            }
            Ask::Unmap(which) => {
                let Some((number, (_, standing))) = pick(which) else {
                    return;
                };
                let expected = match standing {
                    Standing::Busy => Some(Err(UnmapError::Busy)),
                    Standing::Unmapped => Some(Err(UnmapError::NotMapped)),
                    _ => None,
                };
                let expected = expected.map(|error| Answer::Unmap(number, error));
                let answer = async move { Answer::Unmap(number, session.unmap(number).await) };
                (Some(number), expected, Box::pin(answer))
            }
            Ask::Free(which) => {
                let Some((number, (_, standing))) = pick(which) else {
                    return;
                };
                let busy = standing == Standing::Busy;
                let expected = busy.then_some(Answer::Free(number, Err(FreeError::Busy)));
                let answer = async move { Answer::Free(number, session.free(number).await) };
                (Some(number), expected, Box::pin(answer))
            }
        };
        let mut answer = answer;
        match (poll(&mut answer), expected) {
            (Some(answer), Some(expected)) => {
                assert_eq!(format!("{answer:?}"), format!("{expected:?}"));
            }
            (None, Some(expected)) => panic!("it waits, instead of {expected:?}"),
            // Occupied, or none of what the model knows: no mistake of ours, and nothing has changed.
            (Some(answer), None) => self.came(client, answer, false),
            (None, None) => {
                let it = &mut self.clients[client];
                if let Some(number) = region
                    && let Some((_, standing)) = it.regions.get_mut(&number)
                {
                    *standing = Standing::Busy;
                }
                self.under_way.push(UnderWay {
                    client,
                    region,
                    answer,
                });
            }
        }
    }

    /// An answer has come, of a request that the server worked on if `worked`.
    fn came(&mut self, client: usize, answer: Answer, worked: bool) {
        let it = &mut self.clients[client];
        let (kernel, space) = (&self.kernel, it.space);
        match answer {
            Answer::Alloc(pages, Ok(number)) => {
                let old = it.regions.insert(number, (pages, Standing::Unmapped));
                assert!(old.is_none(), "two regions have number {number:?}");
            }
            Answer::Alloc(_, Err(error)) => {
                assert_eq!(error, AllocError::Broken);
                assert!(self.refusals);
            }
            Answer::Map(number, result) => {
                let (pages, standing) = it.regions.get_mut(&number).expect("it was there");
                match result {
                    Ok(address) => {
                        *standing = Standing::At(address);
                        assert_eq!(kernel.maps(space, address, *pages), *pages);
                    }
                    Err(error) => {
                        let fits = match error {
                            MapError::Occupied | MapError::NoRoom => !worked,
                            MapError::Quota | MapError::Exhausted => worked,
                            MapError::Broken => self.refusals && worked,
                            // A dropped request has left it in another state than we know, or unmapped and we asked for too much.
                            _ => *standing == Standing::Unknown && !worked,
                        };
                        assert!(fits, "{error:?}");
                        if worked {
                            *standing = Standing::Unmapped;
                        }
                    }
                }
            }
            Answer::Unmap(number, result) => {
                let (_, standing) = it.regions.get_mut(&number).expect("it was there");
                match result {
                    Ok(()) => *standing = Standing::Unmapped,
                    Err(_) => assert!(*standing == Standing::Unknown && !worked),
                }
            }
            Answer::Free(number, result) => match result {
                Ok(()) => {
                    it.regions.remove(&number);
                }
                Err(error) => {
                    let (_, standing) = it.regions[&number];
                    assert!(standing == Standing::Unknown && !worked);
                    if error == FreeError::NoRegion {
                        it.regions.remove(&number);
                    }
                }
            },
        }
    }

    /// Polls all until nothing comes of it.
    fn run(&mut self) {
        let _: Option<()> = poll(&mut self.janitor);
        let mut at = 0;
        while let Some(one) = self.under_way.get_mut(at) {
            match poll(&mut one.answer) {
                Some(answer) => {
                    let client = self.under_way.swap_remove(at).client;
                    self.came(client, answer, true);
                    at = 0;
                }
                None => at += 1,
            }
        }
    }

    fn kernel(&mut self, calls: u64) {
        for _ in 0..calls {
            if !self.kernel.step() {
                break;
            }
        }
        self.run();
    }

    fn drop_one(&mut self, which: u8) {
        if self.under_way.is_empty() {
            return;
        }
        self.drops = true;
        let one = self
            .under_way
            .swap_remove(usize::from(which) % self.under_way.len());
        if let Some(number) = one.region
            && let Some((_, standing)) = self.clients[one.client].regions.get_mut(&number)
        {
            *standing = Standing::Unknown;
        }
        drop(one);
        self.run();
    }

    /// Lets the kernel do all that there is to do.
    fn settle(&mut self) {
        self.run();
        while self.kernel.step() {
            self.run();
        }
    }

    /// A client goes. Its requests are dropped a little later than that is known, as they are by an executor.
    fn end(&mut self, client: usize, kill: bool) {
        let new = self.client();
        let old = std::mem::replace(&mut self.clients[client], new);
        if kill {
            self.kernel.remove_space(old.space);
        }
        let session = old.session.clone();
        let mut end: Boxed<()> = Box::pin(async move { session.end().await });
        let (mut its, others) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition::<Vec<_>, _>(|one| one.client == client);
        self.under_way = others;
        let mut ended = poll(&mut end).is_some();
        for _ in 0..3 {
            self.kernel.step();
            its.retain_mut(|one| poll(&mut one.answer).is_none());
            ended = ended || poll(&mut end).is_some();
            self.run();
        }
        drop(its);
        let mut rounds = 0;
        while !ended {
            self.kernel.step();
            self.run();
            ended = poll(&mut end).is_some();
            rounds += 1;
            assert!(rounds < 100_000, "the end of a client does not come");
        }
        if !kill {
            assert_eq!(self.kernel.mapped(old.space), 0);
        }
    }

    /// What the server says, the model has, and the kernel has, is the same, when nothing is under way.
    fn compare(&mut self) {
        self.settle();
        assert!(self.under_way.is_empty());
        for client in 0..CLIENTS {
            let usage = self.usage(client);
            let it = &self.clients[client];
            let known = |(_, standing): &&(u64, Standing)| *standing != Standing::Unknown;
            let mapped = |(_, standing): &&(u64, Standing)| matches!(standing, Standing::At(_));
            let regions = it.regions.values().filter(known).count() as u64;
            assert!(usage.regions >= regions);
            assert!(usage.regions <= it.regions.len() as u64);
            let all = it.regions.values().filter(mapped);
            let pages: u64 = all.clone().map(|(pages, _)| pages).sum();
            assert_eq!(self.kernel.mapped(it.space), pages);
            assert_eq!(usage.mapped, all.count() as u64);
            assert!(usage.charged_pages <= usage.quota_pages);
            if !self.drops && !self.refusals {
                // Four tables at most are needed, which is one block.
                let blocks = it
                    .regions
                    .values()
                    .map(|(pages, _)| pages.div_ceil(BLOCK_PAGES));
                let charged = usage.charged_pages - blocks.sum::<u64>() * BLOCK_PAGES;
                assert!(
                    charged <= BLOCK_PAGES,
                    "{charged} pages are charged for tables"
                );
            }
        }
        let figures = self.server.figures();
        assert_eq!(figures.lost_blocks, 0);
        let used = self.kernel.used() as u64;
        let taken = figures.blocks - figures.free_blocks;
        // A block for tables whose first table was refused has nothing in it yet.
        assert!(
            used <= taken && (self.refusals || used == taken),
            "{used} of {taken}"
        );
    }

    fn finish(mut self) {
        self.compare();
        for client in 0..CLIENTS {
            self.end(client, client == 0);
        }
        for it in std::mem::take(&mut self.clients) {
            now(it.session.end());
        }
        let figures = self.server.figures();
        assert_eq!(figures.free_blocks, u64::from(BLOCKS));
        assert_eq!((figures.clients, figures.lost_blocks), (0, 0));
        assert_eq!(self.kernel.used(), 0);
    }
}

fn run(steps: &[Step], refuse: u64) {
    let mut world = World::new(refuse);
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Ask(client, ask) => world.ask(client, ask),
            Step::Kernel(calls) => world.kernel(calls.into()),
            Step::Drop(which) => world.drop_one(which),
            Step::End(client) => world.end(client, number % 2 == 0),
        }
        if number % 32 == 31 {
            world.compare();
        }
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_frame_is_anybodys_twice_and_all_come_back(steps in prop::collection::vec(steps(), 1..250)) {
        run(&steps, 0);
    }

    #[test]
    fn nor_when_the_kernel_refuses(steps in prop::collection::vec(steps(), 1..250), refuse in 2_u64..40) {
        run(&steps, refuse);
    }
}

/// Waits for it, with a kernel that does what is asked.
fn wait<T>(world: &mut World, future: impl Future<Output = T> + 'static) -> T {
    let mut future: Boxed<T> = Box::pin(future);
    loop {
        if let Some(value) = poll(&mut future) {
            return value;
        }
        assert!(world.kernel.step(), "it waits for nothing");
        let _: Option<()> = poll(&mut world.janitor);
    }
}

#[test]
fn what_the_kernel_keeps_is_lost_and_never_handed_out_again() {
    let mut world = World::new(0);
    let session = world.clients[0].session.clone();
    let one = session.clone();
    let region =
        wait(&mut world, async move { one.alloc(BLOCK_PAGES + 1).await }).expect("two blocks");
    world.server.machine().keep.set(true);
    let one = session.clone();
    let freed = wait(&mut world, async move { one.free(region).await });
    assert_eq!(freed, Err(FreeError::Broken));
    let figures = world.server.figures();
    assert_eq!(
        (figures.lost_blocks, figures.free_blocks),
        (1, u64::from(BLOCKS) - 1)
    );
    assert_eq!(world.usage(0).charged_pages, 0);
    let one = session.clone();
    let again = wait(&mut world, async move { one.free(region).await });
    assert_eq!(again, Err(FreeError::NoRegion));
}

#[test]
fn an_address_that_is_not_the_servers_to_give_is_refused() {
    let mut world = World::new(0);
    let session = world.clients[0].session.clone();
    let one = session.clone();
    let region = wait(&mut world, async move { one.alloc(2).await }).expect("a block");
    let end = LIMITS.window + LIMITS.window_pages * 4096;
    for (address, error) in [
        (LIMITS.window + 1, MapError::Misaligned),
        (LIMITS.window - 4096, MapError::OutsideWindow),
        (end - 4096, MapError::OutsideWindow),
        (u64::MAX - 4095, MapError::OutsideWindow),
    ] {
        let at = Place::At { address };
        assert_eq!(now(session.map(region, at, Access::Read)), Err(error));
    }
    let one = session.clone();
    let at = Place::At {
        address: end - 2 * 4096,
    };
    let mapped = wait(&mut world, async move {
        one.map(region, at, Access::Read).await
    });
    assert_eq!(mapped, Ok(end - 2 * 4096));
}

#[test]
fn who_maps_at_the_same_time_as_others_makes_no_tables_twice() {
    const REGIONS: u64 = 20;
    let kernel = Kernel::default();
    kernel.add_space(0);
    let fake = Fake {
        kernel: kernel.clone(),
        keep: Cell::new(false),
    };
    let limits = Limits {
        quota_pages: (REGIONS + 5) * BLOCK_PAGES,
        regions: REGIONS,
        ..LIMITS
    };
    let session = Server::new(fake, 30, limits).session(0);
    let mut mapping: Vec<Boxed<Result<u64, MapError>>> = Vec::new();
    for _ in 0..REGIONS {
        let session = session.clone();
        mapping.push(Box::pin(async move {
            let region = session.alloc(1).await.expect("there is memory");
            session
                .map(region, Place::Anywhere, Access::ReadWrite)
                .await
        }));
    }
    let mut mapped = 0;
    while mapped != REGIONS {
        mapping.retain_mut(|one| match poll(one) {
            Some(result) => {
                mapped += u64::from(result.is_ok());
                assert!(result.is_ok(), "{result:?}");
                false
            }
            None => true,
        });
        kernel.step();
    }
    assert_eq!(kernel.mapped(0), REGIONS);
    // Two tables, of one block.
    let usage = now(session.usage());
    assert_eq!(usage.charged_pages, (REGIONS + 1) * BLOCK_PAGES);
}
