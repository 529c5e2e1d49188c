//! Faults: what their handlers are told, and what a reply does.

mod common;

use baton_kernel_core::ThreadState;
use baton_kernel_core::mem::reg;
use baton_kernel_fake::{Access, PageFault};
use baton_sel4_abi::{CapRights, Label, LookupFailureKind};
use common::{START, TOP, Thread, World, next_pc};

const CAP: u64 = 1;
const UNKNOWN_SYSCALL: u64 = 2;
const USER_EXCEPTION: u64 = 3;
const VM: u64 = 5;

/// A world in which the root task waits for the faults of a thread that runs.
fn faulting() -> (World, u64, Thread) {
    let world = World::new();
    let endpoint = world.endpoint();
    let badged = world.mint(endpoint, CapRights::ALL, 99);
    let thread = world.thread_with_handler(TOP - 1, badged);
    world.start(thread);
    world.recv(endpoint);
    world.assert_runs(thread);
    (world, endpoint, thread)
}

#[test]
fn a_page_fault_tells_address_and_kind_and_is_resumed() {
    for (access, status) in [(Access::Fetch, 1), (Access::Load, 5), (Access::Store, 7)] {
        let (world, endpoint, thread) = faulting();
        let vaddr = 0x7000_1234;
        world.fake.fault(PageFault { access, vaddr });
        let got = world.got();
        assert_eq!((got.badge, got.info.label()), (99, VM));
        let fetch = u64::from(access == Access::Fetch);
        assert_eq!(got.words, [START, vaddr, fetch, status]);
        world.reply_message(0, &[]);
        world.recv(endpoint);
        world.assert_runs(thread);
        assert_eq!(next_pc(world.fake.current()), START, "the same instruction");
    }
}

#[test]
fn access_faults_are_told_as_page_faults() {
    for (cause, status) in [(1, 1), (5, 5), (7, 7)] {
        let (world, _, _) = faulting();
        world.fake.exception(cause, 0x1000);
        let got = world.got();
        assert_eq!(got.info.label(), VM);
        assert_eq!(got.words[3], status);
    }
}

#[test]
fn an_exception_tells_its_number_and_a_reply_moves_on() {
    let (world, endpoint, thread) = faulting();
    world.fake.current().context.set::<{ reg::SP }>(0x5000);
    world.fake.exception(2, 0xdead);
    let got = world.got();
    assert_eq!(got.info.label(), USER_EXCEPTION);
    assert_eq!(got.words, [START, 0x5000, 2, 0]);
    world.reply_message(0, &[START + 8, 0x6000]);
    world.recv(endpoint);
    world.assert_runs(thread);
    let tcb = world.fake.current();
    assert_eq!(next_pc(tcb), START + 8);
    assert_eq!(tcb.context.get::<{ reg::SP }>(), 0x6000);
}

#[test]
fn an_unknown_system_call_tells_its_registers_and_takes_them_back() {
    let (world, endpoint, thread) = faulting();
    let context = &world.fake.current().context;
    context.set::<{ reg::A7 }>(0x1_0000_0000);
    context.set::<{ reg::SP }>(21);
    context.set::<{ reg::RA }>(22);
    for argument in 0..7 {
        context.write(reg::A0 + argument, 30 + argument as u64);
    }
    world.fake.enter();
    let got = world.got();
    assert_eq!(got.info.label(), UNKNOWN_SYSCALL);
    let expected = [START, 21, 22, 30, 31, 32, 33, 34, 35, 36, 0x1_0000_0000];
    assert_eq!(got.words, expected);
    world.reply_message(0, &[START + 4, 41, 42, 50, 51, 52, 53, 54, 55, 56]);
    world.recv(endpoint);
    world.assert_runs(thread);
    let tcb = world.fake.current();
    assert_eq!(next_pc(tcb), START + 4);
    assert_eq!(tcb.context.get::<{ reg::SP }>(), 41);
    assert_eq!(tcb.context.get::<{ reg::RA }>(), 42);
    for argument in 0..7 {
        assert_eq!(tcb.context.read(reg::A0 + argument), 50 + argument as u64);
    }
}

#[test]
fn system_calls_of_other_configurations_are_unknown() {
    for number in [0_i64, -15, -63, -67, i64::MIN, 1] {
        let (world, ..) = faulting();
        world
            .fake
            .current()
            .context
            .set::<{ reg::A7 }>(number as u64);
        world.fake.enter();
        let got = world.got();
        assert_eq!(got.info.label(), UNKNOWN_SYSCALL, "{number}");
        assert_eq!(got.words[10], number as u64);
    }
}

#[test]
fn a_capability_fault_tells_why_the_lookup_failed() {
    let (world, endpoint, thread) = faulting();
    // The root CNode has a guard of zeros, which this pointer does not match.
    let pointer = 1 << 40;
    world.send(pointer, 0, &[]);
    let got = world.got();
    assert_eq!(got.info.label(), CAP);
    let kind = LookupFailureKind::GuardMismatch.number();
    assert_eq!(got.words, [START, pointer, 0, kind, 64, 0, 51]);
    world.reply_message(0, &[]);
    world.recv(endpoint);
    world.assert_runs(thread);
    assert_eq!(next_pc(world.fake.current()), START, "it tries again");
    world.recv(0);
    let got = world.got();
    assert_eq!(got.info.label(), CAP);
    let kind = LookupFailureKind::MissingCapability.number();
    assert_eq!(got.words[..4], [START, 0, 1, kind]);
}

#[test]
fn a_reply_with_a_label_leaves_the_thread_stopped() {
    let (world, _, thread) = faulting();
    world.fake.exception(2, 0);
    world.reply_message(1, &[]);
    assert_eq!(ThreadState::of(world.tcb(thread)), ThreadState::INACTIVE);
}

#[test]
fn a_suspended_faulter_can_be_resumed_without_an_answer() {
    let (world, endpoint, thread) = faulting();
    world.fake.exception(2, 0);
    world
        .invoke(thread.cap, Label::TcbSuspend, &[], &[])
        .unwrap();
    world.reply_message(0, &[0x9999]);
    world
        .invoke(thread.cap, Label::TcbResume, &[], &[])
        .unwrap();
    world.recv(endpoint);
    world.assert_runs(thread);
    assert_eq!(next_pc(world.fake.current()), START);
    // What it sends now is a message again, and not the old fault.
    world.send(endpoint, 4, &[5]);
    let got = world.got();
    assert_eq!((got.info.label(), &got.words[..]), (4, &[5][..]));
}

#[test]
fn without_a_handler_the_thread_stops() {
    let world = World::new();
    let endpoint = world.endpoint();
    let no_send = world.copy(endpoint, CapRights::READ.union(CapRights::GRANT));
    let no_grant = world.copy(endpoint, CapRights::READ_WRITE);
    let notification = world.notification();
    for handler in [0, 1 << 40, no_send, no_grant, notification] {
        let thread = world.thread_with_handler(TOP, handler);
        world.start(thread);
        world.yield_now();
        world.assert_runs(thread);
        world.fake.exception(2, 0);
        assert!(!world.runs(thread));
        assert_eq!(ThreadState::of(world.tcb(thread)), ThreadState::INACTIVE);
    }
}

#[test]
fn a_fault_waits_for_a_handler_that_is_busy() {
    let world = World::new();
    let endpoint = world.endpoint();
    let thread = world.thread_with_handler(TOP, endpoint);
    world.start(thread);
    world.yield_now();
    world.assert_runs(thread);
    world.fake.fault(PageFault {
        access: Access::Load,
        vaddr: 0x8888,
    });
    assert!(!world.runs(thread));
    world.recv(endpoint);
    let got = world.got();
    assert_eq!((got.info.label(), got.words[1]), (VM, 0x8888));
}

/// A thread whose fault waits for a handler, and the root task, which runs.
fn waiting_to_fault() -> (World, u64, Thread) {
    let world = World::new();
    let endpoint = world.endpoint();
    let thread = world.thread_with_handler(TOP, endpoint);
    world.start(thread);
    world.yield_now();
    world.assert_runs(thread);
    let (access, vaddr) = (Access::Load, 0x7000_1234);
    world.fake.fault(PageFault { access, vaddr });
    assert!(!world.runs(thread));
    (world, endpoint, thread)
}

/// Lets the thread send a message to the root task, which must arrive as such.
fn send_from(world: &World, thread: Thread) {
    let endpoint = world.endpoint();
    world.recv(endpoint);
    world.assert_runs(thread);
    world.call(endpoint, 77, &[1, 2]);
    let got = world.got();
    assert_eq!((got.info.label(), &got.words[..]), (77, &[1, 2][..]));
}

#[test]
fn a_thread_that_is_resumed_before_its_fault_was_heard_of_has_none() {
    for slow_only in [false, true] {
        let (world, _, thread) = waiting_to_fault();
        world.fake.set_slow_only(slow_only);
        world
            .invoke(thread.cap, Label::TcbResume, &[], &[])
            .expect("resuming");
        send_from(&world, thread);
    }
}

#[test]
fn a_thread_whose_fault_lost_its_endpoint_has_none() {
    for slow_only in [false, true] {
        let (world, endpoint, thread) = waiting_to_fault();
        world.fake.set_slow_only(slow_only);
        world.delete(endpoint);
        send_from(&world, thread);
    }
}
