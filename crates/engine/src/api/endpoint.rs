//! The servers that a shard connects to in the client role.

use crate::api::error::ConnectError;
use crate::config::{ConfigError, check_tokens};
use crate::tls::{ClientTls, TlsError};
use http::HeaderMap;
use ringway_codec::{Scheme, Target};
use ringway_io::{Address, UnixAddress};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// A server to connect to: its addresses and the contents of the request. All connections to it
/// share one endpoint in an `Arc`.
///
/// ```
/// use ringway::Endpoint;
/// use std::sync::Arc;
///
/// let endpoint = Endpoint::resolve("ws://127.0.0.1:9001/chat")?.subprotocols(["chat.v2", "chat.v1"])?;
/// assert_eq!(endpoint.addresses(), ["127.0.0.1:9001".parse()?]);
/// assert_eq!(endpoint.target().path_and_query, "/chat");
/// let endpoint = Arc::new(endpoint); // for Shard::connect
/// # let _ = endpoint;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) target: Target,
    /// In the order in which they are tried; at least one.
    addresses: Vec<Address>,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) origin: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) tls: Option<EndpointTls>,
}

/// TLS to one server.
#[derive(Clone, Debug)]
pub(crate) struct EndpointTls {
    pub(crate) config: Arc<ClientConfig>,
    /// The name that the server's certificate has to contain.
    pub(crate) name: ServerName<'static>,
}

impl EndpointTls {
    fn new(options: &ClientTls, target: &Target) -> Result<Self, TlsError> {
        Ok(Self { config: options.rustls(), name: options.server_name(&target.host)? })
    }
}

impl Endpoint {
    /// Creates the endpoint of a URL: `ws://HOST:PORT/URI`, `wss://HOST:PORT/URI` for TLS, or
    /// `unix:PATH:/URI` for a Unix socket.
    ///
    /// `unix:/run/app.sock:/chat?x=1` connects to the socket file `/run/app.sock` and requests
    /// `/chat?x=1`; `unix:@app:/chat` connects to an abstract name. The path ends at the first
    /// `:/`; without one, `/` is requested. The Host header is `localhost`, unless
    /// [`Endpoint::headers`] sets another.
    ///
    /// The endpoint of a host name has all its addresses. They are tried in the order of RFC 8305
    /// section 4: the families alternate, starting with that of the resolver's
    /// first address. The look-up can take seconds: call this before the shards start, or on
    /// another thread.
    ///
    /// # Errors
    /// [`ConnectError::Url`] for a URL that could not be parsed, [`ConnectError::Name`] if the host
    /// has no address, [`ConnectError::TlsConfig`] for `wss://` if the system's root certificates
    /// could not be read, [`ConnectError::Address`] for an invalid path of a Unix socket.
    ///
    /// ```
    /// use ringway::Endpoint;
    ///
    /// let endpoint = Endpoint::resolve("unix:/run/app.sock:/chat")?;
    /// assert_eq!(endpoint.addresses(), ["unix:/run/app.sock".parse()?]);
    /// assert_eq!(endpoint.target().to_string(), "ws://localhost/chat");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve(url: &str) -> Result<Self, ConnectError> {
        if url.starts_with("unix:") {
            return Self::resolve_unix(url);
        }
        let target = Target::parse(url)?;
        match (target.host.as_str(), target.port).to_socket_addrs() {
            Ok(addresses) => Self::new(target, interlace(addresses).into_iter().map(Address::from).collect()),
            Err(error) => Err(ConnectError::Name(target.host, error)),
        }
    }

    /// Creates the endpoint of a `ws://` or `wss://` URL whose host has these addresses. Nothing is looked up;
    /// the addresses are tried in this order, with their own ports.
    ///
    /// # Errors
    /// As [`Endpoint::resolve`]; [`ConnectError::Name`] if `addresses` is empty.
    ///
    /// ```
    /// use ringway::Endpoint;
    ///
    /// let endpoint = Endpoint::with_addresses("ws://chat.example/", ["192.0.2.1:80".parse()?, "[2001:db8::1]:80".parse()?])?;
    /// assert_eq!((endpoint.target().host.as_str(), endpoint.addresses().len()), ("chat.example", 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_addresses(url: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Self, ConnectError> {
        Self::new(Target::parse(url)?, addresses.into_iter().map(Address::from).collect())
    }

    /// The endpoint of `unix:PATH:/URI` or `unix:PATH`.
    fn resolve_unix(url: &str) -> Result<Self, ConnectError> {
        // The path begins after `unix:`, and may begin with a slash.
        const PATH: usize = "unix:".len();
        let (socket, uri) = match url[PATH..].find(":/") {
            Some(at) => (&url[..PATH + at], &url[PATH + at + 1..]),
            None => (url, "/"),
        };
        let address: UnixAddress = socket.parse()?;
        Self::new(Target::parse(&format!("ws://localhost{uri}"))?, vec![address.into()])
    }

    fn new(target: Target, addresses: Vec<Address>) -> Result<Self, ConnectError> {
        if addresses.is_empty() {
            let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(ConnectError::Name(target.host, none));
        }
        let tls = match target.scheme {
            Scheme::Ws => None,
            Scheme::Wss => Some(EndpointTls::new(&ClientTls::new()?, &target)?),
        };
        Ok(Self { target, addresses, subprotocols: Vec::new(), origin: None, headers: HeaderMap::new(), tls })
    }

    /// Offers subprotocols, the preferred one first. Default: none.
    ///
    /// # Errors
    /// A [`ConfigError`] for a name that is not a token (RFC 6455 section 4.1).
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ConfigError> {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        check_tokens("endpoint.subprotocols", &self.subprotocols)?;
        Ok(self)
    }

    /// Sends an `Origin` header, as browsers do (RFC 6454 section 7). Default: none.
    ///
    /// # Errors
    /// A [`ConfigError`] for characters that are not allowed in a header.
    pub fn origin(mut self, origin: impl Into<String>) -> Result<Self, ConfigError> {
        let origin = origin.into();
        if origin.is_empty() || !origin.bytes().all(|byte| byte.is_ascii_graphic()) {
            let range = "an origin such as https://example.com, in visible ASCII characters";
            return Err(ConfigError::new("endpoint.origin", format!("{origin:?}"), range));
        }
        self.origin = Some(origin);
        Ok(self)
    }

    /// Sends further header fields. `Host` and `Origin` replace those of the engine; fields of the
    /// handshake (`Upgrade`, `Connection`, `Sec-WebSocket-*`) and fields that announce a body are
    /// ignored.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the TLS options of a `wss://` URL. Default: [`ClientTls::new`], which verifies the server
    /// with the root certificates of the system.
    ///
    /// # Errors
    /// [`TlsError::ServerName`] if the host of the URL is no name that a certificate can have, and
    /// [`TlsError::Scheme`] for a `ws://` URL.
    ///
    /// ```no_run
    /// use ringway::{ClientTls, Endpoint};
    ///
    /// let tls = ClientTls::with_ca_files(["test-ca.pem"])?;
    /// let endpoint = Endpoint::resolve("wss://localhost:9001/")?.tls(&tls)?;
    /// # let _ = endpoint;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tls(mut self, options: &ClientTls) -> Result<Self, TlsError> {
        if self.target.scheme == Scheme::Ws {
            return Err(TlsError::Scheme);
        }
        self.tls = Some(EndpointTls::new(options, &self.target)?);
        Ok(self)
    }

    /// The addresses, in the order in which they are tried. At least one.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The parts of the URL.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// Puts addresses in the order of RFC 8305 section 4, with a "First Address Family Count" of 1: the
/// families alternate, and the resolver's order is kept within each. An address that the resolver
/// returns twice is tried once.
fn interlace(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut unique = Vec::new();
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    let first_family = unique.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = unique.into_iter().partition(|address| address.is_ipv6() == first_family);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        match (first.next(), second.next()) {
            (None, None) => return ordered,
            (one, other) => ordered.extend(one.into_iter().chain(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_io::AddressError;

    fn addresses(list: &str) -> Vec<SocketAddr> {
        let address = |text: &str| match text.parse::<u16>() {
            Ok(number) => SocketAddr::from(([192, 0, 2, number as u8], 80)),
            Err(_) => format!("[2001:db8::{text}]:80").parse().expect("a letter"),
        };
        list.split_whitespace().map(address).collect()
    }

    #[test]
    fn rfc8305_4_families_alternate_from_that_of_the_first_address() {
        for (resolved, ordered) in [
            ("", ""),
            ("1", "1"),
            ("1 2 3", "1 2 3"),
            ("a b 1 2", "a 1 b 2"),
            ("1 2 a b", "1 a 2 b"),
            ("a b c 1", "a 1 b c"),
            ("1 a b c", "1 a b c"),
            ("a 1 2 3 b", "a 1 b 2 3"),
            ("1 1 a 1 a", "1 a"),
        ] {
            assert_eq!(interlace(addresses(resolved).into_iter()), addresses(ordered), "{resolved}");
        }
    }

    #[test]
    fn an_endpoint_without_an_address_is_an_error() {
        let resolved = Endpoint::resolve("ws://192.0.2.1:9001/chat?x=1").expect("an address needs no look-up");
        assert_eq!(resolved.addresses(), [Address::from(SocketAddr::from(([192, 0, 2, 1], 9001)))]);
        let none = Endpoint::with_addresses("ws://nowhere.example/", []).expect_err("there is no address");
        assert_eq!(none.to_string(), "cannot resolve \"nowhere.example\": the name has no address");
        let given = Endpoint::with_addresses("ws://any.example/", addresses("2 a 1")).expect("addresses are given");
        let expected: Vec<_> = addresses("2 a 1").into_iter().map(Address::from).collect();
        assert_eq!((given.addresses(), given.target().port), (&expected[..], 80));
    }

    #[test]
    fn a_unix_url_has_a_path_and_a_uri() {
        for (url, address, uri) in [
            ("unix:/run/app.sock:/chat?x=1", "unix:/run/app.sock", "/chat?x=1"),
            ("unix:/run/app.sock:/a?to=b:/c", "unix:/run/app.sock", "/a?to=b:/c"),
            ("unix:/run/a:b.sock", "unix:/run/a:b.sock", "/"),
            ("unix:app.sock:/", "unix:app.sock", "/"),
            ("unix:@app:/chat", "unix:@app", "/chat"),
        ] {
            let endpoint = Endpoint::resolve(url).expect("valid");
            assert_eq!(endpoint.addresses(), [address.parse().expect("valid")], "{url}");
            let target = endpoint.target();
            assert_eq!((target.path_and_query.as_str(), target.authority().as_str()), (uri, "localhost"), "{url}");
        }
        for url in ["unix:", "unix::/chat", "unix:@:/chat"] {
            let error = Endpoint::resolve(url).expect_err("there is no path");
            assert!(matches!(error, ConnectError::Address(AddressError::Empty)), "{url}: {error}");
        }
        assert!(matches!(Endpoint::resolve("unix:/a:/b c"), Err(ConnectError::Url(_))));
        let long = format!("unix:/{}:/chat", "a".repeat(107));
        assert!(matches!(Endpoint::resolve(&long), Err(ConnectError::Address(AddressError::TooLong { len: 108, .. }))));
    }

    #[test]
    fn characters_not_allowed_in_a_request_are_refused() {
        let endpoint = || Endpoint::resolve("ws://192.0.2.1/").expect("an address");
        let error = endpoint().subprotocols(["a", "b c"]).expect_err("not a token").to_string();
        assert_eq!(error, "endpoint.subprotocols is \"b c\": give names of letters, digits and !#$%&'*+-.^_`|~");
        let error = endpoint().origin("a\r\nX-Forged: 1").expect_err("two lines").to_string();
        assert!(error.starts_with("endpoint.origin is \"a\\r\\nX-Forged: 1\": give"), "{error}");
        assert!(endpoint().origin("https://example.com").is_ok());
    }
}
