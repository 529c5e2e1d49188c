//! Values with a fixed layout in words.
//!
//! Purpose: arguments and results travel inside a slot as words. A type says how many it takes and how it is put into
//! them and got back, without a length, a pointer or an allocation.
//!
//! Invariants: `put` writes exactly `WORDS` words, whatever the value; `get` reads exactly `WORDS` words when it returns a
//! value. Each scalar takes one word (`u128` and `i128` two), byte arrays pack eight bytes a word, least significant byte
//! first. What comes from a peer is never trusted: `get` accepts any words and says `None` for those that no value has,
//! so each value but a byte array has one encoding. Bits that mean nothing (the padding of a byte array, the unused
//! words of `None` or of a shorter variant) are written as zero and ignored when read.
//!
//! Neighbours: `submit`, `answer` and `serve` move the words between slots and values; `#[derive(Wire)]` covers the user's types.

/// A value with a fixed layout: each scalar takes one word, byte arrays pack eight a word.
pub trait Wire: Sized {
    /// How many words the value takes.
    const WORDS: usize;

    /// Writes the value as exactly [`Wire::WORDS`] words.
    fn put(&self, out: &mut impl WireWriter);

    /// Reads a value back, or `None` when no value has these words.
    fn get(from: &mut impl WireReader) -> Option<Self>;
}

/// Where the words of a value go.
pub trait WireWriter {
    /// Appends one word.
    fn word(&mut self, word: u64);

    /// Appends `count` zero words: what a shorter variant leaves unused.
    #[inline(always)]
    fn zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.word(0);
        }
    }
}

/// Where the words of a value come from; beyond the end there are zeros.
pub trait WireReader {
    /// Takes the next word.
    fn word(&mut self) -> u64;

    /// Passes over `count` words that mean nothing.
    #[inline(always)]
    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.word();
        }
    }
}

/// Reads the words of a slice, and zeros beyond its end.
#[derive(Clone, Debug)]
pub struct SliceReader<'a> {
    words: &'a [u64],
    taken: usize,
}

impl<'a> SliceReader<'a> {
    /// Starts at the first word.
    #[inline]
    pub fn new(words: &'a [u64]) -> Self {
        SliceReader { words, taken: 0 }
    }

    /// How many words were asked for so far, those beyond the end included.
    #[inline]
    pub fn taken(&self) -> usize {
        self.taken
    }
}

impl WireReader for SliceReader<'_> {
    #[inline(always)]
    fn word(&mut self) -> u64 {
        let word = self.words.get(self.taken).copied().unwrap_or(0);
        self.taken += 1;
        word
    }
}

/// Writes words into a slice, and drops those beyond its end.
#[derive(Debug)]
pub struct SliceWriter<'a> {
    words: &'a mut [u64],
    written: usize,
}

impl<'a> SliceWriter<'a> {
    /// Starts at the first word.
    #[inline]
    pub fn new(words: &'a mut [u64]) -> Self {
        SliceWriter { words, written: 0 }
    }

    /// How many words were written so far, those dropped beyond the end included.
    #[inline]
    pub fn written(&self) -> usize {
        self.written
    }
}

impl WireWriter for SliceWriter<'_> {
    #[inline(always)]
    fn word(&mut self, word: u64) {
        if let Some(place) = self.words.get_mut(self.written) {
            *place = word;
        }
        self.written += 1;
    }
}

const fn larger(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

macro_rules! unsigned {
    ($($scalar:ty),*) => {$(
        impl Wire for $scalar {
            const WORDS: usize = 1;

            #[inline(always)]
            fn put(&self, out: &mut impl WireWriter) {
                out.word(u64::from(*self));
            }

            #[inline(always)]
            fn get(from: &mut impl WireReader) -> Option<Self> {
                <$scalar>::try_from(from.word()).ok()
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64);

macro_rules! signed {
    ($($scalar:ty),*) => {$(
        /// The word is the value sign-extended to 64 bits.
        impl Wire for $scalar {
            const WORDS: usize = 1;

            #[inline(always)]
            fn put(&self, out: &mut impl WireWriter) {
                out.word(i64::from(*self).cast_unsigned());
            }

            #[inline(always)]
            fn get(from: &mut impl WireReader) -> Option<Self> {
                <$scalar>::try_from(from.word().cast_signed()).ok()
            }
        }
    )*};
}

signed!(i8, i16, i32, i64);

/// Two words, the low half first.
impl Wire for u128 {
    const WORDS: usize = 2;

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        // Truncation is meant: each half goes its own way.
        out.word(*self as u64);
        out.word((*self >> 64) as u64);
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        let low = u128::from(from.word());
        let high = u128::from(from.word());
        Some(high << 64 | low)
    }
}

/// The words of the `u128` with the same bits.
impl Wire for i128 {
    const WORDS: usize = 2;

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        self.cast_unsigned().put(out);
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        u128::get(from).map(u128::cast_signed)
    }
}

/// Bit by bit: the payload of a NaN survives.
impl Wire for f32 {
    const WORDS: usize = 1;

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        self.to_bits().put(out);
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        u32::get(from).map(f32::from_bits)
    }
}

/// Bit by bit: the payload of a NaN survives.
impl Wire for f64 {
    const WORDS: usize = 1;

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        self.to_bits().put(out);
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        u64::get(from).map(f64::from_bits)
    }
}

/// 0 or 1; any other word is refused.
impl Wire for bool {
    const WORDS: usize = 1;

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        out.word(u64::from(*self));
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        let word = from.word();
        // One compare; a match over the three cases compiles to a chain of them.
        (word <= 1).then_some(word == 1)
    }
}

/// The code point; what is none is refused.
impl Wire for char {
    const WORDS: usize = 1;

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        u32::from(*self).put(out);
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        u32::get(from).and_then(char::from_u32)
    }
}

/// Eight bytes a word, least significant first; the padding of the last word is written as zero and ignored when read.
impl<const N: usize> Wire for [u8; N] {
    const WORDS: usize = N.div_ceil(8);

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        let (whole, rest) = self.as_chunks::<8>();
        for bytes in whole {
            out.word(u64::from_le_bytes(*bytes));
        }
        if !rest.is_empty() {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(rest) {
                *to = *from;
            }
            out.word(u64::from_le_bytes(bytes));
        }
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        let mut value = [0; N];
        let (whole, rest) = value.as_chunks_mut::<8>();
        for bytes in whole {
            *bytes = from.word().to_le_bytes();
        }
        if !rest.is_empty() {
            let bytes = from.word().to_le_bytes();
            for (to, from) in rest.iter_mut().zip(bytes) {
                *to = from;
            }
        }
        Some(value)
    }
}

/// A word an element.
impl<const N: usize> Wire for [u64; N] {
    const WORDS: usize = N;

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        for word in self {
            out.word(*word);
        }
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        let mut value = [0; N];
        for word in &mut value {
            *word = from.word();
        }
        Some(value)
    }
}

/// A word that is 0 for `None` and 1 for `Some`, then the words of the value.
impl<T: Wire> Wire for Option<T> {
    const WORDS: usize = 1 + T::WORDS;

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        match self {
            None => out.zeros(1 + T::WORDS),
            Some(value) => {
                out.word(1);
                value.put(out);
            }
        }
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        match from.word() {
            0 => {
                from.skip(T::WORDS);
                Some(None)
            }
            1 => T::get(from).map(Some),
            _ => None,
        }
    }
}

/// A word that is 0 for `Ok` and 1 for `Err`, then the words of the larger of the two.
impl<T: Wire, E: Wire> Wire for Result<T, E> {
    const WORDS: usize = 1 + larger(T::WORDS, E::WORDS);

    #[inline(always)]
    fn put(&self, out: &mut impl WireWriter) {
        match self {
            Ok(value) => {
                out.word(0);
                value.put(out);
                out.zeros(Self::WORDS - 1 - T::WORDS);
            }
            Err(error) => {
                out.word(1);
                error.put(out);
                out.zeros(Self::WORDS - 1 - E::WORDS);
            }
        }
    }

    #[inline(always)]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        match from.word() {
            0 => {
                let value = T::get(from)?;
                from.skip(Self::WORDS - 1 - T::WORDS);
                Some(Ok(value))
            }
            1 => {
                let error = E::get(from)?;
                from.skip(Self::WORDS - 1 - E::WORDS);
                Some(Err(error))
            }
            _ => None,
        }
    }
}

/// No words at all.
impl Wire for () {
    const WORDS: usize = 0;

    #[inline(always)]
    fn put(&self, _: &mut impl WireWriter) {}

    #[inline(always)]
    fn get(_: &mut impl WireReader) -> Option<Self> {
        Some(())
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),+))*) => {$(
        /// The words of the parts, one after the other.
        impl<$($name: Wire),+> Wire for ($($name,)+) {
            const WORDS: usize = 0 $(+ $name::WORDS)+;

            #[inline(always)]
            fn put(&self, out: &mut impl WireWriter) {
                $(self.$index.put(out);)+
            }

            #[inline(always)]
            fn get(from: &mut impl WireReader) -> Option<Self> {
                // A tuple expression evaluates from left to right: the order of the words.
                Some(($($name::get(from)?,)+))
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of<T: Wire, const WORDS: usize>(value: T) -> [u64; WORDS] {
        assert_eq!(T::WORDS, WORDS);
        let mut words = [u64::MAX; WORDS];
        let mut out = SliceWriter::new(&mut words);
        value.put(&mut out);
        assert_eq!(out.written(), WORDS);
        words
    }

    fn from_words<T: Wire>(words: &[u64]) -> Option<T> {
        T::get(&mut SliceReader::new(words))
    }

    #[test]
    fn layouts_are_fixed() {
        assert_eq!(words_of((1u8, 2u16, 3u32, 4u64)), [1, 2, 3, 4]);
        assert_eq!(words_of((-1i8, -2i64)), [u64::MAX, u64::MAX - 1]);
        assert_eq!(words_of(5u128 << 64 | 7), [7, 5]);
        assert_eq!(words_of(-1i128), [u64::MAX, u64::MAX]);
        assert_eq!(words_of((true, 'a')), [1, 97]);
        assert_eq!(
            words_of((1.0f32, 1.0f64)),
            [0x3f80_0000, 0x3ff0_0000_0000_0000]
        );
        assert_eq!(words_of(*b"12345678A"), [0x3837_3635_3433_3231, 0x41]);
        assert_eq!(words_of([0u8; 0]), []);
        assert_eq!(words_of(Some(9u64)), [1, 9]);
        assert_eq!(words_of(None::<[u64; 2]>), [0, 0, 0]);
        assert_eq!(words_of(Ok::<u8, (u8, u8)>(3)), [0, 3, 0]);
        assert_eq!(words_of(Err::<u8, (u8, u8)>((3, 4))), [1, 3, 4]);
        assert_eq!(words_of(()), []);
    }

    #[test]
    fn words_that_no_value_has_are_refused() {
        assert_eq!(from_words::<bool>(&[2]), None);
        assert_eq!(from_words::<u8>(&[256]), None);
        assert_eq!(from_words::<i8>(&[128]), None);
        assert_eq!(from_words::<i8>(&[0xff]), None);
        assert_eq!(from_words::<f32>(&[1 << 32]), None);
        assert_eq!(from_words::<char>(&[0xd800]), None);
        assert_eq!(from_words::<char>(&[0x11_0000]), None);
        assert_eq!(from_words::<Option<u8>>(&[2, 0]), None);
        assert_eq!(from_words::<Result<u8, u8>>(&[2, 0]), None);
        assert_eq!(from_words::<(u64, bool)>(&[0, 7]), None);
    }

    #[test]
    fn meaningless_bits_are_ignored() {
        assert_eq!(from_words::<[u8; 1]>(&[u64::MAX]), Some([255]));
        assert_eq!(
            from_words::<(Option<u64>, u8)>(&[0, 99, 5]),
            Some((None, 5))
        );
        type Uneven = Result<u8, [u64; 2]>;
        assert_eq!(from_words::<(Uneven, u8)>(&[0, 1, 99, 5]), Some((Ok(1), 5)));
    }

    #[test]
    fn beyond_the_end_there_are_zeros() {
        let mut reader = SliceReader::new(&[1]);
        assert_eq!(<(u64, u64)>::get(&mut reader), Some((1, 0)));
        assert_eq!(reader.taken(), 2);
    }
}
