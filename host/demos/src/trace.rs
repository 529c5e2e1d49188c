//! A trace of a few milliseconds of all processes, in which each request can be followed from one to the other.
//!
//! Every process records on its own when the phase of nested calls begins, and writes its recording at its end; the parent joins
//! them into a file for Perfetto, and a picture of one request beside it. Times agree because all read the same clock of the system.

use crate::args::{Options, Role};
use crate::processes::ProcessError;
use crate::services::{BoardClient, Phase};
use baton_linux::{Linux, LinuxHandle};
use baton_timeline::{Recording, Timeline};
use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How long each process records, and again as long while it has had no time to do much.
const RECORD_NS: u64 = 5_000_000;
/// How much is enough: some dozens of requests.
const ENOUGH_EVENTS: u64 = 1_000;
/// So often at most: half a second.
const MOST_TIMES: u32 = 100;
/// Events kept; more than any process can record in that time.
const EVENTS: usize = 1 << 17;

/// The recording of one process; clones share it.
#[derive(Clone)]
pub struct Tracing {
    part: Option<PathBuf>,
    role: Role,
    handle: LinuxHandle,
}

impl Tracing {
    /// How many events a process must be able to keep.
    pub fn events(options: &Options) -> usize {
        match options.trace {
            Some(_) => EVENTS,
            None => 0,
        }
    }

    /// Sees to it that the process records when the time has come, if a trace was asked for.
    pub fn start(options: &Options, handle: &LinuxHandle, board: &BoardClient<Linux>) -> Tracing {
        let part = options.trace.as_deref();
        let tracing = Tracing {
            part: part.map(|path| part_path(path, options.role)),
            role: options.role,
            handle: handle.clone(),
        };
        if tracing.part.is_some() {
            let record = record(handle.clone(), board.clone());
            // Without a free entry there is no recording, and everything else goes on.
            let _ = handle.executor().spawn(record);
        }
        tracing
    }

    /// Writes this process's recording, if a trace was asked for.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Trace`].
    pub fn write(&self) -> Result<(), ProcessError> {
        let Some(path) = &self.part else {
            return Ok(());
        };
        let mut lines = String::new();
        // Writing to a string cannot fail.
        let _ = self
            .handle
            .write_recording(&self.role.to_string(), &mut lines);
        fs::write(path, lines).map_err(|error| ProcessError::Trace(path.clone(), error))
    }
}

async fn record(handle: LinuxHandle, board: BoardClient<Linux>) {
    if board.reached(Phase::Quote).await.is_ok() {
        handle.node().set_tracing(true);
        for _ in 0..MOST_TIMES {
            let slept = handle.executor().sleep(RECORD_NS).await;
            // Where no timer is free, the recording is empty rather than endless.
            if slept.is_err() || handle.executor().trace().recorded() >= ENOUGH_EVENTS {
                break;
            }
        }
        handle.node().set_tracing(false);
    }
}

fn part_path(path: &Path, role: Role) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{role}.part").replace(' ', "-"));
    part.into()
}

/// What was written at the end.
#[derive(Debug)]
pub struct Written {
    /// Processes that have recorded.
    processes: usize,
    /// Requests of which every step was recorded.
    complete: usize,
    /// All requests of which something was recorded.
    requests: usize,
    trace: PathBuf,
    picture: Option<PathBuf>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "trace of {} processes, {} requests, {} of them from call to resume: {} (open it in ui.perfetto.dev)",
            self.processes,
            self.requests,
            self.complete,
            self.trace.display()
        )?;
        match &self.picture {
            Some(picture) => write!(f, "\none request as a picture: {}", picture.display()),
            None => {
                f.write_str("\nno request was recorded from call to resume, so there is no picture")
            }
        }
    }
}

/// Sees whether the trace can be written there: better at the beginning than at the end.
///
/// # Errors
///
/// [`ProcessError::Trace`] when it cannot.
pub fn prepare(path: &Path) -> Result<(), ProcessError> {
    write(path, "")
}

/// Joins the recordings of all `roles` into the file at `path`, removes them, and draws a request beside it.
///
/// # Errors
///
/// [`ProcessError::Trace`] when nothing was recorded or a file cannot be written.
pub fn join(path: &Path, roles: impl Iterator<Item = Role>) -> Result<Written, ProcessError> {
    let parts: Vec<PathBuf> = roles.map(|role| part_path(path, role)).collect();
    let read = parts
        .iter()
        .filter_map(|part| fs::read_to_string(part).ok());
    let lines: String = read.collect();
    let failed = |error: Box<dyn Error>| {
        ProcessError::Trace(path.to_owned(), io::Error::other(error.to_string()))
    };
    let recording = Recording::read(&lines).map_err(|error| failed(error.into()))?;
    let timeline = Timeline::new(recording).map_err(|error| failed(error.into()))?;
    let mut json = String::new();
    // Writing to a string cannot fail.
    let _ = timeline.write_chrome(&mut json);
    write(path, &json)?;
    let picture = match timeline.typical() {
        Some(request) => {
            let mut svg = String::new();
            let _ = timeline.write_picture(request, &mut svg);
            let picture = path.with_extension("svg");
            write(&picture, &svg)?;
            Some(picture)
        }
        None => None,
    };
    for part in parts {
        // A client that was killed has left none.
        let _ = fs::remove_file(part);
    }
    let requests = timeline.requests();
    Ok(Written {
        processes: timeline.processes().len(),
        complete: requests.iter().filter(|r| r.is_complete()).count(),
        requests: requests.len(),
        trace: path.to_owned(),
        picture,
    })
}

fn write(path: &Path, text: &str) -> Result<(), ProcessError> {
    fs::write(path, text).map_err(|error| ProcessError::Trace(path.to_owned(), error))
}
