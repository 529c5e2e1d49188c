//! `cargo xtask kernel`, `image` and `gdb`: kernels, bootable images, and looking into them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bare::Bare;
use crate::error::Error;
use crate::kernel::{Flavour, Parts, build_kernel, build_loader, output_dir, write_image};
use crate::process::{Workspace, describe, run};
use crate::qemu::{Machine, debugger};
use crate::user::{DEMO, root_task};

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The root task: its ELF file, or the name of one in `user/apps`.
    pub root_task: PathBuf,
    /// Where the image goes.
    pub output: Option<PathBuf>,
    /// With the debug kernel.
    pub debug: bool,
    /// With this kernel instead of one that is built.
    pub kernel: Option<PathBuf>,
    /// With this device tree instead of the firmware's.
    pub device_tree: Option<PathBuf>,
}

/// Builds the kernels that stand in for upstream's.
///
/// # Errors
/// That one does not build.
pub fn kernels(workspace: &Workspace) -> Result<(), Error> {
    let bare = Bare::find(workspace)?;
    for flavour in [Flavour::Release, Flavour::Debug, Flavour::DebugDomains] {
        println!("{}", build_kernel(workspace, &bare, flavour)?.display());
    }
    Ok(())
}

/// Makes an image, and says how to boot it.
///
/// # Errors
/// That something does not build, or cannot be read or written.
pub fn image(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let image = make(workspace, options)?;
    let boot = Machine::default().boot(&image)?;
    println!("{} boots with\n{}", image.display(), describe(&boot));
    Ok(())
}

/// Makes an image and returns where it is.
///
/// # Errors
/// As [`image`].
pub fn make(workspace: &Workspace, options: &Options) -> Result<PathBuf, Error> {
    let bare = Bare::find(workspace)?;
    let flavour = if options.debug {
        Flavour::Debug
    } else {
        Flavour::Release
    };
    let kernel = match &options.kernel {
        Some(kernel) => kernel.clone(),
        None => build_kernel(workspace, &bare, flavour)?,
    };
    let loader = build_loader(workspace, &bare)?;
    let root_task = root_task(workspace, &bare, &options.root_task)?;
    let image = match &options.output {
        Some(output) => output.clone(),
        None => output_dir(workspace).join("image.elf"),
    };
    let parts = Parts {
        loader: &loader,
        kernel: &kernel,
        root_task: &root_task,
        device_tree: options.device_tree.as_deref(),
    };
    write_image(&parts, &image)?;
    Ok(image)
}

/// Boots an image (of the demo unless another root task is named); the machine's exit code decides.
///
/// # Errors
/// As [`image`], and that the root task failed.
pub fn boot(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let image = make(workspace, options)?;
    run(&mut Machine::default().boot(&image)?)
}

/// Boots a root task (the demo unless another is given) with a debugger attached; both end together.
///
/// # Errors
/// As [`image`], and that emulator or debugger cannot be started.
pub fn debug(workspace: &Workspace, given: Option<&Path>) -> Result<(), Error> {
    let given = given.unwrap_or(Path::new(DEMO.0));
    let root_task = root_task(workspace, &Bare::find(workspace)?, given)?;
    let options = Options {
        root_task: root_task.clone(),
        debug: true,
        ..Options::default()
    };
    let image = make(workspace, &options)?;
    let machine = Machine {
        wait_for_debugger: true,
        ..Machine::default()
    };
    let mut debugger = debugger(&output_dir(workspace).join(Flavour::Debug.file()))?;
    // Before the root task's symbols are known, or there would be two of that name.
    debugger
        .args(["-ex", "hbreak _start"])
        .arg("-ex")
        .arg(format!("add-symbol-file {}", root_task.display()));
    let mut boot = machine.boot(&image)?;
    let mut emulator = start(&mut boot)?;
    let result = run(&mut debugger);
    // It may have ended by itself; either way nothing is left of it.
    let _ = emulator.kill();
    let _ = emulator.wait();
    result
}

fn start(command: &mut Command) -> Result<std::process::Child, Error> {
    println!("$ {}", describe(command));
    command
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| Error::Start {
            command: describe(command),
            source,
        })
}
