//! Has the server killed at random times.

use crate::drive;
use crate::shared::said;
use baton_platform::UserNode;
use baton_runtime::StartInfo;
use baton_runtime::sel4::Message;

/// Time between a kill and the next at most: enough for the next server to come, and for many requests.
const MOST_NS: u64 = 16_000_000;

/// Sleeps, has the server killed, and so on until the root task says that it was the last time.
pub fn run(info: &'static StartInfo, node: &UserNode) -> u64 {
    let handle = node.handle();
    let mut random = info.argument(1) | 1;
    loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let slept = drive(node, handle.executor().sleep(random % MOST_NS));
        if slept.is_err() {
            panic!("there is no room for a timer");
        }
        let answer = info.parent().call(&Message::new(said::NOW, &[]));
        if answer.word(0) == 1 {
            return 0;
        }
    }
}
