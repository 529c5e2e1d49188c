//! From the loader to the initial thread.

use core::fmt::Write;
use core::ptr;
use core::slice;

use baton_boot::fdt::Fdt;
use baton_boot::hardware::{Hardware, Range};
use baton_kernel_core::Machine;
use baton_kernel_core::boot::{BootImage, Region};
use baton_kernel_core::mem::{Memory, Paddr};
use baton_sel4_abi::TICK_MS;

use crate::machine::Riscv;
use crate::panic::{Console, fail, set_finisher};
use crate::plic::Plic;
use crate::{csr, entry, hart, paging, trap};

/// Ticks of the timebase in a second, where the device tree does not say: what QEMU's machines have.
const TIMEBASE_HZ: u64 = 10_000_000;
/// User mode may read cycle, time and instret.
const ALL_COUNTERS: u64 = 7;
const PAGE: u64 = 4096;

/// Boots the kernel, and returns the context of the initial thread.
///
/// # Safety
/// Only for the entry code, with what the loader has passed: the image is mapped where it is linked, and the root task
/// and the device tree are where the arguments say.
pub unsafe extern "C" fn start(
    image_start: u64,
    image_end: u64,
    image_offset: u64,
    image_entry: u64,
    tree_start: u64,
    tree_bytes: u64,
    boot_hart: u64,
    _core: u64,
) -> u64 {
    // SAFETY: once, at boot; the image is mapped where it is linked.
    unsafe {
        prepare_registers();
        paging::activate();
    }
    let hardware = hardware(tree_start, tree_bytes, boot_hart);
    set_finisher(hardware.finisher);
    let (kernel_start, kernel_end) = paging::image();
    let ram = bank(&hardware, kernel_start);
    let plic = hardware.plic.map(|plic| {
        let registers = plic.registers.start;
        // SAFETY: the device tree says so, and the context is this hart's.
        unsafe { Plic::new(registers, plic.context, plic.sources) }
    });
    let hz = match hardware.timebase_hz {
        0 => TIMEBASE_HZ,
        hz => u64::from(hz),
    };
    let machine = Riscv::new(plic, hz * TICK_MS / 1000);
    // SAFETY: memory, by the device tree, that the window shows; behind the kernel's image there is nothing that the
    // compiler knows of. The slice of the device tree, which lies there, is gone.
    let memory = unsafe {
        let seen = ptr::with_exposed_provenance_mut(paging::window(kernel_end) as usize);
        Memory::new(
            Paddr::new(kernel_end),
            ram.end - kernel_end,
            ptr::NonNull::new_unchecked(seen),
        )
    };
    // SAFETY: once, before the first trap.
    let entry = unsafe {
        hart::prepare(memory, machine);
        hart::hart()
    };
    let region = |start, end| Region {
        start: Paddr::new(start),
        end: Paddr::new(end),
    };
    let devices = hardware
        .plic
        .map(|plic| region(plic.registers.start, plic.registers.end));
    let image = BootImage {
        ram: &[region(ram.start, ram.end)],
        reserved: &[region(kernel_start, kernel_end)],
        devices_of_kernel: devices.as_slice(),
        image: region(image_start, image_end),
        image_offset,
        entry: image_entry,
        device_tree: region(tree_start, tree_start.saturating_add(tree_bytes)),
    };
    let kernel = entry.kernel();
    if let Err(error) = kernel.boot(&image) {
        // The console never refuses.
        let _ = writeln!(Console, "kernel: cannot boot: {error:?}");
        fail();
    }
    kernel.machine.restart_timer();
    trap::leave(&entry, entry.kernel().current())
}

/// Traps go to the kernel; interrupts are on in user mode only; the kernel does not touch user addresses.
///
/// # Safety
/// Once, at boot.
unsafe fn prepare_registers() {
    let traps = entry::trap_entry as *const ();
    // SAFETY: `trap_entry` is made for this; zero in `sscratch` tells it that the kernel is running.
    unsafe {
        csr::sscratch::write(0);
        csr::stvec::write(traps.addr() as u64);
        csr::sstatus::clear(csr::SPP | csr::SIE | csr::SUM | csr::MXR | csr::FS);
        csr::sstatus::set(csr::SPIE);
        csr::sie::write(csr::TIMER | csr::EXTERNAL);
        csr::scounteren::write(ALL_COUNTERS);
    }
}

/// What the device tree says of the machine.
fn hardware(tree_start: u64, tree_bytes: u64, boot_hart: u64) -> Hardware {
    let inside = tree_start
        .checked_add(tree_bytes)
        .is_some_and(|end| end <= paging::WINDOW_BYTES);
    if tree_bytes == 0 || !inside {
        panic!("the loader has passed no device tree");
    }
    let start = ptr::with_exposed_provenance::<u8>(paging::window(tree_start) as usize);
    // SAFETY: the loader has put a device tree of that size there, and nothing writes it while this function runs.
    let tree = unsafe { slice::from_raw_parts(start, tree_bytes as usize) };
    match Fdt::new(tree).and_then(|tree| Hardware::read(&tree, boot_hart)) {
        Ok(hardware) => hardware,
        Err(error) => panic!("the device tree cannot be read: {error:?}"),
    }
}

/// The memory that the kernel uses: from its own image, below which the firmware lives, to the end of that bank or to
/// the firmware's next piece. Other banks remain unused, for the kernel's records address one.
fn bank(hardware: &Hardware, kernel_start: u64) -> Range {
    let holds = |range: &&Range| range.start <= kernel_start && kernel_start < range.end;
    let Some(bank) = hardware.memory.as_slice().iter().find(holds) else {
        panic!("the device tree has no memory at {kernel_start:#x}");
    };
    let reserved = hardware.reserved.as_slice().iter();
    let end = reserved
        .map(|range| range.start)
        .filter(|&start| start > kernel_start)
        .fold(bank.end.min(paging::WINDOW_BYTES), u64::min);
    Range {
        start: kernel_start,
        end: end & !(PAGE - 1),
    }
}
