//! Two processes that call and answer over an endpoint.

use crate::shared::{role, said};
use crate::stage::Wrong;
use crate::{PRIORITY, PROCESS};
use baton_runtime::process::Gift;
use baton_runtime::protocol::Event;
use baton_runtime::sel4::{CapRights, Endpoint};
use baton_runtime::{Allocator, ObjectSource, Process, ProcessConfig, Root, Window};

/// What a client of an endpoint needs: to send, and to be answered.
const CLIENT_RIGHTS: CapRights = CapRights::WRITE.union(CapRights::GRANT_REPLY);

/// How many instructions so many calls and their answers take.
pub fn measure(
    root: &Root,
    allocator: &mut Allocator,
    window: &mut Window,
    requests: u64,
) -> Result<u64, Wrong> {
    let listener = allocator.make::<Endpoint>()?;
    let service = allocator.make::<Endpoint>()?;
    for (role, rights) in [
        (role::SYNC_SERVER, CapRights::READ),
        (role::SYNC_CLIENT, CLIENT_RIGHTS),
    ] {
        let config = ProcessConfig {
            elf: PROCESS,
            parent: allocator.place(listener),
            badge: role + 1,
            authority: root.tcb,
            priority: PRIORITY,
            asid_pool: root.asid_pool,
            cnode_size_bits: 6,
            stack_pages: 8,
            heap_bytes: 0,
            timebase_hz: root.timebase_hz(),
            features: root.features(),
            arguments: &[role, requests],
            gifts: &[Gift {
                from: allocator.place(service),
                rights,
                badge: 0,
            }],
        };
        Process::make(allocator, window, &config)?.start()?;
    }
    let mut took = None;
    let mut left = 2;
    while left != 0 {
        match Event::from_message(listener.recv()) {
            Event::Other(other) if other.label() == said::DONE && other.word(0) == requests => {
                took = Some(other.word(1));
            }
            Event::Exit { code: 0 } => left -= 1,
            _ => return Err(Wrong::Synchronous),
        }
    }
    took.ok_or(Wrong::Synchronous)
}
