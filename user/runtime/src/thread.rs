//! Threads of one's own process.
//!
//! Each has a stack with an unmapped page below it, and one page that holds its IPC buffer and, behind that, its area.

use crate::allocator::ObjectSource;
use crate::start::{START_INFO_OFFSET, own_tcb};
use crate::vspace::MapError;
use crate::window::Window;
use baton_sel4::{CNode, CNodeCapData, CPtr, Capability, Page, Spaces, Tcb, UserContext};

/// What a thread runs, with three words for it.
pub type ThreadEntry = extern "C" fn(u64, u64, u64);

/// How a thread is made.
#[derive(Clone, Copy, Debug)]
pub struct ThreadConfig {
    /// Where its faults go, as a pointer in its capability space; 0 for nowhere.
    pub fault_endpoint: CPtr,
    /// Root of its capability space.
    pub cspace: CNode,
    /// Guard to set there; 0 leaves it as it is.
    pub cspace_data: CNodeCapData,
    /// Whose maximum controlled priority allows its priorities.
    pub authority: Tcb,
    /// Its priority.
    pub priority: u64,
    /// Its maximum controlled priority.
    pub mc_priority: u64,
    /// Pages of its stack.
    pub stack_pages: u64,
}

/// A thread that was made, started or not.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// Its TCB.
    pub tcb: Tcb,
    /// Frame of its IPC buffer and area.
    pub page: Page,
    /// Where that is mapped.
    pub ipc_buffer: u64,
    stack_top: u64,
    area: u64,
}

impl Thread {
    /// Makes a thread of this process out of `objects`, mapped in `window`.
    ///
    /// # Errors
    /// That memory or slots are used up, or the kernel refuses.
    pub fn make(
        objects: &mut impl ObjectSource,
        window: &mut Window,
        config: &ThreadConfig,
    ) -> Result<Self, MapError> {
        let tcb = objects.make::<Tcb>()?;
        let page = objects.make::<Page>()?;
        let shared = window.map(objects, page, 12)?;
        // The page below the stack stays unmapped, so that an overflow is a fault.
        let stack = window.reserve(12, config.stack_pages + 1) + 4096;
        for index in 0..config.stack_pages {
            let page = objects.make::<Page>()?;
            window.map_at(objects, page, stack + index * 4096, 12)?;
        }
        let area = shared.address() + START_INFO_OFFSET;
        shared.write(START_INFO_OFFSET, shared.address());
        shared.write(START_INFO_OFFSET + 8, tcb.cptr());
        let spaces = Spaces {
            fault_endpoint: config.fault_endpoint,
            cspace: config.cspace,
            cspace_data: config.cspace_data,
            vspace: window.vspace().root(),
        };
        tcb.configure(&spaces, shared.address(), page)?;
        tcb.set_sched_params(config.authority, config.mc_priority, config.priority)?;
        Ok(Self {
            tcb,
            page,
            ipc_buffer: shared.address(),
            stack_top: stack + config.stack_pages * 4096,
            area,
        })
    }

    /// Its registers when it starts with `entry` and these words.
    pub fn context(&self, entry: ThreadEntry, words: [u64; 3]) -> UserContext {
        UserContext {
            pc: thread_start as *const () as u64,
            sp: self.stack_top,
            tp: self.area,
            a0: entry as *const () as u64,
            a1: words[0],
            a2: words[1],
            a3: words[2],
            ..UserContext::default()
        }
    }

    /// Starts it, or starts it again from the beginning.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn start(&self, entry: ThreadEntry, words: [u64; 3]) -> Result<(), baton_sel4::Error> {
        self.tcb
            .write_all_registers(true, &self.context(entry, words))
    }
}

/// The first function of each thread.
extern "C" fn thread_start(entry: ThreadEntry, a: u64, b: u64, c: u64) -> ! {
    entry(a, b, c);
    loop {
        // Suspending oneself does not return, unless somebody resumes the thread.
        let _ = own_tcb().suspend();
    }
}
