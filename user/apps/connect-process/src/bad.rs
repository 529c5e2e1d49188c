//! Processes that mean harm: they write to all that they may write, and touch what they may not.
#![allow(unsafe_code)]

use crate::roles::Process;
use crate::shared::{BULK_BYTES, CREDITS, UNDER_WAY, code, said, trespass};
use baton_platform::protocol::{self, slots, space};
use baton_rpc::RegionLayout;
use baton_runtime::sel4::{Capability, Message, call_raw, nb_send};
use baton_runtime::{Random, println};

/// Writes the word at `address`.
pub fn write(address: u64, value: u64) {
    // SAFETY: nothing of this program that Rust knows of is there: memory that the broker mapped, or nothing, and then it faults.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// Reads the word at `address`.
fn read(address: u64) -> u64 {
    // SAFETY: as in `write`.
    unsafe { (address as *const u64).read_volatile() }
}

/// Jumps to `address`.
fn execute(address: u64) {
    // SAFETY: the page is not to be executed: the jump faults, and that is what it is for.
    let code: extern "C" fn() = unsafe { core::mem::transmute(address as usize) };
    code();
}

impl Process {
    /// Writes arbitrary words to its region and its peer's hint word, rings, and tells the broker nonsense; then says so, and goes on
    /// until it is ended.
    pub(crate) fn scribbler(&self) -> u64 {
        let (_handle, desk) = self.connected();
        // So that the server has bound it, and not only seen that the region does not begin as was agreed on.
        if self.run(desk.add(1, 2)) != Ok(3) {
            return code::WRONG;
        }
        let index = u64::from(desk.client().connection().index());
        let layout = RegionLayout::new(CREDITS, 0, BULK_BYTES, BULK_BYTES);
        let words = layout.map_or(0, |layout| layout.words() as u64);
        let mut random = Random::new(self.info.argument(2));
        let parent = self.info.parent();
        for round in 0..self.info.argument(3) {
            let value = match random.next() % 4 {
                // Often what is nearly right.
                0 => random.next() % 512,
                1 => random.next() << 32 | round,
                2 => 0,
                _ => random.next(),
            };
            // Often where the heads, the tails and the first slots are.
            let at = match random.next() % 2 {
                0 => random.next() % 256,
                _ => random.next() % words.max(1),
            };
            write(space::outgoing(index) + at * 8, value);
            if random.next().is_multiple_of(16) {
                write(space::peer_hint(index), random.next());
            }
            if random.next().is_multiple_of(64) {
                nb_send(slots::BELLS + index, &Message::new(0, &[]));
            }
            if random.next().is_multiple_of(256) {
                let label = protocol::CONNECT + random.next() % 5;
                // Not its own connection, or it could do no more harm.
                let mut words = [random.next(); 6];
                for word in &mut words {
                    *word = random.next() >> (random.next() % 64);
                }
                words[0] |= 0x40;
                let length = (random.next() % 7) as usize;
                call_raw(
                    Capability::cptr(parent),
                    &Message::with_caps(label, &words[..length], &[random.next() % 16]),
                );
            }
        }
        self.say(said::UNDER_WAY, UNDER_WAY);
        loop {
            let at = random.next() % words.max(1);
            write(space::outgoing(index) + at * 8, random.next());
            if random.next().is_multiple_of(1024) {
                baton_runtime::sel4::yield_now();
            }
        }
    }

    /// Touches what it must not; coming back from that is the failure.
    pub(crate) fn trespasser(&self) -> u64 {
        let (_handle, desk) = self.connected();
        let index = u64::from(desk.client().connection().index());
        match self.info.argument(2) {
            trespass::WRITE_INCOMING => write(space::incoming(index) + 64 * 8, 1),
            trespass::WRITE_PEER_STATE => write(space::peer_state(index), 1),
            trespass::WRITE_NOTICES => write(space::NOTICES, 1),
            trespass::READ_BEHIND => {
                read(space::outgoing(index) + space::REGION_BYTES - 8);
            }
            trespass::READ_OTHER => {
                read(space::outgoing(index + 1));
            }
            _ => execute(space::incoming(index)),
        }
        println!("nothing has stopped it");
        code::LET_IN
    }
}
