//! The tools a command needs: found, installed where that is possible, explained where it is not.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::process::{Workspace, output_of, run};

/// The program of that name on the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// Finds a program, and installs Debian's package of it first when it is missing.
///
/// # Errors
/// `Setup` when it is missing and cannot be installed from here.
pub fn ensure(program: &str, package: &str, purpose: &str) -> Result<PathBuf, Error> {
    ensure_packages(program, &[package], purpose)
}

/// Like [`ensure`], for a program that needs several packages.
///
/// # Errors
/// `Setup` when it is missing and cannot be installed from here.
pub fn ensure_packages(program: &str, packages: &[&str], purpose: &str) -> Result<PathBuf, Error> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    println!("`{program}` is missing; {purpose}.");
    let by_hand = || Error::Setup {
        missing: format!("`{program}` is missing; {purpose}."),
        install: format!(
            "apt-get update && apt-get install -y {} (as root, or your system's equivalent)",
            packages.join(" ")
        ),
    };
    if !install_packages(packages) {
        return Err(by_hand());
    }
    find(program).ok_or_else(by_hand)
}

/// Installs packages of Debian, saying so; `false` when that is not possible from here.
pub fn install_packages(packages: &[&str]) -> bool {
    let Some(prefix) = privileged_prefix() else {
        return false;
    };
    println!("Installing Debian's packages: {}.", packages.join(" "));
    let install = [&["install", "-y", "--no-install-recommends"][..], packages].concat();
    for args in [&["update"][..], &install] {
        let mut words = prefix.iter().copied().chain(["apt-get"]);
        let mut command = Command::new(words.next().unwrap_or("apt-get"));
        command
            .args(words)
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        if let Err(error) = run(&mut command) {
            println!("{error}");
            return false;
        }
    }
    true
}

/// What to put before `apt-get` so that it may install; `None` when nothing helps.
fn privileged_prefix() -> Option<&'static [&'static str]> {
    find("apt-get")?;
    if output_of(Command::new("id").arg("-u")).as_deref() == Some("0") {
        return Some(&[]);
    }
    output_of(Command::new("sudo").args(["-n", "true"])).map(|_| &["sudo", "-n"][..])
}

/// The nightly compiler, if there is one, or why there is none.
pub struct Nightly {
    sysroot: PathBuf,
    host: String,
}

impl Nightly {
    /// Looks for a nightly that runs.
    ///
    /// # Errors
    /// The reason, for the table of stages, when there is none.
    pub fn find() -> Result<Self, String> {
        let missing = || {
            "there is no nightly compiler; install it with `rustup toolchain install nightly`"
                .to_owned()
        };
        let version =
            output_of(Command::new("rustc").args(["+nightly", "-vV"])).ok_or_else(missing)?;
        let sysroot = output_of(Command::new("rustc").args(["+nightly", "--print", "sysroot"]))
            .ok_or_else(missing)?;
        Ok(Self {
            sysroot: PathBuf::from(sysroot),
            host: host_in_version(&version).ok_or_else(missing)?,
        })
    }

    /// The triple of this machine.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the run-time library of a sanitizer (`asan`, `tsan`) came with it.
    ///
    /// # Errors
    /// The reason, for the table of stages, when it did not.
    pub fn has_sanitizer(&self, runtime: &str) -> Result<(), String> {
        let libraries = library_dir(&self.sysroot, &self.host);
        let suffix = format!("_rt.{runtime}.a");
        if has_file(&libraries, |name| name.ends_with(&suffix)) {
            Ok(())
        } else {
            Err(format!(
                "the nightly has no {runtime} library for {}; only x86-64 and AArch64 Linux have one",
                self.host
            ))
        }
    }
}

fn host_in_version(version: &str) -> Option<String> {
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))?;
    Some(host.to_owned())
}

/// Where a toolchain keeps the libraries of a target.
pub fn library_dir(sysroot: &Path, target: &str) -> PathBuf {
    sysroot.join("lib/rustlib").join(target).join("lib")
}

/// Whether a directory has a file whose name is wanted.
pub fn has_file(dir: &Path, wanted: impl Fn(&str) -> bool) -> bool {
    fs::read_dir(dir).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| wanted(&entry.file_name().to_string_lossy()))
    })
}

/// `cargo-fuzz`, installed into the target directory when it is not there; its directory belongs on PATH.
///
/// # Errors
/// Those of [`run`].
pub fn ensure_cargo_fuzz(workspace: &Workspace) -> Result<PathBuf, Error> {
    let tools = workspace.target.join("tools");
    let bin = tools.join("bin");
    if let Some(dir) = find("cargo-fuzz").and_then(|path| path.parent().map(Path::to_owned)) {
        return Ok(dir);
    }
    if !bin.join("cargo-fuzz").is_file() {
        println!(
            "`cargo-fuzz` is missing; installing it into {}.",
            bin.display()
        );
        let mut command = workspace.cargo(["install", "cargo-fuzz", "--locked", "--root"]);
        command.arg(&tools);
        run(&mut command)?;
    }
    Ok(bin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_search_path_only() {
        assert!(find("sh").is_some());
        assert!(find("baton-no-such-program").is_none());
    }

    #[test]
    fn host_is_read_from_the_version() {
        let version = "rustc 1.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.0";
        assert_eq!(
            host_in_version(version).as_deref(),
            Some("x86_64-unknown-linux-gnu")
        );
        assert_eq!(host_in_version("rustc 1.0"), None);
    }
}
