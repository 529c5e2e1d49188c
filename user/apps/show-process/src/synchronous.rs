//! The service by seL4's own means: an endpoint, called and answered.

use crate::shared::{said, sync};
use baton_platform::now_instructions;
use baton_runtime::StartInfo;
use baton_runtime::sel4::{Endpoint, Message};

/// Answers with the sum of the first two words, until told to stop.
pub fn serve(endpoint: Endpoint) -> u64 {
    let mut received = endpoint.recv();
    while received.label() == sync::ADD {
        let sum = received.word(0).wrapping_add(received.word(1));
        received = endpoint.reply_recv(&Message::new(0, &[sum]));
    }
    0
}

/// Calls so often, checks each answer, and says how many instructions that took on both sides together.
pub fn ask(info: &StartInfo, requests: u64) -> u64 {
    let endpoint: Endpoint = info.given(0);
    let call = |number: u64| {
        let answer = endpoint.call(&Message::new(sync::ADD, &[number, 7]));
        u64::from(answer.mrs.first() == Some(&number.wrapping_add(7)))
    };
    // The first brings the server to where it waits.
    let mut right = call(0);
    let before = now_instructions();
    for number in 1..=requests {
        right += call(number);
    }
    let took = now_instructions() - before;
    endpoint.send(&Message::new(sync::STOP, &[]));
    let done = [right - 1, took];
    info.parent().send(&Message::new(said::DONE, &done));
    0
}
