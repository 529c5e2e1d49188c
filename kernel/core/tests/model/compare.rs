//! Is the kernel where the model is? Reads the kernel's records and looks at everything that the model knows.

use crate::caps::{Addr, Cap, Place, Rights, Was};
use crate::state::{
    Entry, Fault, Lost, Model, REGISTERS, State, Thread, Translation, reads_writes,
};
use baton_kernel_core::cap::{Cap as Stored, ZombieKind};
use baton_kernel_core::mem::{AsidPool, Paddr, PageTable, Slot, Tcb};
use baton_kernel_core::view::{Doing, Waiting};
use baton_kernel_core::{Fault as StoredFault, Kernel, LookupFailure};
use baton_kernel_fake::{Fake, Hardware};
use baton_sel4_abi::message::ipc_buffer;
use baton_sel4_abi::{ASID_POOL_INDEX_BITS, MAX_IRQ, SLOT_BITS};
use std::mem::offset_of;

type Compared = Result<(), String>;

macro_rules! ensure_same {
    ($kernel:expr, $model:expr, $($what:tt)*) => {
        let (kernel, model) = ($kernel, $model);
        if kernel != model {
            return Err(format!("{}: kernel {:x?}, model {:x?}", format!($($what)*), kernel, model));
        }
    };
}

/// Where a slot is.
pub fn slot_address(kernel: Kernel<'_, Hardware>, place: Place) -> Paddr {
    let (first, index) = match place {
        Place::Node(at, index) => (at, index),
        Place::Thread(at, index) => (at + offset_of!(Tcb, slots) as u64, index),
        Place::Irq(irq) => (kernel.view_irq_table().value(), irq),
    };
    Paddr::new(first + (index << SLOT_BITS))
}

/// Compares everything; page tables and pools, which are large and seldom change, only if `deep`.
pub fn compare(fake: &Fake, model: &Model, deep: bool) -> Compared {
    let kernel = fake.kernel();
    let running = (!fake.is_idle()).then(|| fake.current_address().value());
    ensure_same!(running, model.running, "the running thread");
    ready(kernel, model)?;
    for (&at, thread) in &model.threads {
        compare_thread(kernel, at, thread)?;
    }
    objects(kernel, model)?;
    slots(kernel, model)?;
    tree(kernel, model)?;
    memory(fake, model)?;
    if deep {
        tables(kernel, model)?;
    }
    Ok(())
}

fn ready(kernel: Kernel<'_, Hardware>, model: &Model) -> Compared {
    let mut expected = Vec::new();
    for (&priority, queue) in model.ready.iter().rev() {
        expected.extend(queue.iter().map(|&thread| (priority, thread)));
    }
    ensure_same!(kernel.view_ready(), expected, "the ready queues");
    Ok(())
}

fn compare_thread(kernel: Kernel<'_, Hardware>, at: Addr, thread: &Thread) -> Compared {
    let tcb: &Tcb = kernel.mem.get(Paddr::new(at));
    for register in 0..REGISTERS {
        ensure_same!(
            tcb.context.read(register),
            thread.registers[register],
            "register {register} of thread {at:#x}"
        );
    }
    let doing = match thread.state {
        State::Inactive => Doing::Inactive,
        State::Running => Doing::Running,
        State::Restart => Doing::Restart,
        State::Receiving { endpoint, grant } => Doing::Receiving {
            endpoint,
            can_grant: grant,
        },
        State::Sending {
            endpoint,
            badge,
            grant,
            grant_reply,
            call,
        } => Doing::Sending {
            endpoint,
            badge,
            can_grant: grant,
            can_grant_reply: grant_reply,
            is_call: call,
        },
        State::AwaitingReply => Doing::AwaitingReply,
        State::AwaitingSignal { notification } => Doing::AwaitingSignal { notification },
    };
    ensure_same!(kernel.view_doing(tcb), doing, "what thread {at:#x} does");
    let numbers = [
        (tcb.priority.get(), thread.priority, "priority"),
        (tcb.mcp.get(), thread.mcp, "maximum controlled priority"),
        (tcb.time_slice.get(), thread.slice, "time slice"),
        (tcb.flags.get(), thread.flags, "flags"),
        (
            tcb.fault_handler.get(),
            thread.fault_handler,
            "fault handler",
        ),
        (
            tcb.ipc_buffer.get(),
            thread.buffer_at,
            "address of the IPC buffer",
        ),
        (
            tcb.bound_notification.get(),
            thread.bound.unwrap_or(0),
            "bound notification",
        ),
    ];
    for (kernel, model, what) in numbers {
        ensure_same!(kernel, model, "{what} of thread {at:#x}");
    }
    let fault = kernel.view_fault(tcb).map(read_fault);
    ensure_same!(fault, thread.fault, "the fault of thread {at:#x}");
    Ok(())
}

fn read_fault(fault: StoredFault) -> Fault {
    match fault {
        StoredFault::Cap {
            pointer,
            in_recv_phase,
            failure,
        } => Fault::Cap {
            pointer,
            receiving: in_recv_phase,
            lost: match failure {
                LookupFailure::InvalidRoot => Lost::InvalidRoot,
                LookupFailure::MissingCapability { bits_left } => Lost::Missing { left: bits_left },
                LookupFailure::DepthMismatch {
                    bits_left,
                    bits_found,
                } => Lost::Depth {
                    left: bits_left,
                    found: bits_found,
                },
                LookupFailure::GuardMismatch {
                    bits_left,
                    guard_found,
                    bits_found,
                } => Lost::Guard {
                    left: bits_left,
                    guard: guard_found,
                    found: bits_found,
                },
            },
        },
        StoredFault::UnknownSyscall { number } => Fault::Syscall { number },
        StoredFault::UserException { number, .. } => Fault::Exception { cause: number },
        StoredFault::Vm {
            address,
            status,
            fetch,
        } => Fault::Memory {
            address,
            fetch,
            status,
        },
    }
}

/// Endpoints, notifications, interrupts.
fn objects(kernel: Kernel<'_, Hardware>, model: &Model) -> Compared {
    for (&at, endpoint) in &model.endpoints {
        let expected = match (endpoint.senders.is_empty(), endpoint.receivers.is_empty()) {
            (true, true) => (Waiting::Idle, Vec::new()),
            (false, _) => (Waiting::ToSend, endpoint.senders.iter().copied().collect()),
            (true, false) => (
                Waiting::ToReceive,
                endpoint.receivers.iter().copied().collect(),
            ),
        };
        let found = kernel.view_endpoint(Paddr::new(at));
        ensure_same!(found, expected, "endpoint {at:#x}");
    }
    for (&at, notification) in &model.notifications {
        let waiting = match notification.signals {
            Some(badge) => Waiting::Signalled(badge),
            None if notification.waiting.is_empty() => Waiting::Idle,
            None => Waiting::ForSignal,
        };
        let threads = notification.waiting.iter().copied().collect();
        let expected = (waiting, threads, notification.bound.unwrap_or(0));
        let found = kernel.view_notification(Paddr::new(at));
        ensure_same!(found, expected, "notification {at:#x}");
    }
    for irq in 0..=MAX_IRQ {
        let expected = model.irqs.contains_key(&irq);
        ensure_same!(
            kernel.view_irq_is_handled(irq),
            expected,
            "interrupt {irq} is handled"
        );
    }
    Ok(())
}

/// What is in every slot of every CNode and thread, and in the table of interrupts.
fn slots(kernel: Kernel<'_, Hardware>, model: &Model) -> Compared {
    let mut expected = model.caps.iter().peekable();
    let mut look = |place: Place| -> Compared {
        let slot: &Slot = kernel.mem.get(slot_address(kernel, place));
        let full = expected.next_if(|&(&at, _)| at == place);
        if full.is_none() && slot.cap() == [0, 0] {
            return Ok(());
        }
        let found = read_cap(Stored::decode(slot.cap()));
        ensure_same!(found, full.map(|(_, entry)| entry.cap), "{place:x?}");
        Ok(())
    };
    // In the order of places.
    for (&at, &radix) in &model.nodes {
        for index in 0..1 << radix {
            look(Place::Node(at, index))?;
        }
    }
    for &at in model.threads.keys() {
        for index in 0..crate::caps::own::COUNT {
            look(Place::Thread(at, index))?;
        }
    }
    for irq in 0..=MAX_IRQ {
        look(Place::Irq(irq))?;
    }
    match expected.next() {
        None => Ok(()),
        Some((place, entry)) => Err(format!(
            "the model has {:x?} in {place:x?}, which is in no object",
            entry.cap
        )),
    }
}

/// A capability of the kernel in the model's words.
pub fn read_cap(cap: Stored) -> Option<Cap> {
    Some(match cap {
        Stored::Null => return None,
        Stored::KernelLane { .. } => Cap::LeftOut,
        Stored::Untyped {
            address,
            size_bits,
            device,
            used,
        } => Cap::Untyped {
            at: address.value(),
            bits: size_bits,
            device,
            used,
        },
        Stored::Endpoint {
            address,
            badge,
            rights,
        } => Cap::Endpoint {
            at: address.value(),
            badge,
            rights: Rights::of(rights),
        },
        Stored::Notification {
            address,
            badge,
            rights,
        } => {
            let (receive, send) = reads_writes(rights);
            Cap::Notification {
                at: address.value(),
                badge,
                send,
                receive,
            }
        }
        Stored::Reply {
            tcb,
            master,
            can_grant,
        } => Cap::Reply {
            thread: tcb.value(),
            master,
            grant: can_grant,
        },
        Stored::CNode {
            address,
            radix,
            guard,
        } => Cap::CNode {
            at: address.value(),
            radix,
            guard: guard.guard(),
            guard_bits: guard.guard_size(),
        },
        Stored::Thread { tcb } => Cap::Thread { at: tcb.value() },
        Stored::IrqControl => Cap::IrqControl,
        Stored::IrqHandler { irq } => Cap::IrqHandler { irq },
        Stored::Zombie {
            address,
            kind,
            left,
        } => Cap::Zombie {
            at: address.value(),
            was: match kind {
                ZombieKind::Thread => Was::Thread,
                ZombieKind::CNode(radix) => Was::Node { radix },
                // Only in an operation that is not finished.
                ZombieKind::Endpoint | ZombieKind::Notification => Was::Queue,
            },
            left,
        },
        Stored::Domain => Cap::Domain,
        Stored::Frame {
            address,
            size,
            rights,
            device,
            asid,
            vaddr,
        } => {
            let (read, write) = reads_writes(rights);
            Cap::Frame {
                at: address.value(),
                bits: size.bits(),
                read,
                write,
                device,
                mapped: (asid != 0).then_some((asid, vaddr)),
            }
        }
        Stored::PageTable {
            address,
            mapped,
            asid,
            vaddr,
        } => Cap::Table {
            at: address.value(),
            mapped: mapped.then_some((asid, vaddr)),
        },
        Stored::AsidControl => Cap::AsidControl,
        Stored::AsidPool { address, base } => Cap::AsidPool {
            at: address.value(),
            base,
        },
    })
}

/// The derivation tree: that the kernel's lists have the order of the model's, and what is under what.
fn tree(kernel: Kernel<'_, Hardware>, model: &Model) -> Compared {
    // Those whose descendants the list is among, the outermost first.
    let mut above: Vec<(Place, Paddr)> = Vec::new();
    let mut expected = Paddr::NULL;
    for &place in &model.order {
        let at = slot_address(kernel, place);
        let slot: &Slot = kernel.mem.get(at);
        if expected.is_null() {
            ensure_same!(slot.prev.get(), 0, "what is before {place:x?}");
            above.clear();
        } else {
            ensure_same!(expected, at, "the place of {place:x?} in the list");
        }
        while let Some(&(_, parent)) = above.last()
            && !kernel.view_is_parent(parent, at)
        {
            above.pop();
        }
        for &(ancestor, ancestor_at) in &above {
            if !kernel.view_is_parent(ancestor_at, at) {
                return Err(format!(
                    "{place:x?} is under a child of {ancestor:x?}, but not under it"
                ));
            }
        }
        let parent = above.last().map(|&(place, _)| place);
        let Entry { parent: wanted, .. } = model.caps[&place];
        ensure_same!(parent, wanted, "what {place:x?} was made of");
        above.push((place, at));
        expected = kernel.view_next_slot(at);
    }
    ensure_same!(expected, Paddr::NULL, "the end of the list");
    Ok(())
}

/// What is in IPC buffers.
fn memory(fake: &Fake, model: &Model) -> Compared {
    for (&at, expected) in &model.memory {
        let Some(words) = fake
            .kernel()
            .mem
            .user_words::<{ ipc_buffer::WORDS }>(Paddr::new(at))
        else {
            return Err(format!("no memory at {at:#x}"));
        };
        for (index, word) in words.iter().enumerate() {
            ensure_same!(
                word.get(),
                expected[index],
                "word {index} of the IPC buffer at {at:#x}"
            );
        }
    }
    Ok(())
}

/// Page tables and ASID pools.
fn tables(kernel: Kernel<'_, Hardware>, model: &Model) -> Compared {
    for (&at, table) in &model.tables {
        let found: &PageTable = kernel.mem.get(Paddr::new(at));
        // The upper half of a root is the kernel's; other tables have nothing there that users could reach.
        for index in 0..512 {
            let entry = found.entries[index as usize].get();
            let expected = table.get(&index).copied();
            if is_kernels(entry) || (entry == 0 && expected.is_none()) {
                continue;
            }
            ensure_same!(
                read_entry(entry),
                expected,
                "entry {index} of the page table at {at:#x}"
            );
        }
    }
    for number in 0..1 << baton_sel4_abi::NUM_ASID_POOLS_BITS {
        let found = kernel.view_asid_pool(number);
        let base = (number as u64) << ASID_POOL_INDEX_BITS;
        let expected = model.pool_of.get(&base).copied().unwrap_or(0);
        ensure_same!(found.value(), expected, "the ASID pool {number}");
        if found.is_null() {
            continue;
        }
        let pool: &AsidPool = kernel.mem.get(found);
        let roots = &model.pools[&expected];
        for (index, root) in (0_u64..).zip(&pool.roots) {
            let expected = roots.get(&index).copied().unwrap_or(0);
            ensure_same!(
                root.get(),
                expected,
                "the root of address space {:#x}",
                base + index
            );
        }
    }
    Ok(())
}

/// Bits of an entry as the RISC-V Privileged Architecture, chapter 10.3, has them.
const VALID: u64 = 1;
const READ: u64 = 2;
const WRITE: u64 = 4;
const EXECUTE: u64 = 8;
const USER: u64 = 16;

/// Whether it maps something for the kernel alone.
fn is_kernels(entry: u64) -> bool {
    entry & VALID != 0 && entry & (READ | WRITE | EXECUTE) != 0 && entry & USER == 0
}

/// An entry of a page table in the model's words.
pub fn read_entry(entry: u64) -> Option<Translation> {
    let at = (entry >> 10 & ((1 << 44) - 1)) << 12;
    match entry & (READ | WRITE | EXECUTE) {
        _ if entry & VALID == 0 => None,
        0 => Some(Translation::Table(at)),
        bits => Some(Translation::Frame {
            at,
            read: bits & READ != 0,
            write: bits & WRITE != 0,
            execute: bits & EXECUTE != 0,
        }),
    }
}
