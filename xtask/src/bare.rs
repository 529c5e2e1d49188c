//! Building for a bare RISC-V machine: the toolchain that this machine has, or can get, for it.
//!
//! Three ways, tried in this order: the pinned toolchain with the target's library; the same after `rustup target add`;
//! Debian's compiler, which brings the library's source, so that the library is built once into a private sysroot
//! (about half a minute). Whichever it is, what follows is plain `cargo build`.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::process::{Workspace, output_of, run};
use crate::tools::{find, has_file, install_packages, library_dir};

/// The target of everything that runs on the bare machine: kernel, loader, user programs.
pub const TARGET: &str = "riscv64gc-unknown-none-elf";

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";
const CLIPPY_PACKAGE: &str = "rust-web-clippy";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_RUSTDOC: &str = "/usr/bin/rustdoc";
/// What [`Bare::find`] installs where rustup may not download: the compiler, cargo and the library's source.
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];
/// Has the linker, for machines whose rustup has none.
const LINKER_PACKAGE: &str = "binutils-riscv64-unknown-elf";
const LINKER: &str = "riscv64-unknown-elf-ld";
/// Flags for the target alone; they are appended to those of the configuration.
const RUSTFLAGS: &str = "CARGO_TARGET_RISCV64GC_UNKNOWN_NONE_ELF_RUSTFLAGS";
/// The library serves builds with link-time optimisation, which need bitcode, and those without.
const SYSROOT_FLAGS: &str = "-Cembed-bitcode=yes";

/// A toolchain that builds for [`TARGET`].
#[derive(Debug)]
pub struct Bare {
    way: Way,
    /// Where its products go: a directory of its own, because the compiler may be another one than the host's.
    target: PathBuf,
}

#[derive(Debug)]
enum Way {
    /// The pinned toolchain has the target's library.
    Pinned,
    /// Debian's compiler with a library that was built from its source.
    Debian { sysroot: PathBuf, linker: PathBuf },
}

impl Bare {
    /// Finds the toolchain, and installs what is missing where that is possible.
    ///
    /// # Errors
    /// `Setup` when there is none and none can be had from here; what [`run`] says when the library does not build.
    pub fn find(workspace: &Workspace) -> Result<Self, Error> {
        let target = workspace.target.join("bare");
        if pinned_has_target(workspace) || add_target(workspace) {
            let way = Way::Pinned;
            return Ok(Self { way, target });
        }
        if !debian_builds_libraries() {
            install_packages(DEBIAN_PACKAGES);
        }
        if !debian_builds_libraries() {
            return Err(Error::Setup {
                missing: format!("The toolchain has no library for {TARGET}."),
                install: format!(
                    "rustup target add {TARGET} (or Debian's packages {})",
                    DEBIAN_PACKAGES.join(", ")
                ),
            });
        }
        let linker = debian_linker(workspace)?;
        let sysroot = build_sysroot(workspace)?;
        let way = Way::Debian { sysroot, linker };
        Ok(Self { way, target })
    }

    /// `cargo` of this toolchain, to be run in `dir` below the repository; `--target` is among its arguments already.
    pub fn cargo<S: AsRef<OsStr>>(
        &self,
        workspace: &Workspace,
        dir: &Path,
        subcommand: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = workspace.cargo([subcommand, "--target", TARGET]);
        if let Way::Debian { sysroot, linker } = &self.way {
            // Cargo would look for the linter on the search path, where rustup's comes first.
            let program = match subcommand {
                "clippy" => DEBIAN_CLIPPY,
                _ => DEBIAN_CARGO,
            };
            command = workspace.cargo_at(program, [subcommand, "--target", TARGET]);
            command
                .env("RUSTC", DEBIAN_RUSTC)
                .env("CARGO_TARGET_RISCV64GC_UNKNOWN_NONE_ELF_LINKER", linker)
                .env(RUSTFLAGS, format!("--sysroot={}", sysroot.display()))
                .env("RUSTDOC", DEBIAN_RUSTDOC);
        }
        command
            .args(args)
            .env("CARGO_TARGET_DIR", &self.target)
            .current_dir(workspace.root.join(dir));
        command
    }

    /// `cargo doc` of this toolchain for the workspace in `dir`, which fails on a warning.
    pub fn doc(&self, workspace: &Workspace, dir: &Path) -> Command {
        let mut flags = "-Dwarnings".to_owned();
        if let Way::Debian { sysroot, .. } = &self.way {
            flags += &format!(" --sysroot={}", sysroot.display());
        }
        let mut command = self.cargo(workspace, dir, "doc", ["--no-deps", "--workspace"]);
        command.env("RUSTDOCFLAGS", flags);
        command
    }

    /// Makes sure that `clippy` can be a subcommand of [`Bare::cargo`].
    ///
    /// # Errors
    /// `Setup` when Debian's is missing and cannot be installed; rustup's comes with the pinned toolchain.
    pub fn ensure_clippy(&self) -> Result<(), Error> {
        let there = || Path::new(DEBIAN_CLIPPY).is_file();
        if matches!(self.way, Way::Pinned) || there() {
            return Ok(());
        }
        install_packages(&[CLIPPY_PACKAGE]);
        if there() {
            return Ok(());
        }
        Err(Error::Setup {
            missing: format!("There is no clippy for {TARGET}."),
            install: format!("apt-get install -y {CLIPPY_PACKAGE} (as root)"),
        })
    }

    /// Where a build with this profile leaves its products.
    pub fn products(&self, profile: &str) -> PathBuf {
        // Cargo calls the directory of its profile `dev` by an older name.
        let dir = if profile == "dev" { "debug" } else { profile };
        self.target.join(TARGET).join(dir)
    }
}

fn pinned_has_target(workspace: &Workspace) -> bool {
    let mut command = Command::new("rustc");
    command.args(["--print", "sysroot"]);
    let sysroot = output_of(command.current_dir(&workspace.root));
    sysroot.is_some_and(|sysroot| {
        has_file(&library_dir(Path::new(&sysroot), TARGET), |name| {
            name.starts_with("libcore-")
        })
    })
}

/// Asks rustup for the target, where it may download.
fn add_target(workspace: &Workspace) -> bool {
    let may_download = env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0");
    if !may_download || find("rustup").is_none() {
        return false;
    }
    let mut command = Command::new("rustup");
    command
        .args(["target", "add", TARGET])
        .current_dir(&workspace.root)
        .stdin(Stdio::null());
    if let Err(error) = run(&mut command) {
        println!("{error}");
    }
    pinned_has_target(workspace)
}

/// Whether Debian's compiler is there, new enough for this workspace, with the source of its libraries.
fn debian_builds_libraries() -> bool {
    let version = output_of(Command::new(DEBIAN_RUSTC).arg("--version"));
    let sysroot = output_of(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]));
    let (Some(version), Some(sysroot)) = (version, sysroot) else {
        return false;
    };
    is_new_enough(&version)
        && Path::new(DEBIAN_CARGO).is_file()
        && Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/core")
            .is_dir()
}

/// Whether `rustc --version` says at least the version that the workspace asks for.
fn is_new_enough(version: &str) -> bool {
    let minor = version
        .strip_prefix("rustc 1.")
        .and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 95)
}

/// A linker for the target: rustup's, else GNU's.
fn debian_linker(workspace: &Workspace) -> Result<PathBuf, Error> {
    let rustup = output_of(
        Command::new("rustc")
            .args(["--print", "target-libdir"])
            .current_dir(&workspace.root),
    );
    let lld = rustup.and_then(|libraries| {
        let lld = Path::new(&libraries).parent()?.join("bin/rust-lld");
        lld.is_file().then_some(lld)
    });
    match lld {
        Some(lld) => Ok(lld),
        None => crate::tools::ensure(
            LINKER,
            LINKER_PACKAGE,
            "it links programs for the bare RISC-V machine",
        ),
    }
}

/// Builds core, alloc and the compiler's helper functions once, and returns the sysroot with them.
fn build_sysroot(workspace: &Workspace) -> Result<PathBuf, Error> {
    let version = output_of(Command::new(DEBIAN_RUSTC).arg("-vV")).unwrap_or_default();
    let version = format!("{version}\n{SYSROOT_FLAGS}\n");
    let base = workspace.target.join("bare-sysroot");
    let stamp = base.join("built-by.txt");
    // A name of its own for each library: cargo rebuilds what was built with another one when the flag changes.
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    let sysroot = base.join(format!("sysroot-{:016x}", hasher.finish()));
    if fs::read_to_string(&stamp).is_ok_and(|by| by == version) {
        return Ok(sysroot);
    }
    println!("Building the library for {TARGET} with Debian's compiler, once.");
    // Left-overs of another compiler would be taken for a second candidate.
    if base.is_dir() {
        fs::remove_dir_all(&base).map_err(Error::file("empty", &base))?;
    }
    let package = base.join("package");
    let write = |name: &str, text: &str| {
        let path = package.join(name);
        fs::write(&path, text).map_err(Error::file("write", &path))
    };
    fs::create_dir_all(&package).map_err(Error::file("make", &package))?;
    // An empty package is enough: the library is what is wanted, and cargo builds that for any package.
    write(
        "Cargo.toml",
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\npath = \"empty.rs\"\n\
         [profile.release]\npanic = \"abort\"\n[workspace]\n",
    )?;
    write("empty.rs", "#![no_std]\n")?;
    let built = package.join("target");
    let mut command = workspace.cargo_at(
        DEBIAN_CARGO,
        [
            "build",
            "--release",
            "--target",
            TARGET,
            "-Zbuild-std=core,alloc,compiler_builtins",
            "-Zbuild-std-features=compiler-builtins-mem",
        ],
    );
    command
        .env("RUSTC", DEBIAN_RUSTC)
        // The library is built by the compiler whose source it is, so the unstable flag means what it says.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(RUSTFLAGS, SYSROOT_FLAGS)
        .env("CARGO_TARGET_DIR", &built)
        .current_dir(&package);
    run(&mut command)?;
    let libraries = library_dir(&sysroot, TARGET);
    fs::create_dir_all(&libraries).map_err(Error::file("make", &libraries))?;
    let deps = built.join(TARGET).join("release/deps");
    let entries = fs::read_dir(&deps).map_err(Error::file("list", &deps))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let wanted = ["libcore-", "liballoc-", "libcompiler_builtins-"];
        let text = name.to_string_lossy();
        if text.ends_with(".rlib") && wanted.iter().any(|prefix| text.starts_with(prefix)) {
            let path = entry.path();
            fs::copy(&path, libraries.join(&name)).map_err(Error::file("copy", &path))?;
        }
    }
    fs::write(&stamp, version).map_err(Error::file("write", &stamp))?;
    Ok(sysroot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_compiler_must_be_new_enough() {
        assert!(is_new_enough(
            "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"
        ));
        assert!(!is_new_enough("rustc 1.85.0 (4d91de4e4 2025-02-17)"));
        assert!(!is_new_enough("no compiler"));
    }

    #[test]
    fn products_of_the_dev_profile_are_where_cargo_puts_them() {
        let bare = Bare {
            way: Way::Pinned,
            target: PathBuf::from("t"),
        };
        assert_eq!(
            bare.products("dev"),
            Path::new("t").join(TARGET).join("debug")
        );
        assert!(bare.products("release").ends_with("release"));
    }
}
