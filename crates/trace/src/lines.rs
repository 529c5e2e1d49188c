//! The recordings of several processes as lines of text, from which the host makes a timeline.
//!
//! ```text
//! @trace begins,PROCESS,UNIT,NAME
//! @trace connection,PROCESS,NUMBER,PEER_PROCESS,PEER_NUMBER,NAME
//! @trace event,PROCESS,SEQUENCE,TIME,STEP,CONNECTION,TASK,TOKEN,DETAIL
//! @trace ends,PROCESS,EVENTS
//! ```
//!
//! - PROCESS is a number that the processes of one run tell each other apart by: a process id, or what the broker gave.
//! - UNIT is `ns` or `instructions`: what TIME counts. All processes of a run must have read the same clock.
//! - NUMBER is the connection's number in this process, and PEER_NUMBER that of the same connection in PEER_PROCESS. With them a
//!   request finds its other half, and none but that. Both are `-` where they are not known, and `kernel` where the connection
//!   leads to the kernel, which records nothing.
//! - TOKEN is hexadecimal, all other numbers are decimal; STEP is the name of a [`Step`].
//! - NAME is the rest of the line, and may have commas in it.
//! - EVENTS says how many events should have been read, so that a recording that was cut off is recognised.
//!
//! A line may have anything in front of `@trace`, such as what a console puts before each line of a process, and lines of several
//! processes may be mixed. So a process without files prints its recording on whatever console it has.
//!
//! Neighbours: [`write_lines`] for those who have a ring; `baton-timeline` on the host reads.

use crate::{Event, Step};
use core::fmt::{self, Write};

/// What every line of a recording begins with, after whatever a console puts before it.
pub const MARK: &str = "@trace ";

/// What the times of a recording count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// Instructions that the core has retired.
    Instructions,
}

impl Unit {
    /// The name of the unit in a line.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::Instructions => "instructions",
        }
    }

    fn from_name(name: &str) -> Option<Unit> {
        [Unit::Nanoseconds, Unit::Instructions]
            .into_iter()
            .find(|unit| unit.name() == name)
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// The number of the process.
    pub process: u32,
    /// The connection's number there.
    pub connection: u16,
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// That is not known.
    Unknown,
    /// To the kernel, for asynchronous system calls.
    Kernel,
    /// To another process.
    Process(End),
}

/// One line of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The recording of a process begins.
    Begins {
        /// The process.
        process: u32,
        /// What its times count.
        unit: Unit,
        /// What it is called.
        name: &'a str,
    },
    /// A connection of the process.
    Connection {
        /// The connection's end in this process.
        own: End,
        /// Its other end.
        peer: Peer,
        /// What it is called, such as by its peer's name.
        name: &'a str,
    },
    /// Something happened.
    Event {
        /// The process.
        process: u32,
        /// The number of the event in its ring.
        sequence: u64,
        /// What happened; `time_ns` is in the unit of the recording.
        event: Event,
    },
    /// The recording of a process is complete.
    Ends {
        /// The process.
        process: u32,
        /// How many events it has.
        events: u64,
    },
}

/// Names are written on one line, so what would break it becomes a blank.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| f.write_char(if c.is_control() { ' ' } else { c }))
    }
}

impl fmt::Display for Line<'_> {
    /// The line, without a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARK)?;
        match self {
            Line::Begins {
                process,
                unit,
                name,
            } => write!(f, "begins,{process},{},{}", unit.name(), OneLine(name)),
            Line::Connection { own, peer, name } => {
                write!(f, "connection,{},{},", own.process, own.connection)?;
                match peer {
                    Peer::Process(end) => write!(f, "{},{}", end.process, end.connection)?,
                    Peer::Kernel => f.write_str("kernel,kernel")?,
                    Peer::Unknown => f.write_str("-,-")?,
                }
                write!(f, ",{}", OneLine(name))
            }
            Line::Event {
                process,
                sequence,
                event,
            } => write!(
                f,
                "event,{process},{sequence},{},{},{},{},{:x},{}",
                event.time_ns,
                event.step.name(),
                event.connection,
                event.task,
                event.token,
                event.detail
            ),
            Line::Ends { process, events } => write!(f, "ends,{process},{events}"),
        }
    }
}

/// Why a line that bears the mark is no line of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// There is no line of that kind.
    Kind,
    /// This field is missing.
    Missing(&'static str),
    /// This field is there, and not what it should be.
    Wrong(&'static str),
    /// More follows than the line should have.
    TooLong,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::Kind => {
                f.write_str("a line of a trace begins, names a connection, is an event, or ends")
            }
            LineError::Missing(field) => write!(f, "the line ends before its {field}"),
            LineError::Wrong(field) => write!(f, "the {field} cannot be that"),
            LineError::TooLong => f.write_str("the line goes on after its last field"),
        }
    }
}

impl core::error::Error for LineError {}

/// The fields of a line that have not been read.
struct Fields<'a>(Option<&'a str>);

impl<'a> Fields<'a> {
    fn next(&mut self, field: &'static str) -> Result<&'a str, LineError> {
        let rest = self.0.ok_or(LineError::Missing(field))?;
        let (first, rest) = match rest.split_once(',') {
            Some((first, rest)) => (first, Some(rest)),
            None => (rest, None),
        };
        self.0 = rest;
        Ok(first)
    }

    fn number<N: core::str::FromStr>(&mut self, field: &'static str) -> Result<N, LineError> {
        self.next(field)?
            .parse()
            .map_err(|_| LineError::Wrong(field))
    }

    fn name(&mut self) -> Result<&'a str, LineError> {
        self.0.take().ok_or(LineError::Missing("name"))
    }

    fn end(self) -> Result<(), LineError> {
        self.0.map_or(Ok(()), |_| Err(LineError::TooLong))
    }

    fn peer(&mut self) -> Result<Peer, LineError> {
        let process = self.next("peer's process")?;
        let connection = self.next("peer's number")?;
        match (process, connection) {
            ("-", "-") => return Ok(Peer::Unknown),
            ("kernel", "kernel") => return Ok(Peer::Kernel),
            _ => {}
        }
        Ok(Peer::Process(End {
            process: process
                .parse()
                .map_err(|_| LineError::Wrong("peer's process"))?,
            connection: connection
                .parse()
                .map_err(|_| LineError::Wrong("peer's number"))?,
        }))
    }

    fn event(&mut self) -> Result<Event, LineError> {
        let time_ns = self.number("time")?;
        let step = Step::from_name(self.next("step")?).ok_or(LineError::Wrong("step"))?;
        let connection = self.number("connection")?;
        let task = self.number("task")?;
        let token =
            u64::from_str_radix(self.next("token")?, 16).map_err(|_| LineError::Wrong("token"))?;
        Ok(Event {
            time_ns,
            step,
            connection,
            task,
            token,
            detail: self.number("detail")?,
        })
    }
}

impl<'a> Line<'a> {
    /// Reads a line of text; none when it bears no mark and so belongs to something else.
    ///
    /// # Errors
    ///
    /// [`LineError`] says which field of a marked line is missing or wrong.
    pub fn parse(text: &'a str) -> Option<Result<Line<'a>, LineError>> {
        let (_, line) = text.split_once(MARK)?;
        Some(Line::parse_marked(line.trim_end_matches(['\r', '\n'])))
    }

    fn parse_marked(line: &'a str) -> Result<Line<'a>, LineError> {
        let mut fields = Fields(Some(line));
        let kind = fields.next("kind")?;
        if !matches!(kind, "begins" | "connection" | "event" | "ends") {
            return Err(LineError::Kind);
        }
        let process = fields.number("process")?;
        match kind {
            "begins" => Ok(Line::Begins {
                process,
                unit: Unit::from_name(fields.next("unit")?).ok_or(LineError::Wrong("unit"))?,
                name: fields.name()?,
            }),
            "connection" => Ok(Line::Connection {
                own: End {
                    process,
                    connection: fields.number("connection")?,
                },
                peer: fields.peer()?,
                name: fields.name()?,
            }),
            "event" => {
                let sequence = fields.number("sequence")?;
                let event = fields.event()?;
                fields.end()?;
                Ok(Line::Event {
                    process,
                    sequence,
                    event,
                })
            }
            _ => {
                let events = fields.number("count of events")?;
                fields.end()?;
                Ok(Line::Ends { process, events })
            }
        }
    }
}

/// Writes the recording of one process: `connections` are its own numbers of them, what leads there, and how that is called.
///
/// # Errors
///
/// Whatever `out` says.
pub fn write_lines<'a>(
    process: u32,
    unit: Unit,
    name: &str,
    connections: impl IntoIterator<Item = (u16, Peer, &'a str)>,
    events: &[(u64, Event)],
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let begins = Line::Begins {
        process,
        unit,
        name,
    };
    writeln!(out, "{begins}")?;
    for (connection, peer, name) in connections {
        let own = End {
            process,
            connection,
        };
        writeln!(out, "{}", Line::Connection { own, peer, name })?;
    }
    for (sequence, event) in events {
        let line = Line::Event {
            process,
            sequence: *sequence,
            event: *event,
        };
        writeln!(out, "{line}")?;
    }
    let events = events.len() as u64;
    writeln!(out, "{}", Line::Ends { process, events })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    const EVENT: Event = Event {
        time_ns: 1_000_250,
        step: Step::DrainAnswer,
        connection: 3,
        task: u16::MAX,
        token: 0xa_0003,
        detail: 7,
    };

    fn lines() -> [Line<'static>; 6] {
        let own = End {
            process: 12,
            connection: 3,
        };
        let peer = Peer::Process(End {
            process: 4,
            connection: 9,
        });
        [
            Line::Begins {
                process: 12,
                unit: Unit::Instructions,
                name: "client 1, the second",
            },
            Line::Connection {
                own,
                peer,
                name: "store",
            },
            Line::Connection {
                own,
                peer: Peer::Unknown,
                name: "",
            },
            Line::Connection {
                own,
                peer: Peer::Kernel,
                name: "kernel",
            },
            Line::Event {
                process: 12,
                sequence: 41,
                event: EVENT,
            },
            Line::Ends {
                process: 12,
                events: 1,
            },
        ]
    }

    #[test]
    fn a_recording_is_these_lines() {
        let mut text = String::new();
        let peer = End {
            process: 4,
            connection: 9,
        };
        let connections = [
            (3, Peer::Process(peer), "store"),
            (5, Peer::Unknown, "a\nb"),
            (6, Peer::Kernel, "kernel"),
        ];
        let events = [(41, EVENT)];
        let unit = Unit::Nanoseconds;
        write_lines(12, unit, "client", connections, &events, &mut text).unwrap();
        assert_eq!(
            text,
            "@trace begins,12,ns,client\n\
             @trace connection,12,3,4,9,store\n\
             @trace connection,12,5,-,-,a b\n\
             @trace connection,12,6,kernel,kernel,kernel\n\
             @trace event,12,41,1000250,drain_answer,3,65535,a0003,7\n\
             @trace ends,12,1\n"
        );
    }

    #[test]
    fn what_is_written_is_read_again_whatever_stands_before_it() {
        for line in lines() {
            let text = line.to_string();
            assert_eq!(Line::parse(&text), Some(Ok(line)));
            let console = alloc::format!("server: {text}\r\n");
            assert_eq!(Line::parse(&console), Some(Ok(line)));
        }
        assert_eq!(Line::parse("server: serving"), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |line: &str| Line::parse(line).unwrap().unwrap_err();
        assert_eq!(wrong("@trace "), LineError::Kind);
        assert_eq!(wrong("@trace resumes,1"), LineError::Kind);
        assert_eq!(wrong("@trace ends"), LineError::Missing("process"));
        assert_eq!(wrong("@trace ends,-1,0"), LineError::Wrong("process"));
        assert_eq!(wrong("@trace ends,1,0,0"), LineError::TooLong);
        assert_eq!(wrong("@trace begins,1,weeks,x"), LineError::Wrong("unit"));
        assert_eq!(
            wrong("@trace connection,1,0,-,4,x"),
            LineError::Wrong("peer's process")
        );
        let event = |fields: &str| wrong(&alloc::format!("@trace event,1,0,5,{fields}"));
        assert_eq!(event("sub"), LineError::Wrong("step"));
        assert_eq!(event("submit,0,0,xyz,0"), LineError::Wrong("token"));
        assert_eq!(event("submit,0,0,ab"), LineError::Missing("detail"));
        assert_eq!(event("submit,0,0,ab,1,2"), LineError::TooLong);
    }

    #[test]
    fn no_text_is_too_strange() {
        // Every line, cut off anywhere: read or refused, and never more.
        for line in lines() {
            let text = line.to_string();
            for end in 0..text.len() {
                let _ = Line::parse(&text[..end]);
            }
        }
    }
}
