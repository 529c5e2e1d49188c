//! Whom one talks to: what the kernel says about the other end of a socket, and who is let in.

use core::fmt;
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

/// `SO_PEERPIDFD`, from Linux 6.5 on; the C library's headers lag behind.
const SO_PEERPIDFD: libc::c_int = 77;

/// What is known about the process at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its process id, as the kernel knew it when the socket was made (0: it is in a namespace that cannot be seen from here).
    pub pid: i32,
    /// Its effective user then.
    pub uid: u32,
    /// What it calls itself; not to be trusted.
    pub name: String,
}

impl fmt::Display for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}, uid {})", self.name, self.pid, self.uid)
    }
}

/// Process and user of the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
}

/// Who is let in: the same user, and those who were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    allowed_uids: Vec<u32>,
}

impl Policy {
    /// The same user only.
    pub fn same_user() -> Policy {
        Policy::default()
    }

    /// Lets processes of user `uid` in as well.
    #[must_use]
    pub fn allow_uid(mut self, uid: u32) -> Policy {
        self.allowed_uids.push(uid);
        self
    }

    /// Whether a peer of `peer_uid` is let in by a process of `own_uid`.
    pub fn permits(&self, peer_uid: u32, own_uid: u32) -> bool {
        peer_uid == own_uid || self.allowed_uids.contains(&peer_uid)
    }
}

/// Asks for a socket option of fixed size that is plain integers.
fn option<T: Copy>(socket: &impl AsFd, option: libc::c_int, mut value: T) -> Result<T, Errno> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is a live `T` of `len` bytes, and the callers' types are valid for every bit pattern.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        let errno = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&errno).unwrap_or(Errno::INVAL));
    }
    if len as usize != size_of::<T>() {
        return Err(Errno::INVAL);
    }
    Ok(value)
}

/// The process that made the other end (for a client: that called `listen`).
// Asked by hand: a peer in a foreign namespace has pid 0, for which the safe wrapper's type has no room.
pub(crate) fn of(socket: &impl AsFd) -> Result<Credentials, Errno> {
    let unknown = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let found = option(socket, libc::SO_PEERCRED, unknown)?;
    Ok(Credentials {
        pid: found.pid,
        uid: found.uid,
    })
}

/// A descriptor of exactly that process, where the kernel has such (Linux 6.5); without it, a hang-up alone tells of death.
pub(crate) fn pidfd_of(socket: &impl AsFd) -> Option<OwnedFd> {
    let raw: libc::c_int = option(socket, SO_PEERPIDFD, -1).ok()?;
    if raw < 0 {
        return None;
    }
    // SAFETY: the kernel has just made this descriptor for us, close-on-exec, and nobody else knows of it.
    Some(unsafe { OwnedFd::from_raw_fd(raw) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn the_same_user_is_let_in_and_nobody_else() {
        let policy = Policy::same_user();
        assert!(policy.permits(1000, 1000));
        assert!(!policy.permits(1001, 1000));
        assert!(!policy.permits(0, 1000));
        assert!(!policy.permits(u32::MAX, 1000));
    }

    #[test]
    fn added_users_are_let_in() {
        let policy = Policy::same_user().allow_uid(7).allow_uid(9);
        assert!(policy.permits(7, 1000) && policy.permits(9, 1000) && policy.permits(1000, 1000));
        assert!(!policy.permits(8, 1000));
    }

    #[test]
    fn a_socket_pair_is_held_by_ourselves() {
        let (a, _b) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let found = of(&a).unwrap();
        assert_eq!(found.pid as u32, std::process::id());
        assert_eq!(found.uid, rustix::process::geteuid().as_raw());
    }
}
