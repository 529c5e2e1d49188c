//! What the test root task starts in address spaces of their own. Argument 0 says which role, the others are the role's.
#![no_std]
#![no_main]

mod roles;

use baton_runtime::StartInfo;

baton_runtime::process!(main);

fn main(info: &'static StartInfo) -> u64 {
    roles::run(info)
}
