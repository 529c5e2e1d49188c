//! The command line, which the firmware's device tree hands through: words `KEY=NUMBER`.

use crate::root::Root;
use baton_boot::command_line::command_line;
use core::fmt;

/// What is wrong with the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgumentError {
    /// The kernel has passed no device tree, or one that cannot be read.
    NoDeviceTree,
    /// This word is not `KEY=NUMBER` with one of the keys that there are.
    Unknown {
        /// The word.
        word: &'static str,
        /// The keys.
        keys: &'static [(&'static str, u64)],
    },
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDeviceTree => f.write_str("the kernel has passed no device tree"),
            Self::Unknown { word, keys } => {
                write!(f, "`{word}` is none of")?;
                keys.iter().try_for_each(|(key, _)| write!(f, " `{key}=N`"))
            }
        }
    }
}

impl Root {
    /// The numbers that the command line gives, in the order of `keys`; what stands beside a key is its number if it is not given.
    ///
    /// # Errors
    /// [`ArgumentError`]: nothing is guessed from a word that is not understood.
    pub fn numbers<const N: usize>(
        &self,
        keys: &'static [(&'static str, u64); N],
    ) -> Result<[u64; N], ArgumentError> {
        let tree = self.device_tree().ok_or(ArgumentError::NoDeviceTree)?;
        let mut numbers = keys.map(|(_, otherwise)| otherwise);
        for word in command_line(&tree).unwrap_or_default().split_whitespace() {
            let given = word.split_once('=').and_then(|(name, number)| {
                let index = keys.iter().position(|(key, _)| *key == name)?;
                numbers.get_mut(index).zip(number.parse().ok())
            });
            let (place, number) = given.ok_or(ArgumentError::Unknown { word, keys })?;
            *place = number;
        }
        Ok(numbers)
    }
}
