//! Building and running root tasks: those of this repository by name, and anybody's by ELF file.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bare::Bare;
use crate::error::Error;
use crate::kernel::{Flavour, Parts, build_kernel, build_loader, keep, output_dir, write_image};
use crate::process::{Workspace, run};
use crate::qemu::{MEMORY_MIB, Machine};

/// The workspace of runtime and programs.
const USER_DIR: &str = "user";
/// Its programs, each in a directory of its name.
const APPS_DIR: &str = "user/apps";

/// The demo.
pub const DEMO: App<'_> = App("demo");
/// The test root task.
pub const TEST: App<'_> = App("test");
/// The benchmark root task.
pub const BENCH: App<'_> = App("bench");
/// What measures how long interrupts wait.
pub const LATENCY: App<'_> = App("latency");
/// The root task that proves the user platform.
pub const CONNECT: App<'_> = App("connect");
/// The root task that runs a real service with clients of its own.
pub const STORE: App<'_> = App("store");
/// The root task whose processes throw random system calls.
pub const HOSTILE: App<'_> = App("hostile");
/// The root task that kills a server under load, again and again.
pub const RESTART: App<'_> = App("restart");
/// The root task that proves asynchronous system calls.
pub const LANES: App<'_> = App("lanes");
/// What `run` boots unless told otherwise: what a request takes, and a trace of one.
pub const SHOW: App<'_> = App("show");
/// The root task that proves the memory server.
pub const PAGES: App<'_> = App("pages");
/// What measures asynchronous requests.
pub const REQUEST: App<'_> = App("request");
/// Those that carry the program of a process.
pub const WITH_PROCESS: [App<'_>; 10] = [
    DEMO, TEST, BENCH, CONNECT, STORE, HOSTILE, SHOW, PAGES, RESTART, REQUEST,
];

/// A root task in `user/apps`. If there is also a program `NAME-process`, it carries that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App<'a>(pub &'a str);

impl App<'_> {
    fn package(self) -> String {
        format!("baton-{}", self.0)
    }

    fn process_package(self) -> String {
        format!("baton-{}-process", self.0)
    }

    /// How the build learns where the program of the processes is.
    fn process_variable(self) -> String {
        format!("BATON_{}_PROCESS", self.0.to_uppercase())
    }

    fn has_process(self, workspace: &Workspace) -> bool {
        let dir = format!("{}-process", self.0);
        workspace.root.join(APPS_DIR).join(dir).is_dir()
    }

    /// Memory that it wants (MiB): the tests make frames of 1 GiB, and upstream's kernels, on which figures are measured as well, are
    /// configured for that much.
    fn memory_mib(self) -> u32 {
        if [TEST, BENCH, LATENCY, REQUEST].contains(&self) {
            3072
        } else {
            MEMORY_MIB
        }
    }
}

/// Where builds of the workspace find the programs that root tasks carry, for checks that build everything.
pub fn process_variables(bare: &Bare) -> Vec<(String, PathBuf)> {
    let products = bare.products("release");
    WITH_PROCESS
        .map(|app| (app.process_variable(), products.join(app.process_package())))
        .to_vec()
}

/// Builds the program of a root task's processes.
///
/// # Errors
/// That it does not build.
pub fn build_process(workspace: &Workspace, bare: &Bare, app: App<'_>) -> Result<(), Error> {
    let package = app.process_package();
    let args = ["--release", "--package", &package];
    run(&mut bare.cargo(workspace, Path::new(USER_DIR), "build", args))
}

/// Builds a root task and returns its ELF file.
///
/// # Errors
/// That it does not build.
pub fn build_app(workspace: &Workspace, bare: &Bare, app: App<'_>) -> Result<PathBuf, Error> {
    let package = app.package();
    let products = bare.products("release");
    let args = ["--release", "--package", &package];
    let mut command = bare.cargo(workspace, Path::new(USER_DIR), "build", args);
    if app.has_process(workspace) {
        build_process(workspace, bare, app)?;
        let process = products.join(app.process_package());
        command.env(app.process_variable(), process);
    }
    run(&mut command)?;
    keep(
        workspace,
        &products.join(&package),
        &format!("{package}.elf"),
    )
}

/// The ELF file of a root task: that file, or else the program of that name, built.
///
/// # Errors
/// That there is neither, or that it does not build.
pub fn root_task(workspace: &Workspace, bare: &Bare, given: &Path) -> Result<PathBuf, Error> {
    if given.is_file() {
        return Ok(given.to_owned());
    }
    let name = given.to_string_lossy();
    let manifest = workspace.root.join(APPS_DIR).join(given).join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Error::Check(format!(
            "there is no file {name}, and no root task of that name in {APPS_DIR}"
        )));
    }
    build_app(workspace, bare, App(&name))
}

/// Builds an image of a root task of this repository on a kernel of it, and returns it with the machine that it wants.
///
/// # Errors
/// That something does not build, or the image cannot be written.
pub fn image_of(
    workspace: &Workspace,
    bare: &Bare,
    app: App<'_>,
    flavour: Flavour,
) -> Result<(PathBuf, Machine), Error> {
    let kernel = build_kernel(workspace, bare, flavour)?;
    let name = format!("{}-{}", app.package(), flavour.file());
    image_on(workspace, bare, app, &kernel, &name)
}

/// Builds an image as [`image_of`], and returns the command that boots it.
///
/// # Errors
/// As [`image_of`], and `Setup` when there is no emulator.
pub fn boot_of(
    workspace: &Workspace,
    bare: &Bare,
    app: App<'_>,
    flavour: Flavour,
) -> Result<Command, Error> {
    let (image, machine) = image_of(workspace, bare, app, flavour)?;
    machine.boot(&image)
}

/// As [`image_of`], on the kernel in that file, and with that name.
///
/// # Errors
/// As [`image_of`].
pub fn image_on(
    workspace: &Workspace,
    bare: &Bare,
    app: App<'_>,
    kernel: &Path,
    name: &str,
) -> Result<(PathBuf, Machine), Error> {
    let root_task = build_app(workspace, bare, app)?;
    let loader = build_loader(workspace, bare)?;
    let image = output_dir(workspace).join(name);
    let parts = Parts {
        loader: &loader,
        kernel,
        root_task: &root_task,
        device_tree: None,
    };
    write_image(&parts, &image)?;
    let machine = Machine {
        memory_mib: app.memory_mib(),
        // What it prints at its end is in instructions.
        count_instructions: app == PAGES,
        ..Machine::default()
    };
    Ok((image, machine))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// The page that says what each case would catch must not fall behind the cases.
    #[test]
    fn every_case_is_on_its_page() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(root.join("docs/kernel-tests.md")).expect("the page");
        let cases = root.join("user/apps/test/src/cases");
        let mut names = 0;
        for entry in fs::read_dir(cases).expect("the cases").flatten() {
            let source = fs::read_to_string(entry.path()).expect("a source file");
            let Some((_, table)) = source.split_once("cases! {\n") else {
                continue;
            };
            let (table, _) = table.split_once("\n}").expect("the end of the table");
            for name in table.split('"').skip(1).step_by(2) {
                names += 1;
                assert!(page.contains(&format!("| {name} |")), "{name}");
            }
        }
        assert!(page.contains(&format!("{names} named cases")), "{names}");
    }
}
