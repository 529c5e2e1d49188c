//! Domains: with one, as kernels are built; with four, if this is built with the feature `domains`.

mod common;

use baton_sel4_abi::{Error, Label, slots};
use common::World;

const TCB: u64 = slots::INIT_THREAD_TCB;

fn set(world: &World, thread: u64, domain: u64) -> Result<(), Error> {
    world.invoke(slots::DOMAIN, Label::DomainSet, &[domain], &[thread])?;
    Ok(())
}

#[test]
fn threads_are_put_into_domains_that_there_are() {
    let world = World::new();
    let domains = baton_kernel_core::config::DOMAINS as u64;
    let thread = world.thread(1);
    for domain in 0..domains {
        set(&world, thread.cap, domain).unwrap();
    }
    let wrong = Err(Error::InvalidArgument);
    assert_eq!(set(&world, thread.cap, domains), wrong);
    assert_eq!(set(&world, thread.cap, !0), wrong);
    let endpoint = world.endpoint();
    assert_eq!(set(&world, endpoint, 0), wrong);
    let none = world.invoke(slots::DOMAIN, Label::DomainSet, &[0], &[]);
    assert_eq!(none, Err(Error::TruncatedMessage));
    let other = world.invoke(slots::DOMAIN, Label::TcbResume, &[0], &[TCB]);
    assert_eq!(other, Err(Error::IllegalOperation));
}

fn configure(world: &World, index: u64, domain: u64, ticks: u64) -> Result<(), Error> {
    let words = [index, domain, ticks];
    world.invoke(slots::DOMAIN, Label::DomainScheduleConfigure, &words, &[])?;
    Ok(())
}

#[test]
fn the_schedule_is_checked() {
    let world = World::new();
    configure(&world, 1, 0, 5).unwrap();
    assert_eq!(configure(&world, 255, 0, 5), Err(Error::RangeError));
    let domains = baton_kernel_core::config::DOMAINS as u64;
    assert_eq!(configure(&world, 1, domains, 5), Err(Error::RangeError));
    assert_eq!(configure(&world, 1, 0, !0), Err(Error::InvalidArgument));
    assert_eq!(
        configure(&world, 0, 0, 0),
        Err(Error::InvalidArgument),
        "the schedule would start with its end"
    );
    let start = |index| world.invoke(slots::DOMAIN, Label::DomainScheduleSetStart, &[index], &[]);
    start(1).unwrap();
    assert_eq!(start(2), Err(Error::InvalidArgument));
    assert_eq!(start(256), Err(Error::RangeError));
}

#[cfg(feature = "domains")]
#[test]
fn each_domain_runs_its_ticks_whatever_the_priorities_are() {
    let world = World::new();
    let root = world.fake.current_address();
    let low = world.thread(1);
    set(&world, low.cap, 1).unwrap();
    world.start(low);
    assert!(!world.runs(low), "not its domain's turn");
    configure(&world, 0, 0, 3).unwrap();
    configure(&world, 1, 1, 2).unwrap();
    configure(&world, 2, 2, 4).unwrap();
    let start = &[0];
    world
        .invoke(slots::DOMAIN, Label::DomainScheduleSetStart, start, &[])
        .unwrap();
    for _ in 0..3 {
        for _ in 0..3 {
            assert_eq!(world.fake.current_address(), root);
            world.fake.tick();
        }
        for _ in 0..2 {
            world.assert_runs(low);
            world.fake.tick();
        }
        for _ in 0..4 {
            assert!(world.fake.is_idle(), "nobody is in domain 2");
            world.fake.tick();
        }
    }
}
