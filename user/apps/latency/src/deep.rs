//! Capability spaces in which each bit of a capability pointer is a level: the longest lookups that there are.

use baton_runtime::sel4::{
    CNode, CNodeCapData, CapRights, Capability, Endpoint, Message, Notification, Slot, ipc_buffer,
};
use baton_runtime::{Arena, Exhausted, ObjectSource};

/// A chain of CNodes of two slots. The first slot of each leads to the next; in the last there are two slots for capabilities.
#[derive(Clone, Copy, Debug)]
pub struct Deep {
    /// The root. Its pointers have [`Deep::guard`], then a bit a level.
    pub root: CNode,
    /// What the bits before the levels are: zeros.
    pub guard: CNodeCapData,
    last: CNode,
}

/// Capability pointers: the two slots in the last CNode.
pub const FIRST: u64 = 0;
pub const SECOND: u64 = 1;

impl Deep {
    /// A chain of so many CNodes, 1 to 64.
    pub fn make(arena: &mut Arena, levels: u64) -> Result<Self, Exhausted> {
        let root = arena.make_cnode(1)?;
        let mut last = root;
        for _ in 1..levels {
            let next = arena.make_cnode(1)?;
            last.slot_at(0, 1)
                .copy_from(arena.place(next), CapRights::ALL)?;
            last = next;
        }
        Ok(Self {
            root,
            guard: CNodeCapData::new(0, 64 - levels),
            last,
        })
    }

    /// One of the two slots in the last CNode, by the way that a program with a plain capability space has to it.
    pub fn slot(&self, pointer: u64) -> Slot {
        self.last.slot_at(pointer, 1)
    }
}

/// Sends 120 words and three capabilities, then waits. For a thread whose capability space is a [`Deep`] with an endpoint and something
/// to send along.
pub extern "C" fn send(_: u64, _: u64, _: u64) {
    let words = [7; 120];
    let message = Message::with_caps(1, &words, &[SECOND; 3]);
    Endpoint::new(FIRST).send(&message);
    wait();
}

/// Receives; the capability goes to the first slot in the last CNode of another chain, whose root is the second capability.
pub extern "C" fn receive(_: u64, _: u64, _: u64) {
    ipc_buffer().set_receive_slot(SECOND, FIRST, 64);
    Endpoint::new(FIRST).recv();
    wait();
}

/// There is nothing that a thread in a deep capability space can stop itself with, so it waits for what does not come.
fn wait() {
    loop {
        Endpoint::new(FIRST).recv();
    }
}

/// What is sent along.
pub fn something(arena: &mut Arena) -> Result<Notification, Exhausted> {
    arena.make()
}

/// A copy with all rights.
pub fn copy(arena: &Arena, from: impl Capability, to: Slot) -> Result<(), Exhausted> {
    to.copy_from(arena.place(from), CapRights::ALL)?;
    Ok(())
}
