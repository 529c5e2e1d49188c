//! The store: a plain map behind typed calls.
//!
//! One executor serves all clients on one thread, so the map needs no lock: a handler that does not await has it to itself.

use crate::services::{Counts, Got, Kv, Put};
use alloc::boxed::Box;
use baton_rpc::{BulkIn, BulkOut};
use core::cell::{Cell, RefCell};
use hashbrown::HashMap;

/// Values under keys, in spaces.
#[derive(Default)]
pub struct Store {
    spaces: RefCell<HashMap<u32, Space>>,
    requests: Cell<u64>,
}

#[derive(Default)]
struct Space {
    values: HashMap<Box<[u8]>, Box<[u8]>>,
    value_bytes: u64,
}

impl Store {
    /// Stores `value` under `key`, and says how long the value was that it replaces.
    pub fn put(&self, space: u32, key: &[u8], value: &[u8]) -> Option<usize> {
        let mut spaces = self.spaces.borrow_mut();
        let space = spaces.entry(space).or_default();
        space.value_bytes += value.len() as u64;
        let old = space.values.insert(key.into(), value.into())?;
        space.value_bytes -= old.len() as u64;
        Some(old.len())
    }

    /// Shows the value of `key` to `look`.
    pub fn get<T>(&self, space: u32, key: &[u8], look: impl FnOnce(Option<&[u8]>) -> T) -> T {
        let spaces = self.spaces.borrow();
        let value = spaces.get(&space).and_then(|space| space.values.get(key));
        look(value.map(AsRef::as_ref))
    }

    /// Takes `key` and its value away, and says how long the value was.
    pub fn remove(&self, space: u32, key: &[u8]) -> Option<usize> {
        let mut spaces = self.spaces.borrow_mut();
        let space = spaces.get_mut(&space)?;
        let old = space.values.remove(key)?;
        space.value_bytes -= old.len() as u64;
        Some(old.len())
    }

    /// How much a space holds.
    pub fn count(&self, space: u32) -> Counts {
        let spaces = self.spaces.borrow();
        spaces
            .get(&space)
            .map_or(Counts::default(), |space| Counts {
                entries: space.values.len() as u64,
                value_bytes: space.value_bytes,
            })
    }

    /// How many requests were served.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    fn served(&self) {
        self.requests.set(self.requests.get() + 1);
    }
}

// What comes in bulk lies in memory that the client can still write. So it is copied first, and looked at then.
impl Kv for Store {
    async fn put(&self, space: u32, key_bytes: u32, entry: BulkIn) -> Put {
        self.served();
        let entry = entry.to_vec();
        let Some((key, value)) = entry.split_at_checked(key_bytes as usize) else {
            return Put::BadEntry;
        };
        match Store::put(self, space, key, value) {
            None => Put::New,
            Some(old_bytes) => Put::Replaced(old_bytes as u32),
        }
    }

    async fn get(&self, space: u32, key: BulkIn, mut value: BulkOut) -> (Got, BulkOut) {
        self.served();
        let got = Store::get(self, space, &key.to_vec(), |found| match found {
            None => Got::Missing,
            Some(found) => match value.write(found) {
                Ok(()) => Got::Value,
                Err(error) => Got::TooLong(error.len_bytes as u32),
            },
        });
        (got, value)
    }

    async fn remove(&self, space: u32, key: BulkIn) -> Option<u32> {
        self.served();
        Store::remove(self, space, &key.to_vec()).map(|old_bytes| old_bytes as u32)
    }

    async fn count(&self, space: u32) -> Counts {
        self.served();
        Store::count(self, space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::prelude::v1::*;

    fn value(store: &Store, space: u32, key: &[u8]) -> Option<Vec<u8>> {
        store.get(space, key, |value| value.map(<[u8]>::to_vec))
    }

    #[test]
    fn a_value_is_found_until_it_is_removed() {
        let store = Store::default();
        assert_eq!(value(&store, 1, b"key"), None);
        assert_eq!(store.put(1, b"key", b"value"), None);
        assert_eq!(value(&store, 1, b"key").unwrap(), b"value");
        assert_eq!(store.remove(1, b"key"), Some(5));
        assert_eq!(value(&store, 1, b"key"), None);
        assert_eq!(store.remove(1, b"key"), None);
    }

    #[test]
    fn counts_follow_replaced_and_removed_values() {
        let store = Store::default();
        let counts = |entries, value_bytes| Counts {
            entries,
            value_bytes,
        };
        store.put(1, b"a", b"123");
        store.put(1, b"b", b"12345");
        assert_eq!(store.count(1), counts(2, 8));
        assert_eq!(store.put(1, b"a", b""), Some(3));
        assert_eq!(store.count(1), counts(2, 5));
        store.remove(1, b"b");
        assert_eq!(store.count(1), counts(1, 0));
    }

    #[test]
    fn spaces_know_nothing_of_each_other() {
        let store = Store::default();
        store.put(1, b"key", b"one");
        store.put(2, b"key", b"two");
        assert_eq!(value(&store, 1, b"key").unwrap(), b"one");
        store.remove(1, b"key");
        assert_eq!(value(&store, 2, b"key").unwrap(), b"two");
        assert_eq!(store.count(3), Counts::default());
    }
}
