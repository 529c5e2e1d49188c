//! The command line of a measuring root task, which the firmware's device tree hands through: words `KEY=VALUE`.

use baton_boot::command_line::COUNT_KEY;
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
    /// Nothing is known by that name.
    Unknown(&'a str),
    /// Not a number, or one out of range.
    BadNumber(&'a str),
}

impl fmt::Display for ArgumentError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "`{word}` means nothing"),
            Self::BadNumber(word) => write!(f, "`{word}` has no number that is possible"),
        }
    }
}

/// Rounds where the command line does not say.
const ROUNDS: usize = 1000;

impl<'a> Arguments<'a> {
    /// Reads a command line for a program that can take so many rounds; what it does not mention is measured.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &'a str, most_rounds: usize) -> Result<Self, ArgumentError<'a>> {
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
                        .filter(|rounds| (1..=most_rounds).contains(rounds))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_says_what_to_measure() {
        let line = "rounds=7 workloads=call,signal variants=a kernel-entered-at=00000000000000ff";
        let arguments = Arguments::parse(line, 7).expect("good");
        assert_eq!((arguments.rounds, arguments.kernel_entered), (7, Some(255)));
        assert!(arguments.wants_workload("signal") && !arguments.wants_workload("sig"));
        assert!(arguments.wants_variant("a") && !arguments.wants_variant("b"));
        let arguments = Arguments::parse("", 7).expect("good");
        assert!(arguments.wants_workload("anything") && arguments.wants_variant("b"));
    }

    #[test]
    fn bad_command_line_is_refused() {
        for line in ["rounds=0", "rounds=8", "rounds=x", "kernel-entered-at=0"] {
            let error = Arguments::parse(line, 7).expect_err(line);
            assert!(matches!(error, ArgumentError::BadNumber(_)), "{error}");
        }
        let error = Arguments::parse("turns=1", 7).expect_err("unknown");
        assert!(matches!(error, ArgumentError::Unknown("turns=1")));
    }
}
