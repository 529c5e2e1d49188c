//! The other side: a process in an address space of its own, which is started again for each order.

use baton_counting::{Fpu, Mailbox, order};
use baton_runtime::process::{Gift, SpawnError};
use baton_runtime::protocol::Event;
use baton_runtime::sel4::{
    CNodeCapData, CapRights, Capability, Endpoint, Error, Message, Notification, Page, Tcb,
    VmAttributes, yield_now,
};
use baton_runtime::{
    Allocator, ObjectSource, Process, ProcessConfig, Root, Thread, ThreadConfig, Window, device,
    println,
};

/// Its program, built before this one.
const PROCESS: &[u8] = include_bytes!(env!(
    "BATON_BENCH_PROCESS",
    "build with `cargo xtask bench qemu`, which builds the other side's program first and says where it is"
));

/// Where it finds the mailbox: on an address that its program and stack leave free.
const MAILBOX: u64 = 0x3f_c000_0000;

/// The other side.
#[derive(Debug)]
pub struct Partner {
    process: Process,
    control: Endpoint,
    /// What it serves.
    pub service: Endpoint,
    /// What it waits for.
    pub signals: Notification,
    /// What it signals in turn.
    pub answers: Notification,
    /// What it writes.
    pub mailbox: Mailbox,
}

impl Partner {
    /// Makes it; it does not run yet. Its end is reported to `listener`.
    ///
    /// # Errors
    /// That memory or slots are used up, or the kernel refuses.
    pub fn make(
        root: &Root,
        allocator: &mut Allocator,
        window: &mut Window,
        listener: Endpoint,
        priority: u64,
    ) -> Result<Self, SpawnError> {
        let service = allocator.make::<Endpoint>()?;
        Self::make_for(root, allocator, window, listener, service, priority)
    }

    /// As [`Partner::make`], with a service that others have, too.
    ///
    /// # Errors
    /// As [`Partner::make`].
    pub fn make_for(
        root: &Root,
        allocator: &mut Allocator,
        window: &mut Window,
        listener: Endpoint,
        service: Endpoint,
        priority: u64,
    ) -> Result<Self, SpawnError> {
        let control = allocator.make::<Endpoint>()?;
        let signals = allocator.make::<Notification>()?;
        let answers = allocator.make::<Notification>()?;
        let gift = |from| Gift {
            from,
            rights: CapRights::ALL,
            badge: 0,
        };
        let config = ProcessConfig {
            elf: PROCESS,
            parent: allocator.place(listener),
            badge: 0,
            authority: root.tcb,
            priority,
            asid_pool: root.asid_pool,
            cnode_size_bits: 6,
            stack_pages: 4,
            heap_bytes: 0,
            timebase_hz: 0,
            features: 0,
            arguments: &[MAILBOX],
            gifts: &[
                gift(allocator.place(control)),
                gift(allocator.place(service)),
                gift(allocator.place(signals)),
                gift(allocator.place(answers)),
            ],
        };
        let process = Process::make(allocator, window, &config)?;
        let page = allocator.make::<Page>()?;
        let ours = window.map(allocator, page, 12)?;
        let theirs = allocator.copy_of(page)?;
        process.vspace.map(
            allocator,
            theirs,
            MAILBOX,
            CapRights::READ_WRITE,
            VmAttributes::EXECUTE_NEVER,
        )?;
        Ok(Self {
            process,
            control,
            service,
            signals,
            answers,
            mailbox: mailbox(ours.address()),
        })
    }

    /// Ends what it does.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn stop(&self) -> Result<(), Error> {
        self.process.tcb.suspend()
    }

    /// Its thread.
    pub fn tcb(&self) -> Tcb {
        self.process.tcb
    }

    /// Ends what it does, and has it do this from now on.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn order(&self, label: u64, fpu: Fpu, answer: u64) -> Result<(), Error> {
        self.stop()?;
        self.process.start()?;
        let uses_fpu = u64::from(fpu == Fpu::Use);
        self.control.send(&Message::new(label, &[uses_fpu, answer]));
        Ok(())
    }
}

/// Starts a thread that ends the machine with a report if an other side stops by itself, and returns where it listens. It waits before anything is measured, for with
/// a thread that is ready kernels take other ways.
///
/// # Errors
/// As [`Partner::make`].
pub fn watch(
    root: &Root,
    allocator: &mut Allocator,
    window: &mut Window,
    priority: u64,
) -> Result<Endpoint, SpawnError> {
    let listener = allocator.make::<Endpoint>()?;
    let config = ThreadConfig {
        fault_endpoint: 0,
        cspace: root.cnode,
        cspace_data: CNodeCapData::new(0, 0),
        authority: root.tcb,
        priority,
        mc_priority: priority,
        stack_pages: 4,
    };
    let thread = Thread::make(allocator, window, &config)?;
    thread.start(report_end, [listener.cptr(), 0, 0])?;
    // Of one priority with this thread: it now runs until it waits.
    yield_now();
    Ok(listener)
}

extern "C" fn report_end(listener: u64, _: u64, _: u64) {
    match Event::from_message(Endpoint::new(listener).recv()) {
        Event::Panic(text) => println!("the other side has panicked: {}", text.as_str()),
        Event::Fault(fault) => println!("the other side has faulted {fault}"),
        other => println!("the other side has ended: {other:?}"),
    }
    device::power_off(1);
}

/// The page of the mailbox as this program sees it.
#[allow(unsafe_code)]
fn mailbox(address: u64) -> Mailbox {
    // SAFETY: the page was mapped in this program's window for the mailbox alone, and stays mapped.
    unsafe { Mailbox::at(address) }
}

const _: () = assert!(order::LEFT < Mailbox::WORDS);
