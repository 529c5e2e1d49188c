//! The stages of `cargo xtask test`, cheapest first. To add one, add a row to [`STAGES`].
//!
//! A stage either passes, fails with an error, or says why it could not run; the last is never counted as
//! passed. Stages print what they run, so that each command can be repeated by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::bare::Bare;
use crate::error::Error;
use crate::fuzz;
use crate::kernel::Flavour;
use crate::kernel_bench;
use crate::links;
use crate::process::{Workspace, run_until};
use crate::show;
use crate::tools::Nightly;
use crate::user;

/// One stage.
pub struct Stage {
    /// What `--only` calls it.
    pub name: &'static str,
    /// What it shows when it passes.
    pub about: &'static str,
    /// Does the work.
    pub work: fn(&Context) -> Result<Outcome, Error>,
}

/// How a stage ended, if not by an error.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and found nothing wrong.
    Passed,
    /// It could not run here, for this reason.
    NotRun(String),
}

/// What a stage is told.
pub struct Context {
    /// The repository.
    pub workspace: Workspace,
    /// Whether the long versions were asked for.
    pub long: bool,
    /// Where the pseudo-random stages start.
    pub seed: u64,
    /// When the stage counts as hung.
    pub deadline: Instant,
    /// The limit that makes up the deadline.
    pub limit_s: u64,
}

impl Context {
    /// Runs a command until the stage's deadline.
    ///
    /// # Errors
    /// Those of [`run_until`].
    pub fn run(&self, command: &mut Command) -> Result<(), Error> {
        run_until(command, self.deadline, self.limit_s)
    }

    fn by_length(&self, short: u64, long: u64) -> u64 {
        if self.long { long } else { short }
    }
}

/// All stages, in the order in which they run.
pub const STAGES: &[Stage] = &[
    Stage {
        name: "fmt",
        about: "the sources are formatted",
        work: fmt,
    },
    Stage {
        name: "clippy",
        about: "no warning of the compiler or of clippy",
        work: clippy,
    },
    Stage {
        name: "test",
        about: "unit, integration and documentation tests",
        work: test,
    },
    Stage {
        name: "no_std",
        about: "the crates build for a bare RISC-V machine",
        work: no_std,
    },
    Stage {
        name: "bare-clippy",
        about: "kernel and loader build for RISC-V without a warning",
        work: bare_clippy,
    },
    Stage {
        name: "qemu",
        about: "the test root tasks on each kernel, and random system calls, in QEMU",
        work: qemu,
    },
    Stage {
        name: "bench-qemu",
        about: "the benchmark root task comes through, whatever it measures",
        work: bench_qemu,
    },
    Stage {
        name: "loom",
        about: "the protocols under every interleaving, and broken when weakened",
        work: loom,
    },
    Stage {
        name: "property",
        about: "inbox, executor and rpc against naive models, many cases",
        work: property,
    },
    Stage {
        name: "model",
        about: "the kernel against a model of its API, call by call",
        work: model,
    },
    Stage {
        name: "hostile",
        about: "a second process writes arbitrary words to all it may write",
        work: hostile,
    },
    Stage {
        name: "kill-loop",
        about: "processes killed at random points; nothing lost, nothing left",
        work: kill_loop,
    },
    Stage {
        name: "fuzz",
        about: "fuzzing under the address sanitizer (nightly)",
        work: fuzz::fuzz,
    },
    Stage {
        name: "address-sanitizer",
        about: "the tests of the crates with unsafe code or lanes (nightly)",
        work: address_sanitizer,
    },
    Stage {
        name: "thread-sanitizer",
        about: "the same tests (nightly)",
        work: thread_sanitizer,
    },
    Stage {
        name: "docs",
        about: "the documentation builds without a warning",
        work: docs,
    },
    Stage {
        name: "links",
        about: "files and functions named in README.md and docs/ exist",
        work: check_links,
    },
];

/// Workspaces of their own, which cargo leaves out of the main one.
const OUTER_MANIFESTS: &[&str] = &[
    "bench/peers/Cargo.toml",
    "tests/fuzz/Cargo.toml",
    "kernel/Cargo.toml",
    "user/Cargo.toml",
];

/// Workspaces of what runs on the bare machine only, each with the sets of features that are looked at.
const BARE_WORKSPACES: &[(&str, &[&str])] = &[
    (
        "kernel",
        &[
            "",
            "baton-riscv64/slow-only",
            "baton-riscv64/debug,baton-riscv64/domains",
        ],
    ),
    ("user", &[""]),
];

/// What both sanitizers look at.
const SANITIZED: &[&str] = &["baton-executor", "baton-rpc", "baton-inbox"];

/// What the address sanitizer alone looks at: these tests start threads and hand things over under the standard library's
/// mutexes, which are not instrumented, so that the thread sanitizer sees races that are none.
const THREADED: &[&str] = &["baton-linux", "baton-trace"];

/// The kernel's core and memory, as they run on the host: one core, so nothing for the thread sanitizer.
const KERNEL: &[&str] = &["baton-kernel-mem", "baton-kernel-core", "baton-kernel-fake"];

fn fmt(context: &Context) -> Result<Outcome, Error> {
    let workspace = &context.workspace;
    context.run(&mut workspace.cargo(["fmt", "--all", "--check"]))?;
    for manifest in OUTER_MANIFESTS {
        if workspace.root.join(manifest).is_file() {
            let args = ["fmt", "--all", "--manifest-path", manifest, "--check"];
            context.run(&mut workspace.cargo(args))?;
        }
    }
    Ok(Outcome::Passed)
}

fn clippy(context: &Context) -> Result<Outcome, Error> {
    let args = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    context.run(&mut context.workspace.cargo(args))?;
    Ok(Outcome::Passed)
}

fn test(context: &Context) -> Result<Outcome, Error> {
    context.run(&mut context.workspace.cargo(["test", "--workspace"]))?;
    Ok(Outcome::Passed)
}

fn no_std(context: &Context) -> Result<Outcome, Error> {
    let workspace = &context.workspace;
    let bare = match Bare::find(workspace) {
        Ok(bare) => bare,
        Err(error) => return not_run(error),
    };
    let mut command = bare.cargo(workspace, Path::new("."), "build", ["--lib"]);
    for library in bare_libraries(&workspace.root)? {
        command.args(["--package", &library]);
    }
    context.run(&mut command)?;
    Ok(Outcome::Passed)
}

/// A tool that cannot be had leaves its stage out; anything else is a failure.
fn not_run(error: Error) -> Result<Outcome, Error> {
    match error {
        error @ Error::Setup { .. } => Ok(Outcome::NotRun(error.to_string())),
        error => Err(error),
    }
}

fn bare_clippy(context: &Context) -> Result<Outcome, Error> {
    let workspace = &context.workspace;
    let found = Bare::find(workspace).and_then(|bare| bare.ensure_clippy().map(|()| bare));
    let bare = match found {
        Ok(bare) => bare,
        Err(error) => return not_run(error),
    };
    build_processes(workspace, &bare)?;
    for &(dir, sets) in BARE_WORKSPACES {
        for features in sets {
            let args = [
                "--workspace",
                "--features",
                features,
                "--",
                "-D",
                "warnings",
            ];
            let mut command = bare.cargo(workspace, Path::new(dir), "clippy", args);
            context.run(command.envs(user::process_variables(&bare)))?;
        }
    }
    Ok(Outcome::Passed)
}

/// Root tasks carry the programs of their processes, so these must be there before anything looks at root tasks.
fn build_processes(workspace: &Workspace, bare: &Bare) -> Result<(), Error> {
    for app in user::WITH_PROCESS {
        user::build_process(workspace, bare, app)?;
    }
    Ok(())
}

fn qemu(context: &Context) -> Result<Outcome, Error> {
    let workspace = &context.workspace;
    let bare = match Bare::find(workspace) {
        Ok(bare) => bare,
        Err(error) => return not_run(error),
    };
    for flavour in [
        Flavour::Release,
        Flavour::SlowOnly,
        Flavour::Debug,
        Flavour::DebugDomains,
    ] {
        let mut boot = match user::boot_of(workspace, &bare, user::TEST, flavour) {
            Ok(boot) => boot,
            Err(error) => return not_run(error),
        };
        context.run(&mut boot)?;
    }
    for (app, flavour) in [
        (user::CONNECT, Flavour::Release),
        (user::CONNECT, Flavour::Debug),
        (user::LANES, Flavour::Release),
        (user::LANES, Flavour::Debug),
    ] {
        let (image, machine) = user::image_of(workspace, &bare, app, flavour)?;
        context.run(&mut machine.boot(&image)?)?;
    }
    show::comes_through(workspace, &bare, context.deadline, context.limit_s)?;
    for flavour in [Flavour::Release, Flavour::Debug] {
        let mut boot = user::boot_of(workspace, &bare, user::PAGES, flavour)?;
        context.run(boot.args(["-append", &format!("seed={}", context.seed)]))?;
    }
    for flavour in [Flavour::Release, Flavour::Debug] {
        let mut boot = user::boot_of(workspace, &bare, user::RESTART, flavour)?;
        let rounds = context.by_length(20, 1000);
        let line = format!("rounds={rounds} seed={}", context.seed);
        context.run(boot.args(["-append", &line]))?;
    }
    for (flavour, calls) in [
        (Flavour::Release, 1_000_000),
        (Flavour::SlowOnly, context.by_length(100_000, 1_000_000)),
        (Flavour::Debug, context.by_length(100_000, 1_000_000)),
    ] {
        let mut boot = match user::boot_of(workspace, &bare, user::HOSTILE, flavour) {
            Ok(boot) => boot,
            Err(error) => return not_run(error),
        };
        let line = format!("calls={calls} seed={}", context.seed);
        context.run(boot.args(["-append", &line]))?;
    }
    Ok(Outcome::Passed)
}

fn bench_qemu(context: &Context) -> Result<Outcome, Error> {
    let workspace = &context.workspace;
    let through =
        Bare::find(workspace).and_then(|bare| kernel_bench::comes_through(workspace, &bare));
    match through {
        Ok(()) => Ok(Outcome::Passed),
        Err(error) => not_run(error),
    }
}

/// The packages in `crates/` that run on the target; procedural macros run in the compiler.
fn bare_libraries(root: &Path) -> Result<Vec<String>, Error> {
    let crates = root.join("crates");
    let entries = fs::read_dir(&crates).map_err(Error::file("list", &crates))?;
    let mut manifests: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join("Cargo.toml"))
        .filter(|manifest| manifest.is_file())
        .collect();
    manifests.sort();
    let mut names = Vec::new();
    for path in manifests {
        let manifest = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        if !is_proc_macro(&manifest) {
            let name = package_name(&manifest)
                .ok_or_else(|| Error::Check(format!("{} names no package", path.display())))?;
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The name in a package's manifest, as this repository writes them.
pub fn package_name(manifest: &str) -> Option<&str> {
    let (_, package) = manifest.split_once("[package]")?;
    package
        .lines()
        .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
}

fn is_proc_macro(manifest: &str) -> bool {
    manifest
        .lines()
        .any(|line| line.trim() == "proc-macro = true")
}

fn loom(context: &Context) -> Result<Outcome, Error> {
    let workspace = &context.workspace;
    // Release, for a model explores millions of interleavings. The cfg changes every crate: own directory.
    let mut command = workspace.cargo(["test", "--release", "--test", "loom_*"]);
    command.args(["--package", "baton-tests"]);
    for library in bare_libraries(&workspace.root)? {
        command.args(["--package", &library]);
    }
    command
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", workspace.target.join("loom"));
    context.run(&mut command)?;
    Ok(Outcome::Passed)
}

fn property(context: &Context) -> Result<Outcome, Error> {
    let cases = context.by_length(2_000, 100_000);
    let mut command = context
        .workspace
        .cargo(["test", "--release", "--test", "prop_*"]);
    command.args(["--package", "baton-tests"]);
    for library in bare_libraries(&context.workspace.root)? {
        command.args(["--package", &library]);
    }
    context.run(command.env("BATON_CASES", cases.to_string()))?;
    Ok(Outcome::Passed)
}

/// The kernel on a machine in ordinary memory, and a model beside it.
fn model(context: &Context) -> Result<Outcome, Error> {
    let calls = context.by_length(200_000, 10_000_000);
    let args = ["test", "--release", "--package", "baton-kernel-core"];
    let mut command = context.workspace.cargo(args);
    // What it prints says how far it has come, and which calls were made how often.
    command.args(["--test", "model", "--", "--nocapture"]);
    command
        .env("BATON_CALLS", calls.to_string())
        .env("BATON_SEED", context.seed.to_string());
    context.run(&mut command)?;
    Ok(Outcome::Passed)
}

fn hostile(context: &Context) -> Result<Outcome, Error> {
    let writes = context.by_length(10_000_000, 1_000_000_000);
    test_binary(context, "hostile", "--writes", writes)
}

fn kill_loop(context: &Context) -> Result<Outcome, Error> {
    let kills = context.by_length(100, 10_000);
    test_binary(context, "kill-loop", "--kills", kills)
}

fn test_binary(context: &Context, name: &str, amount: &str, value: u64) -> Result<Outcome, Error> {
    let workspace = &context.workspace;
    context.run(&mut workspace.cargo([
        "build",
        "--release",
        "--package",
        "baton-tests",
        "--bins",
    ]))?;
    let mut command = Command::new(workspace.target.join("release").join(name));
    command
        .args([
            amount,
            &value.to_string(),
            "--seed",
            &context.seed.to_string(),
        ])
        .current_dir(&workspace.root);
    context.run(&mut command)?;
    Ok(Outcome::Passed)
}

fn address_sanitizer(context: &Context) -> Result<Outcome, Error> {
    let packages = [SANITIZED, THREADED, KERNEL].concat();
    sanitizer(context, "asan", "-Zsanitizer=address", &packages)
}

fn thread_sanitizer(context: &Context) -> Result<Outcome, Error> {
    // The standard library comes without the sanitizer; the second flag allows the mixture.
    let flags = "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer";
    sanitizer(context, "tsan", flags, SANITIZED)
}

fn sanitizer(
    context: &Context,
    runtime: &str,
    flags: &str,
    packages: &[&str],
) -> Result<Outcome, Error> {
    let nightly = match Nightly::find() {
        Ok(nightly) => nightly,
        Err(reason) => return Ok(Outcome::NotRun(reason)),
    };
    if let Err(reason) = nightly.has_sanitizer(runtime) {
        return Ok(Outcome::NotRun(reason));
    }
    // With a target given, the flags do not reach build scripts and procedural macros.
    let args = [
        "+nightly",
        "test",
        "--lib",
        "--tests",
        "--target",
        nightly.host(),
    ];
    let mut command = context.workspace.cargo(args);
    for package in packages {
        command.args(["--package", package]);
    }
    let suppressions = context.workspace.root.join("xtask/tsan-suppressions.txt");
    command
        .env("RUSTFLAGS", flags)
        .env(
            "TSAN_OPTIONS",
            format!("suppressions={}", suppressions.display()),
        )
        // Tests then run on libtest's main thread: what it does to hand them to others is not instrumented.
        .env("RUST_TEST_THREADS", "1")
        .env("CARGO_TARGET_DIR", context.workspace.target.join(runtime));
    context.run(&mut command)?;
    Ok(Outcome::Passed)
}

fn docs(context: &Context) -> Result<Outcome, Error> {
    let mut command = context.workspace.cargo(["doc", "--no-deps", "--workspace"]);
    context.run(command.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    let bare = match Bare::find(&context.workspace) {
        Ok(bare) => bare,
        Err(error) => return not_run(error),
    };
    build_processes(&context.workspace, &bare)?;
    for (dir, _) in BARE_WORKSPACES {
        let mut command = bare.doc(&context.workspace, Path::new(dir));
        context.run(command.envs(user::process_variables(&bare)))?;
    }
    Ok(Outcome::Passed)
}

fn check_links(context: &Context) -> Result<Outcome, Error> {
    let report = links::check(&context.workspace.root)?;
    println!(
        "{} pages, {} references looked up",
        report.pages, report.references
    );
    for broken in &report.broken {
        println!("{broken}");
    }
    match report.broken.len() {
        0 => Ok(Outcome::Passed),
        n => Err(Error::Check(format!("{n} references lead nowhere"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_so_that_only_finds_one() {
        for (i, stage) in STAGES.iter().enumerate() {
            assert!(
                STAGES[..i].iter().all(|other| other.name != stage.name),
                "{}",
                stage.name
            );
        }
    }

    #[test]
    fn package_and_its_kind_are_read_from_the_manifest() {
        let manifest = "[package]\nname = \"baton-x\"\n[lib]\nproc-macro = true\n";
        assert_eq!(package_name(manifest), Some("baton-x"));
        assert!(is_proc_macro(manifest));
        assert!(!is_proc_macro("[package]\nname = \"baton-y\"\n"));
        assert_eq!(package_name("[lib]\nname = \"z\"\n"), None);
    }

    #[test]
    fn bare_libraries_of_this_repository_include_the_heart() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let names = bare_libraries(&root).expect("crates/ is readable");
        for heart in ["baton-inbox", "baton-executor", "baton-rpc"] {
            assert!(
                names.iter().any(|name| name == heart),
                "{heart} is not in {names:?}"
            );
        }
    }
}
