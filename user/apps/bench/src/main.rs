//! The benchmark root task: how many instructions the kernel takes for its system calls, with the other side in an address space of its
//! own. `cargo xtask bench qemu` starts it with a command line ([`Arguments`]) and reads its rows ([`report`]). The exit code is 0 only
//! if all rows were measured.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod partner;
mod report;
mod sample;
mod senders;
mod workloads;

use baton_boot::command_line::command_line;
use baton_counting::{Arguments, Fpu};
use baton_runtime::process::SpawnError;
use baton_runtime::sel4::abi::TCB_FLAG_FPU_DISABLED;
use baton_runtime::{Allocator, OrSay, Root, Unlucky, Window, println};
use senders::{REQUESTS, Senders};
use workloads::{Bench, PRIORITY, WORKLOADS};

baton_runtime::root_task!(main);

/// Who uses the floating-point unit, with the variant's name.
const VARIANTS: [(&str, bool, Fpu); 3] = [
    ("fpu_off", false, Fpu::Leave),
    ("fpu_on", true, Fpu::Leave),
    ("fpu_used", true, Fpu::Use),
];

fn main(root: Root) -> Result<u16, Unlucky> {
    let booted = baton_counting::instret();
    let (allocator, window) = root.begin(0)?;
    let tree = root
        .device_tree()
        .ok_or("the kernel has passed no device tree");
    let tree = tree.or_say("no command line")?;
    let line = command_line(&tree).unwrap_or_default();
    let arguments = Arguments::parse(line, sample::MAX_ROUNDS).or_say("the command line")?;
    match measure(&root, allocator, window, &arguments, booted) {
        Ok(()) => Ok(0),
        Err(error) => {
            println!("the benchmark could not be set up: {error}");
            Ok(1)
        }
    }
}

fn measure(
    root: &Root,
    mut allocator: Allocator,
    mut window: Window,
    arguments: &Arguments<'_>,
    booted: u64,
) -> Result<(), SpawnError> {
    let listener = partner::watch(root, &mut allocator, &mut window, PRIORITY)?;
    let rounds = arguments.rounds;
    let mut bench = Bench::prepare(root, &mut allocator, &mut window, listener, rounds)?;
    report::begin();
    let mut rows = 0;
    if let Some(entered) = arguments.kernel_entered {
        report::boot(booted - entered);
        rows += 1;
    }
    for (variant, enabled, fpu) in VARIANTS {
        if !arguments.wants_variant(variant) {
            continue;
        }
        let (clear, set) = if enabled {
            (TCB_FLAG_FPU_DISABLED, 0)
        } else {
            (0, TCB_FLAG_FPU_DISABLED)
        };
        bench.set_flags(clear, set)?;
        for workload in WORKLOADS {
            if arguments.wants_workload(workload.name) {
                let mut samples = bench.run(workload, fpu)?;
                report::row(workload.name, variant, samples.rounds, &samples.summary());
                rows += 1;
            }
        }
    }
    let wanted = |requests: &&(&str, u64)| arguments.wants_workload(requests.0);
    let variants = senders::VARIANTS.map(|(name, _)| name);
    if REQUESTS.iter().any(|requests| wanted(&requests))
        && variants.iter().any(|name| arguments.wants_variant(name))
    {
        bench.set_flags(0, TCB_FLAG_FPU_DISABLED)?;
        let senders = Senders::make(root, &mut allocator, &mut window, listener, rounds)?;
        for (name, words) in REQUESTS.iter().filter(wanted) {
            for (variant, count) in senders::VARIANTS {
                if arguments.wants_variant(variant) {
                    let mut samples = senders.run(*words, count)?;
                    report::row(name, variant, samples.rounds, &samples.summary());
                    rows += 1;
                }
            }
        }
    }
    report::end(rows);
    Ok(())
}
