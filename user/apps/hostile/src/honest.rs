//! Those that must not notice anything: a client and its server in processes of their own, a thread of higher priority that wakes for
//! each signal, and one of lower priority that must not run at all.

use crate::supervisor::{Error, PROCESS, badge};
use baton_runtime::process::Gift;
use baton_runtime::sel4::{
    CNodeCapData, CapRights, Capability, Endpoint, Message, Notification, Slot,
};
use baton_runtime::sync::{AtomicU64, Ordering};
use baton_runtime::{
    Allocator, ObjectSource, Process, ProcessConfig, Root, Thread, ThreadConfig, Window,
};

/// Priority of client and server, and of the hostile processes.
pub const PRIORITY: u64 = 100;
const HIGHER: u64 = 110;
const LOWER: u64 = 50;

/// Label of the client's word that a lap is over.
pub const LAP: u64 = 0x300;
/// Label of the lower thread's word that nothing else runs any more.
const STALLED: u64 = 0x301;
/// Rounds of the lower thread after which nothing else will come.
const PATIENCE: u64 = 200_000_000;

/// Roles of `baton-hostile-process`.
const SERVER: u64 = 1;
const CLIENT: u64 = 2;

/// How often the thread of higher priority has woken.
static WOKEN: AtomicU64 = AtomicU64::new(0);
/// Rounds that the thread of lower priority has made.
static LOWER_ROUNDS: AtomicU64 = AtomicU64::new(0);

/// How often the thread of higher priority has woken.
pub fn woken() -> u64 {
    WOKEN.load(Ordering::SeqCst)
}

/// Rounds that the thread of lower priority has made.
pub fn lower_rounds() -> u64 {
    LOWER_ROUNDS.load(Ordering::SeqCst)
}

/// Starts all of them.
pub fn start(
    root: &Root,
    allocator: &mut Allocator,
    window: &mut Window,
    listener: Endpoint,
) -> Result<(), Error> {
    let waker = allocator.make::<Notification>()?;
    let lower = mint(allocator, listener, badge::LOWER)?;
    let config = |priority| ThreadConfig {
        fault_endpoint: lower.cptr(),
        cspace: root.cnode,
        cspace_data: CNodeCapData::default(),
        authority: root.tcb,
        priority,
        mc_priority: priority,
        stack_pages: 4,
    };
    let thread = Thread::make(allocator, window, &config(HIGHER))?;
    thread.start(wake, [waker.cptr(), 0, 0])?;
    let thread = Thread::make(allocator, window, &config(LOWER))?;
    thread.start(stay_below, [lower.cptr(), 0, 0])?;

    let service = allocator.make::<Endpoint>()?;
    let server = Gift {
        from: allocator.place(service),
        rights: CapRights::READ,
        badge: 0,
    };
    let client = Gift {
        rights: CapRights::WRITE.union(CapRights::GRANT_REPLY),
        ..server
    };
    let signal = Gift {
        from: allocator.place(waker),
        rights: CapRights::WRITE,
        badge: 1,
    };
    let parent = allocator.place(listener);
    start_process(root, allocator, window, parent, SERVER, &[server])?;
    start_process(root, allocator, window, parent, CLIENT, &[client, signal])
}

/// A badged capability to the endpoint on which the supervisor listens, to send only.
pub fn mint(allocator: &mut Allocator, listener: Endpoint, badge: u64) -> Result<Endpoint, Error> {
    let slot = allocator.slot()?;
    let from = allocator.place(listener);
    let rights = CapRights::ALL.without(CapRights::READ);
    allocator
        .cnode()
        .slot(slot)
        .mint_from(from, rights, badge)?;
    Ok(Endpoint::from_cptr(slot))
}

fn start_process(
    root: &Root,
    allocator: &mut Allocator,
    window: &mut Window,
    parent: Slot,
    role: u64,
    gifts: &[Gift],
) -> Result<(), Error> {
    let config = ProcessConfig {
        elf: PROCESS,
        parent,
        badge: badge::HONEST + role,
        authority: root.tcb,
        priority: PRIORITY,
        asid_pool: root.asid_pool,
        cnode_size_bits: 6,
        stack_pages: 8,
        features: 0,
        heap_bytes: 0,
        timebase_hz: 0,
        arguments: &[role],
        gifts,
    };
    Process::make(allocator, window, &config)?.start()?;
    Ok(())
}

extern "C" fn wake(notification: u64, _: u64, _: u64) {
    loop {
        Notification::new(notification).wait();
        WOKEN.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs only when nothing else can.
extern "C" fn stay_below(listener: u64, _: u64, _: u64) {
    loop {
        if LOWER_ROUNDS.fetch_add(1, Ordering::SeqCst) == PATIENCE {
            Endpoint::new(listener).send(&Message::new(STALLED, &[]));
        }
    }
}
