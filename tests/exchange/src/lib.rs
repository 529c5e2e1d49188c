//! What two sides of a connection do to each other in tests, on whatever platform.
//!
//! Purpose: one service and the calls that a client makes of it, each of which checks all that comes back. Between threads and processes
//! of Linux they run as tests of this package, between processes of Baton and seL4 in `user/apps/exchange`.
//!
//! Where to begin reading: [`Exchange`] is what can be called, [`Desk`] how it is served, [`everything`] what a client does.
//!
//! Neighbours: `baton-rpc` alone; nothing here knows what is below.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod client;
mod desk;
mod wrong;

pub use client::{
    Load, bulk, cancels, deadlines, everything, one_ways, sums, too_many, until_ended,
};
pub use desk::{Desk, Exchange, ExchangeClient, ExchangeServer, Notes};
pub use wrong::Wrong;
