//! Programs of the fake machine (`baton_kernel_fake::program`) with bytes that repeat for a seed: what the fuzz targets of
//! the kernel do, without a fuzzer, and under the address sanitizer as well. Start elsewhere with `BATON_SEED=N`, run more
//! with `BATON_WORLDS=N`.

#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "common/random.rs"]
mod random;

use baton_kernel_fake::program::{End, Reached, hush_ends, run_calls, run_records};
use random::{Random, number};
use std::collections::BTreeMap;

/// Bytes that repeat for a seed.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..count).map(|_| (random.next() >> 32) as u8).collect()
}

/// Runs a program for each of some seeds, and says which, so that one that fails can be repeated.
fn for_seeds(worlds: u64, mut work: impl FnMut(&[u8])) {
    let first = number("BATON_SEED").unwrap_or(1);
    for seed in first..first + number("BATON_WORLDS").unwrap_or(worlds) {
        println!("seed {seed}");
        work(&bytes(seed, 2000));
    }
}

#[test]
fn whatever_programs_do_all_records_stay_in_order() {
    let mut reached = Reached::default();
    for_seeds(200, |program| reached.add(&run_calls(program)));
    println!("{reached}");
    assert!(reached.messages() > 100, "hardly any lane is drained");
    // Each invocation that there is: else this test says less than it seems to.
    let done = reached.labels_done();
    let domains = 30..33;
    let missing: Vec<u64> = (1..=40)
        .chain(1024..=1026)
        .filter(|label| !done.contains(label) && !domains.contains(label))
        .collect();
    assert_eq!(missing, [], "labels of which no invocation was done");
}

#[test]
fn whatever_stands_in_objects_the_kernel_ends_or_stops() {
    hush_ends();
    let mut ends = BTreeMap::new();
    for_seeds(300, |program| {
        let (_, end) = run_records(program);
        *ends.entry(end).or_insert(0_u64) += 1;
    });
    println!("{ends:?}");
    for end in [End::Over, End::Stopped] {
        assert!(ends.contains_key(&end), "no program has ended as {end:?}");
    }
}
