//! What is called while processes are killed.

use baton_rpc::{BulkIn, BulkOut, service};

/// Puts that are kept, bulk that is turned round, one-way sends that are counted, and calls that take long.
#[service]
pub trait Ledger {
    /// Keeps `value` under `key` unless a larger one is there, and returns what is there then.
    async fn put(&self, key: u64, value: u64) -> u64;
    /// What is kept under `key`.
    async fn get(&self, key: u64) -> u64;
    /// Returns every byte plus one.
    async fn turn(&self, data: BulkIn, out: BulkOut) -> (u64, BulkOut);
    /// Takes long: only a cancel, a death or the end of the time ends it.
    async fn linger(&self, time_ns: u64) -> u64;
    /// Counts one for `session`.
    fn note(&self, session: u64);
    /// What was counted for `session`.
    async fn noted(&self, session: u64) -> u64;
}
