//! Addresses of listeners and servers: TCP, and Unix sockets (unix(7)).

use socket2::{SockAddr, SockRef};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;
use thiserror::Error;

/// The prefix of Unix addresses in text.
const PREFIX: &str = "unix:";

/// The maximum length of a path or an abstract name. `sun_path` of `sockaddr_un` has 108 bytes, one
/// of which is the NUL after a path or before an abstract name.
const MAX_LEN: usize = 107;

/// The address of a listener, or of a server to connect to.
///
/// As text, a TCP address is `127.0.0.1:9001` or `[::1]:9001`, and a Unix address is as described
/// at [`UnixAddress`].
///
/// ```
/// use ringway_io::Address;
///
/// let address: Address = "unix:/run/app.sock".parse()?;
/// assert!(address.unix().is_some() && address.tcp().is_none());
/// assert_eq!(address.to_string(), "unix:/run/app.sock");
/// let address: Address = "[::1]:9001".parse()?;
/// assert_eq!(address.tcp(), Some("[::1]:9001".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The enum is exhaustive: a program that prints or compares addresses has to handle each kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A path or an abstract name.
    Unix(UnixAddress),
}

impl Address {
    /// The IP address and port; `None` for a Unix address.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The Unix address; `None` for a TCP address.
    #[must_use]
    pub fn unix(&self) -> Option<&UnixAddress> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(address) => Some(address),
        }
    }

    /// The address that a socket is bound to; `None` for one of another family, or a Unix socket
    /// without a name. Costs a system call.
    ///
    /// # Errors
    /// If the descriptor is not a socket.
    ///
    /// ```
    /// use ringway_io::{Address, Listener};
    ///
    /// let listener = Listener::bind("127.0.0.1:0".parse().unwrap())?;
    /// assert_eq!(Address::of_socket(&listener).unwrap().as_ref(), Some(listener.address()));
    /// # Ok::<(), ringway_io::BindError>(())
    /// ```
    pub fn of_socket(socket: &impl AsFd) -> io::Result<Option<Self>> {
        Ok(Self::from_sock_addr(&SockRef::from(socket).local_addr()?))
    }

    /// The address from the form of the kernel; `None` for another family, or a Unix socket without
    /// a name.
    pub(crate) fn from_sock_addr(address: &SockAddr) -> Option<Self> {
        if let Some(address) = address.as_socket() {
            return Some(address.into());
        }
        let unix = match (address.as_pathname(), address.as_abstract_namespace()) {
            (Some(path), _) => UnixAddress::from_path(path),
            (None, Some(name)) => UnixAddress::from_abstract_name(name),
            (None, None) => return None,
        };
        unix.ok().map(Self::Unix)
    }

    /// The address in the form of the kernel.
    pub(crate) fn to_sock_addr(&self) -> SockAddr {
        match self {
            Self::Tcp(address) => SockAddr::from(*address),
            Self::Unix(address) => address.sock_addr().clone(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Self {
        Self::Unix(address)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.starts_with(PREFIX) {
            return text.parse().map(Self::Unix);
        }
        text.parse().map(Self::Tcp).map_err(|_| AddressError::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(address) => address.fmt(f),
        }
    }
}

/// The address of a Unix socket: the path of a socket file, or a name in the abstract namespace
/// (unix(7)), which has no file.
///
/// As text, a path is `unix:/run/app.sock`, and an abstract name is `unix:@app`. A path that begins
/// with `@` is written `unix:./@app`.
///
/// ```
/// use ringway_io::{AddressError, UnixAddress};
/// use std::path::Path;
///
/// let address = UnixAddress::from_path("/run/app.sock")?;
/// assert_eq!(address.as_path(), Some(Path::new("/run/app.sock")));
/// let address: UnixAddress = "unix:@app".parse()?;
/// assert_eq!(address.as_abstract_name(), Some(&b"app"[..]));
/// let error = UnixAddress::from_path("/long".repeat(30)).unwrap_err();
/// assert!(matches!(error, AddressError::TooLong { len: 150, .. }));
/// # Ok::<(), AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnixAddress(Box<SockAddr>);

impl UnixAddress {
    /// The address of a socket file. A relative path is relative to the working directory at the
    /// time of use.
    ///
    /// # Errors
    /// An [`AddressError`] for a path that is empty, has a NUL, or has more than 107 bytes.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, AddressError> {
        let path = path.as_ref().as_os_str().as_bytes();
        if path.contains(&0) {
            return Err(AddressError::Nul(String::from_utf8_lossy(path).into_owned()));
        }
        Self::new(path, path)
    }

    /// An abstract name. It may hold any bytes.
    ///
    /// # Errors
    /// An [`AddressError`] for a name that is empty or has more than 107 bytes.
    pub fn from_abstract_name(name: impl AsRef<[u8]>) -> Result<Self, AddressError> {
        let name = name.as_ref();
        Self::new(name, &[&[0], name].concat())
    }

    /// `sun_path` is `name`, with a NUL in front of it if it is abstract.
    fn new(name: &[u8], sun_path: &[u8]) -> Result<Self, AddressError> {
        if name.is_empty() {
            return Err(AddressError::Empty);
        }
        let text = || String::from_utf8_lossy(name).into_owned();
        if name.len() > MAX_LEN {
            return Err(AddressError::TooLong { name: text(), len: name.len() });
        }
        match SockAddr::unix(OsStr::from_bytes(sun_path)) {
            Ok(address) => Ok(Self(Box::new(address))),
            Err(_) => Err(AddressError::TooLong { name: text(), len: name.len() }),
        }
    }

    /// The path of the socket file; `None` for an abstract name.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        self.0.as_pathname()
    }

    /// The abstract name; `None` for a path.
    #[must_use]
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        self.0.as_abstract_namespace()
    }

    /// The address in the form of the kernel.
    pub(crate) fn sock_addr(&self) -> &SockAddr {
        &self.0
    }
}

impl FromStr for UnixAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some(name) = text.strip_prefix(PREFIX) else { return Err(AddressError::Prefix(text.to_owned())) };
        match name.strip_prefix('@') {
            Some(name) => Self::from_abstract_name(name),
            None => Self::from_path(name),
        }
    }
}

impl fmt::Display for UnixAddress {
    /// Bytes that are not UTF-8 are displayed as U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_path(), self.as_abstract_name()) {
            (Some(path), _) if path.as_os_str().as_bytes().starts_with(b"@") => {
                write!(f, "{PREFIX}./{}", path.display())
            }
            (Some(path), _) => write!(f, "{PREFIX}{}", path.display()),
            (None, name) => write!(f, "{PREFIX}@{}", String::from_utf8_lossy(name.unwrap_or_default()).escape_debug()),
        }
    }
}

/// Why an address is invalid.
///
/// ```
/// use ringway_io::{Address, AddressError};
///
/// assert_eq!("unix:".parse::<Address>(), Err(AddressError::Empty));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Neither an IP address with a port, nor a Unix address.
    #[error("{0:?} is not an address; expected one such as 127.0.0.1:9001, [::1]:9001 or unix:/run/app.sock")]
    Tcp(String),
    /// A Unix address without its prefix.
    #[error("{0:?} is not the address of a Unix socket; expected one such as unix:/run/app.sock or unix:@app")]
    Prefix(String),
    /// The path or name is empty.
    #[error("the address of a Unix socket is empty; expected one such as unix:/run/app.sock or unix:@app")]
    Empty,
    /// The path has a NUL.
    #[error("the path {0:?} of a Unix socket has a NUL")]
    Nul(String),
    /// The path or name is longer than the kernel allows.
    #[error(
        "the path or name of a Unix socket has at most {MAX_LEN} bytes, and {name:?} has {len}; choose a shorter one, \
         or one that is relative to the working directory"
    )]
    TooLong {
        /// The path or name.
        name: String,
        /// Its length in bytes.
        len: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_address_is_parsed_to_the_same_address() {
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/a b:c.sock", "unix:app.sock", "unix:@app", "unix:./@app"] {
            let address: Address = text.parse().expect("valid");
            assert_eq!(address.to_string(), text);
        }
        let path = UnixAddress::from_path("@app").expect("a path");
        assert_eq!((path.as_path(), path.to_string().as_str()), (Some(Path::new("@app")), "unix:./@app"));
    }

    #[test]
    fn the_longest_path_and_name_have_107_bytes() {
        let (fits, long) = ("a".repeat(107), "a".repeat(108));
        assert_eq!(UnixAddress::from_path(&fits).expect("it fits").as_path(), Some(Path::new(&fits)));
        let name = UnixAddress::from_abstract_name(&fits).expect("it fits");
        assert_eq!(name.as_abstract_name(), Some(fits.as_bytes()));
        let refused = Err(AddressError::TooLong { name: long.clone(), len: 108 });
        assert_eq!(UnixAddress::from_path(&long), refused);
        assert_eq!(UnixAddress::from_abstract_name(&long), refused);
        assert!(refused.map_err(|error| error.to_string()).is_err_and(|text| text.contains("at most 107 bytes")));
    }

    #[test]
    fn an_invalid_address_is_refused_with_the_reason() {
        let refused = |text: &str| text.parse::<Address>().expect_err("invalid");
        assert_eq!(refused("localhost:80"), AddressError::Tcp("localhost:80".into()));
        assert_eq!((refused("unix:"), refused("unix:@")), (AddressError::Empty, AddressError::Empty));
        assert_eq!(refused("unix:a\0b"), AddressError::Nul("a\0b".into()));
        assert_eq!("/a".parse::<UnixAddress>(), Err(AddressError::Prefix("/a".into())));
    }

    #[test]
    fn a_path_and_an_abstract_name_are_different_addresses() {
        let path = UnixAddress::from_path("app").expect("a path");
        assert_ne!(path, UnixAddress::from_abstract_name("app").expect("a name"));
        assert_eq!(path, "unix:app".parse().expect("a path"));
    }
}
