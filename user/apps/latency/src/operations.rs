//! The operations during which interrupts come: each in several sizes, so that it shows if an interrupt waits the longer the more there is to
//! do.

use crate::barrage::{Barrage, LISTENER_PRIORITY, Seen};
use crate::{deep, report};
use baton_runtime::sel4::abi::ObjectType;
use baton_runtime::sel4::{
    AsidPool, CNodeCapData, CapRights, Capability, Endpoint, Message, Notification, PageTable,
    Slot, Spaces, Tcb, Untyped, VmAttributes,
};
use baton_runtime::{
    Allocator, Arena, Exhausted, MapError, Mapped, ObjectSource, Root, Thread, ThreadConfig,
    VSpace, Window,
};

/// Priority of the worker, and of threads that it lets wait.
const WORKER_PRIORITY: u64 = 200;
const HELPER_PRIORITY: u64 = 201;
/// The most threads that wait.
const HELPERS: usize = 256;
/// Memory and slots of an operation.
const ARENA_BITS: u64 = 26;
const ARENA_SLOTS: u64 = 5000;
/// Free addresses: page tables for them are the operation's own.
const FREE_ADDRESS: u64 = Window::BASE + (4 << 30);
/// Nanoseconds within which the next interrupt comes after one.
const WITHIN: u64 = 6000;
/// How often an operation is done without interrupts, to see how long it takes.
const UNDISTURBED: u64 = 3;

/// What operations work with.
struct Bench {
    root: Root,
    arena: Arena,
    barrage: Barrage,
    /// Threads that can be let wait.
    helpers: [Thread; HELPERS],
    /// Slots for what the operation makes, one behind the other.
    slots: u64,
    /// What the operation is done to.
    target: Slot,
    untyped: Untyped,
    /// Two threads in deep capability spaces.
    sender: Thread,
    receiver: Thread,
    /// Where what was sent arrives.
    arrival: Option<Slot>,
}

type Prepare = fn(&mut Bench, u64) -> Result<(), MapError>;
type Run = fn(&mut Bench, u64) -> Result<(), MapError>;

/// An operation.
struct Operation {
    name: &'static str,
    /// In which sizes, and how often in each.
    sizes: &'static [(u64, u64)],
    /// Makes what it is done to, without interrupts.
    prepare: Prepare,
    /// Does it.
    run: Run,
}

const MANY: &[(u64, u64)] = &[(64, 200), (256, 100), (1024, 60), (4096, 40)];
const THREADS: &[(u64, u64)] = &[(4, 300), (16, 300), (64, 150), (256, 100)];
const FANNED_OUT: &[(u64, u64)] = &[(1, 300), (16, 300), (64, 300), (256, 300)];
const ONE: &[(u64, u64)] = &[(1, 400)];

const OPERATIONS: &[Operation] = &[
    Operation {
        name: "idle",
        sizes: ONE,
        prepare: |_, _| Ok(()),
        run: |_, _| {
            for _ in 0..10_000 {
                core::hint::spin_loop();
            }
            Ok(())
        },
    },
    Operation {
        name: "revoke",
        sizes: MANY,
        prepare: |bench, size| {
            let endpoint = bench.endpoint()?;
            bench.copies(endpoint, size)
        },
        run: |bench, _| Ok(bench.target.revoke()?),
    },
    Operation {
        name: "delete_cnode",
        sizes: MANY,
        prepare: |bench, size| {
            let endpoint = bench.arena.make::<Endpoint>()?;
            let bits = u64::from(size.ilog2());
            let cnode = bench.arena.make_cnode(bits)?;
            for index in 0..size {
                deep::copy(&bench.arena, endpoint, cnode.slot_at(index, bits))?;
            }
            bench.target = bench.arena.place(cnode);
            Ok(())
        },
        run: |bench, _| Ok(bench.target.delete()?),
    },
    Operation {
        name: "delete_cnode_of_threads",
        sizes: &[(4, 100), (16, 60), (64, 40), (256, 20)],
        prepare: |bench, size| {
            let bits = u64::from(size.ilog2());
            let cnode = bench.arena.make_cnode(bits)?;
            for index in 0..size {
                let tcb = bench.arena.make::<Tcb>()?;
                bench.configure(tcb)?;
                tcb.set_priority(bench.root.tcb, 1)?;
                tcb.resume()?;
                cnode
                    .slot_at(index, bits)
                    .move_from(bench.arena.place(tcb))?;
            }
            bench.target = bench.arena.place(cnode);
            Ok(())
        },
        run: |bench, _| Ok(bench.target.delete()?),
    },
    Operation {
        name: "delete_endpoint",
        sizes: THREADS,
        prepare: |bench, size| {
            let endpoint = bench.endpoint()?;
            bench.let_wait(size, receive, |_| endpoint.cptr())
        },
        run: |bench, _| Ok(bench.target.delete()?),
    },
    Operation {
        name: "delete_notification",
        sizes: THREADS,
        prepare: |bench, size| {
            let notification = bench.arena.make::<Notification>()?;
            bench.target = bench.arena.place(notification);
            bench.let_wait(size, receive, |_| notification.cptr())
        },
        run: |bench, _| Ok(bench.target.delete()?),
    },
    Operation {
        name: "cancel_badged_sends",
        sizes: THREADS,
        prepare: |bench, size| bench.badged_senders(size, |index| 1 + index % 2),
        run: |bench, _| Ok(bench.target.cancel_badged_sends()?),
    },
    Operation {
        name: "cancel_other_badge",
        sizes: THREADS,
        prepare: |bench, size| bench.badged_senders(size, |_| 2),
        run: |bench, _| Ok(bench.target.cancel_badged_sends()?),
    },
    Operation {
        name: "retype_page_tables",
        sizes: FANNED_OUT,
        prepare: |bench, size| bench.prepare_retype(ObjectType::PageTable, size),
        run: |bench, size| bench.retype(ObjectType::PageTable, size),
    },
    Operation {
        name: "retype_threads",
        sizes: FANNED_OUT,
        prepare: |bench, size| bench.prepare_retype(ObjectType::Tcb, size),
        run: |bench, size| bench.retype(ObjectType::Tcb, size),
    },
    Operation {
        name: "retype_endpoints",
        sizes: FANNED_OUT,
        prepare: |bench, size| bench.prepare_retype(ObjectType::Endpoint, size),
        run: |bench, size| bench.retype(ObjectType::Endpoint, size),
    },
    Operation {
        name: "clear",
        // Bytes, of which all were in use.
        sizes: &[
            (1 << 16, 200),
            (1 << 18, 100),
            (1 << 20, 60),
            (1 << 22, 40),
            (1 << 24, 20),
        ],
        prepare: |bench, size| {
            let bits = u64::from(size.ilog2());
            let untyped = bench.arena.make_untyped(bits)?;
            let slot = bench.arena.slot()?;
            let node = bench.root.cnode.slot_at(0, 0);
            untyped.retype(ObjectType::Untyped, bits, node, slot, 1)?;
            bench.root.cnode.slot(slot).delete()?;
            (bench.untyped, bench.slots) = (untyped, slot);
            Ok(())
        },
        run: |bench, _| {
            let node = bench.root.cnode.slot_at(0, 0);
            let object = ObjectType::Endpoint;
            Ok(bench.untyped.retype(object, 0, node, bench.slots, 1)?)
        },
    },
    Operation {
        name: "unmap_page_table",
        sizes: ONE,
        prepare: |bench, _| {
            let vspace = bench.root.vspace.root();
            for _ in 0..2 {
                let table = bench.arena.make::<PageTable>()?;
                table.map(vspace, FREE_ADDRESS, VmAttributes::DEFAULT)?;
                bench.target = bench.arena.place(table);
            }
            Ok(())
        },
        run: |bench, _| Ok(PageTable::new(bench.target.index).unmap()?),
    },
    Operation {
        name: "delete_address_space",
        sizes: ONE,
        prepare: |bench, _| {
            let vspace = VSpace::make(&mut bench.arena, bench.root.asid_pool)?;
            let page = bench.arena.make()?;
            let rights = CapRights::READ_WRITE;
            let attributes = VmAttributes::EXECUTE_NEVER;
            vspace.map(&mut bench.arena, page, FREE_ADDRESS, rights, attributes)?;
            bench.target = bench.arena.place(vspace.root());
            Ok(())
        },
        run: |bench, _| Ok(bench.target.delete()?),
    },
    Operation {
        name: "assign_asid",
        // Identifiers of the pool that are taken already.
        sizes: &[(1, 300), (64, 150), (256, 100), (511, 80)],
        prepare: |bench, size| {
            let pool = bench.asid_pool()?;
            for _ in 0..size {
                VSpace::make(&mut bench.arena, pool)?;
            }
            let root = bench.arena.make::<PageTable>()?;
            bench.slots = root.cptr();
            Ok(())
        },
        run: |bench, _| {
            let pool = AsidPool::new(bench.target.index);
            Ok(pool.assign(PageTable::new(bench.slots))?)
        },
    },
    Operation {
        name: "make_asid_pool",
        sizes: ONE,
        prepare: |bench, _| {
            bench.untyped = bench.arena.make_untyped(12)?;
            bench.slots = bench.arena.slot()?;
            Ok(())
        },
        run: |bench, _| {
            let dest = bench.root.cnode.slot(bench.slots);
            Ok(bench.root.asid_control.make_pool(bench.untyped, dest)?)
        },
    },
    Operation {
        name: "delete_asid_pool",
        sizes: &[(1, 300), (64, 150), (256, 100), (512, 80)],
        prepare: |bench, size| {
            let pool = bench.asid_pool()?;
            for _ in 0..size {
                VSpace::make(&mut bench.arena, pool)?;
            }
            Ok(())
        },
        run: |bench, _| Ok(bench.target.delete()?),
    },
    Operation {
        name: "delete_thread",
        sizes: ONE,
        prepare: |bench, _| {
            let tcb = bench.arena.make::<Tcb>()?;
            bench.configure(tcb)?;
            bench.target = bench.arena.place(tcb);
            Ok(())
        },
        run: |bench, _| Ok(bench.target.delete()?),
    },
    Operation {
        name: "message_through_levels",
        // Levels of each lookup.
        sizes: &[(1, 300), (4, 300), (16, 300), (64, 300)],
        prepare: Bench::prepare_message,
        run: |bench, _| {
            bench.receiver.start(deep::receive, [0; 3])?;
            Ok(bench.sender.start(deep::send, [0; 3])?)
        },
    },
];

/// Measures all, and prints the rows.
///
/// # Errors
/// That something cannot be made, or is refused.
pub fn measure_all(
    root: Root,
    mut allocator: Allocator,
    mut window: Window,
    clock: Mapped,
) -> Result<(), MapError> {
    root.tcb.set_priority(root.tcb, WORKER_PRIORITY)?;
    let barrage = Barrage::prepare(&root, &mut allocator, &mut window, clock)?;
    let config = ThreadConfig {
        fault_endpoint: 0,
        cspace: root.cnode,
        cspace_data: CNodeCapData::default(),
        authority: root.tcb,
        priority: HELPER_PRIORITY,
        mc_priority: HELPER_PRIORITY,
        stack_pages: 1,
    };
    let mut thread = || Thread::make(&mut allocator, &mut window, &config);
    let first = thread()?;
    let mut helpers = [first; HELPERS];
    for helper in &mut helpers[1..] {
        *helper = thread()?;
    }
    let (sender, receiver) = (thread()?, thread()?);
    let arena = allocator.arena(ARENA_BITS, ARENA_SLOTS)?;
    let mut bench = Bench {
        target: root.cnode.slot(0),
        root,
        arena,
        barrage,
        helpers,
        slots: 0,
        untyped: Untyped::new(0),
        sender,
        receiver,
        arrival: None,
    };
    report::begin();
    let mut rows = bench.measure_tick();
    for operation in OPERATIONS {
        for &(size, times) in operation.sizes {
            bench.measure(operation, size, times)?;
            rows += 2;
        }
    }
    report::end(rows);
    Ok(())
}

impl Bench {
    fn measure(&mut self, operation: &Operation, size: u64, times: u64) -> Result<(), MapError> {
        let barrage = self.barrage;
        let mut durations = Seen::default();
        for _ in 0..UNDISTURBED {
            (operation.prepare)(self, size)?;
            let before = barrage.now();
            (operation.run)(self, size)?;
            durations.add(barrage.now() - before);
            self.clean_up()?;
        }
        report::row(
            operation.name,
            size,
            "duration",
            durations.shortest,
            &durations,
        );
        barrage.reset();
        for _ in 0..times {
            (operation.prepare)(self, size)?;
            barrage.during(WITHIN, || (operation.run)(self, size))?;
            self.clean_up()?;
        }
        let latencies = barrage.seen();
        report::row(
            operation.name,
            size,
            "latency",
            latencies.longest,
            &latencies,
        );
        Ok(())
    }

    /// Interrupts that come just before, at and after the kernel's own timer. Returns how many rows were printed.
    fn measure_tick(&self) -> u64 {
        const TICK: u64 = 2_000_000;
        const TIMES: u64 = 150;
        const GAP: u64 = 400;
        self.barrage.reset();
        for _ in 0..TIMES {
            // Nothing but the timer keeps this thread from running so long.
            let mut before = self.barrage.now();
            let after = loop {
                let now = self.barrage.now();
                if now - before > GAP {
                    break now;
                }
                before = now;
            };
            // The timer was set anew a bit before `after`; some of the time from there on is needed for setting the clock.
            let early = 2 * (after - before) + 1000;
            self.barrage.once(TICK - early, 2 * early);
        }
        let seen = self.barrage.seen();
        report::row("tick", 1, "latency", seen.longest, &seen);
        1
    }

    fn clean_up(&mut self) -> Result<(), MapError> {
        if let Some(arrival) = self.arrival.take() {
            arrival.delete()?;
        }
        for thread in [self.sender, self.receiver] {
            thread.tcb.suspend()?;
        }
        Ok(self.arena.reset()?)
    }

    /// A new endpoint, which is the target.
    fn endpoint(&mut self) -> Result<Endpoint, Exhausted> {
        let endpoint = self.arena.make::<Endpoint>()?;
        self.target = self.arena.place(endpoint);
        Ok(endpoint)
    }

    fn copies(&mut self, of: Endpoint, count: u64) -> Result<(), MapError> {
        for _ in 0..count {
            self.arena.copy_of(of)?;
        }
        Ok(())
    }

    /// Gives a thread the spaces of this program.
    fn configure(&self, tcb: Tcb) -> Result<(), MapError> {
        let spaces = Spaces {
            fault_endpoint: 0,
            cspace: self.root.cnode,
            cspace_data: CNodeCapData::default(),
            vspace: self.root.vspace.root(),
        };
        Ok(tcb.set_space(&spaces)?)
    }

    fn let_wait(
        &self,
        count: u64,
        entry: baton_runtime::ThreadEntry,
        at: impl Fn(u64) -> u64,
    ) -> Result<(), MapError> {
        for (index, helper) in (0..count).zip(&self.helpers) {
            helper.start(entry, [at(index), 0, 0])?;
        }
        Ok(())
    }

    /// Threads that send with badges; the target is a capability with badge 1.
    fn badged_senders(&mut self, count: u64, badge: fn(u64) -> u64) -> Result<(), MapError> {
        let endpoint = self.endpoint()?;
        let mut badged = [0; 2];
        for (badge, pointer) in (1..).zip(&mut badged) {
            let slot = self.arena.slot()?;
            let to = self.root.cnode.slot(slot);
            to.mint_from(self.arena.place(endpoint), CapRights::ALL, badge)?;
            *pointer = slot;
        }
        self.let_wait(count, send, |index| badged[badge(index) as usize - 1])?;
        self.target = self.root.cnode.slot(badged[0]);
        Ok(())
    }

    fn prepare_retype(&mut self, object: ObjectType, count: u64) -> Result<(), MapError> {
        let bits = object.size_bits(0) + u64::from(count.ilog2());
        self.untyped = self.arena.make_untyped(bits)?;
        self.slots = self.arena.slot()?;
        for _ in 1..count {
            self.arena.slot()?;
        }
        Ok(())
    }

    fn retype(&mut self, object: ObjectType, count: u64) -> Result<(), MapError> {
        let node = self.root.cnode.slot_at(0, 0);
        Ok(self.untyped.retype(object, 0, node, self.slots, count)?)
    }

    /// A new ASID pool, which is the target.
    fn asid_pool(&mut self) -> Result<AsidPool, MapError> {
        let untyped = self.arena.make_untyped(12)?;
        let slot = self.arena.slot()?;
        self.target = self.root.cnode.slot(slot);
        self.root.asid_control.make_pool(untyped, self.target)?;
        Ok(AsidPool::new(slot))
    }

    /// A sender and a receiver whose capability spaces have so many levels.
    fn prepare_message(&mut self, levels: u64) -> Result<(), MapError> {
        let endpoint = self.endpoint()?;
        let from = deep::Deep::make(&mut self.arena, levels)?;
        let to = deep::Deep::make(&mut self.arena, levels)?;
        let arrival = deep::Deep::make(&mut self.arena, levels)?;
        for space in [from, to] {
            deep::copy(&self.arena, endpoint, space.slot(deep::FIRST))?;
        }
        let something = deep::something(&mut self.arena)?;
        deep::copy(&self.arena, something, from.slot(deep::SECOND))?;
        to.slot(deep::SECOND)
            .mint_guarded_from(self.arena.place(arrival.root), arrival.guard)?;
        for (thread, space) in [(self.sender, from), (self.receiver, to)] {
            let spaces = Spaces {
                fault_endpoint: 0,
                cspace: space.root,
                cspace_data: space.guard,
                vspace: self.root.vspace.root(),
            };
            thread.tcb.set_space(&spaces)?;
        }
        self.arrival = Some(arrival.slot(deep::FIRST));
        Ok(())
    }
}

extern "C" fn receive(at: u64, _: u64, _: u64) {
    Endpoint::new(at).recv();
}

extern "C" fn send(at: u64, _: u64, _: u64) {
    Endpoint::new(at).send(&Message::new(0, &[]));
}

const _: () = assert!(HELPER_PRIORITY < LISTENER_PRIORITY && WORKER_PRIORITY < HELPER_PRIORITY);
