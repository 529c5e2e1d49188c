//! Baton between executors of one process.
//!
//! Purpose: the same inbox, executor and rpc as between processes, on memory of the heap: for tests that must be exact, for
//! counting instructions, and for threads that want typed calls between them. Several nodes may even live on one thread and be
//! turned in any order.
//!
//! # Example
//!
//! Two nodes on one thread, turned by hand: everything that happens is in the program's order.
//!
//! ```
//! use baton_inbox::InSlot;
//! use baton_inprocess::{Clock, Sizes, connect, node};
//! use baton_rpc::{Config, service};
//! use baton_trace::Ring;
//! use std::rc::Rc;
//! use std::sync::{Arc, Mutex};
//!
//! #[service]
//! trait Adder {
//!     async fn add(&self, left: u64, right: u64) -> u64;
//! }
//!
//! struct Plain;
//!
//! impl Adder for Plain {
//!     async fn add(&self, left: u64, right: u64) -> u64 {
//!         left.wrapping_add(right)
//!     }
//! }
//!
//! let clock = Clock::Manual(Arc::new(Mutex::new(0)));
//! let ring = || Arc::new(Ring::new(64));
//! let (client, at_client) = node::<InSlot>(Config::default(), clock.clone(), ring());
//! let (server, at_server) = node::<InSlot>(Config::default(), clock, ring());
//! let sizes = Sizes { credits: 4, back_credits: 0, request_bulk_bytes: 0, answer_bulk_bytes: 0 };
//! let service = Rc::new(AdderServer(Plain));
//! let calls = connect((&client, &at_client), (&server, &at_server), sizes, service)?;
//!
//! let adder = AdderClient::new(calls);
//! let sum = client.executor().spawn(async move { adder.add(2, 3).await })?;
//! client.turn()?; // 1 call, 2 submit, 3 ring
//! server.turn()?; // 4 drain, 5 serve, 6 reply
//! client.turn()?; // 7 drain, 8 resume
//! assert_eq!(sum.try_take(), Some(Ok(Ok(5))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Neighbours: `host/linux` is the platform between processes. Here, both ends of a connection trust each other with the
//! process; the protocol checks are the same all the same.
#![forbid(unsafe_code)]

use baton_inbox::link::write_header;
use baton_inbox::{Bell, InSlot, LinkParts, Platform, Publication, RegionLayout, SharedRing};
use baton_rpc::{BindError, Binding, Client, Config, Node, Service};
use baton_shm::{HeapWords, Region};
use baton_trace::Ring;
use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

thread_local! {
    static CURRENT: Cell<*const ()> = const { Cell::new(std::ptr::null()) };
}

/// Where time comes from.
#[derive(Clone)]
pub enum Clock {
    /// The machine's monotonic clock.
    Machine(Instant),
    /// A clock that stands still until it is moved; its reading in nanoseconds.
    Manual(Arc<Mutex<u64>>),
}

/// A doorbell inside one process: a flag that sticks until the wait that sees it.
#[derive(Clone, Default)]
pub struct FlagBell(Arc<(Mutex<bool>, Condvar)>);

impl FlagBell {
    /// Whether it has been rung since the last wait; forgets the ring.
    pub fn take(&self) -> bool {
        let mut rung = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}

impl Bell for FlagBell {
    fn ring(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_one();
    }
}

/// The platform inside one process, with publication `U`.
pub struct InProcess<U: Publication = InSlot> {
    bell: FlagBell,
    clock: Clock,
    publication: PhantomData<U>,
}

impl<U: Publication> Platform for InProcess<U> {
    type Bell = FlagBell;
    type Publication = U;

    fn wait(&self, deadline_ns: Option<u64>) {
        let (rung, changed) = &*self.bell.0;
        let mut rung = rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            match deadline_ns {
                None => {
                    rung = changed.wait(rung).unwrap_or_else(PoisonError::into_inner);
                }
                Some(deadline_ns) => {
                    let now_ns = self.now_ns();
                    if now_ns >= deadline_ns || matches!(self.clock, Clock::Manual(_)) {
                        break;
                    }
                    let left = Duration::from_nanos(deadline_ns - now_ns);
                    (rung, _) = changed
                        .wait_timeout(rung, left)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        *rung = false;
    }

    fn own_bell(&self) -> FlagBell {
        self.bell.clone()
    }

    fn now_ns(&self) -> u64 {
        match &self.clock {
            Clock::Machine(start) => start.elapsed().as_nanos() as u64,
            Clock::Manual(now_ns) => *now_ns.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn spin_budget_ns(&self) -> u64 {
        match std::thread::available_parallelism() {
            Ok(cores) if cores.get() > 1 => 20_000,
            _ => 0,
        }
    }

    fn spin_ended(&self, _spun_ns: u64, _found_work: bool) {}

    fn current() -> *const () {
        CURRENT.get()
    }

    fn set_current(current: *const ()) {
        CURRENT.set(current);
    }
}

/// The part of an inbox that its senders hold; it may be sent to other threads.
#[derive(Clone)]
pub struct Address {
    state: Region,
    hint: Region,
    bell: FlagBell,
    ring: Option<SharedRing>,
}

impl Address {
    /// The bell of the inbox.
    pub fn bell(&self) -> &FlagBell {
        &self.bell
    }
}

/// Makes a node and its address.
///
/// # Panics
///
/// When the process has as many executors as it can have, or `config` asks for too many tasks.
pub fn node<U: Publication>(
    config: Config,
    clock: Clock,
    trace: Arc<Ring>,
) -> (Node<InProcess<U>>, Address) {
    let bell = FlagBell::default();
    let state = HeapWords::region(8);
    let hint = HeapWords::region(8);
    let platform = InProcess {
        bell: bell.clone(),
        clock,
        publication: PhantomData,
    };
    let word = |region: &Region| region.word(0).expect("the region has words");
    let ring = U::ONE_RING
        .then(|| SharedRing::new(HeapWords::region(SharedRing::words(RING_BITS)), RING_BITS));
    let reader = ring
        .as_ref()
        .map(|ring| ring.reader().expect("the ring holds its slots"));
    let node = Node::with_ring(platform, word(&state), word(&hint), trace, config, reader)
        .expect("there is room for an executor");
    let address = Address {
        state,
        hint,
        bell,
        ring,
    };
    (node, address)
}

/// log2 of the slots of a ring that all senders of a node share: room for all credits of 64 connections.
const RING_BITS: u32 = 14;

/// What a connection is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Credits of the first side at the second.
    pub credits: u32,
    /// Credits of the second side at the first.
    pub back_credits: u32,
    /// Bytes of each request's bulk buffer.
    pub request_bulk_bytes: u32,
    /// Bytes of each answer's bulk buffer.
    pub answer_bulk_bytes: u32,
}

/// The two ends of a connection, to be bound to two nodes, or for a test that plays one side itself.
///
/// `indices` are the numbers that the connection will have in the first and the second inbox.
///
/// # Panics
///
/// When `sizes` are beyond what a connection can have.
pub fn connection(
    first: &Address,
    second: &Address,
    sizes: Sizes,
    indices: (u32, u32),
) -> (LinkParts<FlagBell>, LinkParts<FlagBell>) {
    connection_with(first, second, sizes, indices, 0)
}

/// As [`connection`], with `spare` more slots in every request lane.
fn connection_with(
    first: &Address,
    second: &Address,
    sizes: Sizes,
    indices: (u32, u32),
    spare: u32,
) -> (LinkParts<FlagBell>, LinkParts<FlagBell>) {
    let layout = |credits, granted| {
        RegionLayout::new(
            credits + spare,
            granted,
            sizes.request_bulk_bytes,
            sizes.answer_bulk_bytes,
        )
        .expect("the sizes are possible")
    };
    let first_layout = layout(sizes.credits, sizes.back_credits);
    let second_layout = layout(sizes.back_credits, sizes.credits);
    let first_region = HeapWords::region(first_layout.words());
    let second_region = HeapWords::region(second_layout.words());
    write_header(&first_region, &first_layout).expect("the region holds its header");
    write_header(&second_region, &second_layout).expect("the region holds its header");
    let end =
        |own: &Region, own_layout, peers: &Region, peers_layout, peer: &Address, peer_index| {
            LinkParts {
                outgoing: own.clone(),
                out_layout: own_layout,
                incoming: peers.read_only(),
                in_layout: peers_layout,
                peer_state: peer.state.read_only().word(0).expect("a state word"),
                peer_hint: peer.hint.word(0).expect("a hint word"),
                peer_index,
                bell: peer.bell.clone(),
                credits: 0,
                granted: 0,
            }
        };
    let mut a = end(
        &first_region,
        first_layout,
        &second_region,
        second_layout,
        second,
        indices.1,
    );
    (a.credits, a.granted) = (sizes.credits, sizes.back_credits);
    let mut b = end(
        &second_region,
        second_layout,
        &first_region,
        first_layout,
        first,
        indices.0,
    );
    (b.credits, b.granted) = (sizes.back_credits, sizes.credits);
    (a, b)
}

/// Connects two nodes on the same thread: `client` may call `service` on `server`.
///
/// # Errors
///
/// [`BindError`] of whichever side has no room.
pub fn connect<U: Publication, S: Service<InProcess<U>>>(
    client: (&Node<InProcess<U>>, &Address),
    server: (&Node<InProcess<U>>, &Address),
    sizes: Sizes,
    service: Rc<S>,
) -> Result<Client<InProcess<U>>, BindError> {
    let at_client = client.0.free_index()?;
    let at_server = server.0.free_index()?;
    // Where requests and answers share a lane, it needs room for both.
    let spare = if U::ONE_LANE {
        sizes.credits.max(sizes.back_credits)
    } else {
        0
    };
    let (a, b) = connection_with(client.1, server.1, sizes, (at_client, at_server), spare);
    let binding = |index, name: &str| Binding {
        index: Some(index),
        name: name.to_string(),
        ..Binding::default()
    };
    let (to_client, to_server) = (binding(at_server, "client"), binding(at_client, "server"));
    if let (Some(clients), Some(servers)) = (&client.1.ring, &server.1.ring) {
        server
            .0
            .bind_to_ring(b, to_client, Some(service), clients)?;
        return client.0.bind_to_ring(a, to_server, None::<Rc<S>>, servers);
    }
    server.0.bind(b, to_client, service)?;
    client.0.bind_client(a, to_server)
}
