//! System calls leave alone every register that is not a result.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::probe::{self, AllRegisters};
use crate::shared;
use baton_runtime::sel4::abi::Syscall;
use baton_runtime::sel4::{
    Capability, Endpoint, Label, Message, MessageInfo, Notification, UserContext,
};

cases! {
    yield_keeps: "Yield keeps all registers",
    nb_send_keeps: "NBSend keeps all registers",
    send_keeps: "Send to a waiting receiver keeps all registers",
    nb_recv_keeps: "NBRecv of nothing keeps all but the badge and message info",
    recv_keeps: "Recv from a waiting sender keeps all but the results",
    recv_blocked_keeps: "Recv that waits keeps all but the results",
    call_keeps: "Call to a server keeps all but the results",
    reply_recv_keeps: "ReplyRecv keeps all but the results",
    reply_keeps: "Reply without a caller keeps all registers",
    signal_keeps: "Signal keeps all registers",
    wait_keeps: "Wait keeps all but the badge",
    invocation_keeps: "an invocation keeps all but the results",
    preemption_keeps: "a thread that is preempted finds all registers as they were",
    suspend_keeps: "a thread that is suspended while it runs finds all registers as they were",
}

const A0: usize = 10;
const A1: usize = 11;
const A5: usize = 15;
const A7: usize = 17;
const SP: usize = 2;

fn pattern() -> AllRegisters {
    core::array::from_fn(|index| 0x0101_0101_0101_0101_u64.wrapping_mul(index as u64 + 1))
}

/// Makes the call and checks that only `a0` to `last_result` changed; returns the registers after it.
fn check(
    syscall: Syscall,
    cptr: u64,
    info: MessageInfo,
    first: usize,
    last: usize,
) -> AllRegisters {
    let mut registers = pattern();
    registers[A0] = cptr;
    registers[A1] = info.word();
    registers[A7] = syscall.number() as u64;
    let before = registers;
    probe::all_registers(&mut registers);
    for (index, (old, new)) in before.iter().zip(&registers).enumerate() {
        let is_result = (first..=last).contains(&index);
        if index != 0 && index != SP && !is_result {
            assert_eq!(old, new, "register x{index} after {syscall:?}");
        }
    }
    registers
}

fn check_unchanged(syscall: Syscall, cptr: u64, info: MessageInfo) {
    check(syscall, cptr, info, 1, 0);
}

const EMPTY: MessageInfo = MessageInfo::new(0, 0, 0, 0);
const FOUR: MessageInfo = MessageInfo::new(7, 0, 0, 4);

extern "C" fn receive(endpoint: u64, _: u64, _: u64) {
    let received = Endpoint::new(endpoint).recv();
    for (index, word) in received.mrs.iter().enumerate() {
        shared::set(index, *word);
    }
    shared::set(10, 1);
}

extern "C" fn send_four(endpoint: u64, _: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(7, &[1, 2, 3, 4]));
}

extern "C" fn answer(endpoint: u64, _: u64, _: u64) {
    let received = Endpoint::new(endpoint).recv();
    let words = received.mrs.map(|word| word.wrapping_add(1));
    Endpoint::new(endpoint).reply_recv(&Message::new(8, &words));
}

extern "C" fn call_four(endpoint: u64, _: u64, _: u64) {
    let answer = Endpoint::new(endpoint).call(&Message::new(7, &[1, 2, 3, 4]));
    shared::set(0, answer.mrs[0]);
    Endpoint::new(endpoint).send(&Message::new(7, &[5, 6, 7, 8]));
}

extern "C" fn signal(notification: u64, _: u64, _: u64) {
    Notification::new(notification).signal();
}

fn yield_keeps(_: &mut Env) {
    check_unchanged(Syscall::Yield, 5, EMPTY);
}

fn nb_send_keeps(env: &mut Env) {
    let endpoint = env.endpoint();
    check_unchanged(Syscall::NBSend, endpoint.cptr(), FOUR);
}

fn send_keeps(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, receive, [endpoint.cptr(), 0, 0]);
    check_unchanged(Syscall::Send, endpoint.cptr(), FOUR);
    let sent = pattern();
    for index in 0..4 {
        assert_eq!(shared::get(index), sent[A1 + 1 + index]);
    }
    assert_eq!(shared::get(10), 1);
}

fn nb_recv_keeps(env: &mut Env) {
    let endpoint = env.endpoint();
    let after = check(Syscall::NBRecv, endpoint.cptr(), EMPTY, A0, A1);
    assert_eq!(after[A0], 0);
}

fn recv_keeps(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, send_four, [endpoint.cptr(), 0, 0]);
    let after = check(Syscall::Recv, endpoint.cptr(), EMPTY, A0, A5);
    assert_eq!(after[A1], FOUR.word());
    assert_eq!(after[A1 + 1..=A5], [1, 2, 3, 4]);
}

fn recv_blocked_keeps(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY - 1, send_four, [endpoint.cptr(), 0, 0]);
    let after = check(Syscall::Recv, endpoint.cptr(), EMPTY, A0, A5);
    assert_eq!(after[A1 + 1..=A5], [1, 2, 3, 4]);
}

fn call_keeps(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, answer, [endpoint.cptr(), 0, 0]);
    let after = check(Syscall::Call, endpoint.cptr(), FOUR, A0, A5);
    let sent = pattern();
    assert_eq!(MessageInfo::from_word(after[A1]).label(), 8);
    for index in A1 + 1..=A5 {
        assert_eq!(after[index], sent[index].wrapping_add(1));
    }
}

fn reply_recv_keeps(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY - 1, call_four, [endpoint.cptr(), 0, 0]);
    let received = endpoint.recv();
    assert_eq!(received.mrs, [1, 2, 3, 4]);
    let after = check(Syscall::ReplyRecv, endpoint.cptr(), FOUR, A0, A5);
    assert_eq!(after[A1 + 1..=A5], [5, 6, 7, 8]);
    assert_eq!(shared::get(0), pattern()[A1 + 1]);
}

fn reply_keeps(_: &mut Env) {
    check_unchanged(Syscall::Reply, 0, FOUR);
}

fn signal_keeps(env: &mut Env) {
    let notification = env.notification();
    check_unchanged(Syscall::Send, notification.cptr(), EMPTY);
}

fn wait_keeps(env: &mut Env) {
    let notification = env.notification();
    env.thread(PRIORITY - 1, signal, [notification.cptr(), 0, 0]);
    check(Syscall::Recv, notification.cptr(), EMPTY, A0, A0);
}

fn invocation_keeps(env: &mut Env) {
    let tcb = env.bare_tcb();
    let info = MessageInfo::new(Label::TcbSetTlsBase.number(), 0, 0, 1);
    let after = check(Syscall::Call, tcb.cptr(), info, A0, A5);
    assert_eq!(MessageInfo::from_word(after[A1]).label(), 0);
    let context = ok(tcb.read_registers(false, 32));
    assert_eq!(context.tp, pattern()[A1 + 1]);
}

extern "C" fn spin(index: u64, stop: u64, seed: u64) {
    shared::add(20, 1);
    let changed = probe::spin_until(shared::word(stop as usize), seed);
    shared::set(index as usize, changed + 1);
}

extern "C" fn stop_after(rounds: u64, stop: u64, _: u64) {
    let mut last = shared::get(20);
    for _ in 0..rounds {
        // Each yield gives the spinning threads a whole time slice: they end theirs by being preempted only.
        baton_runtime::sel4::yield_now();
        last = last.wrapping_add(1);
    }
    shared::set(stop as usize, 1);
    core::hint::black_box(last);
}

fn preemption_keeps(env: &mut Env) {
    env.thread(PRIORITY - 1, spin, [0, 3, 1000]);
    env.thread(PRIORITY - 1, spin, [1, 3, 500_000]);
    env.thread(PRIORITY - 1, stop_after, [4, 3, 0]);
    let done = env.notification();
    env.thread(PRIORITY - 2, signal, [done.cptr(), 0, 0]);
    done.wait();
    assert_eq!((shared::get(0), shared::get(1)), (1, 1));
}

fn suspend_keeps(env: &mut Env) {
    let thread = env.thread(PRIORITY - 1, spin, [0, 3, 77]);
    let done = env.notification();
    // The spinning thread is preempted by this one, suspended, and resumed.
    let waker = env.new_thread(PRIORITY - 1);
    for _ in 0..3 {
        ok(waker.start(signal, [done.cptr(), 0, 0]));
        done.wait();
        ok(thread.tcb.suspend());
        let context: UserContext = ok(thread.tcb.read_registers(false, 32));
        ok(thread.tcb.write_all_registers(true, &context));
    }
    shared::set(3, 1);
    let last = env.new_thread(PRIORITY - 2);
    ok(last.start(signal, [done.cptr(), 0, 0]));
    done.wait();
    assert_eq!(shared::get(0), 1);
}
