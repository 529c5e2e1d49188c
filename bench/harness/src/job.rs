//! What is measured: workload, shape, job, and the values that come out.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::HarnessError;

macro_rules! names {
    ($(#[$meta:meta])* $kind:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind { $($(#[$doc])* $variant,)+ }

        impl $kind {
            /// The name in commands and in the CSV file.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = HarnessError;

            fn from_str(text: &str) -> Result<Self, HarnessError> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(HarnessError::Protocol(format!(concat!("unknown ", stringify!($kind), " {:?}"), text))),
                }
            }
        }
    };
}

names! {
    /// A workload; its name is the first column of the CSV file.
    Workload {
        /// 48 bytes each way, one outstanding, each side on a core of its own.
        W1Awake = "w1_awake",
        /// As `w1_awake` with 256 bytes each way.
        W1Awake256 = "w1_awake_256",
        /// As `w1_awake` with 4096 bytes each way.
        W1Awake4096 = "w1_awake_4096",
        /// As `w1_awake` with 60 more connections in the server's inbox, over which nothing comes.
        W1AwakeIdle60 = "w1_awake_idle60",
        /// As `w1_awake` with tracing switched on at both sides.
        W1AwakeTraced = "w1_awake_traced",
        /// 48 bytes each way, one outstanding, both sides pinned to one core.
        W1Asleep = "w1_asleep",
        /// Echo of 48 bytes with a full window of outstanding requests per client.
        W2 = "w2",
        /// Wake, requeue and poll of a task, in instructions; `outstanding` is the number of tasks.
        TaskWake = "task_wake",
        /// One request and its answer, both sides, in instructions.
        Request = "request",
        /// As `request` with 60 more connections in the server's inbox, over which nothing comes.
        RequestIdle60 = "request_idle60",
        /// As `request` with tracing switched on at both sides.
        RequestTraced = "request_traced",
    }
}

names! {
    /// What a value says; its name is a column of the CSV file.
    Metric {
        /// Median time of a round trip.
        P50 = "p50",
        /// 99th percentile of a round trip.
        P99 = "p99",
        /// Answered requests a second, all clients together.
        Rate = "rate",
        /// Instructions a round.
        Instructions = "instructions",
    }
}

impl Metric {
    /// The unit in the CSV file.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::P50 | Self::P99 => "ns",
            Self::Rate => "requests/s",
            Self::Instructions => "instructions",
        }
    }
}

/// A workload and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// What is done.
    pub workload: Workload,
    /// Client processes.
    pub clients: usize,
    /// Outstanding requests of each client.
    pub outstanding: usize,
}

impl Shape {
    /// A shape from its three columns.
    #[must_use]
    pub const fn new(workload: Workload, clients: usize, outstanding: usize) -> Self {
        Self {
            workload,
            clients,
            outstanding,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.workload, self.clients, self.outstanding)
    }
}

impl FromStr for Shape {
    type Err = HarnessError;

    fn from_str(text: &str) -> Result<Self, HarnessError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [workload, clients, outstanding] = fields.as_slice() else {
            return Err(HarnessError::Protocol(format!(
                "{text:?} is not `workload clients outstanding`"
            )));
        };
        let count = |field: &str| {
            field
                .parse()
                .map_err(|_| HarnessError::Protocol(format!("{field:?} is not a number")))
        };
        Ok(Self::new(
            workload.parse()?,
            count(clients)?,
            count(outstanding)?,
        ))
    }
}

/// One sample to take: a shape, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// What is done.
    pub shape: Shape,
    /// How long it is measured, after a warm-up of an eighth of that.
    pub duration: Duration,
}

/// The values of one sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(Vec<(Metric, f64)>);

impl Values {
    /// Values without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value; one that is not finite is left out, so that its absence shows.
    #[must_use]
    pub fn with(mut self, metric: Metric, value: f64) -> Self {
        if value.is_finite() {
            self.0.push((metric, value));
        }
        self
    }

    /// The value of `metric`, if the sample has one.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.0
            .iter()
            .find(|(have, _)| *have == metric)
            .map(|&(_, value)| value)
    }

    /// All values in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, f64)> + '_ {
        self.0.iter().copied()
    }
}
