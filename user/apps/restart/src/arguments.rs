//! The command line, which the firmware's device tree hands through: words `KEY=VALUE`.

use baton_boot::command_line::command_line;
use baton_runtime::Root;
use core::fmt;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// Times that the server is killed at least.
    pub rounds: u64,
    /// Where the random numbers start.
    pub seed: u64,
}

/// What is wrong with the command line.
#[derive(Clone, Copy, Debug)]
pub enum ArgumentError {
    /// The kernel has passed no device tree, or one that cannot be read.
    NoDeviceTree,
    /// A word that is neither `rounds=N` nor `seed=N`.
    Unknown(&'static str),
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDeviceTree => write!(f, "the kernel has passed no device tree"),
            Self::Unknown(word) => write!(f, "`{word}` is neither `rounds=N` nor `seed=N`"),
        }
    }
}

impl Arguments {
    /// Reads the command line in the device tree.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(root: &Root) -> Result<Self, ArgumentError> {
        let tree = root.device_tree().ok_or(ArgumentError::NoDeviceTree)?;
        let mut arguments = Self {
            rounds: 20,
            seed: 1,
        };
        for word in command_line(&tree).unwrap_or_default().split_whitespace() {
            let unknown = ArgumentError::Unknown(word);
            let (key, value) = word.split_once('=').ok_or(unknown)?;
            let number = value.parse().map_err(|_| unknown)?;
            match key {
                "rounds" => arguments.rounds = number,
                "seed" => arguments.seed = number,
                _ => return Err(unknown),
            }
        }
        Ok(arguments)
    }
}
