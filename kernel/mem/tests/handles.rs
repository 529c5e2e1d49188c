//! What the kernel's memory promises: no handle leaves it or is misaligned, and whatever is in it is a valid object.

use baton_kernel_mem::{
    AsidPool, Context, Endpoint, IrqTable, Memory, Notification, Object, Paddr, PageTable, Slot,
    Tcb, reg,
};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

const START: u64 = 0x8020_0000;
const PAGE: u64 = 4096;
const SIZE: u64 = 4 * PAGE;

#[repr(align(4096))]
#[allow(dead_code, reason = "only its memory counts")]
struct Backing([Cell<u64>; (SIZE / 8) as usize]);

fn with_memory(test: impl FnOnce(&Memory)) {
    let backing = Box::new(Backing([const { Cell::new(0) }; (SIZE / 8) as usize]));
    let raw = Box::into_raw(backing);
    let seen = NonNull::new(raw).expect("a box").cast::<u8>();
    // SAFETY: the box holds `SIZE` bytes, aligned to a page, reached through this value only until it is freed below.
    let memory = unsafe { Memory::new(Paddr::new(START), SIZE, seen) };
    test(&memory);
    // SAFETY: made by `into_raw` above; no handle outlives `test`.
    drop(unsafe { Box::from_raw(raw) });
}

fn refused(work: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}

/// Asks for an object at the first and last place, and just outside.
fn edges<T: Object>(memory: &Memory) {
    let size = size_of::<T>() as u64;
    let align = align_of::<T>() as u64;
    assert_eq!(size % 8, 0);
    for at in [START, START + SIZE - size] {
        let object = memory.get::<T>(Paddr::new(at));
        assert_eq!(memory.address(object), Paddr::new(at));
    }
    for at in [
        0,
        START - align,
        START + SIZE,
        START + SIZE - size + align,
        !(align - 1),
        START + align / 2,
        START.wrapping_sub(size) & !(align - 1),
    ] {
        assert!(
            refused(|| {
                memory.get::<T>(Paddr::new(at));
            }),
            "a handle to {at:#x}"
        );
    }
}

#[test]
fn no_handle_leaves_the_memory() {
    with_memory(|memory| {
        edges::<Slot>(memory);
        edges::<Tcb>(memory);
        edges::<Endpoint>(memory);
        edges::<Notification>(memory);
        edges::<PageTable>(memory);
        edges::<AsidPool>(memory);
        edges::<IrqTable>(memory);
    });
}

#[test]
fn ranges_that_wrap_are_not_inside() {
    with_memory(|memory| {
        for (at, len) in [
            (START, SIZE + 1),
            (START, u64::MAX),
            (START + 8, u64::MAX - 7),
            (u64::MAX, 2),
            (START - 1, 1),
            (START + SIZE, 1),
        ] {
            assert!(!memory.contains(Paddr::new(at), len), "{at:#x} {len:#x}");
        }
        assert!(memory.contains(Paddr::new(START), SIZE));
        assert!(memory.contains(Paddr::new(START + SIZE), 0));
        assert!(refused(|| memory.zero(Paddr::new(START + 8), SIZE)));
        assert!(refused(|| memory.zero(Paddr::new(START + 4), 8)));
        assert!(refused(|| memory.zero(Paddr::new(START), 12)));
    });
}

#[test]
fn any_bits_are_an_object_and_objects_may_overlap() {
    with_memory(|memory| {
        let mut word = 1_u64;
        for index in 0..SIZE / 8 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let [cell] = memory
                .user_words(Paddr::new(START + index * 8))
                .expect("inside");
            cell.set(word);
        }
        // All at once, at one place, read and written in turns.
        let at = Paddr::new(START);
        let (tcb, table, slot) = (
            memory.get::<Tcb>(at),
            memory.get::<PageTable>(at),
            memory.get::<Slot>(at),
        );
        let [words] = memory.user_words::<1>(at).expect("inside");
        assert_eq!(tcb.context.get::<{ reg::PC }>(), table.entries[0].get());
        assert_eq!(slot.cap_first(), words.get());
        tcb.context.set::<{ reg::PC }>(17);
        assert_eq!(table.entries[0].get(), 17);
        table.entries[1].set(18);
        assert_eq!(slot.cap(), [17, 18]);
        words.set(19);
        assert_eq!(tcb.context.get::<{ reg::PC }>(), 19);
        memory.zero(at, PAGE);
        assert_eq!(slot.cap(), [0, 0]);
        assert_ne!(memory.get::<Slot>(Paddr::new(START + PAGE)).cap(), [0, 0]);
    });
}

#[test]
fn frames_outside_have_no_words() {
    with_memory(|memory| {
        assert!(memory.user_words::<128>(Paddr::new(START)).is_some());
        assert!(memory.user_words::<128>(Paddr::new(0x1000_0000)).is_none());
        assert!(memory.user_words::<1>(Paddr::new(START + 4)).is_none());
        assert!(
            memory
                .user_words::<2>(Paddr::new(START + SIZE - 8))
                .is_none()
        );
        assert_eq!(memory.user_byte(Paddr::new(START + SIZE)), None);
        assert_eq!(memory.user_byte(Paddr::new(START + SIZE - 1)), Some(0));
    });
}

#[test]
fn nothing_is_at_null() {
    with_memory(|memory| {
        assert!(memory.get_or_null::<Tcb>(Paddr::NULL).is_none());
        assert!(memory.get_or_null::<Tcb>(Paddr::new(START)).is_some());
        assert!(refused(|| {
            memory.get_or_null::<Tcb>(Paddr::new(8));
        }));
    });
}

#[test]
fn registers_that_there_are_not_read_as_nothing() {
    with_memory(|memory| {
        let context: &Context = &memory.get::<Tcb>(Paddr::new(START)).context;
        context.write(5, 7);
        context.write(33, 8);
        context.write(usize::MAX, 9);
        assert_eq!(context.read(5), 7);
        assert_eq!(context.read(33), 0);
        assert_eq!(context.read(usize::MAX), 0);
    });
}

#[test]
fn no_more_handles_are_made_than_the_limit_allows() {
    with_memory(|memory| {
        memory.limit_handles(3);
        for _ in 0..3 {
            memory.get::<Slot>(Paddr::new(START));
        }
        assert!(refused(|| {
            memory.get::<Slot>(Paddr::new(START));
        }));
        memory.limit_handles(1);
        memory.get::<Slot>(Paddr::new(START));
    });
}
