//! What the demo root task starts twice, each time in an address space and a capability space of its own: a server that adds
//! numbers and counts, and a client that calls it, checks each answer, and then writes where it may not.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

use baton_runtime::sel4::{Endpoint, Message};
use baton_runtime::{StartInfo, println};

/// Argument 0: serve.
pub const SERVER: u64 = 0;
/// Argument 0: call.
pub const CLIENT: u64 = 1;

const ADD: u64 = 1;
const STOP: u64 = 2;

baton_runtime::process!(main);

fn main(info: &'static StartInfo) -> u64 {
    let endpoint: Endpoint = info.given(0);
    match info.argument(0) {
        SERVER => serve(endpoint),
        CLIENT => call(endpoint, info.argument(1)),
        role => panic!("there is no role {role}"),
    }
}

/// Answers with the sum of the words, until it is told to stop; returns how many requests it served.
fn serve(endpoint: Endpoint) -> u64 {
    println!("server: serving");
    let mut served = 0;
    let mut received = endpoint.recv();
    loop {
        if received.label() != ADD {
            return served;
        }
        let sum =
            (0..received.length()).fold(0_u64, |sum, index| sum.wrapping_add(received.word(index)));
        served += 1;
        received = endpoint.reply_recv(&Message::new(0, &[sum, served]));
    }
}

/// Calls with 0 to 119 words, checks the sums, then writes to `forbidden`.
fn call(endpoint: Endpoint, forbidden: u64) -> u64 {
    let mut words = [0; 120];
    for (index, word) in words.iter_mut().enumerate() {
        *word = index as u64 * 3 + 1;
    }
    for length in 0..=words.len() {
        let sent = &words[..length];
        let answer = endpoint.call(&Message::new(ADD, sent));
        let sum: u64 = sent.iter().sum();
        assert_eq!(answer.mrs[0], sum, "the sum of {length} words");
        assert_eq!(answer.mrs[1], length as u64 + 1, "requests served");
    }
    println!("client: 121 sums of 0 to 120 words were right");
    println!("client: writing to {forbidden:#x}, where nothing is mapped");
    write(forbidden);
    // The write went through: the kernel let it happen.
    endpoint.send(&Message::new(STOP, &[]));
    1
}

#[allow(unsafe_code)]
fn write(address: u64) {
    let pointer = address as *mut u64;
    // SAFETY: nothing of this program is there, nor anything else: the write faults, and that is what it is for.
    unsafe { pointer.write_volatile(1) };
}
