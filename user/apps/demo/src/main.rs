//! The demo root task: lists what the kernel gave it, starts two processes in separate address spaces, lets them talk, catches a
//! fault of one and reports it, and powers off. The exit code is 0 only if all went as it should.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod inventory;

use baton_runtime::process::{Gift, SpawnError};
use baton_runtime::protocol::Event;
use baton_runtime::sel4::{CapRights, Capability, Endpoint, Fault, Message, Slot};
use baton_runtime::{
    Allocator, ObjectSource, Process, ProcessConfig, Root, Unlucky, Window, print, println,
};

/// The program of both processes, built before this one.
const PROCESS: &[u8] = include_bytes!(env!(
    "BATON_DEMO_PROCESS",
    "build with `cargo xtask run demo`, which builds the demo's process first and says where it is"
));

const SERVER: u64 = 0;
const CLIENT: u64 = 1;
const STOP: u64 = 2;
const NAMES: [&str; 2] = ["server", "client"];
/// Where the client must not write.
const FORBIDDEN: u64 = 0xdead_0000;
const REQUESTS: u64 = 121;

baton_runtime::root_task!(main);

fn main(root: Root) -> Result<u16, Unlucky> {
    let (mut allocator, mut window) = root.begin(0)?;
    println!("Baton's demo: a root task on seL4's API");
    inventory::print(&root, &allocator);
    match talk(&root, &mut allocator, &mut window) {
        Ok(true) => {
            println!("All went as it should.");
            Ok(0)
        }
        Ok(false) => {
            println!("Something went wrong.");
            Ok(1)
        }
        Err(error) => {
            println!("The processes could not be started: {error}");
            Ok(1)
        }
    }
}

/// Starts both processes and listens to them until both have ended; returns whether each did what it should.
fn talk(root: &Root, allocator: &mut Allocator, window: &mut Window) -> Result<bool, SpawnError> {
    let listener = allocator.make::<Endpoint>()?;
    let service = allocator.make::<Endpoint>()?;
    println!();
    println!(
        "Starting two processes, each with an address space and a capability space of its own:"
    );
    let bytes_before = allocator.bytes_left();
    for (role, rights) in [(SERVER, CapRights::READ), (CLIENT, CLIENT_RIGHTS)] {
        let gift = Gift {
            from: allocator.place(service),
            rights,
            badge: 0,
        };
        let process = start(
            root,
            allocator,
            window,
            role,
            allocator.place(listener),
            gift,
        )?;
        println!(
            "  {} ({} bytes of ELF), entry {:#x}, TCB in slot {}, page table in slot {}",
            NAMES[role as usize],
            PROCESS.len(),
            process.entry,
            process.tcb.cptr(),
            process.vspace.root().cptr()
        );
    }
    let used = bytes_before - allocator.bytes_left();
    println!("  {} KiB of memory for both", used / 1024);
    println!();

    let mut fault_seen = false;
    loop {
        let received = listener.recv();
        let name = name_of(received.badge);
        match Event::from_message(received) {
            Event::Print(text) => print!("{}", text.as_str()),
            Event::Panic(text) => {
                println!("{name}: panic: {}", text.as_str());
                return Ok(false);
            }
            Event::Fault(fault) => {
                println!("fault of thread `{name}` {fault}");
                let expected = matches!(
                    fault,
                    Fault::Vm {
                        address: FORBIDDEN,
                        fsr: 7,
                        prefetch: false,
                        ..
                    }
                );
                if received.badge != CLIENT + 1 || !expected {
                    return Ok(false);
                }
                fault_seen = true;
                // It stays where it is, for it waits for an answer that never comes; the server is told to end.
                service.send(&Message::new(STOP, &[]));
            }
            Event::Exit { code } => {
                println!("{name}: ended after {code} requests");
                return Ok(fault_seen && received.badge == SERVER + 1 && code == REQUESTS);
            }
            Event::Other(other) => {
                println!(
                    "{name}: a message of label {} that means nothing",
                    other.label()
                );
                return Ok(false);
            }
        }
    }
}

/// What a client of an endpoint needs: to send, and to be answered.
const CLIENT_RIGHTS: CapRights = CapRights::WRITE.union(CapRights::GRANT_REPLY);

fn start(
    root: &Root,
    allocator: &mut Allocator,
    window: &mut Window,
    role: u64,
    parent: Slot,
    gift: Gift,
) -> Result<Process, SpawnError> {
    let config = ProcessConfig {
        elf: PROCESS,
        parent,
        badge: role + 1,
        authority: root.tcb,
        priority: 100,
        asid_pool: root.asid_pool,
        cnode_size_bits: 6,
        stack_pages: 8,
        heap_bytes: 0,
        timebase_hz: 0,
        features: 0,
        arguments: &[role, FORBIDDEN],
        gifts: &[gift],
    };
    let process = Process::make(allocator, window, &config)?;
    process.start()?;
    Ok(process)
}

fn name_of(badge: u64) -> &'static str {
    let index = badge.wrapping_sub(1) as usize;
    NAMES.get(index).copied().unwrap_or("nobody")
}
