//! What the tests share: hosts, names of their own, waiting for events, and the test binary as a second process.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use baton_linux::{ControlEvent, Grants, Host, HostConfig, ServiceName, Started, Wants};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// How long a connect may take before a test counts as failed; never waited for when all is well.
pub const TIMEOUT_NS: u64 = 20_000_000_000;
/// The hash of the interface that the tests pretend to have.
pub const INTERFACE: u64 = 0x1122_3344_5566_7788;

/// Ends the test binary when something that must happen never does. It only ever fires on failure.
pub fn watchdog() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(60));
            eprintln!("a test waits for something that does not happen");
            std::process::abort();
        });
    });
}

pub fn start() -> Started {
    start_with(HostConfig::default())
}

pub fn start_with(config: HostConfig) -> Started {
    watchdog();
    Host::start(config).expect("a host starts")
}

/// A name that no other test, process or run has.
pub fn unique_name(what: &str) -> ServiceName {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    ServiceName::new(&format!("test-{what}-{}-{n}", std::process::id())).expect("a valid name")
}

pub fn grants() -> Grants {
    Grants {
        max_credits: 32,
        want_back_credits: 8,
        max_request_bulk_bytes: 4096,
        max_answer_bulk_bytes: 8192,
        back_interface: 0xbac,
        ..Grants::default()
    }
}

pub fn wants() -> Wants {
    Wants {
        credits: 16,
        offer_credits: 4,
        request_bulk_bytes: 1024,
        answer_bulk_bytes: 100_000,
        back_interface: 0xbac,
        server_uid: None,
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for the next event of a host.
pub fn next_event(host: &Host) -> ControlEvent {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut next = std::pin::pin!(host.next_event());
    loop {
        match next.as_mut().poll(&mut cx) {
            Poll::Ready(event) => return event,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// This very test binary again, as the process `role`.
pub fn second_command(role: &str, name: &str) -> Command {
    // By a descriptor: another user may not be able to reach the path.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "second_process_entry", "--nocapture", "-q"])
        .env("BATON_TEST_ROLE", role)
        .env("BATON_TEST_NAME", name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Starts this test binary as the process `role`, with a line-wise pipe from it.
pub fn second_process(role: &str, name: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = second_command(role, name)
        .spawn()
        .expect("a second process");
    let out = child.stdout.take().expect("its output is piped");
    (child, BufReader::new(out))
}

/// Reads the second process's lines up to one that begins with `mark`, and returns the rest of that line.
pub fn wait_for_line(out: &mut BufReader<ChildStdout>, mark: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        let len = out.read_line(&mut line).expect("the pipe can be read");
        assert_ne!(len, 0, "the second process ended without saying {mark}");
        if let Some(rest) = line.trim_end().strip_prefix(mark) {
            return rest.to_owned();
        }
    }
}

/// Open descriptors of this process.
pub fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .count()
}
