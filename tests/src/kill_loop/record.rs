//! What was attempted and acknowledged, where it outlives its writers.

use super::{CLIENTS, KEYS};
use crate::process::Fault;
use crate::words::Words;

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
pub(super) struct Record(Words);

impl Record {
    /// A record of zeros.
    pub(super) fn new() -> Result<Record, Fault> {
        Words::new(CLIENTS * (WORDS_OF_CLIENT + KEYS)).map(Record)
    }

    /// Where another process finds it.
    pub(super) fn path(&self) -> String {
        self.0.path()
    }

    /// Opens the record of another process.
    pub(super) fn open(path: &str) -> Result<Record, Fault> {
        Words::open(path).map(Record)
    }

    fn get(&self, word: usize) -> Result<u64, Fault> {
        self.0.get(word)
    }

    fn set(&self, word: usize, value: u64) -> Result<(), Fault> {
        self.0.set(word, value)
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
