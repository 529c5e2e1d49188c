//! How results are counted by clients, and gathered by the board.

use crate::services::{Figures, Phase, ServerKind};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

/// How the requests of one phase of one client went.
pub trait Tally: Default + 'static {
    /// Counts one answer; `wrong` describes it where it is not what it must be.
    fn count(&mut self, latency_ns: u64, right: bool, wrong: impl FnOnce() -> String);

    /// Answers that were counted.
    fn requests(&self) -> u64;

    /// The phase took so long.
    fn took(&mut self, elapsed_ns: u64);

    /// As text that whoever gathers can read.
    fn to_text(&self) -> String;
}

/// What the board makes of all clients' reports.
pub trait Gather: Default + 'static {
    /// A client's report of a phase, as its [`Tally::to_text`]. Says no when it cannot be read.
    fn report(&mut self, phase: Phase, text: &str) -> bool;

    /// What a server did.
    fn figures(&mut self, server: ServerKind, figures: Figures);
}

/// A tally of plain numbers, without a distribution of latencies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests that were answered.
    pub requests: u64,
    /// Answers that were not what they must be.
    pub wrong: u64,
    /// What the first of them was.
    pub first_wrong: String,
    /// Longest time from a request to its answer.
    pub worst_ns: u64,
    /// How long the phase took; of several clients the longest.
    pub elapsed_ns: u64,
}

impl Tally for Counted {
    fn count(&mut self, latency_ns: u64, right: bool, wrong: impl FnOnce() -> String) {
        self.requests += 1;
        self.worst_ns = self.worst_ns.max(latency_ns);
        if !right {
            self.wrong += 1;
            if self.first_wrong.is_empty() {
                self.first_wrong = wrong();
            }
        }
    }

    fn requests(&self) -> u64 {
        self.requests
    }

    fn took(&mut self, elapsed_ns: u64) {
        self.elapsed_ns = elapsed_ns;
    }

    fn to_text(&self) -> String {
        let Counted {
            requests,
            wrong,
            first_wrong,
            worst_ns,
            elapsed_ns,
        } = self;
        format!("{requests} {wrong} {worst_ns} {elapsed_ns}\n{first_wrong}")
    }
}

impl Counted {
    /// Reads what [`Tally::to_text`] wrote; none when it is something else.
    pub fn from_text(text: &str) -> Option<Counted> {
        let (numbers, first_wrong) = text.split_once('\n')?;
        let mut numbers = numbers.split(' ');
        let mut next = || numbers.next()?.parse().ok();
        Some(Counted {
            requests: next()?,
            wrong: next()?,
            worst_ns: next()?,
            elapsed_ns: next()?,
            first_wrong: first_wrong.to_owned(),
        })
    }
}

/// Plain numbers of all clients, by phase.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// What the clients reported.
    pub phases: BTreeMap<Phase, Counted>,
    /// What the servers did.
    pub servers: BTreeMap<ServerKind, Figures>,
}

impl Gather for Totals {
    fn report(&mut self, phase: Phase, text: &str) -> bool {
        let Some(counted) = Counted::from_text(text) else {
            return false;
        };
        let total = self.phases.entry(phase).or_default();
        total.requests += counted.requests;
        total.wrong += counted.wrong;
        total.worst_ns = total.worst_ns.max(counted.worst_ns);
        total.elapsed_ns = total.elapsed_ns.max(counted.elapsed_ns);
        if total.first_wrong.is_empty() {
            total.first_wrong = counted.first_wrong;
        }
        true
    }

    fn figures(&mut self, server: ServerKind, figures: Figures) {
        self.servers.insert(server, figures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_survives_the_way() {
        let mut counted = Counted::default();
        counted.count(7, true, String::new);
        counted.count(9, false, || "another text".to_owned());
        counted.took(100);
        assert_eq!(
            Counted::from_text(&counted.to_text()),
            Some(counted.clone())
        );
        let mut totals = Totals::default();
        assert!(totals.report(Phase::Load, &counted.to_text()));
        assert!(totals.report(Phase::Load, &counted.to_text()));
        assert!(!totals.report(Phase::Load, "nonsense"));
        let total = totals.phases.get(&Phase::Load).unwrap();
        assert_eq!((total.requests, total.wrong, total.worst_ns), (4, 2, 9));
    }
}
