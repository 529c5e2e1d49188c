//! What an inbox needs from the machine below it: a doorbell, a sleep, a clock, and "which executor runs here".
//!
//! There is one implementation a platform (`host/linux`, later the microkernel's user side and the kernel itself), chosen by
//! crate. Nothing above this trait knows which one it is.

use crate::publication::Publication;

/// The machine below.
pub trait Platform: Sized + 'static {
    /// The right to wake one sleeping consumer.
    ///
    /// Rings must be *sticky* (a ring before the wait makes the wait return) and no holder may be able to undo another's.
    type Bell: Bell;

    /// How lanes are published here: [`crate::InSlot`] between cores, [`crate::TailWord`] where both sides share one.
    type Publication: Publication;

    /// Waits until some sender has rung since the last wait returned, or until `deadline_ns` of [`Platform::now_ns`].
    ///
    /// May return early for no reason. Called only after the state word says SLEEPING and everything was looked at again.
    fn wait(&self, deadline_ns: Option<u64>);

    /// A doorbell that wakes this very consumer, for wakers on foreign threads.
    fn own_bell(&self) -> Self::Bell;

    /// Nanoseconds of a clock that never runs backwards.
    fn now_ns(&self) -> u64;

    /// The time that a trace notes with each event: [`Platform::now_ns`], unless all processes of this machine share something finer, such
    /// as a counter of instructions. Asked only while tracing is on.
    fn event_time(&self) -> u64 {
        self.now_ns()
    }

    /// How long `Adaptive` may spin before it sleeps now, in nanoseconds; 0 when another runnable thread needs this core.
    fn spin_budget_ns(&self) -> u64;

    /// Tells the platform how a spin ended, so that it can size the next one.
    fn spin_ended(&self, spun_ns: u64, found_work: bool);

    /// Gives the core to another thread that wants it, and comes back when that has had its turn. Says no, and has done nothing, where that
    /// does not pay or cannot be done.
    ///
    /// Cheaper than to sleep and be rung for where several parties share a core and each soon has work for the next.
    fn yield_core(&self) -> bool {
        false
    }

    /// Looks after what this machine tells by other ways than lanes, such as arrivals and deaths that a broker noted in memory. Called
    /// after each sleep and, while awake, every so many turns.
    fn attend(&self) {}

    /// Rings whom [`Bell::ring`] has put off to ring. Where waking somebody and waiting are one step, a platform may put off the last ring until
    /// the consumer either waits ([`Platform::wait`]), or calls this because it has something else to do: at the end of each turn.
    #[inline(always)]
    fn ring_deferred(&self) {}

    /// What [`Platform::set_current`] stored last on this thread; null at first.
    fn current() -> *const ();

    /// Stores a pointer for this thread only.
    fn set_current(current: *const ());
}

/// The right to wake one sleeping consumer.
pub trait Bell: Send + Sync + 'static {
    /// Wakes the consumer, or makes its next wait return at once; at the latest when the caller waits, or calls [`Platform::ring_deferred`].
    /// Never blocks.
    fn ring(&self);

    /// Whether the connection that this bell belongs to was ended by whoever made it, and its memory perhaps replaced. Asked before a peer
    /// is called corrupt for what was found there.
    fn is_cut(&self) -> bool {
        false
    }
}
