//! The fast path does what the slow path does, and only what it is for.
//!
//! Two machines get the same threads and the same system calls; one of them never takes the fast path. After each entry the
//! same thread must run with the same registers, and at the end every word of memory must be the same.

mod common;

use baton_kernel_core::ThreadState;
use baton_kernel_core::mem::{Paddr, Tcb, reg};
use baton_kernel_fake::{Fake, Message, RAM_BYTES, RAM_START};
use baton_sel4_abi::{BatonCall, CapRights, Label, MessageInfo, Syscall, slots};
use common::random::{Random, number};
use common::{DEPTH, ROOT, TOP, Thread, World};

const ALL: CapRights = CapRights::ALL;

/// Words that are compared in one go.
const CHUNK: usize = 512;

/// The first word of memory in which two machines differ, by physical address.
fn first_difference(one: &Fake, other: &Fake) -> Option<u64> {
    let words = |fake: &Fake, at| fake.words::<CHUNK>(Paddr::new(at));
    (RAM_START..RAM_START + RAM_BYTES)
        .step_by(CHUNK * 8)
        .find_map(|at| {
            let (one, other) = (words(one, at), words(other, at));
            let index = one.iter().zip(&other).position(|(one, other)| one != other);
            index.map(|index| at + index as u64 * 8)
        })
}

fn assert_same_registers(one: &Fake, other: &Fake, step: &str) {
    assert_eq!(one.is_idle(), other.is_idle(), "{step}");
    if one.is_idle() {
        return;
    }
    assert_eq!(one.current_address(), other.current_address(), "{step}");
    let registers = |tcb: &Tcb| (0..33).map(|n| tcb.context.read(n)).collect::<Vec<_>>();
    let (one, other) = (registers(one.current()), registers(other.current()));
    assert_eq!(one, other, "{step}");
}

/// A server that waits at an endpoint, and the root task as its client.
fn server_waits(world: &World, endpoint: u64, priority: u64) -> Thread {
    let server = world.started(priority);
    lower_own_priority(world, 1);
    world.assert_runs(server);
    world.recv(endpoint);
    server
}

/// The running thread gives itself that priority, and may not run any more behind it.
fn lower_own_priority(world: &World, priority: u64) {
    let message = Message {
        label: Label::TcbSetPriority.number(),
        words: &[priority],
        caps: &[slots::INIT_THREAD_TCB],
    };
    let fake = &world.fake;
    fake.syscall(Syscall::Call, slots::INIT_THREAD_TCB, message);
}

#[test]
fn a_call_and_its_reply_take_the_fast_path() {
    let world = World::new();
    let endpoint = world.endpoint();
    let badged = world.mint(endpoint, ALL, 7);
    let server = server_waits(&world, endpoint, 100);
    assert_eq!(world.fake.fast_calls(), 0);
    world.call(badged, 5, &[1, 2, 3, 4]);
    assert_eq!(world.fake.fast_calls(), 1);
    world.assert_runs(server);
    let got = world.got();
    assert_eq!((got.badge, got.info.label()), (7, 5));
    assert_eq!(got.words, [1, 2, 3, 4]);
    world.reply_recv(endpoint, 6, &[9, 8]);
    assert_eq!(world.fake.fast_calls(), 2);
    let got = world.got();
    assert_eq!((got.badge, got.info.label()), (0, 6));
    assert_eq!(got.words, [9, 8]);
    assert!(!world.runs(server));
}

#[test]
fn what_is_not_as_usual_takes_the_slow_path() {
    // Each changes one thing about a call that would take the fast path.
    type Change = fn(&World, u64) -> (u64, Vec<u64>);
    let changes: [(&str, Change); 7] = [
        ("five words", |_, endpoint| (endpoint, vec![0; 5])),
        ("no right to send", |world, endpoint| {
            (world.copy(endpoint, ALL.without(CapRights::WRITE)), vec![])
        }),
        ("only the right to receive", |world, endpoint| {
            (world.copy(endpoint, CapRights::READ), vec![])
        }),
        ("no right to be answered", |world, endpoint| {
            (world.copy(endpoint, CapRights::READ_WRITE), vec![])
        }),
        ("nobody waits", |world, _| (world.endpoint(), vec![])),
        ("no endpoint", |world, _| (world.notification(), vec![])),
        ("nothing there", |world, _| (world.slot(), vec![])),
    ];
    for (name, change) in changes {
        let world = World::new();
        let endpoint = world.endpoint();
        server_waits(&world, endpoint, 100);
        let (cap, words) = change(&world, endpoint);
        world.call(cap, 0, &words);
        assert_eq!(world.fake.fast_calls(), 0, "{name}");
    }
}

#[test]
fn receiving_needs_its_right_behind_a_reply_as_well() {
    let world = World::new();
    let endpoint = world.endpoint();
    let unreadable = world.copy(endpoint, ALL.without(CapRights::READ));
    let server = server_waits(&world, endpoint, 100);
    world.call(endpoint, 0, &[]);
    world.reply_recv(unreadable, 0, &[4]);
    assert_eq!(world.fake.fast_calls(), 1, "only the call");
    assert_eq!(world.got().words, [4], "it was answered");
    assert_eq!(
        ThreadState::of(world.tcb(server)),
        ThreadState::INACTIVE,
        "a fault that nobody handles"
    );
}

#[test]
fn a_thread_that_faulted_is_not_answered_with_a_message() {
    let world = World::new();
    let endpoint = world.endpoint();
    // The root task handles the faults of a thread of the same priority.
    let thread = world.thread_with_handler(TOP, endpoint);
    world.start(thread);
    world.recv(endpoint);
    world.assert_runs(thread);
    let before: Vec<u64> = (10..16)
        .map(|n| world.fake.current().context.read(n))
        .collect();
    world.fake.exception(13, 0x1234_5000);
    assert!(!world.runs(thread));
    world.reply_recv(endpoint, 0, &[1, 2, 3, 4]);
    assert_eq!(world.fake.fast_calls(), 0);
    world.assert_runs(thread);
    let after: Vec<u64> = (10..16)
        .map(|n| world.fake.current().context.read(n))
        .collect();
    assert_eq!(before, after);
}

#[test]
fn another_thread_that_comes_first_takes_the_slow_path() {
    let world = World::new();
    let endpoint = world.endpoint();
    server_waits(&world, endpoint, 100);
    world.set_priority(slots::INIT_THREAD_TCB, 200).unwrap();
    let other = world.started(150);
    world.call(endpoint, 0, &[]);
    assert_eq!(world.fake.fast_calls(), 0);
    world.assert_runs(other);
}

#[test]
fn a_receiver_of_lower_priority_is_switched_to_when_nobody_comes_between() {
    let world = World::new();
    let endpoint = world.endpoint();
    let server = server_waits(&world, endpoint, 100);
    world.set_priority(slots::INIT_THREAD_TCB, 200).unwrap();
    // As high as the server, and longer ready; still it is the server that is handed the processor.
    world.started(100);
    world.call(endpoint, 0, &[]);
    assert_eq!(world.fake.fast_calls(), 1);
    world.assert_runs(server);
}

#[test]
fn an_address_space_that_has_ended_takes_the_slow_path() {
    let world = World::new();
    let endpoint = world.endpoint();
    let server = server_waits(&world, endpoint, 100);
    // The server's own capability to its address space is a copy of the root task's; any deletion makes it look again.
    let copy = world.copy(slots::INIT_THREAD_VSPACE, ALL);
    world.delete(copy);
    world.call(endpoint, 0, &[]);
    assert_eq!(world.fake.fast_calls(), 0);
    world.assert_runs(server);
    world.reply_recv(endpoint, 0, &[]);
    assert_eq!(
        world.fake.fast_calls(),
        0,
        "the client's may have ended, too"
    );
    world.call(endpoint, 0, &[]);
    world.reply_recv(endpoint, 0, &[]);
    assert_eq!(world.fake.fast_calls(), 2, "they have been looked at");
}

#[test]
fn signals_of_a_bound_notification_are_not_passed_by() {
    let world = World::new();
    let endpoint = world.endpoint();
    let notification = world.notification();
    let badged = world.mint(notification, ALL, 3);
    let server = world.started(100);
    world
        .invoke(server.cap, Label::TcbBindNotification, &[], &[notification])
        .unwrap();
    lower_own_priority(&world, 1);
    world.recv(endpoint);
    world.call(endpoint, 0, &[]);
    world.signal(badged);
    let fast = world.fake.fast_calls();
    world.reply_recv(endpoint, 0, &[]);
    assert_eq!(world.fake.fast_calls(), fast);
    world.assert_runs(server);
    assert_eq!(world.got().badge, 3);
}

/// Threads that call and serve one another, and what they hold.
struct Party {
    world: World,
    endpoints: Vec<u64>,
    notifications: Vec<u64>,
    threads: Vec<Thread>,
    empty: u64,
}

impl Party {
    fn new() -> Self {
        let world = World::new();
        let mut endpoints = Vec::new();
        for badge in 1..=3 {
            let endpoint = world.endpoint();
            endpoints.push(endpoint);
            endpoints.push(world.mint(endpoint, ALL, badge));
            endpoints.push(world.copy(endpoint, ALL.without(CapRights::GRANT)));
        }
        endpoints.push(world.copy(endpoints[0], CapRights::READ_WRITE));
        let notifications = vec![world.notification(), world.notification()];
        let threads: Vec<_> = (0..4).map(|n| world.started(TOP - n / 2)).collect();
        let bind = Label::TcbBindNotification;
        world
            .invoke(threads[0].cap, bind, &[], &[notifications[0]])
            .unwrap();
        let empty = world.slot();
        // It runs when all others wait, and restarts them.
        lower_own_priority(&world, 1);
        Party {
            world,
            endpoints,
            notifications,
            threads,
            empty,
        }
    }

    /// One entry; what it was.
    fn step(&self, random: &mut Random) -> String {
        let fake = &self.world.fake;
        // Two of them mostly serve, each at its own endpoint; the others mostly call.
        let here = fake.current_address();
        let serves = self.threads[..2].iter().position(|of| of.address == here);
        let endpoint = match serves {
            Some(number) if random.below(16) != 0 => self.endpoints[number * 3],
            _ => self.endpoints[random.below(6) as usize],
        };
        let endpoint = match random.below(32) {
            0 => random.pick(&self.endpoints),
            _ => endpoint,
        };
        let words: Vec<u64> = (0..random.pick(&[0, 0, 1, 2, 3, 4, 4, 5, 9]))
            .map(|_| random.next())
            .collect();
        let message = |caps| Message {
            label: words.len() as u64 * 3,
            words: &words,
            caps,
        };
        let caps: &[u64] = if random.below(8) == 0 {
            &[endpoint]
        } else {
            &[]
        };
        let thread = random.pick(&self.threads).cap;
        let choice = random.below(44);
        let is_root = self.threads.iter().all(|of| of.address != here);
        let choice = match (serves, choice) {
            _ if is_root => 36,
            (Some(_), 0..24) => 14,
            (None, 14..24) => 0,
            // It waits for its clients at the notification that they signal.
            (Some(number), 40..) => 40 + number as u64,
            _ => choice,
        };
        match choice {
            0..14 => fake.syscall(Syscall::Call, endpoint, message(caps)),
            14..26 => fake.syscall(Syscall::ReplyRecv, endpoint, message(caps)),
            26..29 => fake.syscall(Syscall::Recv, endpoint, Message::default()),
            29 => fake.syscall(Syscall::Send, endpoint, message(caps)),
            30 => fake.syscall(Syscall::Yield, 0, Message::default()),
            31 => fake.tick(),
            32 => {
                let notification = random.pick(&self.notifications);
                fake.syscall(Syscall::Send, notification, Message::default());
            }
            33 => {
                if !fake.set_fpu_register(1, random.next()) {
                    fake.exception(5, 0);
                }
            }
            34 => {
                let priority = TOP - random.below(3);
                self.call(
                    thread,
                    Label::TcbSetPriority,
                    &[priority],
                    &[slots::INIT_THREAD_TCB],
                );
            }
            35 => self.call(thread, Label::TcbSuspend, &[], &[]),
            36 | 37 => self.call(thread, Label::TcbResume, &[], &[]),
            40.. => {
                // Two that wake each other, mostly.
                let mine = self.notifications[choice as usize % 2];
                let theirs = match random.below(8) {
                    0 => endpoint,
                    1 => mine,
                    _ => self.notifications[1 - choice as usize % 2],
                };
                self.signal_park(mine, theirs);
            }
            38 => {
                let words = [self.empty, DEPTH, slots::INIT_THREAD_VSPACE, DEPTH, 15];
                self.call(ROOT, Label::CNodeCopy, &words, &[ROOT]);
            }
            _ => self.call(ROOT, Label::CNodeDelete, &[self.empty, DEPTH], &[]),
        }
        format!("{choice} by way of {endpoint} with {} words", words.len())
    }

    fn signal_park(&self, mine: u64, theirs: u64) {
        let context = &self.world.fake.current().context;
        context.set::<{ reg::A7 }>(BatonCall::SignalPark.number().cast_unsigned());
        context.set::<{ reg::A0 }>(mine);
        context.set::<{ reg::A0 + 1 }>(theirs);
        context.set::<{ reg::A0 + 6 }>(99);
        self.world.fake.enter();
    }

    fn call(&self, cap: u64, label: Label, words: &[u64], caps: &[u64]) {
        let message = Message {
            label: label.number(),
            words,
            caps,
        };
        self.world.fake.syscall(Syscall::Call, cap, message);
    }
}

#[test]
fn the_fast_path_does_what_the_slow_path_does() {
    let seed = number("BATON_SEED").unwrap_or(1);
    let worlds = number("BATON_WORLDS").unwrap_or(8);
    let mut fast = 0;
    for seed in seed..seed + worlds {
        println!("seed {seed}");
        let (mut one, mut other) = (Random::new(seed), Random::new(seed));
        let (both, slow) = (Party::new(), Party::new());
        slow.world.fake.set_slow_only(true);
        for number in 0..600 {
            if both.world.fake.is_idle() {
                break;
            }
            let step = both.step(&mut one);
            slow.step(&mut other);
            let step = format!("step {number}: {step}");
            assert_same_registers(&both.world.fake, &slow.world.fake, &step);
        }
        let difference = first_difference(&both.world.fake, &slow.world.fake);
        assert_eq!(difference.map(|at| format!("{at:#x}")), None);
        assert_eq!(slow.world.fake.fast_calls(), 0);
        fast += both.world.fake.fast_calls();
    }
    assert!(fast > worlds * 20, "{fast} calls took the fast path");
}

#[test]
fn what_the_receiver_is_told_of_capabilities_is_cleared() {
    let world = World::new();
    let endpoint = world.endpoint();
    server_waits(&world, endpoint, 100);
    // The bits of capabilities that arrived as badges are the kernel's to write.
    let registers = &world.fake.current().context;
    registers.write(10, endpoint);
    registers.write(11, MessageInfo::new(1, 7, 0, 1).word());
    registers.write(17, Syscall::Call.number() as u64);
    world.fake.enter();
    assert_eq!(world.fake.fast_calls(), 1);
    assert_eq!(world.got().info, MessageInfo::new(1, 0, 0, 1));
}
