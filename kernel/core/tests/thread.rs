//! Threads and the scheduler: registers, priorities, round robin, suspending, floating point, flags.

mod common;

use baton_sel4_abi::context::{Register, USER_CONTEXT_WORDS};
use baton_sel4_abi::{Error, Label, ObjectType, TCB_FLAG_FPU_DISABLED, TIME_SLICE_TICKS, slots};
use common::{DEPTH, ROOT, START, TOP, World, next_pc, register};

const TCB: u64 = slots::INIT_THREAD_TCB;

#[test]
fn registers_are_written_and_read_in_the_order_of_the_context() {
    let world = World::new();
    let thread = world.thread(1);
    let mut words = vec![0, USER_CONTEXT_WORDS as u64];
    words.extend((0..USER_CONTEXT_WORDS as u64).map(|word| 100 + word));
    world
        .invoke(thread.cap, Label::TcbWriteRegisters, &words, &[])
        .unwrap();
    assert_eq!(world.registers(thread), words[2..]);
    let context = &world.tcb(thread).context;
    // Some where the architecture has them: ra, sp, a0, a7, s11, t6, tp.
    let at = |number| context.read(number);
    assert_eq!((at(1), at(2)), (101, 102));
    assert_eq!((at(10), at(17)), (116, 123));
    assert_eq!((at(27), at(31), at(4)), (115, 130, 131));
    assert_eq!(next_pc(world.tcb(thread)), 100);
}

#[test]
fn reading_and_writing_registers_check_their_arguments() {
    let world = World::new();
    let thread = world.thread(1);
    let read = |cap, count| world.invoke(cap, Label::TcbReadRegisters, &[0, count], &[]);
    assert_eq!(read(thread.cap, 0), Err(Error::RangeError));
    assert_eq!(read(thread.cap, 33), Err(Error::RangeError));
    assert_eq!(world.got().words, [1, 32]);
    assert_eq!(read(TCB, 1), Err(Error::IllegalOperation));
    let write = |cap, words: &[u64]| world.invoke(cap, Label::TcbWriteRegisters, words, &[]);
    assert_eq!(write(thread.cap, &[0]), Err(Error::TruncatedMessage));
    assert_eq!(write(thread.cap, &[0, 2, 7]), Err(Error::TruncatedMessage));
    assert_eq!(write(TCB, &[0, 1, 7]), Err(Error::IllegalOperation));
    write(thread.cap, &[0, 1, 7]).unwrap();
    assert_eq!(register(&world.registers(thread), Register::Pc), 7);
}

#[test]
fn registers_are_copied_by_group() {
    let world = World::new();
    let (from, to) = (world.thread(1), world.thread(1));
    let mut words = vec![0, 32];
    words.extend(1..=32);
    world
        .invoke(from.cap, Label::TcbWriteRegisters, &words, &[])
        .unwrap();
    let copy = |flags| {
        world
            .invoke(to.cap, Label::TcbCopyRegisters, &[flags], &[from.cap])
            .unwrap();
    };
    copy(1 << 2);
    let got = world.registers(to);
    assert_eq!(got[..16], words[2..18]);
    assert_eq!(got[16..], [0; 16]);
    copy(1 << 3);
    assert_eq!(world.registers(to), words[2..]);
    let endpoint = world.endpoint();
    let bad = world.invoke(to.cap, Label::TcbCopyRegisters, &[0], &[endpoint]);
    assert_eq!(bad, Err(Error::InvalidCapability));
}

#[test]
fn a_started_thread_runs_when_its_priority_is_higher() {
    let world = World::new();
    world.set_priority(TCB, 100).unwrap();
    let lower = world.started(99);
    assert!(!world.runs(lower));
    let higher = world.started(101);
    world.assert_runs(higher);
    assert_eq!(next_pc(world.fake.current()), START);
}

#[test]
fn the_highest_ready_priority_runs() {
    let world = World::new();
    let all: Vec<_> = [3, 200, 64, 63, 128, 0]
        .map(|p| (p, world.started(p)))
        .into();
    let mut sorted = all.clone();
    sorted.sort_by_key(|&(priority, _)| std::cmp::Reverse(priority));
    // Each suspends itself, the root task first.
    world.fake.syscall(
        baton_sel4_abi::Syscall::Call,
        TCB,
        baton_kernel_fake::Message {
            label: Label::TcbSuspend.number(),
            ..Default::default()
        },
    );
    for (_, thread) in sorted {
        world.assert_runs(thread);
        world.call(thread.cap, Label::TcbSuspend.number(), &[]);
    }
    assert!(world.fake.is_idle());
}

#[test]
fn priorities_are_bounded_by_the_authority() {
    let world = World::new();
    let (thread, authority) = (world.thread(1), world.thread(1));
    world
        .invoke(authority.cap, Label::TcbSetMcPriority, &[10], &[TCB])
        .unwrap();
    let set = |label, words: &[u64]| world.invoke(thread.cap, label, words, &[authority.cap]);
    set(Label::TcbSetPriority, &[10]).unwrap();
    assert_eq!(world.tcb(thread).priority.get(), 10);
    for (label, words) in [
        (Label::TcbSetPriority, &[11][..]),
        (Label::TcbSetMcPriority, &[11]),
        (Label::TcbSetSchedParams, &[11, 5]),
        (Label::TcbSetSchedParams, &[5, 11]),
    ] {
        assert_eq!(set(label, words), Err(Error::RangeError), "{label:?}");
        assert_eq!(world.got().words, [0, 10]);
    }
    assert_eq!(world.tcb(thread).priority.get(), 10);
    assert_eq!(world.tcb(thread).mcp.get(), TOP);
    let endpoint = world.endpoint();
    let bad = world.invoke(thread.cap, Label::TcbSetPriority, &[1], &[endpoint]);
    assert_eq!(bad, Err(Error::InvalidCapability));
    let none = world.invoke(thread.cap, Label::TcbSetPriority, &[1], &[]);
    assert_eq!(none, Err(Error::TruncatedMessage));
}

#[test]
fn lowering_ones_own_priority_lets_others_run() {
    let world = World::new();
    let thread = world.started(200);
    let words = [100];
    let message = baton_kernel_fake::Message {
        label: Label::TcbSetPriority.number(),
        words: &words,
        caps: &[TCB],
    };
    world
        .fake
        .syscall(baton_sel4_abi::Syscall::Call, TCB, message);
    world.assert_runs(thread);
}

#[test]
fn time_slices_go_round_in_a_priority() {
    let world = World::new();
    let root = world.fake.current_address();
    let (one, two) = (world.started(TOP), world.started(TOP));
    let order = |world: &World| {
        let before = world.fake.current_address();
        for _ in 1..TIME_SLICE_TICKS {
            world.fake.tick();
            assert_eq!(world.fake.current_address(), before, "not yet");
        }
        world.fake.tick();
        world.fake.current_address()
    };
    // The slice that the root task has begun may be shorter: start with a fresh one.
    for _ in 0..TIME_SLICE_TICKS {
        if world.fake.current_address() == root {
            world.fake.tick();
        }
    }
    assert_ne!(world.fake.current_address(), root);
    let first = world.fake.current_address();
    let second = order(&world);
    let third = order(&world);
    assert_eq!(third, root);
    let mut both = [first, second];
    both.sort();
    let mut expected = [one.address, two.address];
    expected.sort();
    assert_eq!(both, expected);
    assert_eq!(order(&world), first, "and round again");
}

#[test]
fn yield_goes_round_in_a_priority_and_no_further() {
    let world = World::new();
    world.started(TOP - 1);
    let root = world.fake.current_address();
    world.yield_now();
    assert_eq!(world.fake.current_address(), root);
    let peer = world.started(TOP);
    world.yield_now();
    world.assert_runs(peer);
    world.yield_now();
    assert_eq!(world.fake.current_address(), root);
}

#[test]
fn a_suspended_thread_stays_out_until_it_is_resumed() {
    let world = World::new();
    let thread = world.started(TOP);
    world
        .invoke(thread.cap, Label::TcbSuspend, &[], &[])
        .unwrap();
    world.yield_now();
    assert!(!world.runs(thread));
    world
        .invoke(thread.cap, Label::TcbResume, &[], &[])
        .unwrap();
    world.yield_now();
    world.assert_runs(thread);
    assert_eq!(next_pc(world.fake.current()), START);
}

#[test]
fn a_deleted_thread_is_gone_from_the_queues() {
    let world = World::new();
    let thread = world.started(TOP);
    world.delete(thread.cap);
    let root = world.fake.current_address();
    world.yield_now();
    assert_eq!(world.fake.current_address(), root);
}

#[test]
fn spaces_are_checked_when_a_thread_gets_them() {
    let world = World::new();
    let thread = world.thread(1);
    let vspace = slots::INIT_THREAD_VSPACE;
    let endpoint = world.endpoint();
    let set =
        |words: &[u64], caps: &[u64]| world.invoke(thread.cap, Label::TcbSetSpace, words, caps);
    set(&[0, 0, 0], &[ROOT, vspace]).unwrap();
    assert_eq!(
        set(&[0, 0, 0], &[endpoint, vspace]),
        Err(Error::IllegalOperation)
    );
    assert_eq!(
        set(&[0, 0, 0], &[ROOT, endpoint]),
        Err(Error::IllegalOperation)
    );
    let table = world.make(ObjectType::PageTable, 0);
    assert_eq!(
        set(&[0, 0, 0], &[ROOT, table]),
        Err(Error::IllegalOperation),
        "no root of an address space"
    );
    assert_eq!(set(&[0, 0], &[ROOT, vspace]), Err(Error::TruncatedMessage));
    assert_eq!(set(&[0, 0, 0], &[ROOT]), Err(Error::TruncatedMessage));
}

#[test]
fn ipc_buffers_are_checked() {
    let world = World::new();
    let thread = world.thread(1);
    let (frame, vaddr) = world.page();
    let set = |vaddr, cap| world.invoke(thread.cap, Label::TcbSetIpcBuffer, &[vaddr], &[cap]);
    set(vaddr + 1024, frame).unwrap();
    assert_eq!(set(vaddr + 512, frame), Err(Error::AlignmentError));
    let endpoint = world.endpoint();
    assert_eq!(set(vaddr, endpoint), Err(Error::IllegalOperation));
    let (device, ..) = world.boot_untyped(|bits, device| device && bits >= 12);
    let device_frame = world.slot();
    world
        .retype(device, ObjectType::Page, 0, device_frame, 1)
        .unwrap();
    assert_eq!(set(vaddr, device_frame), Err(Error::IllegalOperation));
    // Without an address the capability does not matter.
    set(0, endpoint).unwrap();
    assert_eq!(world.tcb(thread).ipc_buffer.get(), 0);
}

#[test]
fn thread_local_base_is_the_thread_pointer() {
    let world = World::new();
    let thread = world.thread(1);
    for cap in [thread.cap, TCB] {
        world
            .invoke(cap, Label::TcbSetTlsBase, &[0x1234_5678], &[])
            .unwrap();
    }
    let got = world.registers(thread);
    assert_eq!(register(&got, Register::Tp), 0x1234_5678);
    assert_eq!(world.fake.current().context.read(4), 0x1234_5678);
}

#[test]
fn each_thread_has_its_own_floating_point_registers() {
    let world = World::new();
    let fake = &world.fake;
    let thread = world.started(TOP);
    assert!(fake.set_fpu_register(3, 33));
    world.yield_now();
    world.assert_runs(thread);
    assert_eq!(fake.fpu_register(3), Some(0), "not another's");
    assert!(fake.set_fpu_register(3, 44));
    world.yield_now();
    assert_eq!(fake.fpu_register(3), Some(33));
    world.yield_now();
    assert_eq!(fake.fpu_register(3), Some(44));
}

#[test]
fn a_thread_that_computes_traps_once_and_one_that_does_not_runs_with_the_unit_off() {
    let world = World::new();
    let hardware = &world.fake.hardware;
    let thread = world.started(TOP);
    assert_eq!(hardware.fpu_register(1), None, "it has not asked for it");
    assert!(world.fake.set_fpu_register(1, 11));
    world.yield_now();
    world.assert_runs(thread);
    assert_eq!(hardware.fpu_register(1), None, "the other has not");
    world.yield_now();
    assert_eq!(
        hardware.fpu_register(1),
        Some(11),
        "it was switched to with it"
    );
    // A whole turn without touching it: it is no user any more, and keeps its registers nevertheless.
    world.yield_now();
    world.yield_now();
    assert_eq!(hardware.fpu_register(1), None);
    assert_eq!(world.fake.fpu_register(1), Some(11));
}

#[test]
fn the_unit_is_off_behind_a_core_that_idled() {
    let world = World::new();
    let thread = world.started(TOP);
    let notification = world.notification();
    // The root task computes and waits; the other, which does not compute, is woken by an interrupt.
    let handler = world.slot();
    world
        .invoke(
            slots::IRQ_CONTROL,
            Label::IrqIssueHandler,
            &[10, handler, DEPTH],
            &[ROOT],
        )
        .unwrap();
    world
        .invoke(handler, Label::IrqSetHandler, &[], &[notification])
        .unwrap();
    let never = world.notification();
    world.yield_now();
    world.assert_runs(thread);
    world.recv(notification);
    assert!(world.fake.set_fpu_register(1, 11));
    world.recv(never);
    assert!(world.fake.is_idle());
    world.fake.interrupt(10);
    world.assert_runs(thread);
    assert_eq!(world.fake.hardware.fpu_register(1), None);
}

#[test]
fn a_thread_can_be_kept_from_floating_point() {
    let world = World::new();
    let hardware = &world.fake.hardware;
    let thread = world.started(TOP);
    let flags = |cap, clear, set| {
        world
            .invoke(cap, Label::TcbSetFlags, &[clear, set], &[])
            .unwrap()
    };
    assert!(world.fake.set_fpu_register(0, 5));
    assert_eq!(flags(thread.cap, 0, !0), [TCB_FLAG_FPU_DISABLED]);
    assert_eq!(flags(TCB, 0, TCB_FLAG_FPU_DISABLED), [1]);
    assert_eq!(hardware.fpu_register(0), None, "at once");
    assert_eq!(flags(TCB, TCB_FLAG_FPU_DISABLED, 0), [0]);
    assert_eq!(world.fake.fpu_register(0), Some(5), "kept");
    world.yield_now();
    world.assert_runs(thread);
    assert_eq!(hardware.fpu_register(0), None);
    world.fake.exception(2, 0); // not one for a unit that it could have
    assert_ne!(world.fake.current_address(), thread.address, "a fault");
}

#[test]
fn a_capability_space_that_takes_long_to_delete_is_not_replaced() {
    let world = World::new();
    let thread = world.thread(1);
    // The thread's capability space is in a CNode of its own; the only capability to that is in the thread itself.
    let cnode = world.make(ObjectType::CapTable, 4);
    let vspace = slots::INIT_THREAD_VSPACE;
    world
        .invoke(thread.cap, Label::TcbSetSpace, &[0, 0, 0], &[cnode, vspace])
        .unwrap();
    world.delete(cnode);
    // Replacing it would delete a CNode in one step.
    assert_eq!(
        world.invoke(thread.cap, Label::TcbSetSpace, &[0, 0, 0], &[ROOT, vspace]),
        Err(Error::IllegalOperation)
    );
    world.delete(thread.cap);
}
