//! What each call puts into registers and IPC buffer, with a recorder in the kernel's place.

use crate::raw::Registers;
use crate::*;
use baton_sel4_abi::Error as Code;
use baton_sel4_abi::Syscall;
use std::cell::{Cell, RefCell};

thread_local! {
    static BUFFER: RefCell<Box<[u64; 128]>> = RefCell::new(Box::new([0; 128]));
    static LAST: Cell<Option<(i64, Registers)>> = const { Cell::new(None) };
    static ANSWER: Cell<Registers> = const { Cell::new(Registers { a0: 0, info: 0, mrs: [0; 4] }) };
}

pub(crate) fn trap(number: i64, registers: Registers) -> Registers {
    LAST.set(Some((number, registers)));
    ANSWER.get()
}

pub(crate) fn ipc_buffer_words() -> *mut u64 {
    BUFFER.with_borrow_mut(|buffer| buffer.as_mut_ptr())
}

fn last() -> (i64, u64, MessageInfo, [u64; 4]) {
    let (number, registers) = LAST.take().expect("a call");
    (
        number,
        registers.a0,
        MessageInfo::from_word(registers.info),
        registers.mrs,
    )
}

fn answer(label: u64, mrs: [u64; 4]) {
    ANSWER.set(Registers {
        a0: 0,
        info: MessageInfo::new(label, 0, 0, 4).word(),
        mrs,
    });
}

const ROOT: CNode = CNode::new(2);

#[test]
fn retype_packs_six_words_and_the_root() {
    let node = ROOT.slot_at(7, 20);
    Untyped::new(33)
        .retype(ObjectType::CapTable, 4, node, 100, 2)
        .expect("ok");
    let (number, cptr, info, mrs) = last();
    assert_eq!((number, cptr), (Syscall::Call.number(), 33));
    assert_eq!(
        (info.label(), info.length(), info.extra_caps()),
        (Label::UntypedRetype.number(), 6, 1)
    );
    assert_eq!(mrs, [4, 4, 7, 20]);
    let buffer = ipc_buffer();
    assert_eq!(
        (
            buffer.message_register(4),
            buffer.message_register(5),
            buffer.cap_or_badge(0)
        ),
        (100, 2, 2)
    );
}

#[test]
fn mint_and_rotate_pack_their_arguments_in_order() {
    let dest = ROOT.slot(5);
    let src = CNode::new(9).slot_at(6, 12);
    dest.mint_from(src, CapRights::READ_WRITE, 77).expect("ok");
    let (_, cptr, info, mrs) = last();
    assert_eq!((cptr, mrs), (2, [5, 64, 6, 12]));
    assert_eq!(
        (info.label(), info.length()),
        (Label::CNodeMint.number(), 6)
    );
    assert_eq!(
        (
            ipc_buffer().message_register(4),
            ipc_buffer().message_register(5),
            ipc_buffer().cap_or_badge(0)
        ),
        (3, 77, 9)
    );

    let rotation = Rotation {
        dest,
        dest_data: 1,
        pivot: src,
        pivot_data: 2,
        src: ROOT.slot(8),
    };
    rotation.rotate().expect("ok");
    let (_, _, info, mrs) = last();
    assert_eq!((info.length(), info.extra_caps()), (8, 2));
    assert_eq!(mrs, [5, 64, 1, 6]);
    let words: Vec<u64> = (4..8)
        .map(|index| ipc_buffer().message_register(index))
        .collect();
    assert_eq!(words, [12, 2, 8, 64]);
    assert_eq!(
        (ipc_buffer().cap_or_badge(0), ipc_buffer().cap_or_badge(1)),
        (9, 2)
    );
}

#[test]
fn registers_are_written_behind_flags_and_count() {
    let context = UserContext {
        pc: 0x1000,
        ra: 2,
        sp: 3,
        tp: 32,
        ..UserContext::default()
    };
    Tcb::new(1).write_all_registers(true, &context).expect("ok");
    let (_, _, info, mrs) = last();
    assert_eq!((info.length(), mrs), (34, [1, 32, 0x1000, 2]));
    assert_eq!(ipc_buffer().message_register(4), 3);
    assert_eq!(ipc_buffer().message_register(33), 32);
    Tcb::new(1).write_registers(false, 2, &context).expect("ok");
    assert_eq!(last().2.length(), 4);
}

#[test]
fn each_error_is_one_of_sel4s() {
    for label in 1..=10 {
        answer(label, [1, 4, 51, 7]);
        ipc_buffer().set_message_register(4, 9);
        let error = Tcb::new(1).suspend().expect_err("an error");
        assert_eq!(error.label(), label);
        assert!(Code::from_label(error.label()).is_some());
        assert!(!error.to_string().is_empty());
        if label == Code::FailedLookup.label() {
            let failure = LookupFailure::GuardMismatch {
                bits_left: 51,
                guard: 7,
                guard_bits: 9,
            };
            assert_eq!(
                error,
                Error::FailedLookup {
                    source: true,
                    failure
                }
            );
        }
        if label == Code::RangeError.label() {
            assert_eq!(error, Error::RangeError { min: 1, max: 4 });
        }
    }
    answer(0, [0; 4]);
    assert_eq!(Tcb::new(1).suspend(), Ok(()));
    answer(11, [0; 4]);
    assert_eq!(Tcb::new(1).suspend(), Err(Error::Unknown { label: 11 }));
}

#[test]
fn messages_are_cut_to_what_fits() {
    let words = [7; 200];
    Endpoint::new(4).send(&Message::with_caps(9, &words, &[1, 2, 3, 4]));
    let (number, _, info, _) = last();
    assert_eq!(number, Syscall::Send.number());
    assert_eq!(
        (info.label(), info.length(), info.extra_caps()),
        (9, 120, 3)
    );
    assert_eq!(ipc_buffer().message_register(119), 7);
}

#[test]
fn faults_are_read_from_messages() {
    let received = Received {
        badge: 1,
        info: MessageInfo::new(5, 0, 0, 4),
        mrs: [0x10, 0x20, 0, 7],
    };
    let fault = Fault::from_message(&received).expect("a fault");
    assert_eq!(
        fault,
        Fault::Vm {
            ip: 0x10,
            address: 0x20,
            prefetch: false,
            fsr: 7
        }
    );
    assert_eq!(fault.to_string(), "at 0x10: cannot write address 0x20");
    let other = Received {
        info: MessageInfo::new(0, 0, 0, 4),
        ..received
    };
    assert_eq!(Fault::from_message(&other), None);
}

#[test]
fn names_end_with_a_zero() {
    debug::name_thread(Tcb::new(3), "12345678");
    assert_eq!(
        ipc_buffer().message_register(0),
        u64::from_le_bytes(*b"12345678")
    );
    assert_eq!(ipc_buffer().message_register(1), 0);
    assert_eq!(last().1, 3);
}

#[test]
fn a_kernel_lane_is_bound_with_its_shape() {
    let lane = KernelLane::new(40);
    let shape = LaneShape {
        slot_bits: 5,
        request_bulk: 512,
        answer_bulk: 1024,
        start: u32::MAX,
    };
    answer(0, [0; 4]);
    lane.bind(Tcb::new(1), shape).expect("ok");
    let (_, cptr, info, mrs) = last();
    assert_eq!((cptr, info.label(), info.length()), (40, 1024, 4));
    assert_eq!(mrs, [5, 512, 1024, u32::MAX.into()]);
    assert_eq!(ipc_buffer().cap_or_badge(0), 1);
    lane.frame(3, ROOT.slot_at(9, 13)).expect("ok");
    let (_, _, info, mrs) = last();
    assert_eq!(
        (info.label(), info.length(), mrs[..3].to_vec()),
        (1026, 3, vec![3, 9, 13])
    );
    assert_eq!(ipc_buffer().cap_or_badge(0), 2);
}

#[test]
fn parking_names_where_to_wait_and_whom_to_signal() {
    let (mine, other) = (Notification::new(7), Notification::new(8));
    signal_park(mine, other);
    let (number, a0, info, _) = last();
    assert_eq!((number, a0, info.word()), (-66, 7, 8));
    park(mine);
    assert_eq!(last().0, -65);
    doorbell();
    assert_eq!(last().0, -64);
}
