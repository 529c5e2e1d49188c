//! The layout of values, built in and derived: what is put can be got back, and no words do harm.

extern crate self as baton_rpc;

#[path = "../../rpc/src/wire.rs"]
mod wire;

pub use wire::{Wire, WireReader, WireWriter};

use baton_rpc_macros::Wire;
use proptest::prelude::*;
use std::fmt::Debug;
use wire::{SliceReader, SliceWriter};

#[derive(Clone, Copy, Debug, PartialEq, Wire)]
struct Unit;

#[derive(Clone, Copy, Debug, PartialEq, Wire)]
struct Pair(u16, Option<bool>);

#[derive(Clone, Copy, Debug, PartialEq, Wire)]
struct Named {
    pair: Pair,
    name: [u8; 11],
    r#type: char,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Wire)]
enum Status {
    Done,
    At(u64, i8),
    Failed { code: u32, why: [u8; 17] },
}

/// The position counts, not the number that Rust gives the variant.
#[derive(Clone, Copy, Debug, PartialEq, Wire)]
enum Code {
    Zero = 700,
    One = 3,
}

fn put<T: Wire>(value: &T) -> Vec<u64> {
    let mut words = vec![u64::MAX; T::WORDS];
    let mut out = SliceWriter::new(&mut words);
    value.put(&mut out);
    assert_eq!(out.written(), T::WORDS, "put writes WORDS words");
    words
}

fn comes_back<T: Wire + PartialEq + Debug>(value: T) {
    let words = put(&value);
    let mut reader = SliceReader::new(&words);
    assert_eq!(T::get(&mut reader), Some(value));
    assert_eq!(reader.taken(), T::WORDS, "get reads WORDS words");
}

/// Whatever the words: either no value, or one after WORDS words that is equal when sent again.
fn takes_any_words<T: Wire>(words: &[u64]) {
    let mut reader = SliceReader::new(words);
    if let Some(value) = T::get(&mut reader) {
        assert_eq!(reader.taken(), T::WORDS);
        let again = put(&value);
        let twice = T::get(&mut SliceReader::new(&again)).map(|value| put(&value));
        assert_eq!(twice, Some(again));
    }
}

#[test]
fn derived_layouts_are_fixed() {
    assert_eq!(put(&Unit), []);
    assert_eq!(put(&Pair(7, Some(true))), [7, 1, 1]);
    let named = Named {
        pair: Pair(1, None),
        name: *b"12345678ABC",
        r#type: 'z',
        unit: Unit,
    };
    assert_eq!(
        put(&named),
        [1, 0, 0, 0x3837_3635_3433_3231, 0x0043_4241, 122]
    );
    assert_eq!(Status::WORDS, 5);
    assert_eq!(put(&Status::Done), [0, 0, 0, 0, 0]);
    assert_eq!(put(&Status::At(9, -1)), [1, 9, u64::MAX, 0, 0]);
    let failed = Status::Failed {
        code: 4,
        why: [1; 17],
    };
    assert_eq!(
        put(&failed),
        [2, 4, 0x0101_0101_0101_0101, 0x0101_0101_0101_0101, 1]
    );
    assert_eq!((put(&Code::Zero), put(&Code::One)), (vec![0], vec![1]));
}

#[test]
fn an_unknown_variant_is_refused() {
    assert_eq!(Status::get(&mut SliceReader::new(&[3])), None);
    assert_eq!(Code::get(&mut SliceReader::new(&[2])), None);
    assert_eq!(Code::get(&mut SliceReader::new(&[700])), None);
}

#[test]
fn what_a_shorter_variant_leaves_unused_is_ignored() {
    let words = [1, 9, 0, 77, 77];
    assert_eq!(
        Status::get(&mut SliceReader::new(&words)),
        Some(Status::At(9, 0))
    );
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Done),
        any::<(u64, i8)>().prop_map(|(at, by)| Status::At(at, by)),
        any::<(u32, [u8; 17])>().prop_map(|(code, why)| Status::Failed { code, why }),
    ]
}

/// Words near those that mean something, and arbitrary ones.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, 0u64..0x12_0000, any::<u64>()]
}

proptest! {
    #[test]
    fn scalars_come_back(
        unsigned: (u8, u16, u32, u64, u128),
        signed: (i8, i16, i32, i64, i128),
        others: (bool, char),
        floats: (u32, u64),
    ) {
        comes_back(unsigned);
        comes_back(signed);
        comes_back(others);
        // Bit by bit, as no NaN is equal to itself.
        let words = put(&(f32::from_bits(floats.0), f64::from_bits(floats.1)));
        prop_assert_eq!(words, [u64::from(floats.0), floats.1]);
    }

    #[test]
    fn arrays_come_back(
        bytes: ([u8; 1], [u8; 7], [u8; 8], [u8; 9], [u8; 31]),
        words: ([u64; 1], [u64; 6]),
    ) {
        comes_back(bytes);
        comes_back(words);
        comes_back([0u8; 0]);
    }

    #[test]
    fn choices_come_back(
        option: Option<(u32, Option<i8>)>,
        result: Result<u8, (u64, [u8; 10])>,
        other: Result<(u64, [u8; 10]), u8>,
        six: (u8, u8, u8, u8, u8, bool),
    ) {
        comes_back(option);
        comes_back((result, six));
        comes_back((other, ()));
    }

    #[test]
    fn derived_types_come_back(
        status in status(),
        fields: (u16, Option<bool>, [u8; 11], char),
    ) {
        comes_back((status, Code::One, Some(Code::Zero)));
        let (number, flag, name, letter) = fields;
        comes_back(Named { pair: Pair(number, flag), name, r#type: letter, unit: Unit });
    }

    #[test]
    fn no_words_do_harm(words in proptest::collection::vec(word(), 0..14)) {
        takes_any_words::<(u8, i16, u32)>(&words);
        takes_any_words::<(bool, char, f32, f64)>(&words);
        takes_any_words::<(u128, i128, [u8; 13], [u64; 3])>(&words);
        takes_any_words::<Option<Option<(char, u8)>>>(&words);
        takes_any_words::<Result<Option<u8>, (bool, [u8; 9])>>(&words);
        takes_any_words::<Named>(&words);
        takes_any_words::<(Status, Option<Code>)>(&words);
    }
}
