//! The root task that `cargo xtask run` boots: a service and its clients in processes of their own, in the ways that a request can
//! take; a table of what each takes, as it is found out; and a trace in which one request is followed from process to process.
//!
//! What a process records is printed on the console, where `cargo xtask run` finds it (`baton-trace` says in which form). The exit
//! code is 0 only if all answers were right and all processes ended well.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod asynchronous;
#[path = "../../lanes/src/local.rs"]
#[allow(dead_code, reason = "the root task `lanes` uses the rest")]
mod local;
#[allow(dead_code, reason = "the processes use the rest")]
mod shared;
mod stage;
mod synchronous;
mod system_calls;

use alloc::format;
use baton_broker::Broker;
use baton_runtime::{Allocator, Root, Unlucky, Window, println};
use shared::transport;
use stage::{Asked, Stage, Wrong};
use system_calls::system_calls;

/// The program of all processes, built before this one.
const PROCESS: &[u8] = include_bytes!(env!(
    "BATON_SHOW_PROCESS",
    "build with `cargo xtask run`, which builds the program of the processes first and says where it is"
));

/// Frames of 2 MiB of the root task's own heap.
const HEAP_FRAMES: u64 = 2;
/// Requests behind each row of the table.
const REQUESTS: u64 = 4096;
/// Priority of all processes.
const PRIORITY: u64 = 100;

baton_runtime::root_task!(main);

fn main(root: Root) -> Result<u16, Unlucky> {
    let (allocator, window) = root.begin(HEAP_FRAMES)?;
    match show(&root, allocator, window) {
        Ok(()) => {
            println!("All went as it should.");
            Ok(0)
        }
        Err(wrong) => {
            println!("Something went wrong: {wrong}");
            Ok(1)
        }
    }
}

fn show(root: &Root, mut allocator: Allocator, mut window: Window) -> Result<(), Wrong> {
    println!("SetTLSBase of another thread, {COUNTED}:");
    head("calls", "call");
    asynchronous::show(root, &mut allocator, &mut window)?;
    println!();
    println!(
        "A service that adds two numbers, and a client, each a process of its own. From request"
    );
    println!("to answer on both sides together, {COUNTED}:");
    head("requests", "request");
    let took = synchronous::measure(root, &mut allocator, &mut window, REQUESTS)?;
    // One call, and one answer that waits for the next request.
    row("synchronous", 1, REQUESTS, 2 * REQUESTS, took);
    let mut broker = Broker::new(root, allocator, window)?;
    let mut stage = Stage::new(&mut broker);
    for (name, transport) in [("pairs", transport::PAIRS), ("lanes", transport::LANES)] {
        for outstanding in [1, 2, 8, 32, 256] {
            let asked = Asked {
                transport,
                requests: REQUESTS,
                outstanding,
            };
            let took = stage.instructions(asked)?;
            let calls = stage.system_calls(asked)?;
            row(name, outstanding, REQUESTS, calls, took);
        }
    }
    println!();
    println!(
        "synchronous: seL4's Call and ReplyRecv. pairs: a dispatcher task empties the lanes and wakes the tasks"
    );
    println!("that are named in the messages. lanes: the executor's inbox is its run queue.");
    println!();
    println!("Two more clients, with their traces on:");
    stage.trace()
}

const COUNTED: &str = "the kernel included";

fn head(what: &str, each: &str) {
    println!();
    println!(
        "{:<12} {:>11} {what:>9} {:>14} {:>14}",
        "", "outstanding", "system calls", "instructions"
    );
    println!(
        "{:<12} {:>11} {:>9} {:>14} {:>14}",
        "",
        "",
        "",
        format!("a {each}"),
        format!("a {each}")
    );
}

fn row(name: &str, outstanding: u64, requests: u64, system_calls: u64, instructions: u64) {
    let hundredths = system_calls * 100 / requests;
    let tenths = instructions * 10 / requests;
    println!(
        "{name:<12} {outstanding:>11} {requests:>9} {:>11}.{:02} {:>12}.{}",
        hundredths / 100,
        hundredths % 100,
        tenths / 10,
        tenths % 10
    );
}
