//! The workloads: what is done in each sample.
//!
//! One-way costs and single calls stand between two readings of the counter, with an empty pair subtracted. Round trips are loops, divided by
//! the number of their rounds; the few instructions of user mode in them (see [`baton_counting`]) belong to the figure.

use crate::partner::Partner;
use crate::sample::Samples;
use baton_counting::{
    Fpu, Pair, Words, between, call, call_repeatedly, empty_pair, order, signal_and_wait,
    thread_pointer, yield_repeatedly,
};
use baton_runtime::process::SpawnError;
use baton_runtime::sel4::abi::{Label, Syscall};
use baton_runtime::sel4::{
    CPtr, CapRights, Capability, Endpoint, Error, MessageInfo, Notification, Page, Tcb,
    VmAttributes, ipc_buffer,
};
use baton_runtime::{Allocator, ObjectSource, Root, VSpace, Window};

/// What can be measured.
#[derive(Clone, Copy)]
pub struct Workload {
    /// Its name in the results.
    pub name: &'static str,
    /// Rounds in a sample.
    rounds: u64,
    work: Work,
}

type Work = fn(&mut Bench, Fpu, &mut Samples) -> Result<(), Error>;

/// Rounds in a sample of a loop.
pub const LOOP: u64 = 10;

/// All workloads, in the order of the results.
pub const WORKLOADS: &[Workload] = &[
    single("call", Bench::call),
    single("reply_recv", Bench::reply_recv),
    repeated("round_trip_0", Bench::round_trip::<0>),
    repeated("round_trip_4", Bench::round_trip::<4>),
    repeated("round_trip_5", Bench::round_trip::<5>),
    repeated("round_trip_8", Bench::round_trip::<8>),
    repeated("round_trip_16", Bench::round_trip::<16>),
    repeated("round_trip_120", Bench::round_trip::<120>),
    single("signal", Bench::signal),
    repeated("signal_wait", Bench::signal_wait),
    repeated("yield_pair", Bench::yield_pair),
    single("set_tls_base", Bench::set_tls_base),
    single("set_tls_base_other", Bench::set_tls_base_other),
    single("page_map", Bench::page_map),
    single("copy_delete", Bench::copy_delete),
];

const fn single(name: &'static str, work: Work) -> Workload {
    Workload {
        name,
        rounds: 1,
        work,
    }
}

const fn repeated(name: &'static str, work: Work) -> Workload {
    Workload {
        name,
        rounds: LOOP,
        work,
    }
}

/// All sides have this priority, the highest: nothing else runs.
pub const PRIORITY: u64 = 255;

/// What the workloads need.
pub struct Bench {
    tcb: Tcb,
    cnode: CPtr,
    vspace: VSpace,
    partner: Partner,
    rounds: usize,
    /// A notification that nobody waits for.
    signals: Notification,
    /// A frame to map, and an address for it whose page tables are there.
    page: Page,
    address: u64,
    /// What is copied, and where to.
    original: Endpoint,
    copy: CPtr,
}

impl Bench {
    /// Makes the other side, and all objects.
    ///
    /// # Errors
    /// That memory or slots are used up, or the kernel refuses.
    pub fn prepare(
        root: &Root,
        allocator: &mut Allocator,
        window: &mut Window,
        listener: Endpoint,
        rounds: usize,
    ) -> Result<Self, SpawnError> {
        let partner = Partner::make(root, allocator, window, listener, PRIORITY)?;
        let page = allocator.make::<Page>()?;
        let mapped = window.map(allocator, page, 12)?;
        let address = mapped.address();
        mapped.unmap(page)?;
        Ok(Self {
            tcb: root.tcb,
            cnode: root.cnode.cptr(),
            vspace: root.vspace,
            partner,
            rounds,
            signals: allocator.make::<Notification>()?,
            page,
            address,
            original: allocator.make::<Endpoint>()?,
            copy: allocator.slot()?,
        })
    }

    /// Clears and sets flags of both sides' threads.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_flags(&self, clear: u64, set: u64) -> Result<(), Error> {
        self.tcb.set_flags(clear, set)?;
        self.partner.tcb().set_flags(clear, set)?;
        Ok(())
    }

    /// Takes the samples of a workload, after as many that only warm up.
    ///
    /// # Errors
    /// What the kernel answers to what prepares the workload.
    pub fn run(&mut self, workload: &Workload, fpu: Fpu) -> Result<Samples, Error> {
        let mut samples = Samples::begin(workload.rounds);
        (workload.work)(self, fpu, &mut samples)?;
        Ok(samples)
    }

    /// Calls `sample` to warm up, then for the samples.
    fn sample(
        &mut self,
        samples: &mut Samples,
        mut sample: impl FnMut(&mut Self) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        for _ in 0..self.rounds {
            sample(self)?;
        }
        samples.restart();
        for _ in 0..self.rounds {
            let instructions = sample(self)?;
            samples.push(instructions);
        }
        Ok(())
    }

    fn call(&mut self, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        self.partner.order(order::SERVE_COUNTING, fpu, 0)?;
        let empty = empty_pair(fpu);
        let registers = message(self.partner.service.cptr(), 0, 0, &[]);
        self.sample(samples, |bench| {
            let pair = call(fpu, Syscall::Call.number(), registers);
            let came = bench.partner.mailbox.read(order::CAME);
            Ok(between(pair.start, came, empty))
        })
    }

    fn reply_recv(&mut self, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        self.partner.order(order::SERVE_COUNTING, fpu, 0)?;
        let empty = empty_pair(fpu);
        let registers = message(self.partner.service.cptr(), 0, 0, &[]);
        // The other side writes down when an answer left once it has the next call.
        let mut arrived = call(fpu, Syscall::Call.number(), registers).end;
        self.sample(samples, |bench| {
            let pair = call(fpu, Syscall::Call.number(), registers);
            let left = bench.partner.mailbox.read(order::LEFT);
            let instructions = between(left, arrived, empty);
            arrived = pair.end;
            Ok(instructions)
        })
    }

    fn round_trip<const LENGTH: u64>(
        &mut self,
        fpu: Fpu,
        samples: &mut Samples,
    ) -> Result<(), Error> {
        let info = MessageInfo::new(0, 0, 0, LENGTH).word();
        self.partner.order(order::SERVE, fpu, info)?;
        let empty = empty_pair(Fpu::Leave);
        let service = self.partner.service.cptr();
        self.sample(samples, |_| {
            Ok(between(0, call_repeatedly(fpu, service, info, LOOP), empty))
        })
    }

    fn signal(&mut self, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        let empty = empty_pair(fpu);
        let registers = message(self.signals.cptr(), 0, 0, &[]);
        // Nobody takes the signals: but for the first, each finds the word full.
        self.sample(samples, |_| {
            let pair = call(fpu, Syscall::Send.number(), registers);
            Ok(between(pair.start, pair.end, empty))
        })
    }

    fn signal_wait(&mut self, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        self.partner.order(order::WAIT, fpu, 0)?;
        let empty = empty_pair(Fpu::Leave);
        let signals = self.partner.signals.cptr();
        let answers = self.partner.answers.cptr();
        // The other side is of higher priority: it runs as soon as it is signalled, signals in turn and waits again; then this side goes on,
        // and finds its answer.
        self.tcb.set_priority(self.tcb, PRIORITY - 1)?;
        self.sample(samples, |_| {
            Ok(between(
                0,
                signal_and_wait(fpu, signals, answers, LOOP),
                empty,
            ))
        })?;
        self.tcb.set_priority(self.tcb, PRIORITY)
    }

    fn yield_pair(&mut self, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        self.partner.order(order::YIELD, fpu, 0)?;
        let empty = empty_pair(Fpu::Leave);
        self.sample(samples, |_| {
            Ok(between(0, yield_repeatedly(fpu, LOOP), empty))
        })?;
        self.partner.stop()
    }

    fn set_tls_base(&mut self, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        self.set_tls_base_of(self.tcb, fpu, samples)
    }

    fn set_tls_base_other(&mut self, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        self.partner.stop()?;
        self.set_tls_base_of(self.partner.tcb(), fpu, samples)
    }

    fn set_tls_base_of(&mut self, tcb: Tcb, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        let empty = empty_pair(fpu);
        let label = Label::TcbSetTlsBase.number();
        // This thread must keep its own; the other is started again before it runs.
        let registers = message(tcb.cptr(), label, 0, &[thread_pointer()]);
        self.sample(samples, |_| Ok(invoke(fpu, registers, empty)))
    }

    fn page_map(&mut self, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        let empty = empty_pair(fpu);
        let words = [
            self.address,
            CapRights::READ_WRITE.word(),
            VmAttributes::EXECUTE_NEVER.word(),
        ];
        let registers = message(self.page.cptr(), Label::PageMap.number(), 1, &words);
        self.sample(samples, |bench| {
            ipc_buffer().set_cap(0, bench.vspace.root().cptr());
            let instructions = invoke(fpu, registers, empty);
            bench.page.unmap()?;
            Ok(instructions)
        })
    }

    fn copy_delete(&mut self, fpu: Fpu, samples: &mut Samples) -> Result<(), Error> {
        const DEPTH: u64 = 64;
        let empty = empty_pair(fpu);
        let words = [self.copy, DEPTH, self.original.cptr(), DEPTH];
        let mut copy = message(self.cnode, Label::CNodeCopy.number(), 1, &words);
        // One word more than registers have.
        copy[1] = MessageInfo::new(Label::CNodeCopy.number(), 0, 1, 5).word();
        let delete = message(
            self.cnode,
            Label::CNodeDelete.number(),
            0,
            &[self.copy, DEPTH],
        );
        self.sample(samples, |bench| {
            ipc_buffer().set_message_register(4, CapRights::ALL.word());
            ipc_buffer().set_cap(0, bench.cnode);
            let copied = invoke(fpu, copy, empty);
            Ok(copied + invoke(fpu, delete, empty))
        })
    }
}

/// Registers of a message whose words all fit.
fn message(cptr: CPtr, label: u64, caps: u64, words: &[u64]) -> Words {
    let mut registers = [0; 7];
    registers[0] = cptr;
    registers[1] = MessageInfo::new(label, 0, caps, words.len() as u64).word();
    for (register, word) in registers[2..6].iter_mut().zip(words) {
        *register = *word;
    }
    registers
}

/// Invokes an object, and returns the instructions of that.
fn invoke(fpu: Fpu, registers: Words, empty: u64) -> u64 {
    let Pair { start, end, a } = call(fpu, Syscall::Call.number(), registers);
    let error = MessageInfo::from_word(a[1]).label();
    assert!(
        error == 0,
        "the kernel has refused an invocation: error {error}"
    );
    between(start, end, empty)
}
