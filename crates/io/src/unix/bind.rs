//! Listening on a Unix socket: the options of the socket file, and the handling of a file that is
//! in the way.

use super::file::{FileHandle, SocketFile};
use super::server::find_server;
use crate::listener::BACKLOG;
use crate::option::check_range;
use crate::{OptionError, UnixAddress};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How often binding is tried when other processes create and remove files at the path.
const ATTEMPTS: usize = 4;

/// A Unix socket to listen on, with the permissions and the owner of its file.
///
/// A client needs write permission for the file, and search permission for the directories of its
/// path. Abstract names have no file, so every process in the network namespace can connect:
/// [`PeerCredentials`](crate::PeerCredentials) show its user.
///
/// ```
/// use ringway_io::{Listener, UnixAddress, UnixSocket};
/// use std::os::unix::fs::PermissionsExt;
///
/// let path = std::env::temp_dir().join(format!("ringway-doc-{}.sock", std::process::id()));
/// let socket = UnixSocket::new(UnixAddress::from_path(&path)?).mode(0o660)?;
/// let listener = Listener::bind_unix(&socket)?;
/// assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o660);
/// drop(listener);
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    address: UnixAddress,
    mode: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
}

impl UnixSocket {
    /// A socket at this address.
    #[must_use]
    pub fn new(address: UnixAddress) -> Self {
        Self { address, mode: None, user: None, group: None }
    }

    /// Sets the permissions of the file, from 0 to `0o777`. Default: `0o777` without the bits of
    /// the process's umask, which is `0o755` in most systems: only the owner can connect.
    ///
    /// They are set before connections are possible, and do not depend on the umask.
    ///
    /// # Errors
    /// An [`OptionError`] for a number out of range.
    pub fn mode(mut self, mode: u32) -> Result<Self, OptionError> {
        check_range("unix.mode", mode, 0..=0o777, "0 to 511 (octal 777)")?;
        self.mode = Some(mode);
        Ok(self)
    }

    /// Sets the user who owns the file, by number. Takes CAP_CHOWN for another user. Default: the
    /// process's user.
    #[must_use]
    pub fn user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }

    /// Sets the group of the file, by number. Takes CAP_CHOWN for a group that the process is not a
    /// member of. Default: the process's group, or that of a directory with the set-group-ID bit.
    #[must_use]
    pub fn group(mut self, gid: u32) -> Self {
        self.group = Some(gid);
        self
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> &UnixAddress {
        &self.address
    }
}

/// Why a Unix socket cannot be listened on.
///
/// ```
/// use ringway_io::{BindError, Listener, UnixBindError, UnixSocket};
///
/// let socket = UnixSocket::new("unix:/dev/null".parse()?);
/// let error = Listener::bind_unix(&socket).unwrap_err();
/// assert!(matches!(error, BindError::Unix(_, UnixBindError::NotASocket(_))), "{error}");
/// # Ok::<(), ringway_io::AddressError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnixBindError {
    /// A server listens there: the process with this number, if it is known.
    #[error("{} listens there; stop it, or choose another path", Owner(.0))]
    Taken(Option<NonZero<u32>>),
    /// The path leads to a file that is not a socket. It is not removed.
    #[error("the path is that of {0}; remove it, or choose another path")]
    NotASocket(&'static str),
    /// A directory of the path does not exist, or is not a directory.
    #[error("there is no directory {}; create it, or choose another path", .0.display())]
    NoDirectory(PathBuf),
    /// The process may not create or replace the file.
    #[error("no permission to {0}; run as a user who has it, or choose another path")]
    Forbidden(String),
    /// The owner or group of the file could not be set.
    #[error("cannot set the owner of the socket file: {0}; only root, or CAP_CHOWN, may give files away")]
    Owner(io::Error),
    /// The permissions of the file could not be set.
    #[error("cannot set the permissions of the socket file: {0}")]
    Mode(io::Error),
    /// The process, or the system, has reached its limit of open files.
    #[error("too many open files; raise the limit (`ulimit -n`)")]
    TooManyFiles,
    /// Any other error.
    #[error("{0}")]
    Other(io::Error),
}

struct Owner<'a>(&'a Option<NonZero<u32>>);

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

impl UnixBindError {
    /// The error of an operation that `what` describes.
    fn new(error: io::Error, what: impl FnOnce() -> String) -> Self {
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::Forbidden(what()),
            Some(libc::EMFILE | libc::ENFILE) => Self::TooManyFiles,
            _ => Self::Other(error),
        }
    }

    /// The error of duplicating the descriptor of a listener.
    pub(crate) fn of_sibling(error: io::Error) -> Self {
        Self::new(error, || "duplicate the socket".to_owned())
    }

    fn of_bind(error: io::Error, path: &Path) -> Self {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Self::NoDirectory(directory.to_owned()),
            _ => Self::new(error, || format!("create a file in {}", directory.display())),
        }
    }
}

/// Binds and listens. Returns the socket, and its file unless the name is abstract.
pub(crate) fn bind(options: &UnixSocket) -> Result<(Socket, Option<SocketFile>), UnixBindError> {
    let address = &options.address;
    let other = |error| UnixBindError::new(error, || "listen".to_owned());
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(other)?;
    let Some(path) = address.as_path() else {
        bind_name(&socket, address.sock_addr())?;
        socket.listen(BACKLOG).map_err(other)?;
        return Ok((socket, None));
    };
    let file = make_file(&socket, address.sock_addr(), path)?;
    // Connections are refused until the socket listens.
    if options.user.is_some() || options.group.is_some() {
        file.set_owner(options.user, options.group).map_err(UnixBindError::Owner)?;
    }
    if let Some(mode) = options.mode {
        file.set_mode(mode).map_err(UnixBindError::Mode)?;
    }
    socket.listen(BACKLOG).map_err(other)?;
    // Before it listened, another server may have found the file stale, and replaced it.
    if file.is_in_place() { Ok((socket, Some(file))) } else { Err(UnixBindError::Taken(None)) }
}

/// Binds the socket to an abstract name.
fn bind_name(socket: &Socket, address: &SockAddr) -> Result<(), UnixBindError> {
    for _ in 0..ATTEMPTS {
        match socket.bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => match find_server(address) {
                Ok(None) => {}
                Ok(Some(pid)) => return Err(UnixBindError::Taken(pid)),
                Err(error) => return Err(UnixBindError::Other(error)),
            },
            bound => return bound.map_err(UnixBindError::Other),
        }
    }
    Err(UnixBindError::Taken(None))
}

/// Binds the socket to `path`. A socket file without a server is replaced.
fn make_file(socket: &Socket, address: &SockAddr, path: &Path) -> Result<SocketFile, UnixBindError> {
    for _ in 0..ATTEMPTS {
        match socket.bind(address) {
            Ok(()) => {
                let gone = |_| UnixBindError::Taken(None);
                return SocketFile::made_at(path).map_err(gone);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => remove_stale(path)?,
            Err(error) => return Err(UnixBindError::of_bind(error, path)),
        }
    }
    Err(UnixBindError::Taken(None))
}

/// Removes the socket file at `path` if no server listens there.
///
/// Two servers may find the same stale file at once, and one of them may have replaced it before
/// the other removes it. The file is therefore renamed first, and removed only if it is still the
/// one that was found stale, and still stale.
fn remove_stale(path: &Path) -> Result<(), UnixBindError> {
    let forbidden = |error| UnixBindError::new(error, || format!("replace {}, which has no server", path.display()));
    let found = match FileHandle::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(forbidden)?,
    };
    if !found.is_socket() {
        return Err(UnixBindError::NotASocket(found.kind()));
    }
    // The path of the handle leads to the file, whatever `path` leads to.
    let server = SockAddr::unix(found.path()).map_err(UnixBindError::Other)?;
    let expect_stale = || match find_server(&server) {
        Ok(None) => Ok(()),
        Ok(Some(pid)) => Err(UnixBindError::Taken(pid)),
        Err(error) => Err(UnixBindError::new(error, || format!("find out whether {} has a server", path.display()))),
    };
    expect_stale()?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.stale", std::process::id()));
    let aside = PathBuf::from(aside);
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved.map_err(forbidden)?,
    }
    let stale = if found.is_at(&aside) { expect_stale() } else { Err(UnixBindError::Taken(None)) };
    if let Err(error) = stale {
        // It fails only if a further server has bound the path since.
        let _ = renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE);
        return Err(error);
    }
    fs::remove_file(&aside).map_err(forbidden)
}
