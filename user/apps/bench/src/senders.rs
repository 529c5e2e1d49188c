//! Requests of several processes to one: each calls and waits for its answer, this program serves them all. What asynchronous requests are
//! compared with.

use crate::partner::Partner;
use crate::sample::Samples;
use crate::workloads::{LOOP, PRIORITY};
use baton_counting::{Fpu, between, empty_pair, order, serve_repeatedly};
use baton_runtime::process::SpawnError;
use baton_runtime::sel4::abi::TCB_FLAG_FPU_DISABLED;
use baton_runtime::sel4::{Capability, Endpoint, Error, MessageInfo};
use baton_runtime::{Allocator, ObjectSource, Root, Window};

/// The workloads, with the words of a request and of its answer.
pub const REQUESTS: [(&str, u64); 3] = [("request", 2), ("request_4", 4), ("request_6", 6)];

/// The variants, with the number of processes that send.
pub const VARIANTS: [(&str, usize); 5] = [
    ("sync_s1", 1),
    ("sync_s2", 2),
    ("sync_s4", 4),
    ("sync_s8", 8),
    ("sync_s16", MOST),
];

/// The largest number of them.
const MOST: usize = 16;

/// The processes, all without floating point.
#[derive(Debug)]
pub struct Senders {
    partners: [Option<Partner>; MOST],
    service: Endpoint,
    rounds: usize,
}

impl Senders {
    /// Makes them; none runs yet.
    ///
    /// # Errors
    /// That memory or slots are used up, or the kernel refuses.
    pub fn make(
        root: &Root,
        allocator: &mut Allocator,
        window: &mut Window,
        listener: Endpoint,
        rounds: usize,
    ) -> Result<Self, SpawnError> {
        let service = allocator.make::<Endpoint>()?;
        let mut senders = Self {
            partners: [const { None }; MOST],
            service,
            rounds,
        };
        for place in &mut senders.partners {
            let partner = Partner::make_for(root, allocator, window, listener, service, PRIORITY)?;
            partner.tcb().set_flags(0, TCB_FLAG_FPU_DISABLED)?;
            *place = Some(partner);
        }
        Ok(senders)
    }

    /// Takes the samples of requests of `words` words from `count` processes.
    ///
    /// # Errors
    /// What the kernel answers to what prepares them.
    pub fn run(&self, words: u64, count: usize) -> Result<Samples, Error> {
        let info = MessageInfo::new(0, 0, 0, words).word();
        let senders = || self.partners.iter().flatten().take(count);
        for sender in senders() {
            sender.order(order::CALL, Fpu::Leave, info)?;
        }
        // As many rounds in a sample that each process has the same number of turns.
        let rounds = LOOP.next_multiple_of(count as u64);
        let mut samples = Samples::begin_among_several(rounds, if count == 1 { 1 } else { 2 });
        let empty = empty_pair(Fpu::Leave);
        let endpoint = self.service.cptr();
        self.service.recv();
        for _ in 0..self.rounds {
            serve_repeatedly(Fpu::Leave, endpoint, info, rounds);
        }
        samples.restart();
        for _ in 0..self.rounds {
            let instructions = serve_repeatedly(Fpu::Leave, endpoint, info, rounds);
            samples.push(between(0, instructions, empty));
        }
        for sender in senders() {
            sender.stop()?;
        }
        Ok(samples)
    }
}
