//! What is measured: every transport with more and more processes that send, asleep while there is nothing to do; and, at fewer points,
//! with processes that do otherwise meanwhile.

use crate::shared::{OUTSTANDING, Way, mode};
use alloc::format;
use alloc::string::String;

/// Processes that are measured together.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How messages get across.
    pub way: Way,
    /// What executors do when there is nothing to do: one of [`mode`].
    pub mode: u64,
    /// Processes that send.
    pub senders: u64,
    /// Which numbers of words: bits of `WORKLOADS`.
    pub words: u64,
    /// Which numbers of requests outstanding: bits of `OUTSTANDING`.
    pub outstanding: u64,
}

/// Numbers of processes that send.
const SENDERS: [u64; 5] = [1, 2, 4, 8, 16];
/// Those of them that are measured while executors give up the core before they sleep.
const YIELD_SENDERS: [u64; 2] = [1, 16];
/// The bit of two words, of which most is measured.
const TWO_WORDS: u64 = 1;
const ALL_WORDS: u64 = 7;
const ALL_OUTSTANDING: u64 = (1 << OUTSTANDING.len()) - 1;
/// 1, 32 and 256: who never sleeps has the core until its time slice is over, so that these few take long.
const POLL_OUTSTANDING: u64 = 1 | 1 << 5 | 1 << 8;

impl Shape {
    /// Its name in the results.
    pub fn variant(&self) -> String {
        let meanwhile = match self.mode {
            mode::YIELD => "_yield",
            mode::POLL => "_poll",
            _ => "",
        };
        format!("{}{meanwhile}_s{}", self.way.name(), self.senders)
    }
}

/// All of them.
pub fn shapes() -> impl Iterator<Item = Shape> {
    let of = |mode, senders, words, outstanding| {
        Way::ALL.into_iter().map(move |way| Shape {
            way,
            mode,
            senders,
            words,
            outstanding,
        })
    };
    let parked = SENDERS.into_iter().flat_map(move |senders| {
        let words = if senders == 1 { ALL_WORDS } else { TWO_WORDS };
        of(mode::PARK, senders, words, ALL_OUTSTANDING)
    });
    let yielding = YIELD_SENDERS
        .into_iter()
        .flat_map(move |senders| of(mode::YIELD, senders, TWO_WORDS, ALL_OUTSTANDING));
    let polling = of(mode::POLL, 1, TWO_WORDS, POLL_OUTSTANDING);
    parked.chain(yielding).chain(polling)
}
