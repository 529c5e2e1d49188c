//! What must not drift: numbers round-trip, and words have the fields where seL4 has them.

use crate::bootinfo::word;
use crate::message::ipc_buffer;
use crate::*;

#[test]
fn numbers_round_trip() {
    for number in -200..200 {
        if let Some(call) = Syscall::from_number(number) {
            assert_eq!(call.number(), number);
        }
    }
    assert_eq!(
        (-64..64).filter_map(Syscall::from_number).count(),
        14,
        "eight calls and six for debugging"
    );
    let calls: Vec<i64> = (-200..200)
        .filter_map(BatonCall::from_number)
        .map(BatonCall::number)
        .collect();
    assert_eq!(calls, [-67, -66, -65, -64]);
    let lane_labels: Vec<u64> = (0..2000)
        .filter_map(KernelLaneLabel::from_number)
        .map(KernelLaneLabel::number)
        .collect();
    assert_eq!(lane_labels, [1024, 1025, 1026]);
    let labels: Vec<u64> = (0..100)
        .filter_map(Label::from_number)
        .map(Label::number)
        .collect();
    assert_eq!(labels, (1..=40).collect::<Vec<_>>());
    let types: Vec<u64> = (0..100)
        .filter_map(ObjectType::from_number)
        .map(ObjectType::number)
        .collect();
    let sel4_and_baton: Vec<u64> = (0..=8).chain([64]).collect();
    assert_eq!(types, sel4_and_baton);
    let errors: Vec<u64> = (0..100)
        .filter_map(Error::from_label)
        .map(Error::label)
        .collect();
    assert_eq!(errors, (1..=10).collect::<Vec<_>>());
    let faults: Vec<u64> = (0..100)
        .filter_map(FaultKind::from_label)
        .map(FaultKind::label)
        .collect();
    assert_eq!(faults, [1, 2, 3, 5]);
}

#[test]
fn only_what_a_release_kernel_lacks_is_a_debug_call() {
    assert!(!Syscall::NBRecv.is_debug());
    assert!(Syscall::DebugPutChar.is_debug());
    assert!(Syscall::DebugNameThread.is_debug());
}

#[test]
fn message_info_has_its_fields_in_place() {
    let info = MessageInfo::new(0x5, 0b101, 3, 120);
    assert_eq!(info.word(), (5 << 12) | (0b101 << 9) | (3 << 7) | 120);
    assert_eq!(
        (
            info.label(),
            info.caps_unwrapped(),
            info.extra_caps(),
            info.length()
        ),
        (5, 0b101, 3, 120)
    );
    assert_eq!(MessageInfo::from_word(u64::MAX).length(), 127);
    assert_eq!(MessageInfo::from_word(u64::MAX).message_length(), 120);
}

#[test]
fn ipc_buffer_fills_its_size() {
    assert_eq!(ipc_buffer::WORDS * 8, 1 << IPC_BUFFER_BITS);
    assert_eq!(
        ipc_buffer::USER_DATA,
        ipc_buffer::MSG + MSG_MAX_LENGTH as usize
    );
    assert_eq!(
        ipc_buffer::RECEIVE_CNODE,
        ipc_buffer::CAPS_OR_BADGES + MSG_MAX_EXTRA_CAPS as usize
    );
}

#[test]
fn guards_and_rights_are_cut_to_their_width() {
    let data = CNodeCapData::new(0xabc, 51);
    assert_eq!(data.word(), (0xabc << 6) | 51);
    assert_eq!((data.guard(), data.guard_size()), (0xabc, 51));
    assert_eq!(CNodeCapData::skip_to(13).guard_size(), 51);
    assert_eq!(CapRights::from_word(u64::MAX), CapRights::ALL);
    assert!(CapRights::ALL.contains(CapRights::GRANT));
    assert!(!CapRights::READ_WRITE.contains(CapRights::GRANT));
    assert_eq!(CapRights::ALL.without(CapRights::WRITE).word(), 14);
}

#[test]
fn registers_keep_their_places() {
    let words = core::array::from_fn(|index| index as u64 + 1);
    let context = UserContext::from_words(&words);
    assert_eq!(context.to_words(), words);
    assert_eq!(
        (context.pc, context.sp, context.a0, context.tp),
        (1, 3, 17, 32)
    );
    assert_eq!(Register::A0.index(), 16);
    assert_eq!(
        Register::ALL.map(Register::index),
        core::array::from_fn(|index| index)
    );
}

#[test]
fn boot_info_is_where_root_tasks_expect_it() {
    assert_eq!(word::EMPTY, 5);
    assert_eq!(word::USER_IMAGE_FRAMES, 9);
    assert_eq!(word::UNTYPED, 19);
    assert_eq!(word::UNTYPED_LIST, 21);
    assert_eq!(word::untyped_flags(38, true), 0x126);
}

#[test]
fn object_sizes_saturate() {
    assert_eq!(ObjectType::CapTable.size_bits(13), 18);
    assert_eq!(ObjectType::CapTable.size_bits(u64::MAX), u64::MAX);
    assert_eq!(ObjectType::Tcb.size_bits(99), 11);
}
