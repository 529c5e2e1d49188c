//! The roles of a test process.

use baton_runtime::StartInfo;
use baton_runtime::sel4::{CNode, Endpoint, Message, Notification, ipc_buffer};

/// Echoes what it receives on its first capability, and counts; a message of label 99 ends it.
pub const ECHO: u64 = 0;
/// Calls its first capability with every length, and checks that the answer is what it sent.
pub const CALL_ALL_LENGTHS: u64 = 1;
/// Reads the word at argument 1 and returns it.
pub const READ: u64 = 2;
/// Writes argument 2 to argument 1, then reads it back and returns it.
pub const WRITE: u64 = 3;
/// Jumps to argument 1.
pub const EXECUTE: u64 = 4;
/// Sends every length to its first capability, without waiting for answers.
pub const SEND_ALL_LENGTHS: u64 = 5;
/// Waits on its first capability, then signals its second; argument 1 times.
pub const PING_PONG: u64 = 6;
/// Panics.
pub const PANIC: u64 = 7;
/// Overflows its stack.
pub const OVERFLOW: u64 = 8;
/// Copies, mints and deletes in its own capability space; returns how many of these went well.
pub const OWN_CSPACE: u64 = 9;
/// Increments the words at argument 1, argument 2 times, one after another under the mutex of its first capability.
pub const COUNT_UNDER_MUTEX: u64 = 10;
/// Fills the floating-point registers with argument 1, waits for its first capability, and checks them.
pub const FPU: u64 = 11;

/// Does what argument 0 says.
pub fn run(info: &'static StartInfo) -> u64 {
    match info.argument(0) {
        ECHO => echo(info.given(0)),
        CALL_ALL_LENGTHS => call_all_lengths(info.given(0)),
        READ => read(info.argument(1)),
        WRITE => {
            write(info.argument(1), info.argument(2));
            read(info.argument(1))
        }
        EXECUTE => execute(info.argument(1)),
        SEND_ALL_LENGTHS => send_all_lengths(info.given(0)),
        PING_PONG => ping_pong(info.given(0), info.given(1), info.argument(1)),
        PANIC => panic!("as it was told"),
        OVERFLOW => overflow(info.argument(1)),
        OWN_CSPACE => own_cspace(info),
        COUNT_UNDER_MUTEX => count_under_mutex(info.given(0), info.argument(1), info.argument(2)),
        FPU => fpu(info.given(0), info.given(1), info.argument(1)),
        role => panic!("there is no role {role}"),
    }
}

fn echo(endpoint: Endpoint) -> u64 {
    let mut count = 0;
    let mut received = endpoint.recv();
    loop {
        if received.label() == 99 {
            return count;
        }
        count += 1;
        let mut words = [0; 120];
        for (index, word) in words.iter_mut().enumerate() {
            *word = received.word(index);
        }
        let answer = Message::new(received.label(), &words[..received.length()]);
        received = endpoint.reply_recv(&answer);
    }
}

fn pattern(length: usize) -> [u64; 120] {
    core::array::from_fn(|index| ((length as u64) << 32) | (index as u64 * 7 + 1))
}

fn call_all_lengths(endpoint: Endpoint) -> u64 {
    for length in 0..=120 {
        let words = pattern(length);
        let label = 1000 + length as u64;
        let answer = endpoint.call(&Message::new(label, &words[..length]));
        assert_eq!(answer.label(), label);
        assert_eq!(answer.length(), length);
        for (index, word) in words.iter().enumerate().take(length) {
            assert_eq!(answer.word(index), *word, "word {index} of {length}");
        }
    }
    0
}

fn send_all_lengths(endpoint: Endpoint) -> u64 {
    for length in 0..=120 {
        let words = pattern(length);
        endpoint.send(&Message::new(length as u64, &words[..length]));
    }
    0
}

fn ping_pong(wait: Notification, signal: Notification, rounds: u64) -> u64 {
    for _ in 0..rounds {
        wait.wait();
        signal.signal();
    }
    rounds
}

fn overflow(depth: u64) -> u64 {
    let mut block = [depth; 64];
    core::hint::black_box(&mut block);
    if depth == u64::MAX {
        return block[3];
    }
    overflow(depth + 1) + block[5]
}

fn own_cspace(info: &StartInfo) -> u64 {
    let root: CNode = info.cnode();
    let free = info.first_free_slot();
    let mut count = 0;
    let from = root.slot(8);
    let all = baton_runtime::sel4::CapRights::ALL;
    count += u64::from(root.slot(free).copy_from(from, all).is_ok());
    count += u64::from(root.slot(free + 1).mint_from(from, all, 5).is_ok());
    count += u64::from(root.slot(free + 2).move_from(root.slot(free)).is_ok());
    count += u64::from(root.slot(free).copy_from(from, all).is_ok());
    count += u64::from(from.revoke().is_ok());
    // The copies are siblings of what was given, and stay; what was minted is a child and is gone.
    count += u64::from(root.slot(free + 1).copy_from(from, all).is_ok());
    for slot in free..free + 3 {
        count += u64::from(root.slot(slot).delete().is_ok());
    }
    // Nothing of the parent's is reachable from here.
    count += u64::from(root.slot(1 << 12).copy_from(from, all).is_err());
    ipc_buffer().set_user_data(count);
    count
}

fn count_under_mutex(mutex: Notification, address: u64, rounds: u64) -> u64 {
    for _ in 0..rounds {
        mutex.wait();
        let seen = read(address);
        baton_runtime::sel4::yield_now();
        write(address, seen + 1);
        mutex.signal();
    }
    rounds
}

fn fpu(wait: Notification, signal: Notification, value: u64) -> u64 {
    let mut registers = [0_u64; 32];
    for (index, register) in registers.iter_mut().enumerate() {
        *register = value + index as u64;
    }
    load_fpu(&registers);
    signal.signal();
    wait.wait();
    let mut after = [0; 32];
    store_fpu(&mut after);
    assert_eq!(registers, after);
    value
}

macro_rules! fpu_registers {
    ($instruction:literal) => {
        concat!(
            $instruction,
            " f0, 0(a0)\n",
            $instruction,
            " f1, 8(a0)\n",
            $instruction,
            " f2, 16(a0)\n",
            $instruction,
            " f3, 24(a0)\n",
            $instruction,
            " f4, 32(a0)\n",
            $instruction,
            " f5, 40(a0)\n",
            $instruction,
            " f6, 48(a0)\n",
            $instruction,
            " f7, 56(a0)\n",
            $instruction,
            " f8, 64(a0)\n",
            $instruction,
            " f9, 72(a0)\n",
            $instruction,
            " f10, 80(a0)\n",
            $instruction,
            " f11, 88(a0)\n",
            $instruction,
            " f12, 96(a0)\n",
            $instruction,
            " f13, 104(a0)\n",
            $instruction,
            " f14, 112(a0)\n",
            $instruction,
            " f15, 120(a0)\n",
            $instruction,
            " f16, 128(a0)\n",
            $instruction,
            " f17, 136(a0)\n",
            $instruction,
            " f18, 144(a0)\n",
            $instruction,
            " f19, 152(a0)\n",
            $instruction,
            " f20, 160(a0)\n",
            $instruction,
            " f21, 168(a0)\n",
            $instruction,
            " f22, 176(a0)\n",
            $instruction,
            " f23, 184(a0)\n",
            $instruction,
            " f24, 192(a0)\n",
            $instruction,
            " f25, 200(a0)\n",
            $instruction,
            " f26, 208(a0)\n",
            $instruction,
            " f27, 216(a0)\n",
            $instruction,
            " f28, 224(a0)\n",
            $instruction,
            " f29, 232(a0)\n",
            $instruction,
            " f30, 240(a0)\n",
            $instruction,
            " f31, 248(a0)\n",
        )
    };
}

fn load_fpu(values: &[u64; 32]) {
    // SAFETY: reads 32 words from a valid reference; that the compiled code keeps nothing in these registers until they are stored
    // again is what the clobbers say for this block, and nothing in between computes with floating point.
    unsafe {
        core::arch::asm!(
            fpu_registers!("fld"), in("a0") values, options(nostack, readonly),
        );
    }
}

fn store_fpu(values: &mut [u64; 32]) {
    // SAFETY: writes 32 words to a valid exclusive reference.
    unsafe {
        core::arch::asm!(fpu_registers!("fsd"), in("a0") values, options(nostack));
    }
}

fn read(address: u64) -> u64 {
    // SAFETY: nothing of this program is there: either the parent mapped a frame for this purpose, or the access faults.
    unsafe { (address as *const u64).read_volatile() }
}

fn write(address: u64, value: u64) {
    // SAFETY: as in `read`.
    unsafe { (address as *mut u64).write_volatile(value) }
}

fn execute(address: u64) -> u64 {
    // SAFETY: the parent mapped code there that keeps to the calling convention, or the jump faults.
    let code: extern "C" fn() -> u64 = unsafe { core::mem::transmute(address as usize) };
    code()
}
