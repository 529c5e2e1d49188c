//! The loader: what the firmware starts, and what starts the kernel.
//!
//! It carries a kernel, a root task and, if wanted, a device tree (else the firmware's is passed on), puts them into
//! physical memory one behind the other, maps the kernel where it is linked, and enters it with the registers that
//! seL4's kernels for RISC-V expect, so that it starts those as well.
//!
//! Invariants: one hart, no interrupts, addresses are physical until the last jump. Nothing of the payload is trusted
//! but to be there; what does not fit is said on the console, and the machine stops with exit code 1 where it can.
//! Neighbours: `baton-boot` reads and plans; `cargo xtask image` puts the payload behind the loader.
#![no_std]
#![no_main]

mod enter;
mod memory;
mod sbi;

use baton_boot::command_line;
use baton_boot::elf::{Elf, ElfError};
use baton_boot::fdt::{self, Fdt, FdtError};
use baton_boot::hardware::Hardware;
use baton_boot::payload::PayloadError;
use baton_boot::placement::{Placement, PlacementError};
use core::fmt;
use core::panic::PanicInfo;

use enter::Entry;

/// Why the kernel was not started.
enum LoadError {
    Payload(PayloadError),
    DeviceTree(FdtError),
    Kernel(ElfError),
    RootTask(ElfError),
    Placement(PlacementError),
    /// The firmware's device tree lies where the kernel goes.
    DeviceTreeInTheWay,
    /// No memory is there where this must be put.
    NoMemory(u64, u64),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(PayloadError::Missing) => {
                f.write_str("there is nothing to load; `cargo xtask image` makes a whole image")
            }
            Self::Payload(PayloadError::Broken) => f.write_str("the image is cut off"),
            Self::DeviceTree(error) => write!(f, "the device tree cannot be read: {error:?}"),
            Self::Kernel(error) => write!(f, "the kernel cannot be loaded: {error:?}"),
            Self::RootTask(error) => write!(f, "the root task cannot be loaded: {error:?}"),
            Self::Placement(error) => write!(f, "kernel and root task do not fit: {error:x?}"),
            Self::DeviceTreeInTheWay => {
                f.write_str("the firmware has left its device tree where the kernel goes")
            }
            Self::NoMemory(start, end) => {
                write!(f, "there is no memory from {start:#x} to {end:#x}")
            }
        }
    }
}

/// Called by the entry code with what the firmware gave it.
extern "C" fn main(hart: u64, firmware_tree: u64) -> ! {
    let mut finisher = None;
    match load(hart, firmware_tree, &mut finisher) {
        Ok(entry) => enter::kernel(&entry),
        Err(error) => {
            sbi::print(format_args!("loader: {error}\n"));
            memory::fail(finisher)
        }
    }
}

/// Puts everything into its place.
fn load(hart: u64, firmware_tree: u64, finisher: &mut Option<u64>) -> Result<Entry, LoadError> {
    let parts = memory::payload().map_err(LoadError::Payload)?;
    let device_tree = if parts.device_tree.is_empty() {
        memory::firmware_tree(firmware_tree).map_err(LoadError::DeviceTree)?
    } else {
        let size = fdt::total_size(parts.device_tree).map_err(LoadError::DeviceTree)?;
        parts
            .device_tree
            .get(..size)
            .ok_or(LoadError::Payload(PayloadError::Broken))?
    };
    let tree = Fdt::new(device_tree).map_err(LoadError::DeviceTree)?;
    let hardware = Hardware::read(&tree, hart).map_err(LoadError::DeviceTree)?;
    *finisher = hardware.finisher;

    let kernel = Elf::parse(parts.kernel).map_err(LoadError::Kernel)?;
    let root_task = Elf::parse(parts.root_task).map_err(LoadError::RootTask)?;
    let limit = memory::loader_start();
    let placement = Placement::plan(&kernel, device_tree.len(), &root_task, limit)
        .map_err(LoadError::Placement)?;
    let (start, end) = (placement.kernel.0, placement.root_task.1);
    let there = |range: &&baton_boot::hardware::Range| range.start <= start && end <= range.end;
    if !hardware.memory.as_slice().iter().any(|range| there(&range)) {
        return Err(LoadError::NoMemory(start, end));
    }
    if memory::overlaps(device_tree, start, end) {
        return Err(LoadError::DeviceTreeInTheWay);
    }

    // From here on `start..end` is written: checked to be memory, below the loader, with the sources elsewhere.
    memory::clear(start, end);
    for segment in kernel.segments() {
        memory::copy(segment.data, segment.paddr);
    }
    memory::copy(device_tree, placement.device_tree);
    for segment in root_task.segments() {
        let offset = placement.root_task_offset();
        memory::copy(segment.data, segment.vaddr.wrapping_add(offset));
    }
    sbi::print(format_args!(
        "loader: kernel {:#x}..{:#x}, device tree {:#x}, root task {:#x}..{:#x} at {:#x}\n",
        placement.kernel.0,
        placement.kernel.1,
        placement.device_tree,
        placement.root_task.0,
        placement.root_task.1,
        placement.root_task_vaddr,
    ));
    Ok(Entry {
        kernel_entry: kernel.entry(),
        kernel_vaddr: placement.kernel_vaddr,
        kernel_paddr: placement.kernel.0,
        root_task_start: placement.root_task.0,
        root_task_end: placement.root_task.1,
        root_task_offset: placement.root_task_offset(),
        root_task_entry: root_task.entry(),
        device_tree: placement.device_tree,
        device_tree_size: device_tree.len() as u64,
        count_place: count_place(&tree, device_tree, placement.device_tree),
        hart,
    })
}

/// The physical address of the digits in the command line that are to be replaced, in the copy of the device tree at `at`.
fn count_place(tree: &Fdt<'_>, device_tree: &[u8], at: u64) -> Option<u64> {
    let line = command_line::command_line(tree)?;
    let place = command_line::count_place(line)?;
    // The command line is a part of the tree's bytes.
    let line_at = line
        .as_ptr()
        .addr()
        .checked_sub(device_tree.as_ptr().addr())?;
    at.checked_add((line_at + place) as u64)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    sbi::print(format_args!("loader: {info}\n"));
    memory::fail(None)
}
