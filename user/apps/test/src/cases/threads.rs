//! Threads: their registers, their spaces, their life.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::{
    CNode, CNodeCapData, Capability, Endpoint, Error, Message, ObjectType, PageTable, Spaces,
    UserContext, yield_now,
};

cases! {
    write_and_read: "all registers that are written are read again",
    write_some: "writing some registers leaves the others",
    write_resumes: "writing registers starts the thread if it is told to",
    read_suspends: "reading registers stops the thread if it is told to",
    copy_frame: "copying the frame group copies the first sixteen registers",
    copy_integer: "copying the integer group copies the last sixteen",
    copy_suspends_and_resumes: "copying registers stops the source and starts the target if it is told to",
    own_registers: "a thread cannot read or write its own registers",
    user_cannot_write_status: "registers that are written cannot make a thread privileged",
    suspend_self: "a thread that stops itself stops within the call, and makes it again when resumed",
    delete_running: "deleting a thread ends it",
    delete_while_sending: "a thread that is deleted while it sends is out of the queue",
    suspend_while_sending: "a thread that is suspended while it sends sends again when resumed",
    suspend_while_receiving: "a thread that is suspended while it receives is out of the queue",
    configure_checks: "configuring checks spaces and buffer",
    buffer_alignment: "an IPC buffer that is not aligned is refused",
    buffer_moves: "an IPC buffer can be moved while the thread waits",
    buffer_is_revoked: "a thread whose IPC buffer's frame is revoked gets four words and no more",
    set_space_moves: "a thread that gets another address space runs there",
    resume_unconfigured: "a thread without spaces cannot run, and harms nobody",
    flags: "flags are set, cleared and returned",
    many_threads: "a hundred threads run and end",
}

extern "C" fn nothing(_: u64, _: u64, _: u64) {
    shared::add(0, 1);
}

fn context(seed: u64) -> UserContext {
    let words = core::array::from_fn(|index| seed + index as u64 * 16);
    UserContext::from_words(&words)
}

fn write_and_read(env: &mut Env) {
    let tcb = env.bare_tcb();
    ok(tcb.write_all_registers(false, &context(0x1000)));
    assert_eq!(ok(tcb.read_registers(false, 32)), context(0x1000));
    let some = ok(tcb.read_registers(false, 3));
    assert_eq!((some.pc, some.sp, some.gp, some.a0), (0x1000, 0x1020, 0, 0));
}

fn write_some(env: &mut Env) {
    let tcb = env.bare_tcb();
    ok(tcb.write_all_registers(false, &context(0x1000)));
    ok(tcb.write_registers(false, 2, &context(0x8000)));
    let found = ok(tcb.read_registers(false, 32));
    assert_eq!((found.pc, found.ra, found.sp), (0x8000, 0x8010, 0x1020));
    assert_eq!(found.tp, context(0x1000).tp);
}

fn write_resumes(env: &mut Env) {
    let thread = env.new_thread(PRIORITY + 1);
    let context = thread.context(nothing, [0; 3]);
    ok(thread.tcb.write_all_registers(false, &context));
    assert_eq!(shared::get(0), 0);
    ok(thread.tcb.write_all_registers(true, &context));
    assert_eq!(shared::get(0), 1);
}

extern "C" fn count_and_yield(_: u64, _: u64, _: u64) {
    loop {
        shared::add(0, 1);
        yield_now();
    }
}

fn read_suspends(env: &mut Env) {
    let thread = env.thread(PRIORITY, count_and_yield, [0; 3]);
    yield_now();
    ok(thread.tcb.read_registers(false, 32));
    let before = shared::get(0);
    yield_now();
    assert!(shared::get(0) > before);
    ok(thread.tcb.read_registers(true, 32));
    let before = shared::get(0);
    yield_now();
    assert_eq!(shared::get(0), before);
    ok(thread.tcb.resume());
    yield_now();
    assert!(shared::get(0) > before);
}

fn copied(env: &mut Env, frame: bool, integer: bool) -> [u64; 32] {
    let (from, to) = (env.bare_tcb(), env.bare_tcb());
    ok(from.write_all_registers(false, &context(0x1000)));
    ok(to.write_all_registers(false, &context(0x8000)));
    ok(to.copy_registers(from, false, false, frame, integer));
    ok(to.read_registers(false, 32)).to_words()
}

fn copy_frame(env: &mut Env) {
    let words = copied(env, true, false);
    assert_eq!(words[..16], context(0x1000).to_words()[..16]);
    assert_eq!(words[16..], context(0x8000).to_words()[16..]);
}

fn copy_integer(env: &mut Env) {
    let words = copied(env, false, true);
    assert_eq!(words[..16], context(0x8000).to_words()[..16]);
    assert_eq!(words[16..], context(0x1000).to_words()[16..]);
    let words = copied(env, true, true);
    assert_eq!(words, context(0x1000).to_words());
}

fn copy_suspends_and_resumes(env: &mut Env) {
    let source = env.thread(PRIORITY, count_and_yield, [0; 3]);
    yield_now();
    let target = env.new_thread(PRIORITY + 1);
    ok(target
        .tcb
        .write_all_registers(false, &target.context(nothing, [0; 3])));
    let before = shared::get(0);
    ok(target
        .tcb
        .copy_registers(source.tcb, true, true, false, false));
    yield_now();
    yield_now();
    // The target ran once; the source not any more.
    assert_eq!(shared::get(0), before + 1);
}

fn own_registers(env: &mut Env) {
    assert_eq!(
        env.tcb.read_registers(false, 32),
        Err(Error::IllegalOperation)
    );
    let context = UserContext::default();
    assert_eq!(
        env.tcb.write_all_registers(false, &context),
        Err(Error::IllegalOperation)
    );
}

fn user_cannot_write_status(env: &mut Env) {
    // Every register of a thread is set to all ones: it faults at once, as a user.
    let faults = env.endpoint();
    let thread = env.new_faulting_thread(PRIORITY + 1, faults.cptr());
    let words = [u64::MAX; 32];
    ok(thread
        .tcb
        .write_all_registers(true, &UserContext::from_words(&words)));
    let received = faults.nb_recv();
    assert!(baton_runtime::sel4::Fault::from_message(&received).is_some());
}

extern "C" fn stop(tcb: u64, _: u64, _: u64) {
    shared::set(0, 1);
    ok(baton_runtime::sel4::Tcb::new(tcb).suspend());
    shared::set(0, 2);
}

fn suspend_self(env: &mut Env) {
    let thread = env.new_thread(PRIORITY + 1);
    ok(thread.start(stop, [thread.tcb.cptr(), 0, 0]));
    assert_eq!(shared::get(0), 1);
    // Resumed, it makes the call again: it stopped within.
    ok(thread.tcb.resume());
    assert_eq!(shared::get(0), 1);
    // Behind the call, it goes on with an answer that says success.
    let mut context = ok(thread.tcb.read_registers(false, 32));
    context.pc += 4;
    context.a1 = 0;
    ok(thread.tcb.write_all_registers(true, &context));
    assert_eq!(shared::get(0), 2);
}

fn delete_running(env: &mut Env) {
    let thread = env.thread(PRIORITY, count_and_yield, [0; 3]);
    yield_now();
    assert!(shared::get(0) > 0);
    ok(env.place(thread.tcb).delete());
    let before = shared::get(0);
    yield_now();
    yield_now();
    assert_eq!(shared::get(0), before);
}

extern "C" fn send(endpoint: u64, word: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(9, &[word]));
    shared::set(word as usize, 1);
}

extern "C" fn receive(endpoint: u64, index: u64, _: u64) {
    let received = Endpoint::new(endpoint).recv();
    shared::set(index as usize, received.mrs[0]);
}

fn delete_while_sending(env: &mut Env) {
    let endpoint = env.endpoint();
    let threads = [1, 2, 3].map(|word| env.thread(PRIORITY + 1, send, [endpoint.cptr(), word, 0]));
    ok(env.place(threads[1].tcb).delete());
    assert_eq!([endpoint.recv().mrs[0], endpoint.recv().mrs[0]], [1, 3]);
    assert_eq!(endpoint.nb_recv().label(), 0);
}

fn suspend_while_sending(env: &mut Env) {
    let endpoint = env.endpoint();
    let threads = [1, 2].map(|word| env.thread(PRIORITY + 1, send, [endpoint.cptr(), word, 0]));
    ok(threads[0].tcb.suspend());
    assert_eq!(endpoint.recv().mrs[0], 2);
    ok(threads[0].tcb.resume());
    assert_eq!(shared::get(1), 0);
    assert_eq!(endpoint.recv().mrs[0], 1);
    assert_eq!(shared::get(1), 1);
}

fn suspend_while_receiving(env: &mut Env) {
    let endpoint = env.endpoint();
    let threads =
        [1, 2].map(|index| env.thread(PRIORITY + 1, receive, [endpoint.cptr(), index, 0]));
    ok(threads[0].tcb.suspend());
    endpoint.send(&Message::new(0, &[30]));
    assert_eq!((shared::get(1), shared::get(2)), (0, 30));
    ok(threads[0].tcb.resume());
    endpoint.send(&Message::new(0, &[40]));
    assert_eq!(shared::get(1), 40);
}

fn configure_checks(env: &mut Env) {
    let tcb = env.bare_tcb();
    let (page, endpoint) = (env.page(), env.endpoint());
    let mapped = env.map(page);
    let unassigned = PageTable::new(ok(baton_runtime::ObjectSource::object(
        &mut env.arena,
        ObjectType::PageTable,
        0,
    )));
    let good = Spaces {
        fault_endpoint: 0,
        cspace: env.root.cnode,
        cspace_data: CNodeCapData::default(),
        vspace: env.root.vspace.root(),
    };
    ok(tcb.configure(&good, mapped.address(), page));
    let bad = [
        Spaces {
            cspace: CNode::new(endpoint.cptr()),
            ..good
        },
        Spaces {
            vspace: PageTable::new(endpoint.cptr()),
            ..good
        },
        Spaces {
            vspace: unassigned,
            ..good
        },
    ];
    for spaces in bad {
        assert!(tcb.configure(&spaces, mapped.address(), page).is_err());
        assert!(tcb.set_space(&spaces).is_err());
    }
    let not_a_frame = baton_runtime::sel4::Page::new(endpoint.cptr());
    assert!(tcb.configure(&good, mapped.address(), not_a_frame).is_err());
}

fn buffer_alignment(env: &mut Env) {
    let (tcb, page) = (env.bare_tcb(), env.page());
    let address = env.map(page).address();
    for offset in [8, 512, 1023] {
        assert_eq!(
            tcb.set_ipc_buffer(address + offset, page),
            Err(Error::AlignmentError)
        );
    }
    for offset in [0, 1024, 3072] {
        ok(tcb.set_ipc_buffer(address + offset, page));
    }
}

extern "C" fn receive_five(endpoint: u64, _: u64, _: u64) {
    let received = Endpoint::new(endpoint).recv();
    shared::set(0, received.info.length());
}

fn buffer_moves(env: &mut Env) {
    let endpoint = env.endpoint();
    let thread = env.thread(PRIORITY + 1, receive_five, [endpoint.cptr(), 0, 0]);
    let page = env.page();
    let mapped = env.map(page);
    ok(thread.tcb.set_ipc_buffer(mapped.address() + 2048, page));
    endpoint.send(&Message::new(0, &[1, 2, 3, 4, 55]));
    // The fifth word, behind the tag and four words of the buffer.
    assert_eq!((shared::get(0), mapped.read(2048 + 5 * 8)), (5, 55));
}

fn buffer_is_revoked(env: &mut Env) {
    let endpoint = env.endpoint();
    let thread = env.thread(PRIORITY + 1, receive_five, [endpoint.cptr(), 0, 0]);
    let page = env.page();
    let mapped = env.map(page);
    ok(thread.tcb.set_ipc_buffer(mapped.address(), page));
    // The thread holds the frame as well, so that deleting would not do.
    ok(env.place(page).revoke());
    endpoint.send(&Message::new(0, &[1, 2, 3, 4, 55]));
    assert_eq!(shared::get(0), 4);
}

extern "C" fn count_and_stop(tcb: u64, _: u64, _: u64) {
    shared::add(0, 1);
    ok(baton_runtime::sel4::Tcb::new(tcb).suspend());
}

fn set_space_moves(env: &mut Env) {
    // A process's thread that is given this program's address space runs this program's code.
    let process = env.new_process(PRIORITY + 1, &[0], &[]);
    let stack = env.new_thread(PRIORITY);
    let spaces = Spaces {
        fault_endpoint: 0,
        cspace: env.root.cnode,
        cspace_data: CNodeCapData::default(),
        vspace: env.root.vspace.root(),
    };
    ok(process.tcb.set_space(&spaces));
    let context = stack.context(count_and_stop, [process.tcb.cptr(), 0, 0]);
    ok(process.tcb.write_all_registers(true, &context));
    assert_eq!(shared::get(0), 1);
}

fn resume_unconfigured(env: &mut Env) {
    let tcb = env.bare_tcb();
    ok(tcb.set_priority(env.tcb, PRIORITY + 1));
    ok(tcb.resume());
    ok(tcb.write_all_registers(true, &UserContext::default()));
    ok(env.place(tcb).delete());
}

fn flags(env: &mut Env) {
    let tcb = env.bare_tcb();
    assert_eq!(tcb.set_flags(0, 0), Ok(0));
    assert_eq!(tcb.set_flags(0, 1), Ok(1));
    assert_eq!(tcb.set_flags(0, 0), Ok(1));
    // What is set wins over what is cleared, and unknown flags are not kept.
    assert_eq!(tcb.set_flags(1, 1), Ok(1));
    assert_eq!(tcb.set_flags(u64::MAX, 0), Ok(0));
    assert_eq!(tcb.set_flags(0, u64::MAX), Ok(1));
}

fn many_threads(env: &mut Env) {
    for _ in 0..100 {
        env.thread(PRIORITY + 1, nothing, [0; 3]);
    }
    assert_eq!(shared::get(0), 100);
}
