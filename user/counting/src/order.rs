//! What the two sides of a measurement agree on: what the other side is to do, and where it writes what it counted.

/// Label: answer calls of the service; word 1 is the message info of the answers.
pub const SERVE: u64 = 1;
/// Label: answer calls of the service without words, and write down in the mailbox when each came and when its answer left.
pub const SERVE_COUNTING: u64 = 2;
/// Label: yield.
pub const YIELD: u64 = 3;
/// Label: wait for signals, and answer each with one.
pub const WAIT: u64 = 4;

/// Label: call the service all the time; word 1 is the message info of the calls.
pub const CALL: u64 = 5;

/// Word of an order: 1 if the side is to use floating point.
pub const USES_FPU: usize = 0;
/// Word of [`SERVE`] and [`CALL`]: message info of what is sent.
pub const INFO: usize = 1;

/// Word of the mailbox: the counter behind the system call that received.
pub const CAME: usize = 0;
/// Word of the mailbox: the counter before that system call, which also sent the answer before.
pub const LEFT: usize = 1;
