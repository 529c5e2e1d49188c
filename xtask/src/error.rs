//! What can go wrong in a command, each with what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a command, or one stage of the tests, did not succeed.
#[derive(Debug)]
pub enum Error {
    /// The command line cannot be understood.
    Usage(String),
    /// A tool is missing and could not be installed.
    Setup {
        /// What is missing, and why it is needed.
        missing: String,
        /// What the user can type to install it.
        install: String,
    },
    /// A program could not be started.
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ran and reported failure.
    Failed {
        /// The command line.
        command: String,
        /// Its exit status in words.
        status: String,
    },
    /// A program was killed because it ran for longer than a healthy one ever does.
    Hung {
        /// The command line.
        command: String,
        /// The limit of its stage.
        limit_s: u64,
    },
    /// A file or directory could not be read or written.
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of a results file is not what it should be.
    Csv {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
        /// The columns that it should have.
        expected: &'static str,
    },
    /// A plot could not be drawn.
    Plot {
        /// The file that was being drawn.
        path: PathBuf,
        /// What the plotting library said.
        reason: String,
    },
    /// A check found something wrong in the repository.
    Check(String),
    /// Stages of the tests failed.
    Tests {
        /// How many.
        failed: usize,
    },
}

impl Error {
    /// Makes a closure for `map_err` that says what was being done to which file.
    pub fn file<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
        move |source| Error::File {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(reason) => {
                write!(f, "{reason}\nType `cargo xtask help` for all commands.")
            }
            Error::Setup { missing, install } => {
                write!(f, "{missing}\nInstall it with: {install}")
            }
            Error::Start { command, source } => {
                write!(f, "could not start `{command}`: {source}. Is it installed?")
            }
            Error::Failed { command, status } => write!(f, "`{command}` failed: {status}"),
            Error::Hung { command, limit_s } => write!(
                f,
                "`{command}` had not ended after {limit_s} s, which is a hang; it was killed"
            ),
            Error::File {
                doing,
                path,
                source,
            } => write!(f, "could not {doing} {}: {source}", path.display()),
            Error::Csv {
                line,
                reason,
                expected,
            } => write!(
                f,
                "line {line} of the results: {reason}. Expected: {expected}"
            ),
            Error::Plot { path, reason } => {
                write!(f, "could not draw {}: {reason}", path.display())
            }
            Error::Check(found) => f.write_str(found),
            Error::Tests { failed } => write!(f, "{failed} stage(s) failed; see the table above"),
        }
    }
}

impl std::error::Error for Error {}
