//! A key-value store and a word index over it, and clients that verify every answer.
//!
//! Purpose: work for a real service, the same code between Linux processes (`host/demos`) and between processes of Baton or seL4
//! (`user/apps/kv`). Each client puts its share of a text corpus into the store, appends its words to the index, and then asks for
//! all of it again in several ways with many requests under way, while it compares every answer with plain maps of its own.
//!
//! Where to begin reading: `services` (what can be called), `store` and `index` (how it is served), `client` (how it is called),
//! `board` (whom all report to, and who keeps them in step).
//!
//! Neighbours: `baton-rpc` alone. Where the corpus comes from and how results are shown is the programs' affair.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod board;
pub mod client;
pub mod expected;
pub mod index;
pub mod services;
pub mod shift;
pub mod store;
pub mod tally;
pub mod words;
