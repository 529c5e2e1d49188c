//! Runs the cases, one after another, each with fresh memory, and says how each ended.
//!
//! The *supervisor* is the initial thread, of highest priority; it listens on one endpoint. Each case runs on the *test thread*
//! (priority [`PRIORITY`]) with an [`Env`]. Threads and processes that a case makes come out of its arena, so that they are gone
//! when it is reset. What a case did not expect reaches the supervisor as a message and fails the case: a panic, a fault of
//! any thread, and, from the *watchdog* of lowest priority, that nothing runs any more. No clock is involved: the watchdog runs only
//! when all others wait, and gives interrupts a while to change that.

use crate::shared;
use crate::{cases, cases::Case};
use baton_runtime::process::Gift;
use baton_runtime::protocol::Event;
use baton_runtime::sel4::{
    CNode, CNodeCapData, CPtr, CapRights, Capability, Endpoint, Error, Message, Notification, Page,
    Slot, Spaces, Tcb, Untyped,
};
use baton_runtime::sync::{AtomicU64, Ordering};
use baton_runtime::{
    Allocator, Arena, Mapped, ObjectSource, Process, ProcessConfig, Root, Thread, ThreadConfig,
    ThreadEntry, Window, println, set_reporter,
};

/// Priority of the test thread.
pub const PRIORITY: u64 = 100;
/// Highest priority of what a case makes; the supervisor is above.
pub const MAX_PRIORITY: u64 = 254;

const TEST_PROCESS: &[u8] = include_bytes!(env!(
    "BATON_TEST_PROCESS",
    "build with `cargo xtask test --only qemu`, which builds the test process first and says where it is"
));

const ARENA_BITS: u64 = 24;
const ARENA_SLOTS: u64 = 5000;
/// Where the frames of a case are mapped.
const CASE_WINDOW: u64 = Window::BASE + (8 << 30);
const WINDOW_BYTES: u64 = 4 << 30;

const DONE: u64 = 0x200;
const STALLED: u64 = 0x201;

const TEST_THREAD: u64 = 1;
const WATCHDOG: u64 = 2;
/// Badge of threads that a case made.
const HELPER: u64 = 3;
/// Badge of processes that a case made.
const CHILD: u64 = 4;

/// Number of the case that runs, for the watchdog.
static CASE: AtomicU64 = AtomicU64::new(0);

/// What a case works with.
pub struct Env {
    /// The root task's capabilities. The initial thread is the supervisor: leave it alone.
    pub root: Root,
    /// Memory and slots of this case.
    pub arena: Arena,
    /// Addresses of this case.
    pub window: Window,
    /// The test thread itself.
    pub tcb: Tcb,
    /// The thread that notices when nothing runs.
    pub watchdog: Tcb,
    /// The page of a clock that can raise an interrupt.
    pub clock: Mapped,
    /// Untyped memory of a device, for what must not be made of it.
    pub device_untyped: Untyped,
    /// Domains that this kernel has, as far as it lets itself be asked.
    pub domains: u64,
    helper_faults: Endpoint,
    parent: Endpoint,
    supervisor: Endpoint,
}

/// Runs all cases and returns how many failed.
pub fn run(root: Root, mut allocator: Allocator, mut window: Window, clock: Mapped) -> u64 {
    let (mut env, test_thread) = prepare(root, &mut allocator, &mut window, clock);
    let env_address = &raw mut env as u64;
    let supervisor = env.supervisor;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut number = 0;
    for (category, list) in cases::ALL {
        for (index, case) in list.iter().enumerate() {
            number += 1;
            if case.needs_domains && env.domains < 2 {
                skipped += 1;
                println!(
                    "skip {category}: {} (needs a kernel with domains)",
                    case.name
                );
                continue;
            }
            CASE.store(number, Ordering::SeqCst);
            shared::reset();
            let outcome = run_case(&env, supervisor, &test_thread, env_address, category, index);
            match outcome {
                Ok(()) => {
                    passed += 1;
                    println!("ok   {category}: {}", case.name);
                }
                Err(()) => {
                    failed += 1;
                    println!("FAIL {category}: {}", case.name);
                }
            }
            clean_up(&mut env, &test_thread);
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed
}

fn prepare(
    root: Root,
    allocator: &mut Allocator,
    window: &mut Window,
    clock: Mapped,
) -> (Env, Thread) {
    let supervisor = ok(allocator.make::<Endpoint>());
    let mut badged = |badge: u64| {
        let slot = ok(allocator.slot());
        let from = allocator.place(supervisor);
        ok(allocator
            .cnode()
            .slot(slot)
            .mint_from(from, CapRights::ALL, badge));
        Endpoint::from_cptr(slot)
    };
    let (test_faults, watchdog_endpoint) = (badged(TEST_THREAD), badged(WATCHDOG));
    let (helper_faults, parent) = (badged(HELPER), badged(CHILD));
    set_reporter(Some(helper_faults));
    let config = ThreadConfig {
        fault_endpoint: test_faults.cptr(),
        cspace: root.cnode,
        cspace_data: CNodeCapData::default(),
        authority: root.tcb,
        priority: PRIORITY,
        mc_priority: MAX_PRIORITY,
        stack_pages: 16,
    };
    let test_thread = ok(Thread::make(allocator, window, &config));
    let watchdog_config = ThreadConfig {
        fault_endpoint: watchdog_endpoint.cptr(),
        priority: 0,
        mc_priority: 0,
        ..config
    };
    let watchdog = ok(Thread::make(allocator, window, &watchdog_config));
    ok(watchdog.start(watch, [watchdog_endpoint.cptr(), 0, 0]));
    let mut domains = 1;
    while domains < 16 && root.domains.set(domains, test_thread.tcb).is_ok() {
        domains += 1;
    }
    ok(root.domains.set(0, test_thread.tcb));
    println!("the kernel has {domains} domain(s)");
    let device = root
        .boot_info
        .untyped_list
        .iter()
        .take(root.boot_info.untyped.len() as usize)
        .rposition(|untyped| untyped.is_device != 0 && untyped.size_bits >= 30);
    let device_slot = root.boot_info.untyped.start + device.unwrap_or(0) as u64;
    let env = Env {
        arena: ok(allocator.arena(ARENA_BITS, ARENA_SLOTS)),
        window: Window::new(root.vspace, CASE_WINDOW, WINDOW_BYTES),
        tcb: test_thread.tcb,
        watchdog: watchdog.tcb,
        clock,
        device_untyped: Untyped::new(device_slot),
        domains,
        helper_faults,
        parent,
        supervisor,
        root,
    };
    (env, test_thread)
}

/// Runs one case to its end, whatever that is.
fn run_case(
    env: &Env,
    supervisor: Endpoint,
    thread: &Thread,
    env_address: u64,
    category: &str,
    index: usize,
) -> Result<(), ()> {
    let category = cases::ALL
        .iter()
        .position(|(name, _)| *name == category)
        .unwrap_or(0);
    set_up(env, thread);
    ok(thread.start(
        test_thread_main,
        [env_address, category as u64, index as u64],
    ));
    loop {
        let received = supervisor.recv();
        let who = match received.badge {
            TEST_THREAD => "test thread",
            WATCHDOG => "watchdog",
            CHILD => "process",
            _ => "thread of the case",
        };
        match received.label() {
            DONE => return Ok(()),
            STALLED if received.mrs[0] == CASE.load(Ordering::SeqCst) => {
                println!("     nothing runs any more");
                return Err(());
            }
            STALLED => continue,
            _ => {}
        }
        match Event::from_message(received) {
            Event::Print(text) => println!("     {who} says: {}", text.as_str()),
            Event::Panic(text) => {
                println!("     {who}: {}", text.as_str());
                return Err(());
            }
            Event::Fault(fault) => {
                println!("     {who}: fault {fault}");
                return Err(());
            }
            // A case that wants to know gives its process another parent.
            Event::Exit { .. } => {}
            Event::Other(other) => {
                println!("     {who}: message of label {:#x}", other.label());
                return Err(());
            }
        }
    }
}

/// Whatever an earlier case did to the test thread is undone.
fn set_up(env: &Env, thread: &Thread) {
    let tcb = thread.tcb;
    let spaces = Spaces {
        // The first endpoint that was minted.
        fault_endpoint: env.supervisor.cptr() + TEST_THREAD,
        cspace: env.root.cnode,
        cspace_data: CNodeCapData::default(),
        vspace: env.root.vspace.root(),
    };
    ok(tcb.configure(&spaces, thread.ipc_buffer, thread.page));
    ok(tcb.set_sched_params(env.root.tcb, MAX_PRIORITY, PRIORITY));
    ok(env.watchdog.set_sched_params(env.root.tcb, 0, 0));
    ok(env.watchdog.resume());
    ok(env.root.domains.set(0, tcb));
}

/// Ends all that the case made.
fn clean_up(env: &mut Env, thread: &Thread) {
    if env.domains > 1 {
        // Only the first domain runs, for long.
        ok(env.root.domains.schedule_configure(1, 0, 0));
        ok(env.root.domains.schedule_configure(0, 0, 1 << 20));
        ok(env.root.domains.schedule_set_start(0));
    }
    ok(thread.tcb.suspend());
    ok(thread
        .tcb
        .unbind_notification()
        .or_else(|error| match error {
            Error::IllegalOperation => Ok(()),
            error => Err(error),
        }));
    ok(env.arena.reset());
    env.window = Window::new(env.root.vspace, CASE_WINDOW, WINDOW_BYTES);
}

extern "C" fn test_thread_main(env: u64, category: u64, index: u64) {
    // SAFETY: the supervisor's, which waits in `run_case` and does not touch it before this thread has reported or been stopped; one
    // test thread runs at a time.
    let env = unsafe { &mut *(env as *mut Env) };
    let case: &Case = &cases::ALL[category as usize].1[index as usize];
    (case.run)(env);
    env.supervisor.send(&Message::new(DONE, &[]));
}

/// Runs only when nothing else can; after a while of that, says so.
extern "C" fn watch(endpoint: u64, _: u64, _: u64) {
    const PATIENCE: u64 = 60_000_000;
    loop {
        let case = CASE.load(Ordering::SeqCst);
        let mut left = PATIENCE;
        while left > 0 && CASE.load(Ordering::SeqCst) == case {
            left -= 1;
        }
        if left == 0 {
            Endpoint::new(endpoint).send(&Message::new(STALLED, &[case]));
        }
    }
}

/// What must go well for a case to make sense.
#[track_caller]
pub fn ok<T, E: core::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

impl Env {
    /// A new endpoint.
    pub fn endpoint(&mut self) -> Endpoint {
        ok(self.arena.make())
    }

    /// A new notification.
    pub fn notification(&mut self) -> Notification {
        ok(self.arena.make())
    }

    /// A new thread that has nothing yet.
    pub fn bare_tcb(&mut self) -> Tcb {
        ok(self.arena.make())
    }

    /// A new CNode of 2^`bits` slots.
    pub fn cnode(&mut self, bits: u64) -> CNode {
        ok(self.arena.make_cnode(bits))
    }

    /// A new untyped of 2^`bits` bytes.
    pub fn untyped(&mut self, bits: u64) -> Untyped {
        ok(self.arena.make_untyped(bits))
    }

    /// A new page.
    pub fn page(&mut self) -> Page {
        ok(self.arena.make())
    }

    /// An empty slot of this program's capability space.
    pub fn slot(&mut self) -> Slot {
        let slot = ok(self.arena.slot());
        self.root.cnode.slot(slot)
    }

    /// The slot of a capability.
    pub fn place(&self, capability: impl Capability) -> Slot {
        self.root.cnode.slot(capability.cptr())
    }

    /// A capability with fewer rights, or a badge.
    pub fn mint<T: Capability>(&mut self, from: T, rights: CapRights, badge: u64) -> T {
        let slot = self.slot();
        ok(slot.mint_from(self.place(from), rights, badge));
        T::from_cptr(slot.index)
    }

    /// A copy with all rights.
    pub fn copy<T: Capability>(&mut self, from: T) -> T {
        ok(self.arena.copy_of(from))
    }

    /// Maps a frame of 4 KiB.
    pub fn map(&mut self, page: Page) -> Mapped {
        ok(self.window.map(&mut self.arena, page, 12))
    }

    /// Addresses of a page that is not mapped, though its page tables may be.
    pub fn hole(&mut self) -> u64 {
        self.window.reserve(12, 1)
    }

    /// How threads are made where nothing else is said.
    pub fn config(&self, priority: u64) -> ThreadConfig {
        ThreadConfig {
            fault_endpoint: self.helper_faults.cptr(),
            cspace: self.root.cnode,
            cspace_data: CNodeCapData::default(),
            authority: self.tcb,
            priority,
            mc_priority: MAX_PRIORITY,
            stack_pages: 4,
        }
    }

    /// A new thread that is not started.
    pub fn new_thread(&mut self, priority: u64) -> Thread {
        let config = self.config(priority);
        ok(Thread::make(&mut self.arena, &mut self.window, &config))
    }

    /// A new thread whose faults go to that endpoint; it is not started.
    pub fn new_faulting_thread(&mut self, priority: u64, faults: CPtr) -> Thread {
        let config = ThreadConfig {
            fault_endpoint: faults,
            ..self.config(priority)
        };
        ok(Thread::make(&mut self.arena, &mut self.window, &config))
    }

    /// A new thread that runs.
    pub fn thread(&mut self, priority: u64, entry: ThreadEntry, words: [u64; 3]) -> Thread {
        let thread = self.new_thread(priority);
        ok(thread.start(entry, words));
        thread
    }

    /// A new process that is not started: the role and its arguments, and capabilities for it.
    pub fn new_process(&mut self, priority: u64, arguments: &[u64], gifts: &[Gift]) -> Process {
        let parent = self.parent;
        self.new_process_of(parent, 0, priority, arguments, gifts)
    }

    /// As [`Env::new_process`], with another parent and badge.
    pub fn new_process_of(
        &mut self,
        parent: Endpoint,
        badge: u64,
        priority: u64,
        arguments: &[u64],
        gifts: &[Gift],
    ) -> Process {
        let config = ProcessConfig {
            elf: TEST_PROCESS,
            parent: self.place(parent),
            badge,
            authority: self.tcb,
            priority,
            asid_pool: self.root.asid_pool,
            cnode_size_bits: 6,
            stack_pages: 8,
            heap_bytes: 0,
            timebase_hz: 0,
            features: 0,
            arguments,
            gifts,
        };
        ok(Process::make(&mut self.arena, &mut self.window, &config))
    }

    /// A new process that runs.
    pub fn process(&mut self, priority: u64, arguments: &[u64], gifts: &[Gift]) -> Process {
        let process = self.new_process(priority, arguments, gifts);
        ok(process.start());
        process
    }

    /// A capability to give to a process, as it is.
    pub fn gift(&self, capability: impl Capability, rights: CapRights) -> Gift {
        Gift {
            from: self.place(capability),
            rights,
            badge: 0,
        }
    }
}
