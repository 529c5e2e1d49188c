//! Drivers: what takes samples of one peer, in this process or behind a line protocol in another.
//!
//! The protocol, one line each way. Commands: `list`, `sample <workload> <clients> <outstanding> <duration_ms>`, `quit`.
//! Answers: `ok ...`, `unsupported <why>`, `error <why>`. The answer to `list` is `ok` and shapes with slashes
//! (`ok w1_awake/1/1 w2/1/64`); that to `sample` is `ok before=<ns> after=<ns> waited=<part> p50=<ns> ...`, where `before` and
//! `after` are the calibrations on both sides of the sample, or `nan` where instructions are counted and none is needed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::{Calibrator, HarnessError, Job, Shape, TOLERANCE, Values};

/// A sample is thrown away when a process waited for a core of its own for more than this part of the time.
///
/// A peer that sleeps and is woken on its own core comes to 0.025 by that alone.
pub const MAX_WAITED: f64 = 0.05;

/// One measurement between two calibrations.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Cache-line round trip directly before, in ns; NaN where none applies.
    pub before_ns: f64,
    /// Cache-line round trip directly after, in ns; NaN where none applies.
    pub after_ns: f64,
    /// The longest that a process waited for a core of its own, as a part of the sample's time.
    pub waited: f64,
    /// What was measured.
    pub values: Values,
}

impl Sample {
    /// A sample that no distance between cores can spoil, such as a count of instructions.
    #[must_use]
    pub fn uncalibrated(values: Values) -> Self {
        Self {
            before_ns: f64::NAN,
            after_ns: f64::NAN,
            waited: 0.0,
            values,
        }
    }

    /// The mean of both calibrations; NaN for a sample without.
    #[must_use]
    pub fn calibration_ns(&self) -> f64 {
        f64::midpoint(self.before_ns, self.after_ns)
    }

    /// Whether both calibrations agree within `tolerance` of their mean, or none was needed, and no process had to
    /// wait for its core.
    #[must_use]
    pub fn is_steady(&self, tolerance: f64) -> bool {
        let both_absent = self.before_ns.is_nan() && self.after_ns.is_nan();
        let undisturbed = self.waited <= MAX_WAITED;
        undisturbed && (both_absent || agree(self.before_ns, self.after_ns, tolerance))
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::uncalibrated(Values::new())
    }
}

/// Whether two calibrations differ by at most `tolerance` of their mean.
#[must_use]
pub fn agree(one_ns: f64, other_ns: f64, tolerance: f64) -> bool {
    (one_ns - other_ns).abs() <= tolerance * f64::midpoint(one_ns, other_ns)
}

/// A peer's program: it says what it runs and takes one sample at a time.
///
/// Between two samples none of its processes may run: they sleep or have ended.
pub trait Driver {
    /// The peer's name in the CSV file.
    fn peer(&self) -> &'static str;

    /// What it can run.
    fn shapes(&self) -> Vec<Shape>;

    /// Takes one sample, bracketed by `calibrator`; [`Group`](crate::Group) does both.
    ///
    /// # Errors
    /// `Unsupported` for a shape that is not among [`shapes`](Self::shapes), otherwise what went wrong.
    fn sample(&mut self, job: &Job, calibrator: &mut Calibrator) -> Result<Sample, HarnessError>;
}

/// A driver in this process or in another.
pub trait Sampler {
    /// The peer's name in the CSV file.
    fn peer(&self) -> String;

    /// What it can run.
    ///
    /// # Errors
    /// `Protocol` or `Role` when a remote driver does not answer.
    fn shapes(&mut self) -> Result<Vec<Shape>, HarnessError>;

    /// Takes one sample.
    ///
    /// # Errors
    /// `Unsupported` for a shape it does not run, otherwise what went wrong.
    fn sample(&mut self, job: &Job) -> Result<Sample, HarnessError>;
}

/// A driver in this process, with a calibrator of its own.
pub struct LocalDriver<D> {
    driver: D,
    calibrator: Calibrator,
}

impl<D: Driver> LocalDriver<D> {
    /// Starts the calibrator.
    ///
    /// # Errors
    /// As [`Calibrator::start`].
    pub fn start(driver: D) -> Result<Self, HarnessError> {
        Ok(Self {
            driver,
            calibrator: Calibrator::start()?,
        })
    }
}

impl<D: Driver> Sampler for LocalDriver<D> {
    fn peer(&self) -> String {
        self.driver.peer().to_string()
    }

    fn shapes(&mut self) -> Result<Vec<Shape>, HarnessError> {
        Ok(self.driver.shapes())
    }

    fn sample(&mut self, job: &Job) -> Result<Sample, HarnessError> {
        if !self.driver.shapes().contains(&job.shape) {
            return Err(HarnessError::Unsupported(format!(
                "{} does not run {}",
                self.driver.peer(),
                job.shape
            )));
        }
        self.driver.sample(job, &mut self.calibrator)
    }
}

impl Driver for Box<dyn Driver> {
    fn peer(&self) -> &'static str {
        (**self).peer()
    }

    fn shapes(&self) -> Vec<Shape> {
        (**self).shapes()
    }

    fn sample(&mut self, job: &Job, calibrator: &mut Calibrator) -> Result<Sample, HarnessError> {
        (**self).sample(job, calibrator)
    }
}

/// Serves a driver on stdin and stdout until `quit` or the end of stdin, in a session of its own if it can.
///
/// # Errors
/// `Os` when stdin or stdout fail; what a command did wrong is answered on its line.
pub fn serve_driver(driver: impl Driver) -> Result<(), HarnessError> {
    // Where it is not allowed, samples are noisier and nothing else changes.
    let _ = crate::cpu::raise_session();
    let mut local = LocalDriver::start(driver)?;
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|source| HarnessError::os("read of a command", source))?;
        if line.trim() == "quit" {
            break;
        }
        let answer = match answer_command(&mut local, line.trim()) {
            Ok(text) => format!("ok {text}"),
            Err(HarnessError::Unsupported(text)) => format!("unsupported {}", one_line(&text)),
            Err(error) => format!("error {}", one_line(&error.to_string())),
        };
        writeln!(stdout, "{answer}")
            .and_then(|()| stdout.flush())
            .map_err(|source| HarnessError::os("write of an answer", source))?;
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

fn answer_command<D: Driver>(
    local: &mut LocalDriver<D>,
    line: &str,
) -> Result<String, HarnessError> {
    if line == "list" {
        let shapes: Vec<String> = local
            .shapes()?
            .iter()
            .map(|shape| shape.to_string().replace(' ', "/"))
            .collect();
        return Ok(shapes.join(" "));
    }
    let (shape, duration_ms) = line
        .strip_prefix("sample ")
        .and_then(|rest| rest.rsplit_once(' '))
        .ok_or_else(|| HarnessError::Protocol(format!("unknown command {line:?}")))?;
    let millis = duration_ms
        .parse()
        .map_err(|_| HarnessError::Protocol(format!("{duration_ms:?} is no number of ms")))?;
    let sample = local.sample(&Job {
        shape: shape.parse()?,
        duration: Duration::from_millis(millis),
    })?;
    let mut text = format!(
        "before={} after={} waited={}",
        sample.before_ns, sample.after_ns, sample.waited
    );
    for (metric, value) in sample.values.iter() {
        text.push_str(&format!(" {metric}={value}"));
    }
    Ok(text)
}

/// A driver in another process, which serves the line protocol; dropping it ends the process.
pub struct RemoteDriver {
    peer: String,
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl RemoteDriver {
    /// Starts `command`, which must call [`serve_driver`].
    ///
    /// # Errors
    /// `Os` when it cannot be started.
    pub fn start(peer: &str, mut command: Command) -> Result<Self, HarnessError> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| HarnessError::os("start of a driver", source))?;
        let commands = child.stdin.take();
        let answers = child
            .stdout
            .take()
            .ok_or_else(|| HarnessError::Protocol("the driver has no stdout".into()))?;
        Ok(Self {
            peer: peer.to_string(),
            child,
            commands,
            answers: BufReader::new(answers),
        })
    }

    fn ask(&mut self, command: &str) -> Result<String, HarnessError> {
        let gone = |source| HarnessError::os("talk with a driver", source);
        if let Some(commands) = &mut self.commands {
            writeln!(commands, "{command}")
                .and_then(|()| commands.flush())
                .map_err(gone)?;
        }
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(gone)?;
        let line = line.trim_end();
        match line.split_once(' ').unwrap_or((line, "")) {
            ("ok", text) => Ok(text.to_string()),
            ("unsupported", text) => Err(HarnessError::Unsupported(text.to_string())),
            ("error", text) => Err(HarnessError::Role(format!("{}: {text}", self.peer))),
            _ => Err(HarnessError::Protocol(format!(
                "{} answered {line:?}",
                self.peer
            ))),
        }
    }
}

impl Sampler for RemoteDriver {
    fn peer(&self) -> String {
        self.peer.clone()
    }

    fn shapes(&mut self) -> Result<Vec<Shape>, HarnessError> {
        self.ask("list")?
            .split_whitespace()
            .map(|text| text.replace('/', " ").parse())
            .collect()
    }

    fn sample(&mut self, job: &Job) -> Result<Sample, HarnessError> {
        let answer = self.ask(&format!(
            "sample {} {}",
            job.shape,
            job.duration.as_millis()
        ))?;
        parse_sample(&answer)
    }
}

impl Drop for RemoteDriver {
    fn drop(&mut self) {
        // The end of its stdin ends the driver, which ends its calibrator.
        self.commands = None;
        let _ = self.child.wait();
    }
}

fn parse_sample(text: &str) -> Result<Sample, HarnessError> {
    text.split_whitespace()
        .try_fold(Sample::default(), |mut sample, field| {
            let malformed = || HarnessError::Protocol(format!("{field:?} is not `name=number`"));
            let (name, number) = field.split_once('=').ok_or_else(malformed)?;
            let number: f64 = number.parse().map_err(|_| malformed())?;
            match name {
                "before" => sample.before_ns = number,
                "after" => sample.after_ns = number,
                "waited" => sample.waited = number,
                _ => sample.values = sample.values.with(name.parse()?, number),
            }
            Ok(sample)
        })
}

/// Whether a sample is kept by the rule that all rows share.
#[must_use]
pub fn is_kept(sample: &Sample) -> bool {
    sample.is_steady(TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metric;

    #[test]
    fn sample_survives_the_protocol() {
        let sample = parse_sample("before=100 after=119.5 p50=180 rate=5e6").expect("well-formed");
        assert_eq!(sample.values.get(Metric::P50), Some(180.0));
        assert_eq!(sample.values.get(Metric::Rate), Some(5e6));
        assert!(is_kept(&sample));
        assert!(parse_sample("before=100 after").is_err());
        assert!(parse_sample("p51=3").is_err());
    }

    #[test]
    fn changed_calibration_spoils_a_sample() {
        assert!(!is_kept(&Sample {
            before_ns: 100.0,
            after_ns: 140.0,
            waited: 0.0,
            values: Values::new()
        }));
        assert!(!is_kept(&Sample {
            before_ns: f64::NAN,
            after_ns: 140.0,
            waited: 0.0,
            values: Values::new()
        }));
        assert!(is_kept(&Sample::uncalibrated(Values::new())));
        assert!(!is_kept(&Sample {
            waited: 0.5,
            ..Sample::uncalibrated(Values::new())
        }));
    }
}
