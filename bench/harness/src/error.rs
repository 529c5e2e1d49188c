//! What can go wrong while measuring, and whose fault it was.

use std::fmt;
use std::io;

/// Why a sample or a series of samples could not be taken.
#[derive(Debug)]
pub enum HarnessError {
    /// The operating system refused a call: look at the source, mostly limits or rights.
    Os {
        /// The call that failed.
        what: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// The caller asked for something this driver does not run: ask `list` first.
    Unsupported(String),
    /// A command or an answer on the driver's line protocol could not be read: the two programs differ in version.
    Protocol(String),
    /// A measured process failed or did not end in time: its own message is on stderr.
    Role(String),
    /// callgrind failed or wrote no total: is valgrind installed?
    Callgrind(String),
    /// The distance between the cores changed during too many samples: measure on a quieter machine.
    Unsteady(String),
}

impl HarnessError {
    /// Wraps the last operating system error of this thread.
    #[must_use]
    pub fn last_os(what: &'static str) -> Self {
        Self::Os {
            what,
            source: io::Error::last_os_error(),
        }
    }

    /// Wraps an error which the standard library returned for `what`.
    #[must_use]
    pub fn os(what: &'static str, source: io::Error) -> Self {
        Self::Os { what, source }
    }
}

impl fmt::Display for HarnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os { what, source } => write!(f, "{what}: {source}"),
            Self::Unsupported(text) => write!(f, "not supported: {text}"),
            Self::Protocol(text) => write!(f, "driver protocol: {text}"),
            Self::Role(text) => write!(f, "measured process: {text}"),
            Self::Callgrind(text) => write!(f, "callgrind: {text}"),
            Self::Unsteady(text) => write!(f, "calibration changed: {text}"),
        }
    }
}

impl std::error::Error for HarnessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}
