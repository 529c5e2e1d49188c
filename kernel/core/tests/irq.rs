//! Interrupts: handlers, signals, acknowledgement.

mod common;

use baton_sel4_abi::{CapRights, Error, Label, slots};
use common::{DEPTH, ROOT, World};

const CONTROL: u64 = slots::IRQ_CONTROL;

fn issue(world: &World, irq: u64, slot: u64) -> Result<(), Error> {
    let words = [irq, slot, DEPTH];
    world.invoke(CONTROL, Label::IrqIssueHandler, &words, &[ROOT])?;
    Ok(())
}

/// A handler with a notification of badge 1: both capabilities.
fn handled(world: &World, irq: u64) -> (u64, u64) {
    let handler = world.slot();
    issue(world, irq, handler).unwrap();
    let notification = world.notification();
    let badged = world.mint(notification, CapRights::ALL, 1);
    world
        .invoke(handler, Label::IrqSetHandler, &[], &[badged])
        .unwrap();
    (handler, notification)
}

fn signalled(world: &World, notification: u64) -> bool {
    world.nb_recv(notification);
    world.got().badge == 1
}

#[test]
fn an_interrupt_signals_once_until_it_is_acknowledged() {
    let world = World::new();
    let (handler, notification) = handled(&world, 10);
    assert!(world.fake.hardware.is_unmasked(10));
    world.fake.interrupt(10);
    assert!(signalled(&world, notification));
    world.fake.take_interrupts();
    assert!(!signalled(&world, notification), "still claimed");
    world.invoke(handler, Label::IrqAck, &[], &[]).unwrap();
    world.fake.take_interrupts();
    assert!(signalled(&world, notification), "the level is still high");
    world.fake.hardware.lower(10);
    world.invoke(handler, Label::IrqAck, &[], &[]).unwrap();
    world.fake.take_interrupts();
    assert!(!signalled(&world, notification));
}

#[test]
fn an_edge_signals_each_time() {
    let world = World::new();
    let handler = world.slot();
    let words = [11, 1, handler, DEPTH];
    world
        .invoke(CONTROL, Label::IrqIssueHandlerTrigger, &words, &[ROOT])
        .unwrap();
    assert!(world.fake.hardware.is_edge(11));
    let notification = world.notification();
    let badged = world.mint(notification, CapRights::ALL, 1);
    world
        .invoke(handler, Label::IrqSetHandler, &[], &[badged])
        .unwrap();
    for _ in 0..3 {
        world.fake.interrupt(11);
        assert!(signalled(&world, notification));
    }
}

#[test]
fn a_waiting_thread_is_woken() {
    let world = World::new();
    let (_, notification) = handled(&world, 12);
    world.recv(notification);
    assert!(world.fake.is_idle());
    world.fake.interrupt(12);
    assert!(!world.fake.is_idle());
    assert_eq!(world.got().badge, 1);
}

#[test]
fn there_is_one_handler_for_each_interrupt() {
    let world = World::new();
    let slot = world.slot();
    issue(&world, 10, slot).unwrap();
    assert_eq!(issue(&world, 10, world.slot()), Err(Error::RevokeFirst));
    assert_eq!(issue(&world, 11, slot), Err(Error::DeleteFirst));
    assert_eq!(issue(&world, 0, world.slot()), Err(Error::RangeError));
    assert_eq!(issue(&world, 97, world.slot()), Err(Error::RangeError));
    assert_eq!(
        issue(&world, 96, world.slot()),
        Err(Error::RevokeFirst),
        "the timer is the kernel's"
    );
    let copy = world.copy(slot, CapRights::ALL);
    world.delete(slot);
    assert!(world.fake.hardware.is_unmasked(10), "a copy is left");
    world.delete(copy);
    assert!(!world.fake.hardware.is_unmasked(10));
    issue(&world, 10, slot).unwrap();
    world.revoke(CONTROL);
    assert!(!world.is_full(slot));
    assert!(!world.fake.hardware.is_unmasked(10));
}

#[test]
fn handlers_take_notifications_that_can_be_signalled() {
    let world = World::new();
    let (handler, notification) = handled(&world, 10);
    let read = world.copy(notification, CapRights::READ);
    let set = |cap| world.invoke(handler, Label::IrqSetHandler, &[], &[cap]);
    assert_eq!(set(read), Err(Error::InvalidCapability));
    let endpoint = world.endpoint();
    assert_eq!(set(endpoint), Err(Error::InvalidCapability));
    let none = world.invoke(handler, Label::IrqSetHandler, &[], &[]);
    assert_eq!(none, Err(Error::TruncatedMessage));
    world.invoke(handler, Label::IrqClear, &[], &[]).unwrap();
    world.fake.interrupt(10);
    assert!(!signalled(&world, notification));
}

#[test]
fn a_deleted_notification_is_signalled_no_more() {
    let world = World::new();
    let (_, notification) = handled(&world, 10);
    world.revoke(notification);
    world.delete(notification);
    world.fake.interrupt(10);
    // Nothing to be seen; the kernel goes on.
    world.yield_now();
}

#[test]
fn an_interrupt_that_nobody_handles_is_masked() {
    let world = World::new();
    let (handler, notification) = handled(&world, 10);
    world.delete(handler);
    world.fake.interrupt(10);
    assert!(!world.fake.hardware.is_unmasked(10));
    assert!(!signalled(&world, notification));
}
