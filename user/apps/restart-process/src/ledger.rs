//! The ledger, which lives to the end, and the server before it, which is killed again and again.

use crate::shared::FORWARDED;
use crate::{serve as serve_number, wants};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use baton_platform::{ConnectError, ServiceCap, User, UserNode};
use baton_rpc::service;
use baton_runtime::StartInfo;
use baton_runtime::sel4::yield_now;
use core::cell::RefCell;

/// What can be asked of both.
#[service]
pub trait Ledger {
    /// Records that number for that client, and says how often it has been recorded by now; 0 if it is none that can be.
    async fn record(&self, client: u64, number: u64) -> u64;

    /// Which of the 64 numbers from `64 * word` on were recorded for that client, a bit each; [`FAILED`] in the second word if they could
    /// not be asked for.
    async fn recorded(&self, client: u64, word: u64) -> (u64, u64);
}

/// What was asked for could not be had.
pub const FAILED: u64 = 1;
/// Numbers are below this.
const MOST_NUMBERS: u64 = 1 << 24;

/// What was recorded, a bit a number, by client.
#[derive(Default)]
struct Book(RefCell<BTreeMap<u64, Vec<u64>>>);

impl Ledger for Book {
    async fn record(&self, client: u64, number: u64) -> u64 {
        if number >= MOST_NUMBERS {
            return 0;
        }
        let mut book = self.0.borrow_mut();
        let words = book.entry(client).or_default();
        let (index, bit) = ((number / 64) as usize, 1 << (number % 64));
        if words.len() <= index {
            words.resize(index + 1, 0);
        }
        let Some(word) = words.get_mut(index) else {
            return 0;
        };
        let before = *word & bit;
        *word |= bit;
        if before == 0 { 1 } else { 2 }
    }

    async fn recorded(&self, client: u64, word: u64) -> (u64, u64) {
        let book = self.0.borrow();
        let words = book.get(&client);
        let found = words.and_then(|words| words.get(word as usize));
        (found.copied().unwrap_or(0), 0)
    }
}

/// Keeps the ledger.
pub fn keep(info: &'static StartInfo, node: &UserNode) -> u64 {
    serve_number(info, node, LedgerServer(Book::default()))
}

/// Passes everything on to the ledger, and answers when that has.
struct Front(LedgerClient<User>);

impl Ledger for Front {
    async fn record(&self, client: u64, number: u64) -> u64 {
        self.0.record(client, number).await.unwrap_or(0)
    }

    async fn recorded(&self, client: u64, word: u64) -> (u64, u64) {
        self.0.recorded(client, word).await.unwrap_or((0, FAILED))
    }
}

/// Serves until it is killed.
pub fn serve(info: &'static StartInfo, node: &UserNode) -> u64 {
    let handle = node.handle();
    let interface = LedgerServer::<Book>::INTERFACE;
    loop {
        match handle.connect(ServiceCap::given(0), interface, &wants(FORWARDED)) {
            Ok(ledger) => {
                return serve_number(info, node, LedgerServer(Front(LedgerClient::new(ledger))));
            }
            // The ledger has not heard yet of the ends of the servers before.
            Err(ConnectError::GrantInUse) => yield_now(),
            Err(error) => panic!("no ledger: {error}"),
        }
    }
}

/// The interface of both.
pub const INTERFACE: baton_rpc::Interface = LedgerServer::<Front>::INTERFACE;
