//! Long operations: they end as they should, however often they are interrupted, and others run in between.

use super::cases;
use super::interrupts::{CLOCK_IRQ, alarm_in, quiet};
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::{
    CNode, CapRights, Capability, Endpoint, Error, IrqHandler, Message, Notification, ObjectType,
};

cases! {
    thousands: "revoking an endpoint with thousands of copies deletes them all",
    preempted: "a thread of higher priority that an interrupt wakes runs in the middle of a revocation",
    preempted_delete: "deleting a large CNode is interrupted and ends as it should",
    preempted_clear: "clearing large memory is interrupted and ends as it should",
    revoker_is_suspended: "a thread that is suspended in the middle of a revocation goes on when resumed",
    revoker_is_deleted: "a thread that is deleted in the middle of a revocation leaves capabilities that can be deleted",
    two_revokers: "two threads that revoke the same capability both end",
    revoke_running_threads: "revoking the memory of threads that run, send and wait ends them",
    nested_cnodes: "CNodes within CNodes, and in a circle, are deleted whole",
    delete_own_cspace_copy: "revoking its own capability's copies does not take a thread's capability space",
    processes: "processes are made and taken back many times",
}

const BITS: u64 = 12;
const COUNT: u64 = 1 << BITS;
const ALL: CapRights = CapRights::ALL;

/// A CNode full of copies of an endpoint.
fn copies(env: &mut Env) -> (Endpoint, CNode) {
    let (endpoint, cnode) = (env.endpoint(), env.cnode(BITS));
    fill(env, endpoint, cnode);
    (endpoint, cnode)
}

fn fill(env: &Env, endpoint: Endpoint, cnode: CNode) {
    for index in 0..COUNT {
        ok(cnode
            .slot_at(index, BITS)
            .copy_from(env.place(endpoint), ALL));
    }
}

fn count(env: &mut Env, cnode: CNode) -> u64 {
    let slot = env.slot();
    (0..COUNT)
        .filter(|index| {
            let there = slot.copy_from(cnode.slot_at(*index, BITS), ALL).is_ok();
            ok(slot.delete());
            there
        })
        .count() as u64
}

fn thousands(env: &mut Env) {
    let (endpoint, cnode) = copies(env);
    assert_eq!(count(env, cnode), COUNT);
    ok(env.place(endpoint).revoke());
    assert_eq!(count(env, cnode), 0);
    env.mint(endpoint, ALL, 1);
}

/// A handler of the clock, and a notification of higher priority's thread.
fn clock(env: &mut Env) -> (IrqHandler, Notification) {
    quiet(env);
    let slot = env.slot();
    ok(env.root.irq_control.handler(CLOCK_IRQ, slot));
    let handler = IrqHandler::new(slot.index);
    let notification = env.notification();
    let badged = env.mint(notification, ALL, 1);
    ok(handler.set_notification(badged));
    ok(handler.acknowledge());
    (handler, notification)
}

/// Waits for the interrupt, then looks whether the work is half done: the first word says that it has begun, the second that it ended.
extern "C" fn look(notification: u64, _: u64, _: u64) {
    loop {
        Notification::new(notification).wait();
        if shared::get(0) == 1 && shared::get(1) == 0 {
            shared::add(2, 1);
        }
        shared::add(3, 1);
    }
}

/// Does `work` again and again, each with an interrupt that comes a little later than the one before, until one came in the middle.
/// The number of attempts bounds only how long a failure takes.
fn until_interrupted(
    env: &mut Env,
    mut prepare: impl FnMut(&mut Env),
    mut work: impl FnMut(&mut Env),
) {
    let (handler, notification) = clock(env);
    env.thread(PRIORITY + 1, look, [notification.cptr(), 0, 0]);
    for attempt in 0..200_u64 {
        prepare(env);
        shared::set(0, 0);
        shared::set(1, 0);
        let interrupts = shared::get(3);
        // 20 microseconds, growing by a tenth each time and beginning anew: long enough to get into the work on any machine.
        let wait = 20_000 * (100 + (attempt % 50) * (attempt % 50)) / 100;
        alarm_in(env, wait);
        shared::set(0, 1);
        work(env);
        shared::set(1, 1);
        while shared::get(3) == interrupts {
            core::hint::spin_loop();
        }
        quiet(env);
        ok(handler.acknowledge());
        if shared::get(2) > 0 {
            ok(env.place(handler).delete());
            return;
        }
    }
    panic!("none of 200 interrupts came in the middle of the work");
}

fn preempted(env: &mut Env) {
    let (endpoint, cnode) = (env.endpoint(), env.cnode(BITS));
    until_interrupted(
        env,
        |env| fill(env, endpoint, cnode),
        |env| ok(env.place(endpoint).revoke()),
    );
    assert_eq!(count(env, cnode), 0);
}

fn preempted_delete(env: &mut Env) {
    let (endpoint, untyped) = (env.endpoint(), env.untyped(BITS + 5));
    let slot = env.slot();
    let cnode = CNode::new(slot.index);
    until_interrupted(
        env,
        |env| {
            let node = env.root.cnode.slot_at(0, 0);
            ok(untyped.retype(ObjectType::CapTable, BITS, node, slot.index, 1));
            fill(env, endpoint, cnode);
        },
        |_| ok(slot.delete()),
    );
    // Its memory is free again, and the endpoint has no children left.
    let node = env.root.cnode.slot_at(0, 0);
    ok(untyped.retype(ObjectType::CapTable, BITS, node, slot.index, 1));
    assert_eq!(count(env, cnode), 0);
}

fn preempted_clear(env: &mut Env) {
    let untyped = env.untyped(22);
    let slots = [env.slot(), env.slot()];
    let node = env.root.cnode.slot_at(0, 0);
    until_interrupted(
        env,
        |env| {
            // Something was made of it, so that it must be cleared before the next.
            ok(env.place(untyped).revoke());
            for slot in slots {
                ok(untyped.retype(ObjectType::MegaPage, 0, node, slot.index, 1));
            }
            for slot in slots {
                ok(slot.delete());
            }
        },
        |_| ok(untyped.retype(ObjectType::MegaPage, 0, node, slots[0].index, 1)),
    );
    let mapped = ok(env.window.map(
        &mut env.arena,
        baton_runtime::sel4::Page::new(slots[0].index),
        21,
    ));
    for offset in (0..1 << 21).step_by(4096) {
        assert_eq!(mapped.read(offset), 0);
    }
}

extern "C" fn revoke(root: u64, endpoint: u64, index: u64) {
    ok(CNode::new(root).slot(endpoint).revoke());
    shared::add(index as usize, 1);
}

/// Starts a thread of lower priority that revokes, and interrupts it in the middle.
fn interrupted_revoker(env: &mut Env) -> (Endpoint, CNode, baton_runtime::Thread, IrqHandler) {
    let (handler, notification) = clock(env);
    let (endpoint, cnode) = (env.endpoint(), env.cnode(BITS));
    let thread = env.new_thread(PRIORITY - 1);
    for attempt in 0..200_u64 {
        fill(env, endpoint, cnode);
        shared::set(0, 0);
        ok(thread.start(revoke, [env.root.cnode.cptr(), endpoint.cptr(), 0]));
        alarm_in(env, 20_000 * (100 + (attempt % 50) * (attempt % 50)) / 100);
        notification.wait();
        quiet(env);
        ok(handler.acknowledge());
        let left = count(env, cnode);
        if shared::get(0) == 0 && left < COUNT && left > 0 {
            return (endpoint, cnode, thread, handler);
        }
        // It had ended, or not begun: let it end, and try again.
        ok(thread.tcb.suspend());
        ok(env.place(endpoint).revoke());
    }
    panic!("none of 200 interrupts came in the middle of the revocation");
}

extern "C" fn signal(notification: u64, _: u64, _: u64) {
    Notification::new(notification).signal();
}

fn let_others_run(env: &mut Env) {
    let done = env.notification();
    env.thread(1, signal, [done.cptr(), 0, 0]);
    done.wait();
}

fn revoker_is_suspended(env: &mut Env) {
    let (_, cnode, thread, handler) = interrupted_revoker(env);
    ok(thread.tcb.suspend());
    let left = count(env, cnode);
    let_others_run(env);
    assert_eq!((count(env, cnode), shared::get(0)), (left, 0));
    ok(thread.tcb.resume());
    let_others_run(env);
    assert_eq!((count(env, cnode), shared::get(0)), (0, 1));
    ok(env.place(handler).delete());
}

fn revoker_is_deleted(env: &mut Env) {
    let (endpoint, cnode, thread, handler) = interrupted_revoker(env);
    ok(env.place(thread.tcb).delete());
    ok(env.place(endpoint).revoke());
    assert_eq!(count(env, cnode), 0);
    ok(env.place(handler).delete());
}

fn two_revokers(env: &mut Env) {
    let (endpoint, cnode, _, handler) = interrupted_revoker(env);
    env.thread(
        PRIORITY - 1,
        revoke,
        [env.root.cnode.cptr(), endpoint.cptr(), 1],
    );
    let_others_run(env);
    assert_eq!(
        (shared::get(0), shared::get(1), count(env, cnode)),
        (1, 1, 0)
    );
    ok(env.place(handler).delete());
}

extern "C" fn send(endpoint: u64, _: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(0, &[]));
}

extern "C" fn wait(notification: u64, _: u64, _: u64) {
    Notification::new(notification).wait();
}

extern "C" fn spin(_: u64, _: u64, _: u64) {
    loop {
        core::hint::spin_loop();
    }
}

fn revoke_running_threads(env: &mut Env) {
    let (endpoint, notification) = (env.endpoint(), env.notification());
    let untyped = env.untyped(15);
    let node = env.root.cnode.slot_at(0, 0);
    for round in 0..3 {
        for entry in [send as baton_runtime::ThreadEntry, wait, spin] {
            // A thread whose TCB alone comes out of that memory.
            let thread = env.new_thread(PRIORITY - 1);
            let slot = env.slot();
            ok(untyped.retype(ObjectType::Tcb, 0, node, slot.index, 1));
            let tcb = baton_runtime::sel4::Tcb::new(slot.index);
            let spaces = baton_runtime::sel4::Spaces {
                fault_endpoint: 0,
                cspace: env.root.cnode,
                cspace_data: Default::default(),
                vspace: env.root.vspace.root(),
            };
            ok(tcb.configure(&spaces, thread.ipc_buffer, thread.page));
            ok(tcb.set_priority(env.tcb, PRIORITY));
            let argument = if entry as usize == send as *const () as usize {
                endpoint.cptr()
            } else {
                notification.cptr()
            };
            ok(tcb.write_all_registers(true, &thread.context(entry, [argument, 0, 0])));
        }
        baton_runtime::sel4::yield_now();
        baton_runtime::sel4::yield_now();
        ok(env.place(untyped).revoke());
        assert_eq!(endpoint.nb_recv().badge, 0, "round {round}");
        notification.signal();
        notification.poll();
    }
}

fn nested_cnodes(env: &mut Env) {
    let untyped = env.untyped(16);
    let node = env.root.cnode.slot_at(0, 0);
    for _ in 0..5 {
        let slots: [_; 4] = core::array::from_fn(|_| env.slot());
        for slot in &slots {
            ok(untyped.retype(ObjectType::CapTable, 4, node, slot.index, 1));
        }
        // Each holds the next, and the last the first.
        for (index, slot) in slots.iter().enumerate() {
            let next = slots[(index + 1) % slots.len()];
            ok(CNode::new(slot.index).slot_at(3, 4).copy_from(next, ALL));
            ok(CNode::new(slot.index).slot_at(4, 4).copy_from(*slot, ALL));
        }
        for slot in &slots[1..] {
            ok(slot.delete());
        }
        ok(slots[0].delete());
        ok(env.place(untyped).revoke());
        // All of it is free.
        ok(untyped.retype(ObjectType::Untyped, 16, node, slots[0].index, 1));
        ok(env.place(untyped).revoke());
    }
}

fn delete_own_cspace_copy(env: &mut Env) {
    // A process's capability space, with its thread's own capability to it.
    let parent = env.endpoint();
    let process = env.new_process_of(parent, 1, PRIORITY + 1, &[9], &[]);
    let copy = env.slot();
    ok(copy.copy_from(env.place(process.cnode), ALL));
    ok(copy.revoke());
    // The original goes; the copy still holds the object.
    ok(env.place(process.cnode).delete());
    let endpoint = env.endpoint();
    let size = process.cnode_size_bits;
    ok(CNode::new(copy.index)
        .slot_at(40, size)
        .copy_from(env.place(endpoint), ALL));
    assert_eq!(
        CNode::new(copy.index)
            .slot_at(40, size)
            .copy_from(env.place(endpoint), ALL),
        Err(Error::DeleteFirst)
    );
}

fn processes(env: &mut Env) {
    let parent = env.endpoint();
    for round in 0..6 {
        let process = env.new_process_of(parent, round + 1, PRIORITY + 1, &[5], &[]);
        let endpoint = env.endpoint();
        let gift = env.gift(endpoint, ALL);
        ok(process.give(baton_runtime::process::slots::GIVEN, &gift));
        ok(process.start());
        assert_eq!(endpoint.recv().length(), 0);
        // In the middle of its sends, everything that it is goes.
        let everything = [
            process.tcb.cptr(),
            process.cnode.cptr(),
            process.vspace.root().cptr(),
        ];
        for cptr in everything {
            let slot = env.root.cnode.slot(cptr);
            ok(slot.revoke());
            ok(slot.delete());
        }
        assert_eq!(endpoint.nb_recv().badge, 0);
    }
}
