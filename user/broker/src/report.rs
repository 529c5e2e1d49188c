//! What processes say and do that is not the broker's business: what a process server waits for.

use crate::{Broker, End, Outcome, ProcessNumber};
use baton_runtime::println;
use core::fmt;

/// What a process does that its server may wait for.
#[derive(Debug)]
pub enum Report {
    /// It said this: a label, and the first words of the message.
    Said(ProcessNumber, u64, [u64; 3]),
    /// It has ended.
    Ended(ProcessNumber, End),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Said(process, label, _) => write!(f, "process {process} said {label:#x}"),
            Report::Ended(process, end) => write!(f, "process {process} {end}"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exit(code) => write!(f, "ended with code {code}"),
            End::Panic(text) => write!(f, "panicked: {}", text.as_str()),
            End::Fault(fault) => write!(f, "faulted {fault}"),
        }
    }
}

impl Broker {
    /// Listens until there is something that the broker does not deal with by itself. What processes print is printed meanwhile, each
    /// line behind the number of its process.
    ///
    /// What was said may have been a call, which must be replied to before the next report is waited for.
    pub fn next_report(&mut self) -> Report {
        loop {
            let received = self.listener().recv();
            match self.handle(received) {
                Outcome::Handled => {}
                Outcome::Print(process, text) => {
                    for line in text.as_str().lines() {
                        println!("{process}: {line}");
                    }
                }
                Outcome::Ended(process, end) => return Report::Ended(process, end),
                Outcome::Other(process, other) => {
                    let words = core::array::from_fn(|index| other.word(index));
                    return Report::Said(process, other.label(), words);
                }
            }
        }
    }

    /// Waits until that process says something with that label.
    ///
    /// # Errors
    /// The report of anything else that comes first.
    pub fn expect(&mut self, process: ProcessNumber, label: u64) -> Result<(), Report> {
        self.expect_all(&[process], label)
    }

    /// Waits until each of `processes` has said something with that label, in any order.
    ///
    /// # Errors
    /// The report of anything else that comes first.
    pub fn expect_all(&mut self, processes: &[ProcessNumber], label: u64) -> Result<(), Report> {
        for _ in processes {
            match self.next_report() {
                Report::Said(who, what, _) if what == label && processes.contains(&who) => {}
                other => return Err(other),
            }
        }
        Ok(())
    }

    /// Waits until each of `processes` has ended with code 0, in any order; what anybody says meanwhile does not count.
    ///
    /// # Errors
    /// The report of any other end that comes first.
    pub fn all_end_well(&mut self, processes: &[ProcessNumber]) -> Result<(), Report> {
        let mut left = processes.len();
        while left != 0 {
            match self.next_report() {
                Report::Said(..) => {}
                Report::Ended(who, End::Exit(0)) if processes.contains(&who) => left -= 1,
                other => return Err(other),
            }
        }
        Ok(())
    }
}
