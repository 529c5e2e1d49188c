//! What asynchronous system calls must do.

use crate::setup::{Bound, SHAPE, Wrong};
use alloc::vec::Vec;
use baton_lane::AsyncError;
use baton_rpc::Mode;
use baton_runtime::println;
use baton_runtime::sel4::abi::baton::{Drained, Parked, lane_flag, region};
use baton_runtime::sel4::{
    CNode, CapRights, Capability, Error, Label, ObjectType, Untyped, VmAttributes, doorbell, park,
    signal_park,
};
use baton_sync::Ordering;

type Case = fn(&Bound) -> Result<(), Wrong>;

const CASES: &[(&str, Case)] = &[
    ("a batch is performed, in order", batch),
    ("pages are mapped and unmapped", pages),
    ("errors are those of the calls", errors),
    ("long messages go through the bulk buffers", long),
    ("a signal without an answer arrives", deferred),
    ("signal and park is one call", signal_and_park),
    ("an impossible tail is quarantined", quarantine),
];

/// Runs all; how many failed.
pub fn run(bound: &Bound) -> u32 {
    let mut failed = 0;
    for (name, case) in CASES {
        match case(bound) {
            Ok(()) => println!("ok   lanes: {name}"),
            Err(Wrong(why)) => {
                println!("FAIL lanes: {name}: {why}");
                failed += 1;
            }
        }
    }
    println!(
        "{} passed, {failed} failed, 0 skipped",
        CASES.len() as u32 - failed
    );
    failed
}

fn ensure(condition: bool, why: &'static str) -> Result<(), Wrong> {
    if condition { Ok(()) } else { Err(Wrong(why)) }
}

/// Runs a future on the executor.
fn run_to_end<T>(
    bound: &Bound,
    future: impl Future<Output = Result<T, AsyncError>>,
) -> Result<T, Wrong> {
    match bound.node.run_until(Mode::Park, future) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            println!("an asynchronous call: {error}");
            Err(Wrong("a call failed"))
        }
        Err(_) => Err(Wrong("the executor does not run")),
    }
}

fn batch(bound: &Bound) -> Result<(), Wrong> {
    let (kernel, thread) = (&bound.kernel, bound.idle_thread);
    for round in 0..4 {
        run_to_end(bound, async {
            let calls: Vec<_> = (0..32)
                .map(|number| kernel.set_tls_base(thread, round * 100 + number))
                .collect();
            for call in calls {
                call.await?;
            }
            Ok(())
        })?;
        let context = thread.read_registers(false, 32)?;
        ensure(
            context.tp == round * 100 + 31,
            "the last base is not the last",
        )?;
    }
    Ok(())
}

fn pages(bound: &Bound) -> Result<(), Wrong> {
    let (kernel, root) = (&bound.kernel, bound.vspace.root());
    let (rights, attributes) = (CapRights::READ_WRITE, VmAttributes::EXECUTE_NEVER);
    let place = |number: usize| bound.free + number as u64 * 4096;
    for _ in 0..3 {
        run_to_end(bound, async {
            let pages = bound.pages.iter().enumerate();
            let calls: Vec<_> = pages
                .map(|(number, &page)| kernel.map(page, root, place(number), rights, attributes))
                .collect();
            for call in calls {
                call.await?;
            }
            Ok(())
        })?;
        // Mapped there: a second mapping elsewhere is refused.
        let elsewhere = bound.pages[0].map(root, place(40), rights, attributes);
        ensure(
            elsewhere == Err(Error::InvalidArgument { argument: 0 }),
            "a page is not mapped",
        )?;
        run_to_end(bound, async {
            let calls: Vec<_> = bound.pages.iter().map(|&page| kernel.unmap(page)).collect();
            for call in calls {
                call.await?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn errors(bound: &Bound) -> Result<(), Wrong> {
    let (kernel, thread) = (&bound.kernel, bound.idle_thread);
    let outcome = bound.node.run_until(Mode::Park, async {
        let range = kernel.set_priority(thread, bound.own, 256).await;
        let own = kernel.set_tls_base(bound.own, 1).await;
        let label = kernel.invoke(thread.cptr(), Label::PageMap, [], []).await;
        let missing = kernel.invoke(0x1fff_ffff, Label::PageMap, [], []).await;
        (range, own, label, missing)
    });
    let Ok((range, own, label, missing)) = outcome else {
        return Err(Wrong("the executor does not run"));
    };
    let refused = |error| Err(AsyncError::Kernel(error));
    ensure(
        range == refused(Error::RangeError { min: 0, max: 255 }),
        "a priority of 256",
    )?;
    ensure(own == refused(Error::IllegalOperation), "the caller itself")?;
    ensure(
        label == refused(Error::IllegalOperation),
        "a label of another object",
    )?;
    ensure(
        matches!(missing, Err(AsyncError::Kernel(Error::FailedLookup { .. }))),
        "no capability",
    )
}

fn long(bound: &Bound) -> Result<(), Wrong> {
    let (kernel, thread) = (&bound.kernel, bound.idle_thread);
    let mut registers = thread.read_registers(false, 32)?;
    registers.s0 = 0x5_0000;
    registers.t6 = 0x6_0000;
    let read = run_to_end(bound, async {
        kernel.write_registers(thread, false, &registers).await?;
        kernel.read_registers(thread).await
    })?;
    ensure(read == registers, "what was written is not what is read")?;
    let untyped = Untyped::new(bound.untyped);
    let cnode = CNode::new(baton_runtime::sel4::abi::slots::INIT_THREAD_CNODE);
    let slot = cnode.slot(bound.slot);
    let node = cnode.slot_at(0, 0);
    run_to_end(bound, async {
        let retyped = kernel.retype(untyped, ObjectType::Endpoint, 0, node, bound.slot, 1);
        retyped.await?;
        kernel.revoke(slot).await?;
        kernel.delete(slot).await
    })?;
    Ok(())
}

fn deferred(bound: &Bound) -> Result<(), Wrong> {
    let sent = bound.kernel.try_signal_later(bound.notification);
    ensure(sent.is_ok(), "no credit for a signal")?;
    // The end of the turn publishes and rings.
    ensure(bound.node.turn().is_ok(), "the executor does not run")?;
    let (parked, _) = park(bound.notification);
    ensure(
        parked == Parked::Received,
        "parking has not received the signal",
    )
}

fn signal_and_park(bound: &Bound) -> Result<(), Wrong> {
    bound.notification.signal();
    let (parked, _) = signal_park(bound.notification, bound.other);
    ensure(parked == Parked::Received, "the signal that was there")?;
    let (parked, _) = park(bound.other);
    ensure(parked == Parked::Received, "the signal that was sent")
}

/// The last: nothing goes through the lane after it.
fn quarantine(bound: &Bound) -> Result<(), Wrong> {
    ensure(doorbell() == Drained::All, "the lane is in order before")?;
    let word = |index| bound.outgoing.word(index).map_err(|_| Wrong("a word"));
    let tail = word(region::TAIL_REQUESTS)?;
    let before = tail.load(Ordering::Relaxed);
    tail.store(before + 1 + (1 << SHAPE.slot_bits), Ordering::Relaxed);
    ensure(doorbell() == Drained::Quarantined, "an impossible tail")?;
    let flags = bound
        .incoming
        .word(region::FLAGS)
        .map_err(|_| Wrong("a word"))?;
    let flags = flags.load(Ordering::Relaxed);
    ensure(flags & lane_flag::QUARANTINED != 0, "the flag")?;
    tail.store(before, Ordering::Relaxed);
    ensure(doorbell() == Drained::Quarantined, "believed again")?;
    // System calls go on.
    bound.idle_thread.set_tls_base(1)?;
    bound.lane.unbind()?;
    ensure(doorbell() == Drained::NotBound, "still bound")?;
    Ok(())
}
