//! What the kernel answers.

use alloc::vec::Vec;
use baton_rpc::{CallError, Wire, WireReader, WireWriter};
use baton_sel4::Error;
use core::fmt;

/// Words behind the label.
const WORDS: usize = 5;

/// The answer to an invocation in the short form: the error's label, and the first words of seL4's answer. After a success only the
/// first of these means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    label: u64,
    words: [u64; WORDS],
}

impl Answer {
    /// The word that the invocation answers with, 0 for those that answer with none.
    ///
    /// # Errors
    /// What the kernel says.
    #[inline]
    pub fn result(self) -> Result<u64, Error> {
        match self.label {
            0 => Ok(self.words[0]),
            _ => self.refused(),
        }
    }

    #[cold]
    fn refused(self) -> Result<u64, Error> {
        let word = |index| self.words.get(index).copied().unwrap_or(0);
        Error::from_reply(self.label, word).map_or(Ok(0), Err)
    }
}

/// Six words, as the kernel writes them.
impl Wire for Answer {
    const WORDS: usize = 1 + WORDS;

    #[inline]
    fn put(&self, out: &mut impl WireWriter) {
        out.word(self.label);
        self.words.iter().for_each(|&word| out.word(word));
    }

    #[inline]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        let label = from.word();
        let mut words = [from.word(), 0, 0, 0, 0];
        if label == 0 {
            from.skip(WORDS - 1);
        } else {
            let [_, rest @ ..] = &mut words;
            rest.iter_mut().for_each(|word| *word = from.word());
        }
        Some(Answer { label, words })
    }
}

/// The answer to an invocation in the long form: all words of seL4's answer, as far as the bulk buffer has room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongAnswer(pub(crate) Vec<u64>);

impl LongAnswer {
    /// The words.
    pub fn words(&self) -> &[u64] {
        &self.0
    }
}

/// Why an asynchronous system call brought no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncError {
    /// The kernel refused the invocation.
    Kernel(Error),
    /// There was no answer: the lane is not bound any more, or quarantined, or its executor has ended.
    Lane(CallError),
    /// The arguments do not fit into the bulk buffers that the lane was bound with: bind it with larger ones.
    TooLong {
        /// Bytes that the arguments take.
        bytes: usize,
    },
}

impl fmt::Display for AsyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AsyncError::Kernel(error) => error.fmt(f),
            AsyncError::Lane(error) => write!(f, "the kernel has not answered: {error}"),
            AsyncError::TooLong { bytes } => write!(
                f,
                "{bytes} bytes of arguments do not fit into the lane's bulk buffers"
            ),
        }
    }
}

impl core::error::Error for AsyncError {}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_rpc::wire::SliceReader;
    use baton_sel4::LookupFailure;

    fn read(words: [u64; 6]) -> Result<u64, Error> {
        let mut reader = SliceReader::new(&words);
        let answer = Answer::get(&mut reader).expect("any words are an answer");
        assert_eq!(reader.taken(), 6);
        answer.result()
    }

    #[test]
    fn a_success_has_one_word() {
        assert_eq!(read([0, 7, 9, 9, 9, 9]), Ok(7));
    }

    #[test]
    fn errors_have_all_their_words() {
        let range = Error::RangeError { min: 3, max: 4 };
        assert_eq!(read([4, 3, 4, 0, 0, 0]), Err(range));
        let lookup = Error::FailedLookup {
            source: true,
            failure: LookupFailure::GuardMismatch {
                bits_left: 10,
                guard: 11,
                guard_bits: 12,
            },
        };
        assert_eq!(read([6, 1, 4, 10, 11, 12]), Err(lookup));
        let unknown = Error::Unknown { label: 99 };
        assert_eq!(read([99, 0, 0, 0, 0, 0]), Err(unknown));
    }
}
