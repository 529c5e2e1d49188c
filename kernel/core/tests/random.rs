//! Random system calls of random threads, with the timer in between: whatever they ask for, no panic, and all records
//! are in order after each entry (the fake looks). Start elsewhere with `BATON_SEED=N`.

mod common;

use baton_kernel_fake::{Access, Message};
use baton_sel4_abi::{CapRights, ObjectType, Syscall, slots};
use common::random::{Random, number};
use common::{ROOT, World};

/// What the threads have in their hands.
struct Toys {
    world: World,
    /// Slots from which and into which things are moved.
    first: u64,
    last: u64,
}

/// Slots with things in them, and as many empty ones behind.
const SLOTS: u64 = 48;

fn toys() -> Toys {
    let world = World::new();
    let first = world.slots(SLOTS);
    let small = world.untyped(15);
    for (index, object) in [
        (0, ObjectType::Endpoint),
        (1, ObjectType::Notification),
        (2, ObjectType::Endpoint),
        (3, ObjectType::Tcb),
        (4, ObjectType::Page),
        (5, ObjectType::PageTable),
    ] {
        world
            .retype(world.memory, object, 0, first + index, 1)
            .expect("memory suffices");
    }
    world
        .retype(world.memory, ObjectType::CapTable, 4, first + 6, 1)
        .expect("memory suffices");
    world.move_to(small, first + 7).expect("a free slot");
    world
        .mint_to(first, first + 8, CapRights::ALL, 5)
        .expect("a badge");
    for index in 9..12 {
        let thread = world.started(254);
        world
            .copy_to(thread.cap, first + index, CapRights::ALL)
            .expect("a free slot");
    }
    world
        .copy_to(ROOT, first + 12, CapRights::ALL)
        .expect("a free slot");
    world
        .copy_to(slots::INIT_THREAD_VSPACE, first + 13, CapRights::ALL)
        .expect("a free slot");
    Toys {
        last: first + SLOTS,
        first,
        world,
    }
}

impl Toys {
    fn slot(&self, random: &mut Random) -> u64 {
        match random.below(16) {
            0 => random.below(16),
            1 => random.next(),
            2..10 => self.first + random.below(14),
            _ => self.first + random.below(self.last - self.first),
        }
    }

    fn word(&self, random: &mut Random) -> u64 {
        match random.below(10) {
            0 => random.next(),
            1 => 1 << random.below(64),
            2 => u64::MAX,
            3 | 4 => 64,
            5 => random.below(9),
            6 => random.below(256),
            7 => 0x1000_0000 + (random.below(64) << 12),
            _ => self.slot(random),
        }
    }

    /// One entry of the running thread, or of the timer.
    fn step(&self, random: &mut Random) {
        let fake = &self.world.fake;
        match random.below(20) {
            0 => return fake.tick(),
            1 => return fake.interrupt(random.below(97)),
            2 => return fake.exception(random.below(16), random.next()),
            3 => {
                fake.hardware.raise_timer_after_looks(random.below(3));
            }
            _ => {}
        }
        let has_buffer = {
            let at = fake.current().ipc_buffer.get();
            fake.translate(Access::Store, at).is_ok()
        };
        let most = if has_buffer { 9 } else { 5 };
        let mut words: Vec<u64> = (0..random.below(most)).map(|_| self.word(random)).collect();
        let caps: Vec<u64> = match has_buffer {
            true => (0..random.below(4)).map(|_| self.slot(random)).collect(),
            false => Vec::new(),
        };
        let mut label = random.below(42);
        let mut cap = self.slot(random);
        let calls = [
            Syscall::Call,
            Syscall::Call,
            Syscall::Call,
            Syscall::ReplyRecv,
            Syscall::Send,
            Syscall::NBSend,
            Syscall::Recv,
            Syscall::Reply,
            Syscall::Yield,
            Syscall::NBRecv,
        ];
        let mut call = random.pick(&calls);
        // Half of all calls are CNode operations or retypes that may well succeed.
        match random.below(4) {
            0 => {
                (call, cap) = (Syscall::Call, ROOT);
                label = 17 + random.below(9);
                if words.len() > 3 {
                    (words[0], words[1]) = (self.slot(random), 64);
                    (words[2], words[3]) = (self.slot(random), 64);
                }
            }
            1 if has_buffer => {
                (call, cap, label) = (Syscall::Call, self.first + 7, 1);
                let kind = random.below(9);
                words = vec![
                    kind,
                    random.below(14),
                    0,
                    0,
                    self.slot(random),
                    1 + random.below(3),
                ];
                let caps = [ROOT];
                return fake.syscall(
                    call,
                    cap,
                    Message {
                        label,
                        words: &words,
                        caps: &caps,
                    },
                );
            }
            _ => {}
        }
        let (words, caps) = (&words[..], &caps[..]);
        fake.syscall(call, cap, Message { label, words, caps });
    }
}

#[test]
fn random_system_calls_leave_all_records_in_order() {
    let seed = number("BATON_SEED").unwrap_or(1);
    let worlds = number("BATON_WORLDS").unwrap_or(20);
    for world in 0..worlds {
        let seed = seed + world;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let toys = toys();
        for _ in 0..400 {
            if toys.world.fake.is_idle() {
                break;
            }
            toys.step(&mut random);
            toys.world.fake.check();
        }
    }
}
