//! The command line: what may be typed, and what it means.

use std::path::PathBuf;

use crate::error::Error;
use crate::{bench, image, kernel_bench, kernel_latency, mutate, test};

/// What `cargo xtask help` prints.
pub const HELP: &str = "\
cargo xtask COMMAND

Commands:
  run                     Boot Baton's kernel in QEMU, first with a table of what a request takes, synchronously and by
                          inboxes, then with a key-value service and its clients. Leaves in target/run traces for
                          ui.perfetto.dev and pictures of a request. Takes the options of `image`, too.
  run ROOT_TASK           Boot it with this root task: an ELF file, or the name of one in user/apps, such as `demo`,
                          which starts two processes, lets them talk, catches a fault and powers off.
  run linux [-- ARGS]     Build and run the demo on Linux: a key-value service and its clients, each a process
                          of its own. Leaves a trace for ui.perfetto.dev and a picture of one request in
                          target/run. ARGS go to the demo; `-- --help` lists them.
  test                    Run all tests, stage by stage, and print a table of what passed, what failed
                          and what could not run here.
      --list              List the stages.
      --only NAME         Run this stage only; may be given several times.
      --long              Run the long versions (10000 kills, 10^9 hostile writes, 10^7 system calls against
                          the model, an hour of fuzzing).
      --seed N            Start the random stages here, to repeat an earlier run. Short runs start at 1,
                          long ones anywhere; the summary says where.
  bench linux             Measure, and write linux.csv and plots to target/bench. Prints which targets
                          are met.
      --quick             Fewer and shorter samples: a first impression, not for comparison.
      --peers             Measure what one could use instead, too. Their dependencies are large.
  bench qemu              Count the instructions of the kernel's system calls, and write qemu.csv and a plot to
                          target/bench. Prints the figures beside those of seL4's kernel.
      --quick             Fewer rounds, and not the kernel without fast path: a first impression.
      --only WORKLOAD     This workload only; may be given several times.
      --kernel ELF        This kernel instead of Baton's.
      --reference ELF     Measure seL4's kernel in the same run: a release build for QEMU's virt machine, without MCS.
      --reference-no-fastpath ELF
                          The same, built without fast path.
      --pages             Put the results into docs/bench and README.md.
  bench latency           Measure how long an interrupt waits while the kernel does something long, and write
                          latency.csv to target/bench. Takes --kernel and --reference as `bench qemu`.
  plot CSV                Draw the plots of a results file next to it, and print the targets.
  kernel                  Build the kernels into target/riscv64: kernel.elf, and kernel-debug.elf with debug
                          calls, checks and messages.
  image ROOT_TASK         Make an image that boots this root task on Baton's kernel in QEMU.
      -o IMAGE            Where to put it; target/riscv64/image.elf unless said otherwise.
      --debug             With the debug kernel.
      --kernel ELF        With another kernel that speaks seL4's boot protocol.
      --device-tree DTB   With this device tree in place of the firmware's.
  gdb [ROOT_TASK]         Boot it, or the demo, on the debug kernel with gdb attached; `continue` goes to the
                          kernel's first instruction.
  mutate [NAME...]        Make deliberate mistakes in a copy of the kernel's core, one after the other, and
                          see whether its tests on the host notice; all unless some are named.
      --list              List them.
  dump PID...             Show lanes, tokens and tasks of running processes, and who waits for whom.
  help                    This text.

What a command needs and does not find, it installs (as root, or through `sudo -n`) or explains.
";

/// What the user wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Print [`HELP`].
    Help,
    /// Boot a root task on Baton's kernel.
    Run(image::Options),
    /// Show what a request takes, on this kernel, and leave a trace.
    Show(image::Options),
    /// Run the demo between Linux processes with these arguments.
    RunLinux(Vec<String>),
    /// Run the tests.
    Test(test::Options),
    /// Measure.
    BenchLinux(bench::Options),
    /// Count instructions of the kernel.
    BenchQemu(kernel_bench::Options),
    /// Measure how long interrupts wait for the kernel.
    BenchLatency(kernel_latency::Options),
    /// Draw the plots of this file.
    Plot(String),
    /// Build the kernels.
    Kernel,
    /// Make a bootable image.
    Image(image::Options),
    /// Debug this root task with the kernel under it.
    Gdb(Option<PathBuf>),
    /// Make mistakes in the kernel.
    Mutate(mutate::Options),
    /// Dump these processes.
    Dump(Vec<u32>),
}

/// Understands the words after `cargo xtask`.
///
/// # Errors
/// `Usage` says which word was not understood, and what could stand there.
pub fn parse(words: &[String]) -> Result<Action, Error> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((&command, rest)) = words.split_first() else {
        return Ok(Action::Help);
    };
    if rest
        .iter()
        .take_while(|word| **word != "--")
        .any(|word| matches!(*word, "-h" | "--help"))
    {
        return Ok(Action::Help);
    }
    match command {
        "help" | "-h" | "--help" => Ok(Action::Help),
        "run" => parse_run(rest),
        "test" => parse_test(rest),
        "bench" => parse_bench(rest),
        "plot" => match rest {
            [csv] => Ok(Action::Plot((*csv).to_owned())),
            _ => usage("`plot` takes the path of one results file, such as target/bench/linux.csv"),
        },
        "kernel" => match rest {
            [] => Ok(Action::Kernel),
            _ => usage("`kernel` takes nothing: it builds all kernels"),
        },
        "image" => parse_image(rest),
        "gdb" => match rest {
            [] => Ok(Action::Gdb(None)),
            [root_task] => Ok(Action::Gdb(Some(PathBuf::from(root_task)))),
            _ => usage("`gdb` takes the ELF file of one root task"),
        },
        "mutate" => parse_mutate(rest),
        "dump" => parse_dump(rest),
        other => usage(format!("there is no command `{other}`")),
    }
}

fn usage<T>(reason: impl Into<String>) -> Result<T, Error> {
    Err(Error::Usage(reason.into()))
}

fn parse_run(words: &[&str]) -> Result<Action, Error> {
    match words {
        ["linux"] => Ok(Action::RunLinux(Vec::new())),
        ["linux", "--", args @ ..] => Ok(Action::RunLinux(
            args.iter().map(|&arg| arg.to_owned()).collect(),
        )),
        ["linux", word, ..] => usage(format!(
            "`run linux` does not know `{word}`; the demo's own arguments go after `--`"
        )),
        _ if words.contains(&"--") => {
            usage("a root task takes no arguments; did you mean `run linux --`?")
        }
        _ => {
            let options = parse_image_options("run", words)?;
            if options.root_task.as_os_str().is_empty() {
                return Ok(Action::Show(options));
            }
            Ok(Action::Run(options))
        }
    }
}

fn parse_test(words: &[&str]) -> Result<Action, Error> {
    let mut options = test::Options::default();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--long" => options.long = true,
            "--list" => options.list = true,
            "--only" => match words.next() {
                Some(&name) => options.only.push(name.to_owned()),
                None => return usage("`--only` needs the name of a stage; `--list` shows them"),
            },
            "--seed" => match words.next().and_then(|seed| seed.parse().ok()) {
                Some(seed) => options.seed = Some(seed),
                None => return usage("`--seed` needs a whole number of at least 0"),
            },
            other => {
                return usage(format!(
                    "`test` does not know `{other}`; it takes --long, --list, --only NAME and --seed N"
                ));
            }
        }
    }
    Ok(Action::Test(options))
}

fn parse_bench(words: &[&str]) -> Result<Action, Error> {
    match words {
        ["linux", flags @ ..] => parse_bench_linux(flags),
        ["qemu", flags @ ..] => parse_bench_qemu(flags),
        ["latency", flags @ ..] => parse_bench_latency(flags),
        _ => usage(
            "`bench` needs to know where: `cargo xtask bench linux`, `cargo xtask bench qemu` or `cargo xtask bench latency`",
        ),
    }
}

fn parse_bench_linux(flags: &[&str]) -> Result<Action, Error> {
    let mut options = bench::Options::default();
    for flag in flags {
        match *flag {
            "--quick" => options.quick = true,
            "--peers" => options.peers = true,
            other => {
                return usage(format!(
                    "`bench linux` does not know `{other}`; it takes --quick and --peers"
                ));
            }
        }
    }
    Ok(Action::BenchLinux(options))
}

fn parse_bench_qemu(words: &[&str]) -> Result<Action, Error> {
    let mut options = kernel_bench::Options::default();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let mut kernel = || match words.next() {
            Some(path) => Ok(Some(PathBuf::from(path))),
            None => usage(format!("`{word}` needs the ELF file of a kernel")),
        };
        match word {
            "--quick" => options.quick = true,
            "--kernel" => options.kernel = kernel()?,
            "--pages" => options.pages = true,
            "--reference" => options.reference = kernel()?,
            "--reference-no-fastpath" => options.reference_no_fastpath = kernel()?,
            "--only" => match words.next() {
                Some(&name) => options.only.push(name.to_owned()),
                None => {
                    return usage("`--only` needs the name of a workload, such as round_trip_0");
                }
            },
            other => {
                return usage(format!(
                    "`bench qemu` does not know `{other}`; it takes --quick, --only WORKLOAD, --kernel ELF, --reference ELF, \
                     --reference-no-fastpath ELF and --pages"
                ));
            }
        }
    }
    Ok(Action::BenchQemu(options))
}

fn parse_bench_latency(words: &[&str]) -> Result<Action, Error> {
    let mut options = kernel_latency::Options::default();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let kernel = match word {
            "--kernel" => &mut options.kernel,
            "--reference" => &mut options.reference,
            other => {
                return usage(format!(
                    "`bench latency` does not know `{other}`; it takes --kernel ELF and --reference ELF"
                ));
            }
        };
        *kernel = match words.next() {
            Some(path) => Some(PathBuf::from(path)),
            None => return usage(format!("`{word}` needs the ELF file of a kernel")),
        };
    }
    Ok(Action::BenchLatency(options))
}

fn parse_image(words: &[&str]) -> Result<Action, Error> {
    let options = parse_image_options("image", words)?;
    if options.root_task.as_os_str().is_empty() {
        return usage("`image` needs a root task: an ELF file, or the name of one in user/apps");
    }
    Ok(Action::Image(options))
}

fn parse_image_options(command: &str, words: &[&str]) -> Result<image::Options, Error> {
    let mut options = image::Options::default();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let mut file = |what: &str| match words.next() {
            Some(path) => Ok(Some(PathBuf::from(path))),
            None => usage(format!("`{word}` needs {what}")),
        };
        match word {
            "-o" | "--output" => options.output = file("the path of the image")?,
            "--kernel" => options.kernel = file("the ELF file of a kernel")?,
            "--device-tree" => options.device_tree = file("a device tree (DTB)")?,
            "--debug" => options.debug = true,
            flag if flag.starts_with('-') => {
                return usage(format!(
                    "`{command}` does not know `{flag}`; it takes -o, --debug, --kernel and --device-tree"
                ));
            }
            root_task if options.root_task.as_os_str().is_empty() => {
                options.root_task = PathBuf::from(root_task);
            }
            other => {
                return usage(format!(
                    "`{command}` takes one root task; what is `{other}`?"
                ));
            }
        }
    }
    Ok(options)
}

fn parse_mutate(words: &[&str]) -> Result<Action, Error> {
    let mut options = mutate::Options::default();
    for &word in words {
        match word {
            "--list" => options.list = true,
            flag if flag.starts_with('-') => {
                return usage(format!(
                    "`mutate` does not know `{flag}`; it takes --list and names of mutations"
                ));
            }
            name => options.only.push(name.to_owned()),
        }
    }
    Ok(Action::Mutate(options))
}

fn parse_dump(words: &[&str]) -> Result<Action, Error> {
    if words.is_empty() {
        return usage("`dump` needs the ids of one or more processes");
    }
    let mut pids = Vec::new();
    for word in words {
        match word.parse() {
            Ok(pid) => pids.push(pid),
            Err(_) => return usage(format!("`{word}` is not the id of a process")),
        }
    }
    Ok(Action::Dump(pids))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Action, Error> {
        parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn each_command_is_understood() {
        let baton = |name: &str, debug| {
            Action::Run(image::Options {
                root_task: PathBuf::from(name),
                debug,
                ..image::Options::default()
            })
        };
        let demo = |args: &[&str]| Action::RunLinux(args.iter().map(|&a| a.to_owned()).collect());
        for (line, action) in [
            ("", Action::Help),
            ("test --help", Action::Help),
            ("run", Action::Show(image::Options::default())),
            (
                "run --debug",
                Action::Show(image::Options {
                    debug: true,
                    ..image::Options::default()
                }),
            ),
            ("run demo", baton("demo", false)),
            ("run hello", baton("hello", false)),
            ("run linux", demo(&[])),
            ("run linux -- --help x", demo(&["--help", "x"])),
            ("dump 1 22", Action::Dump(vec![1, 22])),
            ("kernel", Action::Kernel),
            ("gdb", Action::Gdb(None)),
            ("gdb a.elf", Action::Gdb(Some(PathBuf::from("a.elf")))),
            (
                "image a.elf -o b.elf --debug",
                Action::Image(image::Options {
                    root_task: PathBuf::from("a.elf"),
                    output: Some(PathBuf::from("b.elf")),
                    debug: true,
                    ..image::Options::default()
                }),
            ),
            (
                "bench latency --kernel a.elf --reference b.elf",
                Action::BenchLatency(kernel_latency::Options {
                    kernel: Some(PathBuf::from("a.elf")),
                    reference: Some(PathBuf::from("b.elf")),
                }),
            ),
            (
                "mutate a b --list",
                Action::Mutate(mutate::Options {
                    only: vec!["a".to_owned(), "b".to_owned()],
                    list: true,
                }),
            ),
            ("plot a.csv", Action::Plot("a.csv".to_owned())),
            (
                "bench linux --quick --peers",
                Action::BenchLinux(bench::Options {
                    quick: true,
                    peers: true,
                }),
            ),
            (
                "bench qemu --only call --only signal --quick --reference a.elf",
                Action::BenchQemu(kernel_bench::Options {
                    quick: true,
                    only: vec!["call".to_owned(), "signal".to_owned()],
                    reference: Some(PathBuf::from("a.elf")),
                    ..kernel_bench::Options::default()
                }),
            ),
            (
                "test --long --only fmt --only docs --seed 7",
                Action::Test(test::Options {
                    long: true,
                    only: vec!["fmt".to_owned(), "docs".to_owned()],
                    list: false,
                    seed: Some(7),
                }),
            ),
        ] {
            assert_eq!(parsed(line).expect(line), action, "{line}");
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "tset",
            "run a b",
            "run -- x",
            "run linux x",
            "test --only",
            "test --seed x",
            "test fmt",
            "bench",
            "bench linux --slow",
            "bench qemu --only",
            "bench qemu --reference",
            "bench qemu a.elf",
            "bench qemu --pages x",
            "bench latency --quick",
            "bench latency --kernel",
            "plot",
            "kernel fast",
            "image",
            "image a b",
            "image a --kernel",
            "image a --quick",
            "mutate --all",
            "dump",
            "dump x",
        ] {
            assert!(matches!(parsed(line), Err(Error::Usage(_))), "{line}");
        }
    }
}
