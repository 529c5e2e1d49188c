//! Reading what a boot is made of: the device tree, ELF files, and the payload that the loader carries.
//!
//! Purpose: the same careful readers for the loader, the kernel and `cargo xtask image`. Invariant: input is never trusted;
//! whatever the bytes are, the answer is a value or an error, never a panic. Neighbours: `kernel/loader`,
//! `kernel/riscv64`, `xtask`; the runtime's process spawner reads ELF files with it as well.
#![no_std]
#![forbid(unsafe_code)]

pub mod command_line;
pub mod elf;
pub mod fdt;
#[cfg(test)]
mod fdt_writer;
pub mod hardware;
pub mod payload;
pub mod placement;
