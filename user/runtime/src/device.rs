//! The machine's serial port and power switch, which a root task finds in the device tree and maps from device memory.

use crate::allocator::{Allocator, Exhausted};
use crate::console;
use crate::root::Root;
use crate::vspace::MapError;
use crate::window::{Mapped, Window};
use baton_boot::fdt::Fdt;
use baton_sync::{AtomicU64, Ordering};

/// Address of the power switch's register; 0 when there is none.
static POWER_SWITCH: AtomicU64 = AtomicU64::new(0);

/// Physical address of the first device that is compatible with `name`.
pub fn find(tree: &Fdt<'_>, name: &str) -> Option<u64> {
    let mut found = None;
    // What cannot be read of the tree has no device in it.
    let _ = tree.walk(|node| {
        if found.is_none() && node.lists("compatible", name) {
            found = node.reg().next().map(|(address, _)| address);
        }
    });
    found
}

/// Maps the page of the first device that is compatible with `name`.
///
/// # Errors
/// That there is no such device, or its page cannot be mapped.
pub fn map(
    root: &Root,
    allocator: &mut Allocator,
    window: &mut Window,
    name: &str,
) -> Result<Mapped, MapError> {
    let tree = root.device_tree();
    let paddr = tree
        .and_then(|tree| find(&tree, name))
        .ok_or(Exhausted::NoDevice { paddr: 0 })?;
    let page = allocator.device_page(paddr)?;
    window.map(allocator, page, 12)
}

/// Finds the serial port and the power switch, and uses them from now on: `print!` works on release kernels too, and
/// [`power_off`] ends the machine with an exit code.
///
/// # Errors
/// That one of them is missing, or cannot be mapped.
pub fn use_console_and_power(
    root: &Root,
    allocator: &mut Allocator,
    window: &mut Window,
) -> Result<(), MapError> {
    let switch = map(root, allocator, window, "sifive,test1")?;
    POWER_SWITCH.store(switch.address(), Ordering::Relaxed);
    let port = map(root, allocator, window, "ns16550a")?;
    console::use_serial_port(port);
    Ok(())
}

/// Switches the machine off; `code` is the emulator's exit code. Without a power switch the thread stops instead.
pub fn power_off(code: u16) -> ! {
    const PASS: u32 = 0x5555;
    const FAIL: u32 = 0x3333;
    let register = POWER_SWITCH.load(Ordering::Relaxed) as *mut u32;
    let value = if code == 0 {
        PASS
    } else {
        (u32::from(code) << 16) | FAIL
    };
    if !register.is_null() {
        // SAFETY: the address of the switch's mapped register, aligned; it stays mapped.
        unsafe { register.write_volatile(value) };
    }
    loop {
        let _ = crate::start::own_tcb().suspend();
    }
}
