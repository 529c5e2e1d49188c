//! What the answers must be: plain maps, in the client's own memory.

use crate::words::{Word, words};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A text and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its path, relative to the corpus.
    pub path: String,
    /// What is in it.
    pub contents: Vec<u8>,
}

/// A piece of a document: what is stored under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The document's path and the piece's number in it.
    pub key: Vec<u8>,
    /// The text.
    pub text: Vec<u8>,
    /// Its words, each once, in ascending order.
    pub words: Vec<Word>,
}

/// Everything that a client has stored and indexed.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pieces: Vec<Piece>,
    postings: BTreeMap<Word, Vec<u32>>,
}

impl Expected {
    /// Cuts documents into pieces of at most `piece_bytes`, and works out where each word is.
    pub fn new(documents: &[Document], piece_bytes: usize) -> Expected {
        let mut expected = Expected::default();
        for document in documents {
            for (number, text) in document.contents.chunks(piece_bytes.max(1)).enumerate() {
                expected.add(format!("{}#{number}", document.path), text);
            }
        }
        expected
    }

    fn add(&mut self, key: String, text: &[u8]) {
        let piece = self.pieces.len() as u32;
        let mut words: Vec<Word> = words(text).collect();
        words.sort_unstable();
        words.dedup();
        for word in &words {
            self.postings.entry(*word).or_default().push(piece);
        }
        self.pieces.push(Piece {
            key: key.into_bytes(),
            text: text.to_vec(),
            words,
        });
    }

    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many bytes all texts have.
    pub fn text_bytes(&self) -> u64 {
        self.pieces
            .iter()
            .map(|piece| piece.text.len() as u64)
            .sum()
    }

    /// Piece `number`, counted on from the start again beyond the last one.
    ///
    /// # Panics
    ///
    /// When there are no pieces.
    pub fn piece(&self, number: u64) -> (u32, &Piece) {
        let number = (number % self.pieces.len() as u64) as usize;
        (number as u32, &self.pieces[number])
    }

    /// The pieces with `word`, ascending.
    pub fn find(&self, word: Word) -> &[u32] {
        self.postings.get(&word).map_or(&[], Vec::as_slice)
    }

    /// The pieces that have all of `words`, ascending.
    ///
    /// On purpose another way than the index takes: it looks each piece of the shortest list up in all the others.
    pub fn find_all(&self, words: &[Word]) -> Vec<u32> {
        let lists = || words.iter().map(|word| self.find(*word));
        let Some(shortest) = lists().min_by_key(|list| list.len()) else {
            return Vec::new();
        };
        let pieces = shortest.iter().copied();
        pieces
            .filter(|piece| lists().all(|list| list.binary_search(piece).is_ok()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::prelude::v1::*;

    fn sample() -> Expected {
        let document = |path: &str, contents: &str| Document {
            path: path.to_owned(),
            contents: contents.as_bytes().to_vec(),
        };
        Expected::new(&[document("a", "red green blue"), document("b", "red")], 9)
    }

    #[test]
    fn documents_are_cut_into_pieces_with_keys() {
        let expected = sample();
        let of = |number| {
            let (number, piece) = expected.piece(number);
            (number, piece.key.as_slice(), piece.text.as_slice())
        };
        assert_eq!(expected.len(), 3);
        assert_eq!(of(0), (0, &b"a#0"[..], &b"red green"[..]));
        assert_eq!(of(1), (1, &b"a#1"[..], &b" blue"[..]));
        assert_eq!(of(2), (2, &b"b#0"[..], &b"red"[..]));
        assert_eq!(of(3), of(0));
        assert_eq!(expected.text_bytes(), 17);
    }

    #[test]
    fn words_are_found_in_their_pieces() {
        let expected = sample();
        let word = |text: &str| Word::new(text.as_bytes()).unwrap();
        assert_eq!(expected.find(word("red")), [0, 2]);
        assert_eq!(expected.find_all(&[word("red"), word("green")]), [0]);
        assert_eq!(expected.find_all(&[word("red"), word("blue")]), []);
        assert_eq!(expected.find_all(&[]), []);
    }
}
