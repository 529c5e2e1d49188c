//! Writes device trees, for tests.

extern crate std;
use crate::fdt::HEADER_BYTES;
use std::vec::Vec;

/// A tree that is being written.
#[derive(Default)]
pub struct Writer {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        while !self.structure.len().is_multiple_of(4) {
            self.structure.push(0);
        }
    }

    /// Adds a node with what `inside` writes.
    pub fn node(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.word(1);
        self.bytes(std::format!("{name}\0").as_bytes());
        inside(self);
        self.word(2);
    }

    /// Adds a property.
    pub fn property(&mut self, name: &str, value: &[u8]) {
        self.word(3);
        self.word(value.len() as u32);
        self.word(self.strings.len() as u32);
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        self.bytes(value);
    }

    /// Adds a property of words.
    pub fn words(&mut self, name: &str, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        self.property(name, &bytes);
    }

    /// The tree.
    pub fn finish(mut self) -> Vec<u8> {
        self.word(9);
        let strings_at = HEADER_BYTES + self.structure.len();
        let total = strings_at + self.strings.len();
        let header = [
            0xd00d_feed,
            total,
            HEADER_BYTES,
            strings_at,
            0,
            17,
            16,
            0,
            self.strings.len(),
            self.structure.len(),
        ];
        let header = header.iter().flat_map(|&word| (word as u32).to_be_bytes());
        header.chain(self.structure).chain(self.strings).collect()
    }
}
