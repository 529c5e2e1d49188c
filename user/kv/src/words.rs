//! Words and how they are packed.
//!
//! What both sides must do alike stands here: what a word is, how several are written one after the other, and how a key
//! and what belongs to it share one buffer.

use alloc::string::String;
use alloc::vec::Vec;
use baton_rpc::Wire;
use core::fmt;

/// Longest word, in bytes: three words of a slot, so that a word travels inline.
pub const MAX_WORD_BYTES: usize = 24;

/// A word: letters, digits and underscores, in lower case, filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Wire)]
pub struct Word([u8; MAX_WORD_BYTES]);

impl Word {
    /// What is asked for where a text has no words at all.
    pub const NOWHERE: Word = Word(*b"nowhere\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

    /// Takes `bytes` if they are a word: two bytes at least, all letters, digits and underscores.
    pub fn new(bytes: &[u8]) -> Option<Word> {
        if bytes.len() < 2 || !bytes.iter().copied().all(is_word_byte) {
            return None;
        }
        let mut word = [0; MAX_WORD_BYTES];
        let place = word.get_mut(..bytes.len())?;
        place.copy_from_slice(bytes);
        place.make_ascii_lowercase();
        Some(Word(word))
    }

    /// The bytes without the filling.
    pub fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        self.0.get(..end.unwrap_or(MAX_WORD_BYTES)).unwrap_or(&[])
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.bytes()))
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The words of a text in order. What is shorter than two bytes or longer than [`MAX_WORD_BYTES`] is left out.
pub fn words(text: &[u8]) -> impl Iterator<Item = Word> + '_ {
    text.split(|byte| !is_word_byte(*byte))
        .filter_map(Word::new)
}

/// Writes words one after the other, separated by blanks.
pub fn join<'w>(words: impl IntoIterator<Item = &'w Word>, out: &mut Vec<u8>) {
    let mut first = true;
    for word in words {
        if !core::mem::take(&mut first) {
            out.push(b' ');
        }
        out.extend_from_slice(word.bytes());
    }
}

/// Writes the numbers of pieces as they travel.
pub fn pack_pieces(pieces: &[u32], out: &mut Vec<u8>) {
    for piece in pieces {
        out.extend_from_slice(&piece.to_le_bytes());
    }
}

/// Reads the numbers of pieces back; bytes that make no whole number are left out.
pub fn unpack_pieces(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| u32::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::prelude::v1::*;

    fn text_of(words: impl Iterator<Item = Word>) -> Vec<String> {
        words
            .map(|word| String::from_utf8(word.bytes().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_text_falls_into_its_words() {
        let text = "fn Push_Back(&mut self, x: u32) -> a // naïve".as_bytes();
        assert_eq!(
            text_of(words(text)),
            ["fn", "push_back", "mut", "self", "u32", "na", "ve"]
        );
    }

    #[test]
    fn the_longest_word_fits_and_a_longer_one_is_left_out() {
        let longest = [b'x'; MAX_WORD_BYTES];
        assert_eq!(Word::new(&longest).unwrap().bytes(), longest);
        assert_eq!(Word::new(&[b'x'; MAX_WORD_BYTES + 1]), None);
        assert_eq!(Word::new(b"x"), None);
        assert_eq!(Word::new(b"a b"), None);
    }

    #[test]
    fn what_is_joined_falls_into_the_same_words() {
        let before: Vec<Word> = words(b"one two three").collect();
        let mut joined = Vec::new();
        join(&before, &mut joined);
        assert_eq!(joined, b"one two three");
        assert!(words(&joined).eq(before));
    }

    #[test]
    fn pieces_come_back_as_they_were_packed() {
        let mut packed = Vec::new();
        pack_pieces(&[0, 7, u32::MAX], &mut packed);
        packed.push(1);
        assert!(unpack_pieces(&packed).eq([0, 7, u32::MAX]));
    }
}
