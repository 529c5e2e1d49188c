//! Alarms: the machine's clock signals a process when it wants to be.
//!
//! The machine has one real-time clock with one alarm (Goldfish's, in nanoseconds); the broker keeps it set to the earliest alarm of
//! all processes. What counts is `rdtime`, which processes read; the real-time clock only says when to look.

use crate::process::ProcessNumber;
use crate::{Broker, badge};
use baton_platform::protocol::Refusal;
use baton_runtime::sel4::{
    CapRights, Capability, Error, IrqHandler, Message, Notification, nb_send,
};
use baton_runtime::{MapError, Mapped, ObjectSource, Root, device};

const TIME_LOW: u64 = 0x00;
const TIME_HIGH: u64 = 0x04;
const ALARM_LOW: u64 = 0x08;
const ALARM_HIGH: u64 = 0x0c;
const IRQ_ENABLED: u64 = 0x10;
const CLEAR_INTERRUPT: u64 = 0x1c;

/// What the device tree calls it.
const COMPATIBLE: &str = "google,goldfish-rtc";

/// The machine's clock, for alarms.
pub struct AlarmClock {
    registers: Mapped,
    handler: IrqHandler,
    ns_per_tick: u64,
}

/// Why there are no alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmError {
    /// The device tree has no such clock, or does not say its interrupt or the ticks of `rdtime`.
    NoClock,
    /// It cannot be mapped, or the kernel refuses its interrupt.
    Map(MapError),
}

impl<E: Into<MapError>> From<E> for AlarmError {
    fn from(error: E) -> Self {
        AlarmError::Map(error.into())
    }
}

impl core::fmt::Display for AlarmError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            AlarmError::NoClock => f.write_str("the machine has no clock with an alarm"),
            AlarmError::Map(error) => error.fmt(f),
        }
    }
}

impl AlarmClock {
    /// Raises the interrupt in so many ticks.
    fn set(&self, ticks: u64) {
        let low = u64::from(self.registers.read_u32(TIME_LOW));
        let now_ns = low | u64::from(self.registers.read_u32(TIME_HIGH)) << 32;
        let at_ns = now_ns.saturating_add(ticks.saturating_mul(self.ns_per_tick));
        self.registers.write_u32(IRQ_ENABLED, 1);
        self.registers.write_u32(ALARM_HIGH, (at_ns >> 32) as u32);
        self.registers.write_u32(ALARM_LOW, at_ns as u32);
    }
}

impl Broker {
    /// Uses the machine's clock for alarms from now on, and binds a notification to the calling thread, whose TCB `root` has: its
    /// interrupts arrive with the messages.
    ///
    /// # Errors
    /// [`AlarmError`]; processes then wait for deadlines by giving up the core again and again.
    pub fn use_clock(&mut self, root: &Root) -> Result<(), AlarmError> {
        let (allocator, window) = (&mut self.store.allocator, &mut self.store.window);
        let mut interrupt = None;
        if let Some(tree) = root.device_tree() {
            // What cannot be read of the tree has no clock in it.
            let _ = tree.walk(|node| {
                if node.lists("compatible", COMPATIBLE) {
                    interrupt = interrupt.or(node.word("interrupts"));
                }
            });
        }
        let interrupt = interrupt.ok_or(AlarmError::NoClock)?;
        let ns_per_tick = 1_000_000_000_u64
            .checked_div(self.timebase_hz)
            .ok_or(AlarmError::NoClock)?;
        let registers = device::map(root, allocator, window, COMPATIBLE)?;
        let slot = allocator.slot()?;
        root.irq_control
            .handler(interrupt.into(), allocator.cnode().slot(slot))?;
        let handler = IrqHandler::new(slot);
        let notification = allocator.make::<Notification>()?;
        let badged = allocator.slot()?;
        let from = allocator.place(notification);
        allocator
            .cnode()
            .slot(badged)
            .mint_from(from, CapRights::ALL, badge::ALARM)?;
        handler.set_notification(Notification::from_cptr(badged))?;
        root.tcb.bind_notification(notification)?;
        registers.write_u32(CLEAR_INTERRUPT, 1);
        handler.acknowledge()?;
        self.alarm = Some(AlarmClock {
            registers,
            handler,
            ns_per_tick,
        });
        Ok(())
    }

    pub(crate) fn asked_for_alarm(
        &mut self,
        process: ProcessNumber,
        ticks: u64,
    ) -> Result<u64, (Refusal, u64)> {
        let record = self.processes.get_mut(&process.0);
        let (Some(record), Some(_)) = (record, &self.alarm) else {
            return Err((Refusal::NoClock, 0));
        };
        record.alarm_ticks = Some(ticks);
        self.ring_alarms();
        Ok(0)
    }

    /// The clock's interrupt has arrived.
    pub(crate) fn alarm_went_off(&mut self) {
        let Some(alarm) = &self.alarm else {
            return;
        };
        alarm.registers.write_u32(CLEAR_INTERRUPT, 1);
        // Refused only if somebody has deleted it.
        let _: Result<(), Error> = alarm.handler.acknowledge();
        self.ring_alarms();
    }

    /// Signals those whose time has come, and sets the clock to the next.
    fn ring_alarms(&mut self) {
        let Some(alarm) = &self.alarm else {
            return;
        };
        let now = baton_platform::now_ticks();
        let mut next = None::<u64>;
        for record in self.processes.values_mut() {
            match record.alarm_ticks {
                Some(ticks) if ticks <= now => {
                    record.alarm_ticks = None;
                    nb_send(record.notification.cptr(), &Message::new(0, &[]));
                }
                Some(ticks) => next = Some(next.map_or(ticks, |next| next.min(ticks))),
                None => {}
            }
        }
        if let Some(next) = next {
            alarm.set(next - now);
        }
    }
}
