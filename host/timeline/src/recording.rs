//! The recordings of several processes, read from text.

use baton_trace::{Event, Line, LineError, Peer, Unit};
use std::fmt;

/// A connection of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its number in the process.
    pub number: u16,
    /// Where it leads.
    pub peer: Peer,
    /// What it is called.
    pub name: String,
}

/// What one process has recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The number that its peers know it by.
    pub number: u32,
    /// What its times count.
    pub unit: Unit,
    /// What it is called.
    pub name: String,
    /// Its connections.
    pub connections: Vec<Connection>,
    /// Its events with their sequence numbers, oldest first.
    pub events: Vec<(u64, Event)>,
    /// Whether the recording has come to its end, and all its events were there.
    pub whole: bool,
}

impl Process {
    /// The connection of this number; the one named last, where a number was given out again.
    pub fn connection(&self, number: u16) -> Option<&Connection> {
        self.connections
            .iter()
            .rev()
            .find(|connection| connection.number == number)
    }
}

/// The recordings of several processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The processes, in the order in which they began.
    pub processes: Vec<Process>,
}

/// Why a text cannot be read: which line, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: WhyUnread,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyUnread {
    /// It is not written as a line of a trace is.
    Line(LineError),
    /// It belongs to a process that has not begun, or has ended.
    Stray(u32),
    /// A process begins that has not ended.
    Again(u32),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the trace: ", self.line)?;
        match self.why {
            WhyUnread::Line(error) => error.fmt(f),
            WhyUnread::Stray(process) => {
                write!(f, "process {process} has not begun, or has ended")
            }
            WhyUnread::Again(process) => {
                write!(
                    f,
                    "process {process} begins again, and has not ended; each needs a number of its own"
                )
            }
        }
    }
}

impl std::error::Error for ReadError {}

impl Recording {
    /// Takes the lines of recordings out of a text, and leaves all others alone.
    ///
    /// # Errors
    ///
    /// [`ReadError`] names the first marked line that makes no sense.
    pub fn read(text: &str) -> Result<Recording, ReadError> {
        let mut recording = Recording::default();
        for (number, line) in text.lines().enumerate() {
            let Some(line) = Line::parse(line) else {
                continue;
            };
            line.map_err(WhyUnread::Line)
                .and_then(|line| recording.take(line))
                .map_err(|why| ReadError {
                    line: number + 1,
                    why,
                })?;
        }
        Ok(recording)
    }

    /// The process of this number that has begun and not ended.
    fn open(&mut self, number: u32) -> Option<&mut Process> {
        self.processes
            .iter_mut()
            .rev()
            .find(|process| process.number == number)
            .filter(|process| !process.whole)
    }

    fn take(&mut self, line: Line<'_>) -> Result<(), WhyUnread> {
        match line {
            Line::Begins {
                process,
                unit,
                name,
            } => {
                if self.open(process).is_some() {
                    return Err(WhyUnread::Again(process));
                }
                self.processes.push(Process {
                    number: process,
                    unit,
                    name: name.to_owned(),
                    connections: Vec::new(),
                    events: Vec::new(),
                    whole: false,
                });
            }
            Line::Connection { own, peer, name } => {
                let process = self.open(own.process);
                let process = process.ok_or(WhyUnread::Stray(own.process))?;
                process.connections.push(Connection {
                    number: own.connection,
                    peer,
                    name: name.to_owned(),
                });
            }
            Line::Event {
                process,
                sequence,
                event,
            } => {
                let open = self.open(process).ok_or(WhyUnread::Stray(process))?;
                open.events.push((sequence, event));
            }
            Line::Ends { process, events } => {
                let open = self.open(process).ok_or(WhyUnread::Stray(process))?;
                if open.events.len() as u64 != events {
                    return Err(WhyUnread::Line(LineError::Wrong("count of events")));
                }
                open.whole = true;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_may_be_mixed_line_by_line() {
        let text = "@trace begins,1,ns,a\n\
            b: @trace begins,2,ns,b\n\
            @trace event,2,0,5,wake,0,1,0,0\n\
            what else there is\n\
            @trace event,1,0,6,wake,0,1,0,0\n\
            @trace connection,1,4,2,0,to b\n\
            @trace ends,2,1\n\
            @trace ends,1,1\n";
        let recording = Recording::read(text).unwrap();
        let found: Vec<_> = recording
            .processes
            .iter()
            .map(|p| (p.name.as_str(), p.events.len(), p.whole))
            .collect();
        assert_eq!(found, [("a", 1, true), ("b", 1, true)]);
        assert_eq!(recording.processes[0].connection(4).unwrap().name, "to b");
        assert_eq!(recording.processes[0].connection(5), None);
    }

    #[test]
    fn a_recording_that_was_cut_off_is_kept_and_known() {
        let recording = Recording::read("@trace begins,1,ns,a\n").unwrap();
        assert!(!recording.processes[0].whole);
    }

    #[test]
    fn lines_that_make_no_sense_are_named() {
        let why = |text| Recording::read(text).unwrap_err().to_string();
        assert_eq!(
            why("\n@trace event,1,0,6,wake,0,1,0,0\n"),
            "line 2 of the trace: process 1 has not begun, or has ended"
        );
        assert!(why("@trace begins,1,ns,a\n@trace begins,1,ns,a").contains("begins again"));
        assert!(
            why("@trace begins,1,ns,a\n@trace ends,1,2").contains("the count of events cannot be")
        );
        assert!(why("@trace what").contains("line 1"));
    }

    #[test]
    fn a_number_may_come_again_once_its_process_has_ended() {
        let one = "@trace begins,1,ns,a\n@trace ends,1,0\n";
        let recording = Recording::read(&format!("{one}{one}")).unwrap();
        assert_eq!(recording.processes.len(), 2);
    }
}
