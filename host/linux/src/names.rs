//! Names of services: abstract Unix sockets, so that a killed service leaves nothing behind.
//!
//! A service `kv` of user 1000 listens at the abstract address `\0baton/1000/kv`. Anybody may bind that address, so a client
//! also checks whose process answers (`credentials`).

use crate::credentials;
use core::fmt;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Most characters in a name.
pub const MAX_NAME: usize = 64;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A valid name of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName(String);

/// Why a name is no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The name is empty.
    Empty,
    /// The name is longer than [`MAX_NAME`].
    TooLong {
        /// Its length in bytes.
        len_bytes: usize,
    },
    /// The name has a character other than `a`-`z`, `A`-`Z`, `0`-`9`, `.`, `_` and `-`.
    BadCharacter(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("a service needs a name, this one is empty"),
            NameError::TooLong { len_bytes } => write!(
                f,
                "the service's name has {len_bytes} bytes, at most {MAX_NAME} are possible"
            ),
            NameError::BadCharacter(c) => write!(
                f,
                "{c:?} cannot stand in a service's name; letters, digits, '.', '_' and '-' can"
            ),
        }
    }
}

impl std::error::Error for NameError {}

impl ServiceName {
    /// Takes `name` if it is one.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what is wrong with it.
    pub fn new(name: &str) -> Result<ServiceName, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let bad = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if let Some(c) = name.chars().find(bad) {
            return Err(NameError::BadCharacter(c));
        }
        if name.len() > MAX_NAME {
            return Err(NameError::TooLong {
                len_bytes: name.len(),
            });
        }
        Ok(ServiceName(name.to_owned()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn address(&self, owner_uid: u32) -> Result<SocketAddrUnix, Errno> {
        SocketAddrUnix::new_abstract_name(format!("baton/{owner_uid}/{}", self.0).as_bytes())
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a name could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// A living process listens under this name.
    InUse {
        /// That process, if it could be found.
        holder_pid: Option<i32>,
    },
    /// The kernel refused: too many open files, or no memory.
    System(Errno),
}

/// A new socket, close-on-exec.
fn socket(kind: SocketType, flags: SocketFlags) -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        kind,
        flags | SocketFlags::CLOEXEC,
        None,
    )
}

/// Listens at an abstract address, non-blocking; `ADDRINUSE` when somebody else does.
pub(crate) fn listen_at(address: &SocketAddrUnix, kind: SocketType) -> Result<OwnedFd, Errno> {
    let listener = socket(kind, SocketFlags::NONBLOCK)?;
    rustix::net::bind(&listener, address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// The process that listens at an address, asked without waiting for it.
fn holder(address: &SocketAddrUnix) -> Option<i32> {
    let probe = socket(SocketType::SEQPACKET, SocketFlags::NONBLOCK).ok()?;
    rustix::net::connect(&probe, address).ok()?;
    Some(credentials::of(&probe).ok()?.pid)
}

/// Listens under `name` as this process's user.
pub(crate) fn listen(name: &ServiceName) -> Result<OwnedFd, BindError> {
    let own_uid = rustix::process::geteuid().as_raw();
    let address = name.address(own_uid).map_err(BindError::System)?;
    listen_at(&address, SocketType::SEQPACKET).map_err(|errno| match errno {
        Errno::ADDRINUSE => BindError::InUse {
            holder_pid: holder(&address),
        },
        errno => BindError::System(errno),
    })
}

/// A blocking socket, not connected yet, and the address of a user's service.
pub(crate) fn client_socket(
    name: &ServiceName,
    owner_uid: u32,
) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
    let fd = socket(SocketType::SEQPACKET, SocketFlags::empty())?;
    Ok((fd, name.address(owner_uid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(ServiceName::new(""), Err(NameError::Empty));
        assert_eq!(ServiceName::new("a/b"), Err(NameError::BadCharacter('/')));
        assert_eq!(ServiceName::new("a\0b"), Err(NameError::BadCharacter('\0')));
        assert_eq!(
            ServiceName::new(&"x".repeat(65)),
            Err(NameError::TooLong { len_bytes: 65 })
        );
        for good in ["kv", "Key-Value_2.0", &"x".repeat(64)] {
            assert_eq!(ServiceName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn the_longest_name_fits_into_an_address() {
        let name = ServiceName::new(&"x".repeat(MAX_NAME)).unwrap();
        assert!(name.address(u32::MAX).is_ok());
    }
}
