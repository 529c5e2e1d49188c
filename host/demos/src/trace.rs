//! A trace of a few milliseconds of all processes, in which each request can be followed from one to the other.
//!
//! Every process records on its own when the phase of nested calls begins, and writes a part at its end; the parent joins the
//! parts. Times agree because all read the same clock of the system.

use crate::args::{Options, Role};
use crate::processes::ProcessError;
use crate::services::{BoardClient, Phase};
use baton_linux::{Linux, LinuxHandle, PeerInfo};
use baton_rpc::Client;
use baton_trace::{Names, Requester, join_chrome_json, write_chrome_json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How long each process records.
const RECORD_NS: u64 = 5_000_000;
/// Events kept; more than any process can record in that time.
const EVENTS: usize = 1 << 17;

/// The recording of one process; clones share it.
#[derive(Clone)]
pub struct Tracing {
    part: Option<PathBuf>,
    role: Role,
    handle: LinuxHandle,
    peers: Rc<RefCell<HashMap<u16, Peer>>>,
}

struct Peer {
    name: String,
    pid: u32,
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
            peers: Rc::default(),
        };
        if tracing.part.is_some() {
            let record = record(handle.clone(), board.clone());
            // Without a free entry there is no recording, and everything else goes on.
            let _ = handle.executor().spawn(record);
        }
        tracing
    }

    /// Remembers whom a connection leads to.
    pub fn met(&self, client: &Client<Linux>, peer: &PeerInfo) {
        let peer = Peer {
            name: peer.name.clone(),
            pid: peer.pid as u32,
        };
        let index = client.connection().index();
        self.peers.borrow_mut().insert(index, peer);
    }

    /// Writes this process's part, if a trace was asked for.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Trace`].
    pub fn write(&self) -> Result<(), ProcessError> {
        let Some(path) = &self.part else {
            return Ok(());
        };
        let events = self.handle.executor().trace().snapshot();
        let mut json = String::new();
        // Writing to a string cannot fail.
        let _ = write_chrome_json(&events, std::process::id(), self, &mut json);
        fs::write(path, json).map_err(|error| ProcessError::Trace(path.clone(), error))
    }
}

/// So that arrows lead from process to process: both ends name a connection by the processes, who asks first.
impl Names for Tracing {
    fn process(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{}", self.role)
    }

    fn connection(&self, connection: u16, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.peers.borrow().get(&connection) {
            Some(peer) => out.write_str(&peer.name),
            None => out.write_str("board"),
        }
    }

    fn flow(&self, connection: u16, requester: Requester) -> u64 {
        let own = u64::from(std::process::id());
        let peers = self.peers.borrow();
        let peer = peers.get(&connection).map_or(0, |peer| u64::from(peer.pid));
        match requester {
            Requester::ThisProcess => own << 32 | peer,
            Requester::Peer => peer << 32 | own,
        }
    }
}

async fn record(handle: LinuxHandle, board: BoardClient<Linux>) {
    if board.reached(Phase::Quote).await.is_ok() {
        let executor = handle.executor();
        executor.trace().set_on(true);
        // Where no timer is free, the recording is empty rather than endless.
        let _ = executor.sleep(RECORD_NS).await;
        executor.trace().set_on(false);
    }
}

fn part_path(path: &Path, role: Role) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{role}.part").replace(' ', "-"));
    part.into()
}

/// Joins the parts of all `roles` into the file at `path`, and removes them. Says how many there were.
///
/// # Errors
///
/// [`ProcessError::Trace`] when the file cannot be written.
pub fn join(path: &Path, roles: impl Iterator<Item = Role>) -> Result<usize, ProcessError> {
    let parts: Vec<PathBuf> = roles.map(|role| part_path(path, role)).collect();
    let read = parts
        .iter()
        .filter_map(|part| fs::read_to_string(part).ok());
    let texts: Vec<String> = read.collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut joined = String::new();
    let failed = |error| ProcessError::Trace(path.to_owned(), error);
    join_chrome_json(&texts, &mut joined).map_err(|error| failed(std::io::Error::other(error)))?;
    fs::write(path, joined).map_err(failed)?;
    for part in parts {
        // A client that was killed has left none.
        let _ = fs::remove_file(part);
    }
    Ok(texts.len())
}
