//! Words that outlive their writers: a memfd of the supervisor's, written by system calls.
//!
//! A system call is over or has not happened when SIGKILL takes effect, so no word is ever half written.

use super::{CLIENTS, KEYS};
use crate::process::Fault;
use rustix::fd::AsRawFd;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

/// A word of a client's own.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(super) enum Mark {
    /// Calls that were answered, ever.
    Progress,
    /// Connections made, ever.
    Connections,
    /// Acknowledged puts found again by a get, ever.
    Checked,
}

const MARKS: usize = 3;
const WORDS_OF_CLIENT: usize = MARKS + 2 * KEYS;

/// The record of all clients, and what the server has taken.
pub(super) struct Record(File);

impl Record {
    /// A record of zeros.
    pub(super) fn new() -> Result<Record, Fault> {
        let fd = memfd_create("kill-loop-record", MemfdFlags::CLOEXEC)
            .map_err(|error| format!("cannot make the record: {error}"))?;
        let file = File::from(fd);
        let words = CLIENTS * (WORDS_OF_CLIENT + KEYS);
        file.set_len(8 * words as u64)
            .map_err(|error| format!("cannot make the record: {error}"))?;
        Ok(Record(file))
    }

    /// Where another process finds it.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Opens the record of another process.
    pub(super) fn open(path: &str) -> Result<Record, Fault> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        file.map(Record)
            .map_err(|error| format!("cannot open the record {path}: {error}"))
    }

    fn get(&self, word: usize) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        self.0
            .read_exact_at(&mut bytes, 8 * word as u64)
            .map_err(|error| format!("cannot read the record: {error}"))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn set(&self, word: usize, value: u64) -> Result<(), Fault> {
        self.0
            .write_all_at(&value.to_ne_bytes(), 8 * word as u64)
            .map_err(|error| format!("cannot write the record: {error}"))
    }

    pub(super) fn mark(&self, client: usize, mark: Mark) -> Result<u64, Fault> {
        self.get(client * WORDS_OF_CLIENT + mark as usize)
    }

    /// Counts one more; only the client itself does.
    pub(super) fn count(&self, client: usize, mark: Mark) -> Result<(), Fault> {
        let word = client * WORDS_OF_CLIENT + mark as usize;
        self.set(word, self.get(word)? + 1)
    }

    fn acked_word(client: usize, key: usize) -> usize {
        client * WORDS_OF_CLIENT + MARKS + key
    }

    /// The last acknowledged value of a key.
    pub(super) fn acked(&self, client: usize, key: usize) -> Result<u64, Fault> {
        self.get(Self::acked_word(client, key))
    }

    pub(super) fn set_acked(&self, client: usize, key: usize, value: u64) -> Result<(), Fault> {
        self.set(Self::acked_word(client, key), value)
    }

    /// The largest value that was ever put, acknowledged or not.
    pub(super) fn attempted(&self, client: usize, key: usize) -> Result<u64, Fault> {
        self.get(Self::acked_word(client, key) + KEYS)
    }

    pub(super) fn set_attempted(&self, client: usize, key: usize, value: u64) -> Result<(), Fault> {
        self.set(Self::acked_word(client, key) + KEYS, value)
    }

    /// What the server has taken under a key, counted over all clients.
    pub(super) fn taken(&self, key: usize) -> Result<u64, Fault> {
        self.get(CLIENTS * WORDS_OF_CLIENT + key)
    }

    pub(super) fn set_taken(&self, key: usize, value: u64) -> Result<(), Fault> {
        self.set(CLIENTS * WORDS_OF_CLIENT + key, value)
    }
}
