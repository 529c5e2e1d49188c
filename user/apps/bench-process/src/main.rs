//! The other side of the benchmark root task, in an address space of its own: it waits to be told what to do, and does that until it is
//! started again.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

use baton_counting::order::{CALL, CAME, INFO, LEFT, SERVE, SERVE_COUNTING, USES_FPU, WAIT, YIELD};
use baton_counting::{Fpu, Mailbox, answer_signals, call, call_forever, serve, yield_forever};
use baton_runtime::StartInfo;
use baton_runtime::sel4::abi::Syscall;
use baton_runtime::sel4::{Capability, Endpoint, Notification};

baton_runtime::process!(main);

fn main(info: &'static StartInfo) -> u64 {
    let control: Endpoint = info.given(0);
    let service: Endpoint = info.given(1);
    let signals: Notification = info.given(2);
    let answers: Notification = info.given(3);
    let order = control.recv();
    let fpu = if order.word(USES_FPU) == 0 {
        Fpu::Leave
    } else {
        Fpu::Use
    };
    match order.label() {
        SERVE => serve(fpu, service.cptr(), order.word(INFO)),
        SERVE_COUNTING => serve_counting(fpu, service, mailbox(info)),
        CALL => call_forever(fpu, service.cptr(), order.word(INFO)),
        YIELD => yield_forever(fpu),
        WAIT => answer_signals(fpu, signals.cptr(), answers.cptr()),
        other => panic!("there is no order {other}"),
    }
}

fn serve_counting(fpu: Fpu, service: Endpoint, mailbox: Mailbox) -> ! {
    let registers = [service.cptr(), 0, 0, 0, 0, 0, 0];
    let mut pair = call(fpu, Syscall::Recv.number(), registers);
    loop {
        mailbox.write(CAME, pair.end);
        mailbox.write(LEFT, pair.start);
        pair = call(fpu, Syscall::ReplyRecv.number(), registers);
    }
}

/// The page that the parent has mapped for both, where argument 0 says.
#[allow(unsafe_code)]
fn mailbox(info: &StartInfo) -> Mailbox {
    // SAFETY: the parent maps a page there for as long as this process lives, and for this alone.
    unsafe { Mailbox::at(info.argument(0)) }
}
