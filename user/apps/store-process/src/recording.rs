//! A piece of the phase of nested calls is recorded, and printed at the end for `cargo xtask run` to make a trace of.

use alloc::string::String;
use baton_kv::services::{BoardClient, Phase};
use baton_platform::{User, UserHandle};
use baton_runtime::{StartInfo, println};

/// Events kept.
pub const EVENTS: usize = 1 << 11;
/// How much is enough.
const ENOUGH_EVENTS: u64 = 250;
/// How often it is looked whether there is enough, and how often at most.
const LOOK_NS: u64 = 100_000;
const MOST_LOOKS: u32 = 500;

/// Sees to it that the process records when the time has come. Without a free task entry it does not.
pub fn start(handle: &UserHandle, board: &BoardClient<User>) {
    let _ = handle
        .executor()
        .spawn(record(handle.clone(), board.clone()));
}

async fn record(handle: UserHandle, board: BoardClient<User>) {
    if board.reached(Phase::Quote).await.is_err() {
        return;
    }
    handle.node().set_tracing(true);
    for _ in 0..MOST_LOOKS {
        let slept = handle.executor().sleep(LOOK_NS).await;
        if slept.is_err() || handle.executor().trace().recorded() >= ENOUGH_EVENTS {
            break;
        }
    }
    handle.node().set_tracing(false);
}

/// Prints what was recorded.
pub fn print(info: &StartInfo, handle: &UserHandle, name: &str) {
    let mut lines = String::new();
    // Writing to a string cannot fail.
    let _ = handle.write_recording(info.argument(3) as u32, name, &mut lines);
    for line in lines.lines() {
        println!("{line}");
    }
}
