//! Lists the memory and the capabilities that the kernel gave to the root task.

use baton_runtime::sel4::abi::{SlotRegion, slots};
use baton_runtime::{Allocator, Root, println};

/// Prints what boot info says.
pub fn print(root: &Root, allocator: &Allocator) {
    let info = root.boot_info;
    println!();
    println!("Capabilities:");
    let fixed = [
        (slots::INIT_THREAD_TCB, "initial thread"),
        (slots::INIT_THREAD_CNODE, "root CNode"),
        (slots::INIT_THREAD_VSPACE, "address space"),
        (slots::IRQ_CONTROL, "IRQ control"),
        (slots::ASID_CONTROL, "ASID control"),
        (slots::INIT_THREAD_ASID_POOL, "ASID pool"),
        (slots::BOOT_INFO_FRAME, "frame of boot info"),
        (slots::INIT_THREAD_IPC_BUFFER, "frame of the IPC buffer"),
        (slots::DOMAIN, "domains"),
    ];
    for (slot, name) in fixed {
        println!("  {slot:>5}        {name}");
    }
    let regions = [
        (info.user_image_paging, "page tables of the image"),
        (info.extra_bi_pages, "frames of the device tree"),
        (info.user_image_frames, "frames of the image"),
        (info.untyped, "untyped memory"),
        (info.empty, "empty"),
    ];
    for (SlotRegion { start, end }, name) in regions {
        println!("  {start:>5}..{end:<5} {name}");
    }
    println!();
    println!("Memory:");
    let list = info.untyped_list.iter().take(info.untyped.len() as usize);
    for (kind, is_device) in [("RAM", 0), ("device", 1)] {
        let of_kind = list
            .clone()
            .filter(|untyped| untyped.is_device == is_device);
        let (mut count, mut bytes) = (0, 0_u64);
        for untyped in of_kind.clone() {
            count += 1;
            bytes += 1 << untyped.size_bits;
        }
        println!("  {kind}: {count} untypeds, {} MiB", bytes >> 20);
        for untyped in of_kind.filter(|untyped| is_device == 0 && untyped.size_bits >= 20) {
            println!("    2^{} bytes at {:#x}", untyped.size_bits, untyped.paddr);
        }
    }
    println!(
        "  left to this program: {} MiB, {} slots",
        allocator.bytes_left() >> 20,
        allocator.slots_left()
    );
}
