//! Doorbells: one eventfd a connection, made by whom it wakes and passed to whom may ring it.
//!
//! The sleeper waits edge-triggered and never reads the counter, so every ring is one `write` and wakes once; a ring before
//! the wait makes the wait return at once. Only the two ends of the connection hold the descriptor: whoever spoils it spoils
//! his own connection's bell.
//!
//! What a hostile sleeper can do: clear `O_NONBLOCK` on the descriptor that both hold and fill the counter, so that the ringer
//! blocks in `write`. A peer of the same user could as well stop the ringer by a signal. See `docs/soundness.md`.

use core::fmt;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::sync::Arc;

/// What `/proc` calls an eventfd.
const EVENTFD_LINK: &[u8] = b"anon_inode:[eventfd]";

/// The right to wake one sleeper: an eventfd.
#[derive(Clone, Debug)]
pub struct EventBell(Arc<OwnedFd>);

/// Why a descriptor is not taken for a bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BellError {
    /// `/proc` could not be asked what the descriptor is: mount it.
    NoProc(Errno),
    /// The peer passed something else than an eventfd: disconnect it.
    NotEventfd,
    /// The descriptor could not be made non-blocking.
    Blocking(Errno),
}

impl fmt::Display for BellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BellError::NoProc(errno) => write!(
                f,
                "cannot ask /proc/self/fd what a passed descriptor is: {errno}"
            ),
            BellError::NotEventfd => f.write_str("the peer passed a bell that is no eventfd"),
            BellError::Blocking(errno) => {
                write!(f, "cannot make the peer's bell non-blocking: {errno}")
            }
        }
    }
}

impl std::error::Error for BellError {}

impl EventBell {
    /// A new bell that nobody has rung yet.
    ///
    /// # Errors
    ///
    /// What the kernel said: too many open files, or no memory.
    pub fn new() -> Result<EventBell, Errno> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(EventBell(Arc::new(fd)))
    }

    /// Takes a descriptor that a peer passed, after a look at what it is: writing to anything but an eventfd could block.
    ///
    /// # Errors
    ///
    /// [`BellError`]: the peer's fault, or no `/proc`.
    pub fn from_peer(fd: OwnedFd) -> Result<EventBell, BellError> {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let link = rustix::fs::readlink(path, Vec::new()).map_err(BellError::NoProc)?;
        if link.as_bytes() != EVENTFD_LINK {
            return Err(BellError::NotEventfd);
        }
        rustix::fs::fcntl_setfl(&fd, OFlags::RDWR | OFlags::NONBLOCK)
            .map_err(BellError::Blocking)?;
        Ok(EventBell(Arc::new(fd)))
    }
}

impl AsFd for EventBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl baton_inbox::Bell for EventBell {
    fn ring(&self) {
        // An error means that the counter is full (somebody who may ring has rung 2^64 times, or pretends so: the bell was
        // his own to spoil), or that a signal came in between, before anything was written.
        while rustix::io::write(self, &1u64.to_ne_bytes()) == Err(Errno::INTR) {}
    }
}
