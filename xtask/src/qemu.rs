//! The virtual machine: QEMU's `virt` for RISC-V 64, with OpenSBI as firmware.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::tools::{ensure, ensure_packages, find};

/// The emulator.
const QEMU: &str = "qemu-system-riscv64";
/// Memory of the machine (MiB) where nothing else is asked for.
pub const MEMORY_MIB: u32 = 512;
/// Where the emulator waits for a debugger.
pub const GDB_PORT: u16 = 1234;

/// How to start the machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Memory (MiB).
    pub memory_mib: u32,
    /// Count instructions, so that differences of counters repeat exactly.
    pub count_instructions: bool,
    /// Wait for a debugger at [`GDB_PORT`] before the first instruction.
    pub wait_for_debugger: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            memory_mib: MEMORY_MIB,
            count_instructions: false,
            wait_for_debugger: false,
        }
    }
}

impl Machine {
    /// The command that boots this image. Its console is the command's output; there is no input.
    ///
    /// # Errors
    /// `Setup` when the emulator is missing and cannot be installed.
    pub fn boot(&self, image: &Path) -> Result<Command, Error> {
        // OpenSBI, the firmware that `-bios default` means, is a package of its own.
        let qemu = ensure_packages(
            QEMU,
            &["qemu-system-misc", "opensbi"],
            "it is the machine that Baton runs on",
        )?;
        let mut command = Command::new(qemu);
        command
            .args(["-machine", "virt", "-nographic", "-monitor", "none"])
            .args(["-serial", "stdio", "-bios", "default", "-no-reboot"])
            .args(["-m", &format!("{}M", self.memory_mib)])
            .arg("-kernel")
            .arg(image)
            .stdin(Stdio::null());
        if self.count_instructions {
            command.args(["-icount", "shift=0"]);
        }
        if self.wait_for_debugger {
            command.args(["-S", "-gdb", &format!("tcp::{GDB_PORT}")]);
        }
        Ok(command)
    }
}

/// A debugger for the machine, with the symbols of the kernel.
///
/// # Errors
/// `Setup` when there is none and none can be installed.
pub fn debugger(kernel: &Path) -> Result<Command, Error> {
    // Distributions call the debugger that knows all processors by different names.
    let gdb = match find("riscv64-unknown-elf-gdb") {
        Some(gdb) => gdb,
        None => ensure(
            "gdb-multiarch",
            "gdb-multiarch",
            "it is the debugger that knows RISC-V",
        )?,
    };
    let mut command = Command::new(gdb);
    command
        .args(["-ex", "set architecture riscv:rv64"])
        .args(["-ex", &format!("target remote localhost:{GDB_PORT}")])
        .arg(kernel);
    Ok(command)
}
