//! Faults: what they say, where they go, and how a reply goes on.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::probe;
use crate::shared;
use baton_runtime::sel4::abi::USER_TOP;
use baton_runtime::sel4::abi::fault::{unknown_syscall, user_exception};
use baton_runtime::sel4::{
    CapRights, Capability, Endpoint, Fault, Message, Received, VmAttributes, reply,
    syscall_registers,
};
use baton_runtime::{Thread, ThreadEntry};

cases! {
    read_unmapped: "reading where nothing is mapped",
    write_unmapped: "writing where nothing is mapped",
    execute_unmapped: "executing where nothing is mapped",
    write_read_only: "writing to a page that is mapped for reading",
    execute_never: "executing a page that is mapped execute-never",
    kernel_address: "reading an address of the kernel",
    resumes_after_mapping: "an answer to a page fault makes the access again",
    label_keeps_stopped: "an answer to an exception with another label leaves the thread stopped",
    illegal_instruction: "an illegal instruction, and going on elsewhere",
    breakpoint: "a breakpoint",
    unknown_call: "an unknown system call arrives with its registers, and the answer sets them",
    badge_tells: "the badge of the fault endpoint tells threads apart",
    without_handler: "a fault without handler stops the thread",
    handler_needs_grant: "a handler capability that may not send and grant stops the thread",
    handler_can_wait: "a fault waits until the handler receives",
    process_faults: "faults of processes in other address spaces: read, write, execute",
    process_overflow: "a process that overflows its stack faults on the page below it",
    process_panic: "a process that panics says why and where",
    suspended_while_faulting: "a thread that is suspended while its fault waits is out of the queue",
    restarts_with_registers: "a faulting thread can be given other registers and resumed",
}

extern "C" fn read(address: u64, index: u64, _: u64) {
    let value = probe::read(address);
    shared::set(index as usize, 1 + value);
}

extern "C" fn write(address: u64, value: u64, _: u64) {
    probe::write(address, value);
    shared::set(0, 1);
}

extern "C" fn execute(address: u64, _: u64, _: u64) {
    let value = probe::execute(address);
    shared::set(0, value);
}

extern "C" fn illegal(_: u64, _: u64, _: u64) {
    probe::illegal_instruction();
    shared::set(0, 1);
}

extern "C" fn break_here(_: u64, _: u64, _: u64) {
    probe::breakpoint();
    shared::set(0, 1);
}

/// Runs a thread whose fault arrives at the endpoint that is returned with it.
fn faulting(env: &mut Env, entry: ThreadEntry, words: [u64; 3]) -> (Thread, Endpoint) {
    let faults = env.endpoint();
    let thread = env.new_faulting_thread(PRIORITY + 1, faults.cptr());
    ok(thread.start(entry, words));
    (thread, faults)
}

#[track_caller]
fn fault(received: &Received) -> Fault {
    let Some(fault) = Fault::from_message(received) else {
        panic!("a message of label {}", received.label())
    };
    fault
}

#[track_caller]
fn assert_vm(received: &Received, expected_address: u64, expected_fsr: u64) -> u64 {
    let fault = fault(received);
    let Fault::Vm {
        ip,
        address,
        prefetch,
        fsr,
    } = fault
    else {
        panic!("another fault: {fault}");
    };
    assert_eq!(received.length(), 4);
    assert_eq!(
        (address, fsr, prefetch),
        (expected_address, expected_fsr, expected_fsr == 1)
    );
    ip
}

fn read_unmapped(env: &mut Env) {
    let hole = env.hole() + 0x18;
    let (_, faults) = faulting(env, read, [hole, 0, 0]);
    let ip = assert_vm(&faults.recv(), hole, 5);
    assert!(
        (0x10000..0x100_0000).contains(&ip),
        "{ip:#x} is an address of this program"
    );
    assert_eq!(shared::get(0), 0);
}

fn write_unmapped(env: &mut Env) {
    let hole = env.hole();
    let (_, faults) = faulting(env, write, [hole, 1, 0]);
    assert_vm(&faults.recv(), hole, 7);
    assert_eq!(shared::get(0), 0);
}

fn execute_unmapped(env: &mut Env) {
    let hole = env.hole();
    let (_, faults) = faulting(env, execute, [hole, 0, 0]);
    assert_eq!(assert_vm(&faults.recv(), hole, 1), hole);
}

fn write_read_only(env: &mut Env) {
    let (page, address) = (env.page(), env.hole());
    let vspace = env.root.vspace;
    ok(vspace.map(
        &mut env.arena,
        page,
        address,
        CapRights::READ,
        VmAttributes::EXECUTE_NEVER,
    ));
    env.thread(PRIORITY + 1, read, [address, 0, 0]);
    assert_eq!(shared::get(0), 1);
    shared::set(0, 0);
    let (_, faults) = faulting(env, write, [address, 1, 0]);
    assert_vm(&faults.recv(), address, 7);
    assert_eq!(shared::get(0), 0);
}

fn execute_never(env: &mut Env) {
    let page = env.page();
    let mapped = env.map(page);
    mapped.write_u32(0, probe::RETURN_42[0]);
    mapped.write_u32(4, probe::RETURN_42[1]);
    let address = mapped.address();
    let (_, faults) = faulting(env, execute, [address, 0, 0]);
    assert_vm(&faults.recv(), address, 1);
    // Mapped again without the attribute, it runs.
    ok(mapped.unmap(page));
    let vspace = env.root.vspace;
    ok(vspace.map(
        &mut env.arena,
        page,
        address,
        CapRights::READ_WRITE,
        VmAttributes::DEFAULT,
    ));
    env.thread(PRIORITY + 1, execute, [address, 0, 0]);
    assert_eq!(shared::get(0), 42);
}

fn kernel_address(env: &mut Env) {
    let address = 0xffff_ffff_8020_0000;
    let (_, faults) = faulting(env, read, [address, 0, 0]);
    assert_vm(&faults.recv(), address, 5);
    // The first that user space cannot have, and one that is not canonical.
    for address in [USER_TOP + 0x8, 0x8000_0000_0000] {
        let (_, faults) = faulting(env, read, [address, 0, 0]);
        assert_vm(&faults.recv(), address, 5);
    }
}

fn resumes_after_mapping(env: &mut Env) {
    let address = env.hole();
    let (_, faults) = faulting(env, write, [address, 0x1234, 0]);
    assert_vm(&faults.recv(), address, 7);
    let page = env.page();
    let mapped = ok(env.window.map_at(&mut env.arena, page, address, 12));
    reply(&Message::new(0, &[]));
    assert_eq!((shared::get(0), mapped.read(0)), (1, 0x1234));
}

fn label_keeps_stopped(env: &mut Env) {
    let (thread, faults) = faulting(env, illegal, [0; 3]);
    let (ip, ..) = exception(&faults.recv());
    reply(&Message::new(1, &[ip + 4]));
    assert_eq!(shared::get(0), 0);
    ok(thread.tcb.resume());
    assert_eq!(shared::get(0), 1);
}

fn exception(received: &Received) -> (u64, u64, u64, u64) {
    let fault = fault(received);
    let Fault::UserException {
        ip,
        sp,
        number,
        code,
    } = fault
    else {
        panic!("another fault: {fault}");
    };
    assert_eq!(received.length(), user_exception::LENGTH);
    (ip, sp, number, code)
}

fn illegal_instruction(env: &mut Env) {
    let (_, faults) = faulting(env, illegal, [0; 3]);
    let received = faults.recv();
    let (ip, sp, number, code) = exception(&received);
    assert_eq!((number, code), (2, 0));
    assert_eq!(received.word(user_exception::SP), sp);
    // The answer sets the address at which it goes on: behind the instruction.
    reply(&Message::new(0, &[ip + 4, sp]));
    assert_eq!(shared::get(0), 1);
}

fn breakpoint(env: &mut Env) {
    let (_, faults) = faulting(env, break_here, [0; 3]);
    let (ip, _, number, code) = exception(&faults.recv());
    assert_eq!((number, code), (3, 0));
    reply(&Message::new(0, &[ip + 4]));
    assert_eq!(shared::get(0), 1);
}

extern "C" fn unknown(_: u64, _: u64, _: u64) {
    let after = syscall_registers(-77_777, [10, 11, 12, 13, 14, 15, 16]);
    for (index, word) in after.into_iter().enumerate() {
        shared::set(index, word);
    }
    shared::set(10, 1);
}

fn unknown_call(env: &mut Env) {
    let (thread, faults) = faulting(env, unknown, [0; 3]);
    let received = faults.recv();
    let Fault::UnknownSyscall { ip, sp, number } = fault(&received) else {
        panic!("another fault");
    };
    assert_eq!(number, -77_777);
    assert_eq!(received.length(), unknown_syscall::LENGTH);
    let sent: [u64; 7] = core::array::from_fn(|index| received.word(unknown_syscall::A0 + index));
    assert_eq!(sent, [10, 11, 12, 13, 14, 15, 16]);
    let ra = received.word(unknown_syscall::RA);
    let context = ok(thread.tcb.read_registers(false, 32));
    assert_eq!(
        (context.sp, context.ra, context.a7 as i64),
        (sp, ra, -77_777)
    );
    reply(&Message::new(
        0,
        &[ip + 4, sp, ra, 20, 21, 22, 23, 24, 25, 26],
    ));
    assert_eq!(shared::get(10), 1);
    let seen: [u64; 7] = core::array::from_fn(shared::get);
    assert_eq!(seen, [20, 21, 22, 23, 24, 25, 26]);
}

fn badge_tells(env: &mut Env) {
    let (faults, hole) = (env.endpoint(), env.hole());
    for badge in [5, 6] {
        let badged = env.mint(faults, CapRights::ALL, badge);
        let thread = env.new_faulting_thread(PRIORITY + 1, badged.cptr());
        ok(thread.start(read, [hole, 0, 0]));
    }
    let badges = [faults.recv().badge, faults.recv().badge];
    assert_eq!(badges, [5, 6]);
}

fn without_handler(env: &mut Env) {
    let hole = env.hole();
    let thread = env.new_faulting_thread(PRIORITY + 1, 0);
    ok(thread.start(read, [hole, 0, 0]));
    assert_eq!(shared::get(0), 0);
    let page = env.page();
    ok(env.window.map_at(&mut env.arena, page, hole, 12));
    ok(thread.tcb.resume());
    assert_eq!(shared::get(0), 1);
}

fn handler_needs_grant(env: &mut Env) {
    let (faults, hole) = (env.endpoint(), env.hole());
    let weak = [
        CapRights::READ.union(CapRights::GRANT),
        CapRights::READ_WRITE,
    ];
    for rights in weak {
        let handler = env.mint(faults, rights, 0);
        let thread = env.new_faulting_thread(PRIORITY + 1, handler.cptr());
        ok(thread.start(read, [hole, 0, 0]));
        assert_eq!(faults.nb_recv().label(), 0);
    }
    for right in [CapRights::GRANT, CapRights::GRANT_REPLY] {
        let handler = env.mint(faults, CapRights::WRITE.union(right), 3);
        let thread = env.new_faulting_thread(PRIORITY + 1, handler.cptr());
        ok(thread.start(read, [hole, 0, 0]));
        assert_eq!(faults.nb_recv().badge, 3);
    }
}

fn handler_can_wait(env: &mut Env) {
    let (faults, hole) = (env.endpoint(), env.hole());
    for index in [0, 1, 2] {
        let thread = env.new_faulting_thread(PRIORITY + 1, faults.cptr());
        ok(thread.start(read, [hole + index * 8, index, 0]));
    }
    for index in [0, 1, 2] {
        assert_vm(&faults.recv(), hole + index * 8, 5);
    }
}

const READ: u64 = 2;
const WRITE: u64 = 3;
const EXECUTE: u64 = 4;
const PANIC: u64 = 7;
const OVERFLOW: u64 = 8;

fn process_faults(env: &mut Env) {
    // Mapped here, and in no process.
    let page = env.page();
    let address = env.map(page).address();
    let faults = env.endpoint();
    for (badge, (role, fsr)) in [(READ, 5), (WRITE, 7), (EXECUTE, 1)]
        .into_iter()
        .enumerate()
    {
        let badge = badge as u64 + 1;
        let process = env.new_process_of(faults, badge, PRIORITY + 1, &[role, address], &[]);
        ok(process.start());
        let received = faults.recv();
        assert_eq!(received.badge, badge);
        assert_vm(&received, address, fsr);
    }
}

fn process_overflow(env: &mut Env) {
    let faults = env.endpoint();
    let process = env.new_process_of(faults, 1, PRIORITY + 1, &[OVERFLOW, 0], &[]);
    ok(process.start());
    let received = faults.recv();
    let fault = fault(&received);
    let Fault::Vm { address, fsr, .. } = fault else {
        panic!("another fault: {fault}");
    };
    let below = process.context().sp - 9 * 4096..process.context().sp - 8 * 4096;
    assert_eq!(fsr, 7);
    assert!(
        below.contains(&address),
        "{address:#x} is on the page below the stack"
    );
}

fn process_panic(env: &mut Env) {
    use baton_runtime::protocol::Event;
    let parent = env.endpoint();
    let process = env.new_process_of(parent, 1, PRIORITY + 1, &[PANIC], &[]);
    ok(process.start());
    let Event::Panic(text) = Event::from_message(parent.recv()) else {
        panic!("no panic was reported");
    };
    assert!(
        text.as_str().starts_with("as it was told ("),
        "{}",
        text.as_str()
    );
    assert!(text.as_str().contains("roles.rs:"), "{}", text.as_str());
}

fn suspended_while_faulting(env: &mut Env) {
    let hole = env.hole();
    let (first, faults) = faulting(env, read, [hole, 0, 0]);
    let second = env.new_faulting_thread(PRIORITY + 1, faults.cptr());
    ok(second.start(read, [hole + 8, 0, 0]));
    ok(first.tcb.suspend());
    assert_vm(&faults.recv(), hole + 8, 5);
    assert_eq!(faults.nb_recv().label(), 0);
}

fn restarts_with_registers(env: &mut Env) {
    let (hole, page) = (env.hole(), env.page());
    let mapped = env.map(page);
    mapped.write(0, 54);
    let (thread, faults) = faulting(env, read, [hole, 4, 0]);
    assert_vm(&faults.recv(), hole, 5);
    let context = thread.context(read, [mapped.address(), 4, 0]);
    ok(thread.tcb.write_all_registers(true, &context));
    assert_eq!(shared::get(4), 55);
    // The fault is over: an answer reaches nobody.
    reply(&Message::new(0, &[]));
}
