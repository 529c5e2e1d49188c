//! A platform whose sleep is a call: whoever sleeps lets the test do something, so that "asleep" needs no second thread.

use baton_inbox::link::write_header;
use baton_inbox::{Bell, InSlot, LinkParts, Platform, RegionLayout};
use baton_rpc::{Binding, Client, Config, Node, Service};
use baton_shm::{HeapWords, Region};
use baton_trace::Ring;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

thread_local! {
    static CURRENT: Cell<*const ()> = const { Cell::new(std::ptr::null()) };
}

/// A bell that counts.
#[derive(Clone, Default)]
pub struct CountBell(Arc<AtomicU32>);

impl CountBell {
    pub fn rings(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Bell for CountBell {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Doing = Rc<RefCell<VecDeque<Box<dyn FnOnce()>>>>;

pub struct Hooked {
    bell: CountBell,
    asleep: Doing,
}

impl Platform for Hooked {
    type Bell = CountBell;
    type Publication = InSlot;

    fn wait(&self, _deadline_ns: Option<u64>) {
        let next = self.asleep.borrow_mut().pop_front();
        next.expect("it slept more often than the test expected")();
    }
    fn own_bell(&self) -> CountBell {
        self.bell.clone()
    }
    fn now_ns(&self) -> u64 {
        0
    }
    fn spin_budget_ns(&self) -> u64 {
        0
    }
    fn spin_ended(&self, _spun_ns: u64, _found_work: bool) {}
    fn current() -> *const () {
        CURRENT.get()
    }
    fn set_current(current: *const ()) {
        CURRENT.set(current);
    }
}

pub struct Sleeper {
    pub node: Node<Hooked>,
    pub bell: CountBell,
    state: Region,
    hint: Region,
    asleep: Doing,
}

impl Sleeper {
    pub fn new(trace: Arc<Ring>) -> Self {
        let bell = CountBell::default();
        let asleep = Doing::default();
        let (state, hint) = (HeapWords::region(8), HeapWords::region(8));
        let platform = Hooked {
            bell: bell.clone(),
            asleep: asleep.clone(),
        };
        let config = Config {
            tasks: 16,
            timers: 1,
            quantum: 8,
        };
        let word = |region: &Region| region.word(0).expect("the region has words");
        let node = Node::new(platform, word(&state), word(&hint), trace, config)
            .expect("there is room for an executor");
        Sleeper {
            node,
            bell,
            state,
            hint,
            asleep,
        }
    }

    /// What happens during the next sleep that has nothing to do yet.
    pub fn while_asleep(&self, doing: impl FnOnce() + 'static) {
        self.asleep.borrow_mut().push_back(Box::new(doing));
    }
}

/// Connects `client`, where the connection has number 1, to `service` on `server`, where it has number 2.
pub fn connect<S: Service<Hooked>>(
    client: &Sleeper,
    server: &Sleeper,
    credits: u32,
    service: Rc<S>,
) -> Client<Hooked> {
    let layout = |credits, granted| {
        RegionLayout::new(credits, granted, 0, 0).expect("the sizes are possible")
    };
    let (ours, theirs) = (layout(credits, 0), layout(0, credits));
    let (out, back) = (
        HeapWords::region(ours.words()),
        HeapWords::region(theirs.words()),
    );
    write_header(&out, &ours).expect("the region holds its header");
    write_header(&back, &theirs).expect("the region holds its header");
    let end =
        |own: &Region, own_layout, peers: &Region, peers_layout, peer: &Sleeper, index| LinkParts {
            outgoing: own.clone(),
            out_layout: own_layout,
            incoming: peers.read_only(),
            in_layout: peers_layout,
            peer_state: peer.state.read_only().word(0).expect("a state word"),
            peer_hint: peer.hint.word(0).expect("a hint word"),
            peer_index: index,
            bell: peer.bell.clone(),
            credits: 0,
            granted: 0,
        };
    let mut a = end(&out, ours, &back, theirs, server, 2);
    a.credits = credits;
    let mut b = end(&back, theirs, &out, ours, client, 1);
    b.granted = credits;
    let numbered = |index| Binding {
        index: Some(index),
        ..Binding::default()
    };
    server
        .node
        .bind(b, numbered(2), service)
        .expect("server binds");
    client
        .node
        .bind_client(a, numbered(1))
        .expect("client binds")
}
