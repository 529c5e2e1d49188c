//! Boot: what the initial thread finds.

mod common;

use baton_kernel_core::cap::Cap;
use baton_kernel_core::mem::reg;
use baton_kernel_fake::{
    ENTRY, IMAGE_BYTES, IMAGE_START, IMAGE_VADDR, PLIC, RAM_BYTES, RAM_START, TREE_BYTES,
};
use baton_sel4_abi::bootinfo::{HEADER_FDT, word};
use baton_sel4_abi::{CapRights, ROOT_CNODE_SIZE_BITS, baton, slots};
use common::World;

#[test]
fn initial_thread_starts_at_its_entry_with_boot_info() {
    let world = World::new();
    let tcb = world.fake.current();
    assert_eq!(tcb.context.get::<{ reg::NEXT_PC }>() & !0xf, ENTRY & !0xf);
    assert_eq!((tcb.priority.get(), tcb.mcp.get()), (255, 255));
    assert_eq!(world.info(word::NUM_NODES), 1);
    assert_eq!(world.info(word::IPC_BUFFER), IMAGE_VADDR + IMAGE_BYTES);
    assert_eq!(
        world.info(word::INIT_THREAD_CNODE_SIZE_BITS),
        ROOT_CNODE_SIZE_BITS
    );
}

#[test]
fn fixed_slots_hold_what_they_should() {
    let world = World::new();
    assert!(matches!(
        world.cap_in(slots::INIT_THREAD_TCB),
        Cap::Thread { .. }
    ));
    assert!(matches!(
        world.cap_in(slots::INIT_THREAD_CNODE),
        Cap::CNode { radix: 13, .. }
    ));
    assert!(matches!(
        world.cap_in(slots::INIT_THREAD_VSPACE),
        Cap::PageTable { mapped: true, .. }
    ));
    assert_eq!(world.cap_in(slots::IRQ_CONTROL), Cap::IrqControl);
    assert_eq!(world.cap_in(slots::ASID_CONTROL), Cap::AsidControl);
    assert!(matches!(
        world.cap_in(slots::INIT_THREAD_ASID_POOL),
        Cap::AsidPool { base: 0, .. }
    ));
    assert_eq!(world.cap_in(slots::DOMAIN), Cap::Domain);
    assert_eq!(world.cap_in(slots::NULL), Cap::Null);
}

#[test]
fn image_is_mapped_and_its_frames_are_listed() {
    let world = World::new();
    let start = world.info(word::USER_IMAGE_FRAMES);
    let end = world.info(word::USER_IMAGE_FRAMES + 1);
    assert_eq!(end - start, IMAGE_BYTES / 4096);
    for (page, slot) in (start..end).enumerate() {
        let offset = page as u64 * 4096;
        match world.cap_in(slot) {
            Cap::Frame {
                address,
                vaddr,
                rights,
                ..
            } => {
                assert_eq!(address.value(), IMAGE_START + offset);
                assert_eq!(vaddr, IMAGE_VADDR + offset);
                assert_eq!(rights, CapRights::READ_WRITE);
            }
            other => panic!("{other:?}"),
        }
        world.fake.set_physical(IMAGE_START + offset, offset + 1);
        assert_eq!(world.fake.load(IMAGE_VADDR + offset), Ok(offset + 1));
        assert_eq!(world.fake.fetch(IMAGE_VADDR + offset), Ok(()));
    }
}

#[test]
fn features_follow_the_device_tree() {
    let world = World::new();
    let at = world.info_address() + 4096 + (TREE_BYTES + 16).next_multiple_of(8);
    let chunk = [0, 8, 16, 24].map(|offset| world.fake.load(at + offset));
    let mut features = baton::FEATURE_KERNEL_LANES | baton::FEATURE_PARK;
    if cfg!(feature = "count-traps") {
        features |= baton::FEATURE_KERNEL_ENTRIES;
    }
    assert_eq!(
        chunk,
        [Ok(baton::HEADER_BATON), Ok(32), Ok(features), Ok(0)]
    );
}

#[test]
fn device_tree_follows_in_the_extra_boot_info() {
    let world = World::new();
    let extra = world.info_address() + 4096;
    // The tree has no whole number of words; the next chunk begins on one.
    let chunk = (TREE_BYTES + 16).next_multiple_of(8);
    assert_eq!(
        world.info(word::EXTRA_LEN),
        chunk + baton::FEATURES_CHUNK_BYTES
    );
    assert_eq!(world.fake.load(extra), Ok(HEADER_FDT));
    assert_eq!(world.fake.load(extra + 8), Ok(chunk));
    assert_eq!(world.fake.load(extra + 16), Ok(0x0706_0504_0302_0100));
    assert_eq!(world.fake.load(extra + 24), Ok(0x0f0e_0d0c_0b0a_0908));
}

#[test]
fn untypeds_cover_all_but_what_is_taken_and_devices_come_first() {
    let world = World::new();
    let start = world.info(word::UNTYPED);
    let end = world.info(word::UNTYPED + 1);
    let mut seen: Vec<(u64, u64)> = Vec::new();
    let mut ram_seen = false;
    let mut bytes = 0;
    for index in 0..(end - start) as usize {
        let paddr = world.info(word::UNTYPED_LIST + 2 * index);
        let flags = world.info(word::UNTYPED_LIST + 2 * index + 1);
        let (bits, device) = (flags & 0xff, flags & 0x100 != 0);
        let size = 1_u64 << bits;
        assert_eq!(paddr % size, 0, "aligned to its size");
        assert!(!(device && ram_seen), "devices first");
        let apart = |&(from, to): &(u64, u64)| paddr + size <= from || paddr >= to;
        assert!(seen.iter().all(apart), "no two of the same memory");
        seen.push((paddr, paddr + size));
        let inside = paddr >= RAM_START && paddr + size <= RAM_START + RAM_BYTES;
        let outside = paddr + size <= RAM_START || paddr >= RAM_START + RAM_BYTES;
        assert!(if device { outside } else { inside });
        let plic = (PLIC.start.value(), PLIC.end.value());
        assert!(paddr + size <= plic.0 || paddr >= plic.1, "the kernel's");
        let image = (IMAGE_START, IMAGE_START + IMAGE_BYTES);
        assert!(paddr + size <= image.0 || paddr >= image.1, "the image's");
        if !device {
            ram_seen = true;
            bytes += size;
        }
        match world.cap_in(start + index as u64) {
            Cap::Untyped {
                address, size_bits, ..
            } => assert_eq!((address.value(), size_bits), (paddr, bits)),
            other => panic!("{other:?}"),
        }
    }
    // The root CNode, the image, the device tree, page tables and some pages are taken, no more.
    assert!(RAM_BYTES - bytes < 0x6_0000, "{:#x}", RAM_BYTES - bytes);
    assert_eq!(world.info(word::EMPTY), end);
    assert_eq!(world.info(word::EMPTY + 1), 1 << ROOT_CNODE_SIZE_BITS);
}
