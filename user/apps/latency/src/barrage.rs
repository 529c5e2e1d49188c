//! Interrupts at random times, and how long each has waited.
//!
//! The machine's clock raises its interrupt at a given nanosecond. The listener sets it, waits, and reads the clock as soon as it runs. What
//! it measures so is all from the moment at which the interrupt is raised: the rest of what the kernel was doing, taking the interrupt, and
//! switching to the listener, which is what an idle machine's row shows.

use baton_runtime::sel4::{CNodeCapData, CapRights, Capability, IrqHandler, Notification};
use baton_runtime::sync::{AtomicU64, Ordering};
use baton_runtime::{
    Allocator, MapError, Mapped, ObjectSource, Random, Root, Thread, ThreadConfig, Window,
};

const CLOCK_IRQ: u64 = 11;

const TIME_LOW: u64 = 0x00;
const TIME_HIGH: u64 = 0x04;
const ALARM_LOW: u64 = 0x08;
const ALARM_HIGH: u64 = 0x0c;
const IRQ_ENABLED: u64 = 0x10;
const CLEAR_ALARM: u64 = 0x14;
const CLEAR_INTERRUPT: u64 = 0x1c;

/// The least time (nanoseconds) from setting the clock to its interrupt: setting it takes some.
const SOON: u64 = 500;

/// Badge of the clock's interrupt.
const ALARM: u64 = 1;
/// Badge of the worker, which wants the barrage to begin.
const BEGIN: u64 = 2;

/// Priority of the listener.
pub const LISTENER_PRIORITY: u64 = 255;

/// Whether the barrage goes on.
static GOES_ON: AtomicU64 = AtomicU64::new(0);
/// Whether an interrupt is still to come.
static IS_SET: AtomicU64 = AtomicU64::new(0);
/// From when to when an interrupt may come after the last (nanoseconds).
static FROM: AtomicU64 = AtomicU64::new(0);
static WITHIN: AtomicU64 = AtomicU64::new(0);
/// What was seen.
static LONGEST: AtomicU64 = AtomicU64::new(0);
static SHORTEST: AtomicU64 = AtomicU64::new(u64::MAX);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// How long something has taken (instructions).
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The longest.
    pub longest: u64,
    /// The shortest.
    pub shortest: u64,
    /// How many there were.
    pub count: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            longest: 0,
            shortest: u64::MAX,
            count: 0,
        }
    }
}

impl Seen {
    /// Takes one more into account.
    pub fn add(&mut self, instructions: u64) {
        self.longest = self.longest.max(instructions);
        self.shortest = self.shortest.min(instructions);
        self.count += 1;
    }
}

/// The worker's side.
#[derive(Clone, Copy, Debug)]
pub struct Barrage {
    begin: Notification,
    clock: Mapped,
}

/// The listener's side.
struct Listener {
    notification: Notification,
    handler: IrqHandler,
    clock: Mapped,
}

impl Barrage {
    /// Starts the listener.
    ///
    /// # Errors
    /// That it cannot be made.
    pub fn prepare(
        root: &Root,
        allocator: &mut Allocator,
        window: &mut Window,
        clock: Mapped,
    ) -> Result<Self, MapError> {
        let notification = allocator.make::<Notification>()?;
        let mut badged = |badge: u64| {
            let slot = allocator.slot()?;
            let to = allocator.cnode().slot(slot);
            to.mint_from(allocator.place(notification), CapRights::ALL, badge)?;
            Ok::<_, MapError>(Notification::from_cptr(slot))
        };
        let (alarm, begin) = (badged(ALARM)?, badged(BEGIN)?);
        let slot = allocator.slot()?;
        root.irq_control
            .handler(CLOCK_IRQ, allocator.cnode().slot(slot))?;
        let handler = IrqHandler::new(slot);
        handler.set_notification(alarm)?;
        handler.acknowledge()?;
        let config = ThreadConfig {
            fault_endpoint: 0,
            cspace: root.cnode,
            cspace_data: CNodeCapData::default(),
            authority: root.tcb,
            priority: LISTENER_PRIORITY,
            mc_priority: LISTENER_PRIORITY,
            stack_pages: 4,
        };
        let thread = Thread::make(allocator, window, &config)?;
        let listener = Listener {
            notification,
            handler,
            clock,
        };
        // It runs at once, and copies this before it first waits.
        thread.start(listen, [&raw const listener as u64, 0, 0])?;
        Ok(Self { begin, clock })
    }

    /// Forgets what was seen.
    pub fn reset(self) {
        LONGEST.store(0, Ordering::SeqCst);
        SHORTEST.store(u64::MAX, Ordering::SeqCst);
        COUNT.store(0, Ordering::SeqCst);
    }

    /// How long interrupts have waited since.
    pub fn seen(self) -> Seen {
        Seen {
            longest: LONGEST.load(Ordering::SeqCst),
            shortest: SHORTEST.load(Ordering::SeqCst),
            count: COUNT.load(Ordering::SeqCst),
        }
    }

    /// Does something while interrupts come again and again, each within so many nanoseconds after the last.
    pub fn during<T>(self, within: u64, work: impl FnOnce() -> T) -> T {
        self.begin_within(0, within, 1);
        let result = work();
        GOES_ON.store(0, Ordering::SeqCst);
        wait_for_the_last();
        result
    }

    /// Lets one interrupt come, between `from` and `from + within` nanoseconds from now, and waits for it.
    pub fn once(self, from: u64, within: u64) {
        self.begin_within(from, within, 0);
        wait_for_the_last();
    }

    fn begin_within(self, from: u64, within: u64, goes_on: u64) {
        FROM.store(from, Ordering::SeqCst);
        WITHIN.store(within.max(1), Ordering::SeqCst);
        GOES_ON.store(goes_on, Ordering::SeqCst);
        self.begin.signal();
    }

    /// The time (nanoseconds).
    pub fn now(self) -> u64 {
        now(self.clock)
    }
}

/// Until then this thread runs, so that the machine is never idle.
fn wait_for_the_last() {
    while IS_SET.load(Ordering::SeqCst) != 0 {
        core::hint::spin_loop();
    }
}

fn now(clock: Mapped) -> u64 {
    let low = u64::from(clock.read_u32(TIME_LOW));
    low | u64::from(clock.read_u32(TIME_HIGH)) << 32
}

extern "C" fn listen(listener: u64, _: u64, _: u64) {
    // SAFETY: the worker's, which does not go on before this thread, of higher priority, waits for the first time.
    let &Listener {
        notification,
        handler,
        clock,
    } = unsafe { &*(listener as *const Listener) };
    clock.write_u32(CLEAR_ALARM, 1);
    clock.write_u32(CLEAR_INTERRUPT, 1);
    clock.write_u32(IRQ_ENABLED, 1);
    // A small generator of numbers that repeat (xorshift).
    let mut random = Random::new(1);
    let mut due = 0;
    loop {
        let badge = notification.wait();
        let seen = now(clock);
        if badge & ALARM != 0 {
            let waited = seen.saturating_sub(due);
            LONGEST.fetch_max(waited, Ordering::SeqCst);
            SHORTEST.fetch_min(waited, Ordering::SeqCst);
            COUNT.fetch_add(1, Ordering::SeqCst);
            clock.write_u32(CLEAR_INTERRUPT, 1);
            // It cannot be refused.
            let _ = handler.acknowledge();
        }
        if badge & BEGIN == 0 && GOES_ON.load(Ordering::SeqCst) == 0 {
            IS_SET.store(0, Ordering::SeqCst);
            continue;
        }
        let after = FROM.load(Ordering::SeqCst) + random.next() % WITHIN.load(Ordering::SeqCst);
        IS_SET.store(1, Ordering::SeqCst);
        due = now(clock) + SOON + after;
        clock.write_u32(ALARM_HIGH, (due >> 32) as u32);
        clock.write_u32(ALARM_LOW, due as u32);
    }
}
