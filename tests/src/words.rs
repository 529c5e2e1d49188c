//! Words that outlive their writers: a memfd of the supervisor's, written by system calls.
//!
//! A system call is over or has not happened when SIGKILL takes effect, so no word is ever half written.

use crate::process::Fault;
use rustix::fd::AsRawFd;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

/// Numbered words of 64 bits.
pub struct Words(File);

impl Words {
    /// So many words, all zero.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn new(words: usize) -> Result<Words, Fault> {
        let fault = |error: &dyn std::fmt::Display| format!("cannot make shared words: {error}");
        let fd = memfd_create("test-words", MemfdFlags::CLOEXEC).map_err(|error| fault(&error))?;
        let file = File::from(fd);
        file.set_len(8 * words as u64)
            .map_err(|error| fault(&error))?;
        Ok(Words(file))
    }

    /// Where another process finds them.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Opens the words of another process.
    ///
    /// # Errors
    ///
    /// When they are gone.
    pub fn open(path: &str) -> Result<Words, Fault> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        file.map(Words)
            .map_err(|error| format!("cannot open shared words {path}: {error}"))
    }

    /// Word `word`.
    ///
    /// # Errors
    ///
    /// When there is no such word.
    pub fn get(&self, word: usize) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        self.0
            .read_exact_at(&mut bytes, 8 * word as u64)
            .map_err(|error| format!("cannot read shared word {word}: {error}"))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Sets word `word`.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn set(&self, word: usize, value: u64) -> Result<(), Fault> {
        self.0
            .write_all_at(&value.to_ne_bytes(), 8 * word as u64)
            .map_err(|error| format!("cannot write shared word {word}: {error}"))
    }

    /// Adds to word `word`, which nobody else writes.
    ///
    /// # Errors
    ///
    /// As [`Words::get`] and [`Words::set`].
    pub fn add(&self, word: usize, n: u64) -> Result<(), Fault> {
        self.set(word, self.get(word)?.wrapping_add(n))
    }
}
