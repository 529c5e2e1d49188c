//! What happened: a step of a request, or of the executor, with who took part.

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal,)*) => {
        /// What an event tells of; the first eight are the steps of one request, in order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            /// Every step, in the order of its number.
            pub const ALL: &'static [Step] = &[$(Step::$step),*];

            /// The name under which the step stands in texts and traces.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Step::$step => $name,)*
                }
            }
        }
    };
}

steps! {
    /// A task polled its call for the first time.
    Call = "call",
    /// The request was written into a slot of the lane to the server.
    Submit = "submit",
    /// A sleeping consumer was rung.
    Ring = "ring",
    /// The server's executor popped the request.
    Drain = "drain",
    /// The handler was polled for the first time.
    Serve = "serve",
    /// The answer was written into a slot of the lane back.
    Reply = "reply",
    /// The requester's executor popped the answer and checked its token.
    DrainAnswer = "drain_answer",
    /// The task that waited for the answer was polled.
    Resume = "resume",
    /// A task was put on the ready queue by its waker.
    Wake = "wake",
    /// The executor looked at everything once more and went to sleep.
    Sleep = "sleep",
    /// The executor came back from its sleep.
    Woken = "woken",
    /// A call was dropped or passed its deadline, and its cancellation was sent or received.
    Cancel = "cancel",
    /// The peer of a connection is dead.
    PeerDied = "peer_died",
    /// The peer of a connection broke the protocol and was quarantined.
    PeerCorrupt = "peer_corrupt",
    /// A connection was bound to the inbox.
    Bound = "bound",
    /// A connection was taken out of the inbox.
    Unbound = "unbound",
    /// A timer ran out.
    Timer = "timer",
    /// A one-way send was written or popped.
    OneWay = "one_way",
    /// A task waits because every credit of the connection is out.
    CreditWait = "credit_wait",
}

impl Step {
    /// The step with this number, or `None` when there is none.
    pub fn decode(number: u8) -> Option<Step> {
        Step::ALL.get(usize::from(number)).copied()
    }

    /// The step of this name, or `None` when there is none.
    pub fn from_name(name: &str) -> Option<Step> {
        Step::ALL.iter().copied().find(|step| step.name() == name)
    }

    /// The number of the step: what [`Step::decode`] takes.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When: nanoseconds of the platform's clock, or what finer counter it has for events.
    pub time_ns: u64,
    /// What.
    pub step: Step,
    /// On which connection of this inbox.
    pub connection: u16,
    /// In which task entry of this executor.
    pub task: u16,
    /// For which request, or 0.
    pub token: u64,
    /// What else the step has to tell, such as the method number.
    pub detail: u32,
}

impl Event {
    /// The event as the words of a ring's slot.
    #[inline]
    pub(crate) fn pack(self) -> [u64; 4] {
        let who = u64::from(self.step.number())
            | u64::from(self.connection) << 16
            | u64::from(self.task) << 32;
        [self.time_ns, self.token, who, u64::from(self.detail)]
    }

    /// The event that has these words, or `None` when none has.
    pub(crate) fn unpack([time_ns, token, who, detail]: [u64; 4]) -> Option<Event> {
        let [step, _, c0, c1, t0, t1, _, _] = who.to_le_bytes();
        Some(Event {
            time_ns,
            step: Step::decode(step)?,
            connection: u16::from_le_bytes([c0, c1]),
            task: u16::from_le_bytes([t0, t1]),
            token,
            detail: u32::try_from(detail).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_steps_match() {
        for number in 0..=u8::MAX {
            assert_eq!(
                Step::decode(number).map(Step::number),
                (usize::from(number) < 19).then_some(number)
            );
        }
    }

    #[test]
    fn names_and_steps_match() {
        for step in Step::ALL {
            assert_eq!(Step::from_name(step.name()), Some(*step));
        }
        assert_eq!(Step::from_name("Submit"), None);
    }

    #[test]
    fn the_eight_steps_come_first_and_in_order() {
        let names: [&str; 8] = core::array::from_fn(|i| Step::ALL[i].name());
        assert_eq!(
            names,
            [
                "call",
                "submit",
                "ring",
                "drain",
                "serve",
                "reply",
                "drain_answer",
                "resume"
            ]
        );
    }

    #[test]
    fn words_that_no_event_has_are_refused() {
        assert_eq!(Event::unpack([0, 0, 19, 0]), None);
        assert_eq!(Event::unpack([0, 0, 0, 1 << 32]), None);
    }

    #[test]
    fn every_field_survives_packing() {
        let event = Event {
            time_ns: u64::MAX,
            step: Step::CreditWait,
            connection: 0x1234,
            task: 0xfedc,
            token: 0x0123_4567_89ab_cdef,
            detail: u32::MAX,
        };
        assert_eq!(Event::unpack(event.pack()), Some(event));
    }
}
