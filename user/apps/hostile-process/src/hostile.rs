//! Random system calls with random registers and buffers, near enough to what makes sense that not all is refused at once.
//!
//! The process can lose everything by that: its capabilities, its other half, its own life. Where it is in its sequence of random
//! numbers stands in a frame that it shares with the root task, so that the root task can start it again to go on.

use baton_runtime::Random;
use baton_runtime::sel4::{ipc_buffer, syscall_registers};

/// Slots of its capability space; about half are full at first.
const SLOTS: u64 = 64;
/// Slots that are full at first: own thread, capability space, address space, parent; then what it was given.
const FULL: [u64; 20] = [
    1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
];
/// Its capability space, in its own.
const CNODE: u64 = 2;
/// Bits of a plain slot number.
const DEPTH: u64 = 64;
/// Untyped memory, in its own capability space.
const UNTYPED: [u64; 2] = [12, 13];
/// Where it maps pages.
const PAGES: u64 = 0x10_0000_0000;

/// Labels that the capability in each of the full slots understands, by what it is at first: first and last.
const LABELS: [(u64, u64, u64); 15] = [
    (1, 2, 16),
    (2, 17, 25),
    (3, 33, 34),
    (12, 1, 1),
    (13, 1, 1),
    (14, 2, 16),
    (15, 17, 25),
    (16, 33, 34),
    (17, 35, 37),
    (18, 35, 37),
    (19, 33, 34),
    (20, 33, 34),
    (21, 39, 39),
    (22, 27, 29),
    (23, 38, 38),
];

const CALL: i64 = -1;
/// The other calls of seL4. What debug kernels have beside these may stop the machine, and is not used.
const OTHERS: [i64; 7] = [-2, -3, -4, -5, -6, -7, -8];
/// Those that neither wait nor fault.
const HARMLESS: [i64; 4] = [-4, -8, -7, -4];

/// Makes calls for ever. The first word of the frame at `shared` counts them, the second is the state of the generator, the third
/// counts the invocations that were done.
pub fn run(shared: u64, seed: u64) -> u64 {
    let (mut count, mut done) = (read(shared), read(shared + 16));
    let mut random = match read(shared + 8) {
        0 => Random::new(seed),
        state => Random::resume(state),
    };
    loop {
        count += 1;
        let (number, registers) = next_call(&mut random);
        // Before the call: it may be the last.
        write(shared, count);
        write(shared + 8, random.state());
        let answer = syscall_registers(number, registers);
        if number == CALL && answer[1] >> 12 == 0 {
            done += 1;
            write(shared + 16, done);
        }
    }
}

/// Number and registers of the next call; its further words go to the buffer.
fn next_call(random: &mut Random) -> (i64, [u64; 7]) {
    let mut cap = slot(random);
    let known = LABELS.iter().find(|(slot, _, _)| *slot == cap);
    let (mut number, mut label) = match known {
        Some(&(_, first, last)) => (CALL, first + random.below(last - first + 1)),
        None if random.below(8) == 0 => (random.pick(&OTHERS), random.below(48)),
        None => (random.pick(&HARMLESS), random.below(48)),
    };
    let mut words: [u64; 8] = core::array::from_fn(|_| word(random));
    let mut caps: [u64; 3] = core::array::from_fn(|_| random.pick(&FULL));
    let mut length = random.below(9);
    match label {
        1 => {
            cap = random.pick(&UNTYPED);
            let slots = random.below(4) + 1;
            words[..6].copy_from_slice(&[
                random.below(9),
                random.below(13),
                0,
                0,
                random.below(SLOTS),
                slots,
            ]);
            (caps[0], length) = (CNODE, 6);
        }
        17..=25 => {
            // Slots where slots are wanted; deleting and revoking is what most often ends everything.
            (words[1], words[3]) = (DEPTH, DEPTH);
            (words[0], words[2]) = (random.below(SLOTS), random.pick(&FULL));
            (caps[0], caps[1], length) = (CNODE, CNODE, 8);
            if label < 19 && words[0] < 24 && random.below(8) != 0 {
                words[0] += 24;
            }
        }
        // Suspending is the end of whom it meets: rarely.
        11 if random.below(8) != 0 => label = 12,
        _ => {}
    }
    let mut extra = random.below(4);
    if random.below(4) != 0 {
        extra = 2;
    }
    let mut info = label << 12 | extra << 7 | length;
    match random.below(64) {
        0 => info = random.next(),
        1 => number = random.pick(&OTHERS),
        2 => number = -64 - random.below(16) as i64,
        3 => words[random.below(8) as usize] = random.next(),
        4 => cap = random.next(),
        5 => ipc_buffer().set_receive_slot(CNODE, random.below(SLOTS), DEPTH),
        _ => {}
    }
    let (registers, rest) = words.split_at(4);
    for (index, word) in rest.iter().enumerate() {
        ipc_buffer().set_message_register(4 + index, *word);
    }
    for (index, cap) in caps.iter().enumerate() {
        ipc_buffer().set_cap(index, *cap);
    }
    let [m0, m1, m2, m3] = [registers[0], registers[1], registers[2], registers[3]];
    (number, [cap, info, m0, m1, m2, m3, word(random)])
}

fn slot(random: &mut Random) -> u64 {
    match random.below(32) {
        0 => random.below(SLOTS),
        _ => random.pick(&FULL),
    }
}

fn word(random: &mut Random) -> u64 {
    match random.below(16) {
        0 => random.next(),
        1 => 1 << random.below(64),
        2 => u64::MAX,
        3..6 => random.below(256),
        6..9 => PAGES + (random.below(64) << 12),
        9 => random.below(64) << 21,
        10 | 11 => DEPTH,
        _ => random.below(SLOTS),
    }
}

fn read(address: u64) -> u64 {
    // SAFETY: the root task has mapped the shared frame there, for good; nothing of this program lies there.
    unsafe { (address as *const u64).read_volatile() }
}

fn write(address: u64, value: u64) {
    // SAFETY: as in `read`.
    unsafe { (address as *mut u64).write_volatile(value) }
}
