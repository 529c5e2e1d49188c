//! Arbitrary words as values, headers, tokens and events.

use crate::desk::{Named, Order};
use crate::input::Input;
use baton_inbox::layout::{MAGIC, MAX_CREDITS};
use baton_inbox::link::{check_header, write_header};
use baton_inbox::{Info, Kind, LinkError, RegionLayout, Status, Token};
use baton_rpc::Wire;
use baton_rpc::wire::{SliceReader, SliceWriter};
use baton_shm::{HeapWords, SLOT_STRIDE_WORDS};
use baton_trace::{Event, Ring, Step};
use std::sync::atomic::Ordering;

/// Regions above this are only computed, not made.
const MOST_WORDS: usize = 1 << 14;

/// What each module's documentation promises of its decoder.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let what: u8 = input.get();
    match what % 4 {
        0 => values(&mut input),
        1 => layouts(&mut input),
        2 => heads(&mut input),
        _ => events(&mut input),
    }
}

/// A structure of every kind of field.
#[derive(Clone, Copy, Debug, PartialEq, Wire)]
struct Everything {
    unit: (),
    named: Named,
    orders: (Order, Option<Order>),
    words: [u64; 3],
    large: Result<i128, u128>,
    real: (f32, f64),
    small: (u8, u16, u32, i8, i16, i32),
    last: (i64, bool, char),
}

/// An enumeration whose variants differ in length.
#[derive(Clone, Copy, Debug, PartialEq, Wire)]
enum Uneven {
    Long([u8; 33]),
    Short,
    Nested(Option<Option<Named>>),
}

/// Decodes words, and if they are a value, that value's words again: it must be the same one.
fn value<T: Wire>(words: &[u64]) {
    let mut reader = SliceReader::new(words);
    let Some(value) = T::get(&mut reader) else {
        return;
    };
    assert_eq!(reader.taken(), T::WORDS, "get reads WORDS words");
    let first = put(&value);
    let again = T::get(&mut SliceReader::new(&first)).expect("its own words are a value");
    assert_eq!(put(&again), first, "a value has one encoding");
}

fn put<T: Wire>(value: &T) -> Vec<u64> {
    let mut words = vec![u64::MAX; T::WORDS];
    let mut writer = SliceWriter::new(&mut words);
    value.put(&mut writer);
    assert_eq!(writer.written(), T::WORDS, "put writes WORDS words");
    words
}

fn values(input: &mut Input<'_>) {
    let which: u8 = input.get();
    let mut words = Vec::new();
    while !input.is_empty() && words.len() < 64 {
        words.push(input.word());
    }
    match which % 14 {
        0 => value::<Everything>(&words),
        1 => value::<Uneven>(&words),
        2 => value::<Order>(&words),
        3 => value::<Named>(&words),
        4 => value::<(bool, char, u8)>(&words),
        5 => value::<Result<Option<i8>, Result<u16, [u8; 0]>>>(&words),
        6 => value::<(u128, i128)>(&words),
        7 => value::<[u8; 47]>(&words),
        8 => value::<(f32, f64)>(&words),
        9 => value::<Option<Option<Option<bool>>>>(&words),
        10 => value::<(i8, i16, i32, i64)>(&words),
        11 => value::<(u8, u16, u32, u64)>(&words),
        12 => value::<[u64; 6]>(&words),
        _ => value::<()>(&words),
    }
}

fn layouts(input: &mut Input<'_>) {
    let sizes: [u32; 4] = std::array::from_fn(|_| input.word() as u32);
    let [requests, answers, request_bulk, answer_bulk] = sizes;
    let Ok(layout) = RegionLayout::new(requests, answers, request_bulk, answer_bulk) else {
        return;
    };
    assert!(requests <= MAX_CREDITS && answers <= MAX_CREDITS);
    // Everything that a credit owns lies inside the region, and after what was before it.
    let last = |credits: u32| credits.saturating_sub(1) as u16;
    let request_end =
        layout.request_bulk(last(requests)) + layout.request_bulk_bytes() as usize / 8;
    let answer_end = layout.answer_bulk(last(answers)) + layout.answer_bulk_bytes() as usize / 8;
    assert!(
        layout.request_slots() + (SLOT_STRIDE_WORDS << layout.request_bits())
            <= layout.answer_slots()
    );
    assert!(
        layout.answer_slots() + (SLOT_STRIDE_WORDS << layout.answer_bits())
            <= layout.request_bulk(0)
    );
    assert!(request_end <= layout.answer_bulk(0) && answer_end <= layout.words());
    let header: [u64; 3] = std::array::from_fn(|_| match input.get::<u8>() % 3 {
        0 => MAGIC,
        _ => input.word(),
    });
    let region_words = input.get::<u32>() as usize;
    if layout.check(header, region_words).is_ok() {
        assert!(header == layout.header() && region_words >= layout.words());
    }
    assert_eq!(layout.check(layout.header(), layout.words()), Ok(()));
    if layout.words() > MOST_WORDS {
        return;
    }
    let region = HeapWords::region(layout.words());
    write_header(&region, &layout).expect("the region holds its header");
    assert_eq!(check_header(&region.read_only(), &layout), Ok(()));
    if let Ok(word) = region.word(input.below(4)) {
        word.fetch_or(input.word(), Ordering::Relaxed);
    }
    match check_header(&region.read_only(), &layout) {
        Ok(()) | Err(LinkError::Layout(_)) => {}
        Err(error) => panic!("a header's fault is its writer's: {error}"),
    }
}

fn heads(input: &mut Input<'_>) {
    let info = Info::from_raw(input.get());
    let (words, method) = (info.words(), info.method());
    assert!(words <= 255);
    match info.kind() {
        Some(kind) => {
            assert_eq!(Info::new(kind, method, words), info);
            assert_eq!(info.is_request(), kind == Kind::Request);
        }
        None => assert!(!info.is_request()),
    }
    assert!(!format!("{info:?}").is_empty());
    if let Some(status) = Status::from_raw(method) {
        assert_eq!(status as u16, method);
    }
    let token = Token::from_raw(input.word());
    let inner = Token::new(token.index(), token.generation());
    // Index and generation are all there is.
    assert_eq!(inner, token);
    assert_eq!(token.next().index(), token.index());
    assert_eq!(
        token.next().generation(),
        (token.generation() + 1) & (u64::MAX >> 16)
    );
    assert!(!format!("{token:?}").is_empty());
}

fn events(input: &mut Input<'_>) {
    let ring = Ring::new(input.below(20));
    let mut recorded = Vec::new();
    while !input.is_empty() && recorded.len() < 64 {
        let Some(step) = Step::decode(input.get()) else {
            continue;
        };
        let event = Event {
            time_ns: input.word(),
            step,
            connection: input.get(),
            task: input.get(),
            token: input.word(),
            detail: input.get(),
        };
        ring.record(event);
        recorded.push(event);
    }
    let kept = ring.snapshot();
    assert_eq!(kept.len(), recorded.len().min(ring.capacity()));
    for (number, event) in &kept {
        assert_eq!(Some(event), recorded.get(*number as usize));
    }
    let mut text = String::new();
    baton_trace::write_text(&kept, &mut text).expect("a string takes everything");
    assert_eq!(text.lines().count(), kept.len());
}
