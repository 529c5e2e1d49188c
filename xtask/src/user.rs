//! Building and running the root tasks of this repository: the demo and the tests on the machine.

use std::path::{Path, PathBuf};

use crate::bare::Bare;
use crate::error::Error;
use crate::kernel::{Flavour, Parts, build_kernel, build_loader, keep, output_dir, write_image};
use crate::process::{Workspace, run};
use crate::qemu::Machine;

/// The workspace of runtime and programs.
const USER_DIR: &str = "user";

/// A root task, with the program of its processes, which it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootTask {
    /// Two processes that talk, and a fault.
    Demo,
    /// Cases over all that the kernel promises.
    Test,
}

impl RootTask {
    const fn package(self) -> &'static str {
        match self {
            Self::Demo => "baton-demo",
            Self::Test => "baton-test",
        }
    }

    const fn process_package(self) -> &'static str {
        match self {
            Self::Demo => "baton-demo-process",
            Self::Test => "baton-test-process",
        }
    }

    /// How the build learns where the program of the processes is.
    const fn process_variable(self) -> &'static str {
        match self {
            Self::Demo => "BATON_DEMO_PROCESS",
            Self::Test => "BATON_TEST_PROCESS",
        }
    }

    /// Memory that it wants (MiB): the tests make frames of 1 GiB.
    const fn memory_mib(self) -> u32 {
        match self {
            Self::Demo => crate::qemu::MEMORY_MIB,
            Self::Test => 3072,
        }
    }
}

/// Where the builds of this workspace find the programs that they carry, for checks that build everything.
pub fn process_variables(bare: &Bare) -> Vec<(&'static str, PathBuf)> {
    let products = bare.products("release");
    [RootTask::Demo, RootTask::Test]
        .map(|root| {
            (
                root.process_variable(),
                products.join(root.process_package()),
            )
        })
        .to_vec()
}

/// Builds the program of a root task's processes.
///
/// # Errors
/// That it does not build.
pub fn build_process(workspace: &Workspace, bare: &Bare, root: RootTask) -> Result<(), Error> {
    let args = ["--release", "--package", root.process_package()];
    run(&mut bare.cargo(workspace, Path::new(USER_DIR), "build", args))
}

/// Builds a root task and returns its ELF file.
///
/// # Errors
/// That it does not build.
pub fn build_root_task(
    workspace: &Workspace,
    bare: &Bare,
    root: RootTask,
) -> Result<PathBuf, Error> {
    build_process(workspace, bare, root)?;
    let args = ["--release", "--package", root.package()];
    let mut command = bare.cargo(workspace, Path::new(USER_DIR), "build", args);
    let products = bare.products("release");
    command.env(
        root.process_variable(),
        products.join(root.process_package()),
    );
    run(&mut command)?;
    keep(
        workspace,
        &products.join(root.package()),
        &format!("{}.elf", root.package()),
    )
}

/// Builds an image of a root task with a kernel, and returns it with the machine that it wants.
///
/// # Errors
/// That something does not build, or the image cannot be written.
pub fn image_of(
    workspace: &Workspace,
    bare: &Bare,
    root: RootTask,
    flavour: Flavour,
) -> Result<(PathBuf, Machine), Error> {
    let root_task = build_root_task(workspace, bare, root)?;
    let kernel = build_kernel(workspace, bare, flavour)?;
    let loader = build_loader(workspace, bare)?;
    let image = output_dir(workspace).join(format!("{}-{}", root.package(), flavour.file()));
    let parts = Parts {
        loader: &loader,
        kernel: &kernel,
        root_task: &root_task,
        device_tree: None,
    };
    write_image(&parts, &image)?;
    let machine = Machine {
        memory_mib: root.memory_mib(),
        ..Machine::default()
    };
    Ok((image, machine))
}

/// Boots the demo; its exit code decides.
///
/// # Errors
/// That something does not build or cannot be started, or that the demo failed.
pub fn run_demo(workspace: &Workspace, debug: bool) -> Result<(), Error> {
    let bare = Bare::find(workspace)?;
    let flavour = if debug {
        Flavour::Debug
    } else {
        Flavour::Release
    };
    let (image, machine) = image_of(workspace, &bare, RootTask::Demo, flavour)?;
    run(&mut machine.boot(&image)?)
}
