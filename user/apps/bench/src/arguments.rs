//! The command line, which the firmware's device tree hands through: words `KEY=VALUE`.

use baton_boot::command_line::{COUNT_KEY, command_line};
use baton_runtime::Root;
use core::fmt;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    /// `rounds=N`: rounds to warm up, and rounds to measure.
    pub rounds: usize,
    /// `workloads=A,B`: these only.
    workloads: Option<&'a str>,
    /// `variants=A,B`: these only.
    variants: Option<&'a str>,
    /// `kernel-entered-at=N`: instructions retired when the kernel was entered (hexadecimal), which the loader fills in.
    pub kernel_entered: Option<u64>,
}

/// What is wrong with the command line.
#[derive(Clone, Copy, Debug)]
pub enum ArgumentError<'a> {
    /// The kernel has passed no device tree, or one that cannot be read.
    NoDeviceTree,
    /// Nothing is known by that name.
    Unknown(&'a str),
    /// Not a number, or one out of range.
    BadNumber(&'a str),
}

impl fmt::Display for ArgumentError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDeviceTree => write!(f, "the kernel has passed no device tree"),
            Self::Unknown(word) => write!(f, "`{word}` means nothing"),
            Self::BadNumber(word) => write!(f, "`{word}` has no number that is possible"),
        }
    }
}

/// Rounds where the command line does not say.
const ROUNDS: usize = 1000;

impl<'a> Arguments<'a> {
    /// Reads the command line in the device tree; without one, everything is measured.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(root: &Root) -> Result<Arguments<'static>, ArgumentError<'static>> {
        let tree = root.device_tree().ok_or(ArgumentError::NoDeviceTree)?;
        let line = command_line(&tree).unwrap_or_default();
        Arguments::parse(line)
    }

    fn parse(line: &'a str) -> Result<Self, ArgumentError<'a>> {
        let mut arguments = Self {
            rounds: ROUNDS,
            workloads: None,
            variants: None,
            kernel_entered: None,
        };
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some(("rounds", number)) => {
                    let rounds = number.parse().ok();
                    arguments.rounds = rounds
                        .filter(|rounds| (1..=crate::sample::MAX_ROUNDS).contains(rounds))
                        .ok_or(ArgumentError::BadNumber(word))?;
                }
                Some(("workloads", names)) => arguments.workloads = Some(names),
                Some(("variants", names)) => arguments.variants = Some(names),
                _ => match word.strip_prefix(COUNT_KEY) {
                    Some(digits) => {
                        // Zeros are what the loader should have replaced.
                        let count = u64::from_str_radix(digits, 16);
                        let count = count.ok().filter(|&count| count != 0);
                        arguments.kernel_entered =
                            Some(count.ok_or(ArgumentError::BadNumber(word))?);
                    }
                    None => return Err(ArgumentError::Unknown(word)),
                },
            }
        }
        Ok(arguments)
    }

    /// Whether the workload is to be measured.
    pub fn wants_workload(&self, name: &str) -> bool {
        wants(self.workloads, name)
    }

    /// Whether the variant is to be measured.
    pub fn wants_variant(&self, name: &str) -> bool {
        wants(self.variants, name)
    }
}

fn wants(names: Option<&str>, name: &str) -> bool {
    names.is_none_or(|names| names.split(',').any(|wanted| wanted == name))
}
