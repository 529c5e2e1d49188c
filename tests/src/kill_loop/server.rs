//! The server: keeps what it acknowledges where its successor finds it.

use super::record::Record;
use super::service::{Ledger, LedgerServer};
use super::{CLIENTS, KEYS, told};
use crate::process::{Fault, end_with_parent};
use baton_linux::{Grants, LinuxHandle, LinuxNode, ListenError, NodeConfig, ServeError};
use baton_rpc::{Band, BulkIn, BulkOut, Mode};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Bytes of a bulk buffer.
pub(super) const BULK_BYTES: u32 = 1024;
/// Requests a client may have outstanding.
pub(super) const CREDITS: u32 = 16;

struct Kept {
    record: Record,
    notes: RefCell<HashMap<u64, u64>>,
    handle: LinuxHandle,
}

impl Kept {
    fn key(key: u64) -> Option<usize> {
        usize::try_from(key)
            .ok()
            .filter(|key| *key < CLIENTS * KEYS)
    }
}

impl Ledger for Kept {
    async fn put(&self, key: u64, value: u64) -> u64 {
        let Some(key) = Kept::key(key) else {
            return 0;
        };
        let taken = self.record.taken(key).unwrap_or(0);
        if taken >= value {
            return taken;
        }
        // Before it is acknowledged.
        match self.record.set_taken(key, value) {
            Ok(()) => value,
            Err(_) => 0,
        }
    }

    async fn get(&self, key: u64) -> u64 {
        match Kept::key(key) {
            Some(key) => self.record.taken(key).unwrap_or(0),
            None => 0,
        }
    }

    async fn turn(&self, data: BulkIn, mut out: BulkOut) -> (u64, BulkOut) {
        let turned: Vec<u8> = data.to_vec().iter().map(|b| b.wrapping_add(1)).collect();
        let len = out.write(&turned).map_or(0, |()| turned.len());
        (len as u64, out)
    }

    async fn linger(&self, time_ns: u64) -> u64 {
        // Too many timers: then it does not take long.
        let _ = self.handle.executor().sleep(time_ns).await;
        time_ns
    }

    fn note(&self, session: u64) {
        *self.notes.borrow_mut().entry(session).or_insert(0) += 1;
    }

    async fn noted(&self, session: u64) -> u64 {
        self.notes.borrow().get(&session).copied().unwrap_or(0)
    }
}

/// Runs until it is killed.
pub(super) fn run(args: &[String]) -> Result<(), Fault> {
    end_with_parent();
    let told = told(args)?;
    let node = LinuxNode::start(NodeConfig {
        name: Some("ledger".into()),
        ..NodeConfig::default()
    })
    .map_err(|error| error.to_string())?;
    let handle = node.handle();
    let service = Rc::new(LedgerServer(Kept {
        record: told.record,
        notes: RefCell::default(),
        handle: handle.clone(),
    }));
    let grants = Grants {
        max_credits: CREDITS,
        max_request_bulk_bytes: BULK_BYTES,
        max_answer_bulk_bytes: BULK_BYTES,
        ..Grants::default()
    };
    match handle.serve(&told.name, service, grants, Band::NORMAL) {
        Ok(()) => {}
        Err(ServeError::Listen(ListenError::NameInUse { holder_pid, .. })) => {
            return Err(format!("the name is still held, by {holder_pid:?}"));
        }
        Err(error) => return Err(error.to_string()),
    }
    node.run_until(Mode::Adaptive, std::future::pending::<()>())
        .map_err(|error| error.to_string())
}
