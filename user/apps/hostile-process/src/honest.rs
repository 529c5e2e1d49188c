//! A server, and a client that must get the right answers whatever others do.

use baton_runtime::Random;
use baton_runtime::sel4::{Endpoint, Message, Notification, yield_now};

/// Calls of the client between two words to its parent.
const CALLS_A_LAP: u64 = 8;
/// Label of the word to the parent that a lap is over.
const LAP: u64 = 0x300;

/// Answers with the sum of the words, and how often it has answered.
pub fn serve(endpoint: Endpoint) -> u64 {
    let mut served = 0;
    let mut received = endpoint.recv();
    loop {
        let sum = (0..received.length()).fold(received.label(), |sum, index| {
            sum.wrapping_add(received.word(index))
        });
        served += 1;
        received = endpoint.reply_recv(&Message::new(0, &[sum, served]));
    }
}

/// Calls with messages of every length. After each lap it signals a thread of higher priority, tells the parent, and lets others
/// of its own priority run.
pub fn call(parent: Endpoint, service: Endpoint, waker: Notification) -> u64 {
    let mut random = Random::new(1);
    let mut calls = 0;
    for lap in 1.. {
        for _ in 0..CALLS_A_LAP {
            let words: [u64; 120] = core::array::from_fn(|_| random.next());
            let length = random.below(121) as usize;
            let label = random.below(1 << 52);
            let answer = service.call(&Message::new(label, &words[..length]));
            calls += 1;
            let sum = words[..length]
                .iter()
                .fold(label, |sum, word| sum.wrapping_add(*word));
            assert_eq!(
                answer.mrs[0], sum,
                "the sum of {length} words in call {calls}"
            );
            assert_eq!(answer.mrs[1], calls, "calls that the server has answered");
        }
        waker.signal();
        parent.call(&Message::new(LAP, &[lap, calls]));
        yield_now();
    }
    calls
}
