//! In the making.
#![cfg_attr(not(loom), no_std)]
#![forbid(unsafe_code)]
pub mod layout;
mod platform;
pub use layout::{LayoutError, RegionLayout};
pub use platform::{Bell, Platform};
