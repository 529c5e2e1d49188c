//! The checker itself: records that are broken on purpose are found to be.

mod common;

use baton_kernel_core::cap::Cap;
use baton_kernel_core::mem::{Endpoint, Slot};
use baton_sel4_abi::{CapRights, slots};
use common::{ROOT, World};

/// Breaks something in a world with some objects in it, and returns what the checker says.
fn broken(how: impl FnOnce(&World)) -> String {
    let world = World::new();
    let endpoint = world.endpoint();
    world.copy(endpoint, CapRights::ALL);
    world.started(1);
    assert_eq!(world.fake.kernel().check(), Ok(()));
    how(&world);
    world
        .fake
        .kernel()
        .check()
        .expect_err("the checker finds nothing")
}

fn slot(world: &World, number: u64) -> &Slot {
    let Cap::CNode { address, .. } = world.cap_in(ROOT) else {
        panic!("no root CNode");
    };
    let kernel = world.fake.kernel();
    kernel.mem.get(address.add(number << Slot::BITS))
}

#[test]
fn torn_links_are_found() {
    let said = broken(|world| slot(world, world.memory).prev.set(0x8020_0020));
    assert!(said.contains("linked to"), "{said}");
    let said = broken(|world| {
        let slot = slot(world, world.endpoint());
        slot.next.set(0);
    });
    assert!(
        said.contains("stand apart") || said.contains("point"),
        "{said}"
    );
}

#[test]
fn objects_that_overlap_are_found() {
    let said = broken(|world| {
        let Cap::Thread { tcb } = world.cap_in(slots::INIT_THREAD_TCB) else {
            panic!("no thread");
        };
        let cap = Cap::Endpoint {
            address: tcb.add(64),
            badge: 0,
            rights: CapRights::ALL,
        };
        slot(world, world.endpoint()).set_cap(cap.encode());
    });
    assert!(said.contains("overlaps"), "{said}");
}

#[test]
fn a_watermark_that_lags_is_found() {
    let said = broken(|world| {
        let Cap::Untyped {
            address,
            size_bits,
            device,
            ..
        } = world.cap_in(world.memory)
        else {
            panic!("no untyped");
        };
        let cap = Cap::Untyped {
            address,
            size_bits,
            device,
            used: 0,
        };
        slot(world, world.memory).set_cap(cap.encode());
    });
    assert!(said.contains("watermark"), "{said}");
}

#[test]
fn queues_that_lie_are_found() {
    let said = broken(|world| world.fake.current().state.set(0));
    assert!(said.contains("running thread"), "{said}");
    let said = broken(|world| {
        let Cap::Endpoint { address, .. } = world.cap_in(world.endpoint()) else {
            panic!("no endpoint");
        };
        let endpoint: &Endpoint = world.fake.kernel().mem.get(address);
        let running = world.fake.current_address();
        endpoint.head.set(running.value() | 1);
        endpoint.tail.set(running.value());
    });
    assert!(said.contains("does not wait there"), "{said}");
}

#[test]
fn a_fault_that_nobody_will_answer_is_found() {
    let said = broken(|world| world.fake.current().fault[0].set(5));
    assert!(said.contains("has a fault"), "{said}");
}

/// Where the running thread's entry for a page of 4 KiB is (physical).
fn entry_of(world: &World, vaddr: u64) -> u64 {
    let (root, _) = world.fake.hardware.address_space();
    let mut table = root.value();
    for bits in [30, 21] {
        let entry = world.fake.physical(table + ((vaddr >> bits) & 511) * 8);
        table = (entry >> 10) << 12;
    }
    table + ((vaddr >> 12) & 511) * 8
}

#[test]
fn mappings_that_no_capability_has_made_are_found() {
    let said = broken(|world| {
        let (_, vaddr) = world.page();
        let entry = entry_of(world, vaddr);
        // The same page a second time.
        world
            .fake
            .set_physical(entry + 8, world.fake.physical(entry));
    });
    assert!(said.contains("no capability says so"), "{said}");
    let said = broken(|world| {
        let frame = world.make(baton_sel4_abi::ObjectType::Page, 0);
        let (_, vaddr) = world.page();
        world
            .map(
                frame,
                slots::INIT_THREAD_VSPACE,
                vaddr + 0x1000,
                CapRights::READ,
            )
            .expect("a page");
        let read_only = world.mint(frame, CapRights::READ, 0);
        world.delete(frame);
        world
            .map(
                read_only,
                slots::INIT_THREAD_VSPACE,
                vaddr + 0x1000,
                CapRights::READ,
            )
            .expect("a page");
        let entry = entry_of(world, vaddr + 0x1000);
        let writable = world.fake.physical(entry) | 1 << 2;
        world.fake.set_physical(entry, writable);
    });
    assert!(said.contains("no capability permits it"), "{said}");
    let said = broken(|world| {
        let (root, _) = world.fake.hardware.address_space();
        world.fake.set_physical(root.value() + 511 * 8, 0);
    });
    assert!(said.contains("not the kernel's"), "{said}");
}

#[test]
#[should_panic(expected = "is cached as")]
fn translations_that_were_not_flushed_are_found() {
    let world = World::new();
    let (_, vaddr) = world.page();
    assert_eq!(world.fake.load(vaddr), Ok(0));
    world.fake.check();
    world.fake.set_physical(entry_of(&world, vaddr), 0);
    world.fake.check();
}
