//! The processes of the hostile root task: those that throw random system calls, a server, and a client that checks its answers.
#![no_std]
#![no_main]

mod honest;
mod hostile;

use baton_runtime::StartInfo;

/// Argument 0: throw random system calls; arguments 1 and 2 are the address of the shared frame, and the first seed.
pub const HOSTILE: u64 = 0;
/// Argument 0: serve.
pub const SERVER: u64 = 1;
/// Argument 0: call the server, and check its answers.
pub const CLIENT: u64 = 2;

baton_runtime::process!(main);

fn main(info: &'static StartInfo) -> u64 {
    match info.argument(0) {
        HOSTILE => hostile::run(info.argument(1), info.argument(2)),
        SERVER => honest::serve(info.given(0)),
        CLIENT => honest::call(info.parent(), info.given(0), info.given(1)),
        role => panic!("there is no role {role}"),
    }
}
