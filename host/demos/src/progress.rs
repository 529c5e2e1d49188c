//! Progress while the demo runs: one line that changes on a terminal, a line now and then elsewhere.

use crate::board::Member;
use crate::services::Phase;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::time::{Duration, Instant};

/// Time between two lines where they do not replace each other.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// Most clients that stand one by one in a line, which must not be longer than a narrow terminal.
const LINE_CLIENTS: usize = 4;

/// Shows how far the clients are.
pub struct Progress {
    begun: Instant,
    terminal: bool,
    shown: Vec<Member>,
    printed: Option<(Instant, Option<Phase>)>,
}

impl Progress {
    /// Begins now.
    pub fn new() -> Self {
        Progress {
            begun: Instant::now(),
            terminal: stdout().is_terminal(),
            shown: Vec::new(),
            printed: None,
        }
    }

    /// Shows where the clients are; says whether anything has changed since the last time.
    pub fn show(&mut self, members: &[Member]) -> bool {
        if self.shown == members {
            return false;
        }
        self.shown = members.to_vec();
        let phase = phase_of(members);
        let text = format!(
            "[{:5.1} s] {}",
            self.begun.elapsed().as_secs_f64(),
            describe(members)
        );
        let due = self
            .printed
            .is_none_or(|(when, before)| before != phase || when.elapsed() >= PLAIN_EVERY);
        if self.terminal {
            write(&format!("\r\x1b[K{text}"));
        } else if due && phase.is_some() {
            write(&format!("{text}\n"));
            self.printed = Some((Instant::now(), phase));
        }
        true
    }

    /// Prints a line that stays.
    pub fn line(&mut self, text: &str) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let at = self.begun.elapsed().as_secs_f64();
        write(&format!("{start}[{at:5.1} s] {text}\n"));
    }

    /// Ends the line that changes.
    pub fn end(&mut self) {
        if self.terminal {
            write("\r\x1b[K");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// The phase that the last of the living clients is in.
fn phase_of(members: &[Member]) -> Option<Phase> {
    let living = members.iter().filter(|member| member.living);
    living.map(|member| member.phase).min().flatten()
}

/// The phase, and how many requests each client has done in it; all together where there are too many for a line.
fn describe(members: &[Member]) -> String {
    let phase = phase_of(members).map_or("start", Phase::name);
    let mut text = format!("{phase:<9}");
    // Writing to a string cannot fail.
    if members.len() > LINE_CLIENTS {
        let living = members.iter().filter(|member| member.living);
        let (count, done) = living.fold((0, 0), |(n, done), member| (n + 1, done + member.done));
        let _ = write!(text, "  {count} clients: {done:>10}");
        return text;
    }
    for (number, member) in members.iter().enumerate() {
        let _ = match member.living {
            true => write!(text, "  {number}: {:>8}", member.done),
            false => write!(text, "  {number}: {:>8}", "dead"),
        };
    }
    text
}

/// Output that nobody reads any more is no reason to stop.
fn write(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(phase: Phase, done: u64, living: bool) -> Member {
        Member {
            phase: Some(phase),
            done,
            living,
        }
    }

    #[test]
    fn the_line_names_the_slowest_living_phase_and_the_dead() {
        let members = [
            member(Phase::FindAll, 70, true),
            member(Phase::Read, 5, false),
            member(Phase::Find, 900, true),
        ];
        let text = describe(&members);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["find", "0:", "70", "1:", "dead", "2:", "900"]);
    }

    #[test]
    fn many_clients_are_added_up() {
        let mut members = vec![member(Phase::Load, 10, true); 8];
        members[3].living = false;
        let text = describe(&members);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["load", "7", "clients:", "70"]);
    }

    #[test]
    fn only_changes_are_shown() {
        let mut progress = Progress::new();
        let mut members = [member(Phase::Load, 1, true)];
        assert!(progress.show(&members));
        assert!(!progress.show(&members));
        members[0].done = 2;
        assert!(progress.show(&members));
    }
}
