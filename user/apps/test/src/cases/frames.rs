//! Frames that address spaces share, and messages about them.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::probe;
use crate::shared;
use baton_runtime::ObjectSource;
use baton_runtime::sel4::{
    CapRights, Capability, Endpoint, Message, ObjectType, Page, VmAttributes, ipc_buffer,
};

cases! {
    shared_between_processes: "what one process writes to a shared frame, the other reads",
    twice_here: "a frame that is mapped twice shows the same in both places",
    large_frame_shared: "a frame of 2 MiB is shared between address spaces, to its last word",
    read_only_in_process: "a frame that a process has for reading is not written by it",
    sent_by_message: "a frame's capability that goes with a message is mapped by its receiver",
    revoked_from_process: "revoking a frame takes it from the process that has a copy",
    buffers_in_one_frame: "IPC buffers of four threads in one frame do not touch one another",
    buffer_in_large_frame: "an IPC buffer can be anywhere in a frame of 2 MiB",
    buffer_of_another: "words beyond the fourth go from buffer to buffer, whichever frames these are in",
    code_in_frame: "code that was written to a frame runs in a process",
    all_memory: "every page of a region is there, and is no other's",
}

const READ: u64 = 2;
const WRITE: u64 = 3;
const EXECUTE: u64 = 4;
const THERE: u64 = 0x20_0000_0000;
const ALL: CapRights = CapRights::ALL;

/// Starts a process that has a copy of the page, and returns what it says in the end.
fn run_with(
    env: &mut Env,
    page: Page,
    rights: CapRights,
    attributes: VmAttributes,
    arguments: &[u64],
) -> (u64, u64) {
    let parent = env.endpoint();
    let process = env.new_process_of(parent, 1, PRIORITY + 1, arguments, &[]);
    let copy = env.copy(page);
    ok(process
        .vspace
        .map(&mut env.arena, copy, THERE, rights, attributes));
    ok(process.start());
    let received = parent.recv();
    (received.label(), received.mrs[0])
}

const EXIT: u64 = baton_runtime::protocol::EXIT;
const VM_FAULT: u64 = 5;
const DATA: VmAttributes = VmAttributes::EXECUTE_NEVER;

fn shared_between_processes(env: &mut Env) {
    let page = env.page();
    let mapped = env.map(page);
    let rights = CapRights::READ_WRITE;
    assert_eq!(
        run_with(env, page, rights, DATA, &[WRITE, THERE + 16, 0xfeed]),
        (EXIT, 0xfeed)
    );
    assert_eq!(mapped.read(16), 0xfeed);
    mapped.write(24, 0xbeef);
    assert_eq!(
        run_with(env, page, rights, DATA, &[READ, THERE + 24]),
        (EXIT, 0xbeef)
    );
}

fn twice_here(env: &mut Env) {
    let page = env.page();
    let copy = env.copy(page);
    let (first, second) = (env.map(page), env.map(copy));
    assert_ne!(first.address(), second.address());
    for offset in [0, 8, 4088] {
        first.write(offset, offset + 3);
        assert_eq!(second.read(offset), offset + 3);
    }
    assert_eq!(ok(page.address()), ok(copy.address()));
}

fn large(env: &mut Env) -> Page {
    Page::new(ok(env.arena.object(ObjectType::MegaPage, 0)))
}

fn large_frame_shared(env: &mut Env) {
    let page = large(env);
    let mapped = ok(env.window.map(&mut env.arena, page, 21));
    let last = (1 << 21) - 8;
    mapped.write(0, 11);
    mapped.write(last, 22);
    let rights = CapRights::READ;
    assert_eq!(
        run_with(env, page, rights, DATA, &[READ, THERE]),
        (EXIT, 11)
    );
    assert_eq!(
        run_with(env, page, rights, DATA, &[READ, THERE + last]),
        (EXIT, 22)
    );
}

fn read_only_in_process(env: &mut Env) {
    let page = env.page();
    let mapped = env.map(page);
    let (label, _) = run_with(env, page, CapRights::READ, DATA, &[WRITE, THERE, 1]);
    assert_eq!((label, mapped.read(0)), (VM_FAULT, 0));
    // A capability without the write right cannot be mapped for writing, whatever is asked for.
    let weak = env.mint(page, CapRights::READ, 0);
    let (label, _) = run_with(env, weak, CapRights::READ_WRITE, DATA, &[WRITE, THERE, 1]);
    assert_eq!((label, mapped.read(0)), (VM_FAULT, 0));
}

extern "C" fn send_page(endpoint: u64, page: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::with_caps(1, &[], &[page]));
}

fn sent_by_message(env: &mut Env) {
    let (endpoint, page) = (env.endpoint(), env.page());
    let mapped = env.map(page);
    mapped.write(8, 0x77);
    env.thread(PRIORITY - 1, send_page, [endpoint.cptr(), page.cptr(), 0]);
    let slot = env.slot();
    ipc_buffer().set_receive_slot(env.root.cnode.cptr(), slot.index, 64);
    assert_eq!(endpoint.recv().info.extra_caps(), 1);
    let received = env.map(Page::new(slot.index));
    assert_eq!(received.read(8), 0x77);
    received.write(8, 0x78);
    assert_eq!(mapped.read(8), 0x78);
}

fn revoked_from_process(env: &mut Env) {
    let parent = env.endpoint();
    let (page, faults) = (env.page(), parent);
    let process = env.new_process_of(faults, 1, PRIORITY + 1, &[READ, THERE], &[]);
    let copy = env.copy(page);
    ok(process.vspace.map(&mut env.arena, copy, THERE, ALL, DATA));
    ok(env.place(page).revoke());
    ok(process.start());
    let received = parent.recv();
    assert_eq!((received.label(), received.mrs[1]), (VM_FAULT, THERE));
    assert!(copy.address().is_err());
}

extern "C" fn send_twelve(endpoint: u64, seed: u64, _: u64) {
    let words: [u64; 12] = core::array::from_fn(|index| seed * 100 + index as u64);
    Endpoint::new(endpoint).send(&Message::new(seed, &words));
}

fn buffers_in_one_frame(env: &mut Env) {
    let (endpoint, page) = (env.endpoint(), env.page());
    let mapped = env.map(page);
    for seed in 0..4 {
        let thread = env.new_thread(PRIORITY + 1);
        let address = mapped.address() + seed * 1024;
        ok(thread.tcb.set_ipc_buffer(address, page));
        // Its area says where the buffer is: one of its own, in the second half of the page that it had.
        let mut context = thread.context(send_twelve, [endpoint.cptr(), seed, 0]);
        let area = env.page();
        let area = env.map(area);
        area.write(0, address);
        area.write(8, thread.tcb.cptr());
        context.tp = area.address();
        ok(thread.tcb.write_all_registers(true, &context));
    }
    for seed in 0..4 {
        let received = endpoint.recv();
        assert_eq!((received.label(), received.length()), (seed, 12));
        for index in 0..12 {
            assert_eq!(received.word(index), seed * 100 + index as u64);
        }
        // Word 4 of the sender's buffer, behind the tag and words 0 to 3.
        assert_eq!(mapped.read(seed * 1024 + 5 * 8), seed * 100 + 4);
    }
}

fn buffer_in_large_frame(env: &mut Env) {
    let (endpoint, page) = (env.endpoint(), large(env));
    let mapped = ok(env.window.map(&mut env.arena, page, 21));
    let endpoint_words = [0, 1 << 12, (1 << 21) - 1024];
    for offset in endpoint_words {
        let thread = env.thread(PRIORITY + 1, receive, [endpoint.cptr(), 0, 0]);
        ok(thread.tcb.set_ipc_buffer(mapped.address() + offset, page));
        endpoint.send(&Message::new(0, &[1, 2, 3, 4, 5, offset + 6]));
        assert_eq!(mapped.read(offset + 6 * 8), offset + 6);
        assert_eq!(shared::get(0), 6);
    }
}

extern "C" fn receive(endpoint: u64, index: u64, _: u64) {
    let received = Endpoint::new(endpoint).recv();
    shared::set(index as usize, received.info.length());
}

fn buffer_of_another(env: &mut Env) {
    let endpoint = env.endpoint();
    let (first, second) = (env.page(), large(env));
    let here = env.map(first);
    let there = ok(env.window.map(&mut env.arena, second, 21));
    let sender = env.new_thread(PRIORITY - 1);
    ok(sender.tcb.set_ipc_buffer(here.address() + 1024, first));
    let area = env.page();
    let area = env.map(area);
    area.write(0, here.address() + 1024);
    area.write(8, sender.tcb.cptr());
    let mut context = sender.context(send_twelve, [endpoint.cptr(), 7, 0]);
    context.tp = area.address();
    let receiver = env.thread(PRIORITY + 1, receive, [endpoint.cptr(), 0, 0]);
    ok(receiver.tcb.set_ipc_buffer(there.address() + 8192, second));
    ok(sender.tcb.write_all_registers(true, &context));
    let done = env.notification();
    env.thread(1, signal, [done.cptr(), 0, 0]);
    done.wait();
    for index in 4..12 {
        assert_eq!(there.read(8192 + 8 + index * 8), 700 + index);
    }
    assert_eq!(shared::get(0), 12);
}

extern "C" fn signal(notification: u64, _: u64, _: u64) {
    baton_runtime::sel4::Notification::new(notification).signal();
}

fn code_in_frame(env: &mut Env) {
    let page = env.page();
    let mapped = env.map(page);
    mapped.write_u32(64, probe::RETURN_42[0]);
    mapped.write_u32(68, probe::RETURN_42[1]);
    let rights = CapRights::READ;
    let arguments = [EXECUTE, THERE + 64];
    assert_eq!(
        run_with(env, page, rights, VmAttributes::DEFAULT, &arguments),
        (EXIT, 42)
    );
    let (label, address) = run_with(env, page, rights, DATA, &arguments);
    assert_eq!((label, address), (VM_FAULT, THERE + 64));
}

fn all_memory(env: &mut Env) {
    const PAGES: u64 = 512;
    let mut mapped = [None; PAGES as usize];
    for (index, place) in mapped.iter_mut().enumerate() {
        let page = env.page();
        let frame = env.map(page);
        assert_eq!(frame.read(0), 0);
        frame.write(0, index as u64 + 1);
        frame.write(4088, !(index as u64));
        *place = Some(frame);
    }
    for (index, frame) in mapped.iter().flatten().enumerate() {
        assert_eq!(
            (frame.read(0), frame.read(4088)),
            (index as u64 + 1, !(index as u64))
        );
    }
}
