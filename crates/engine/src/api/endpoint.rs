//! The servers that a shard connects to in the client role.

use crate::api::error::ConnectError;
use crate::api::plain::PlainKind;
use crate::api::routes::Routes;
use crate::config::{ConfigError, check_tokens};
use crate::tls::{ClientTls, TlsError};
use http::HeaderMap;
use ringway_codec::{Scheme, Target, TargetError};
use ringway_io::{Address, UnixAddress};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
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
    pub(crate) routes: Routes,
    pub(crate) receive_buffer: Option<u32>,
    /// Whether connections wait for [`Shard::request_upgrade`](crate::Shard::request_upgrade).
    pub(crate) holds: bool,
    /// The bytes of the body of a refusal that are received; `None` for not even its header.
    pub(crate) max_refusal: Option<usize>,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) origin: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) tls: Option<EndpointTls>,
    /// Without the protocol of WebSockets.
    pub(crate) plain: Option<PlainKind>,
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
    /// An IPv6 address is in brackets; that of a link can have the zone of its interface (RFC
    /// 6874): `ws://[fe80::1%25eth0]:9001/`.
    ///
    /// The endpoint of a host name has all its addresses. They are tried in the order of RFC 8305
    /// section 4: the families alternate, starting with that of the resolver's
    /// first address. [`Endpoint::rotate_addresses`] uses all of them. The look-up can take
    /// seconds: call this before the shards start, or on another thread.
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
        let addresses = look_up(&target)?;
        Self::new(target, addresses)
    }

    /// Looks the host up again, for connecting again: returns a copy with the addresses that it has
    /// now, the same options, and the same TLS sessions to resume. The endpoint of a Unix socket is
    /// copied. Takes as long as [`Endpoint::resolve`].
    ///
    /// # Errors
    /// [`ConnectError::Name`] if the host has no address now, or none that [`Endpoint::sources`] allows.
    ///
    /// ```
    /// use ringway::Endpoint;
    ///
    /// let endpoint = Endpoint::resolve("ws://127.0.0.1:9001/chat")?.subprotocols(["chat"])?;
    /// assert_eq!(endpoint.resolved_again()?.addresses(), endpoint.addresses());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolved_again(&self) -> Result<Self, ConnectError> {
        if self.addresses().iter().any(|address| address.unix().is_some()) {
            return Ok(self.clone());
        }
        let unusable = |error: ConfigError| ConnectError::Name(self.target.host.clone(), io::Error::other(error));
        let routes = self.routes.with_addresses(look_up(&self.target)?).map_err(unusable)?;
        Ok(Self { routes, ..self.clone() })
    }

    /// Creates an endpoint without the protocol of WebSockets, of `tcp://HOST:PORT` or
    /// `udp://HOST:PORT`: for measurements of a path and of other services, such as that of RFC 862.
    ///
    /// [`Handler::open`](crate::Handler::open) is called when the connection is established; for UDP,
    /// which has no connections, at once. A message that is sent is its bytes, and for UDP one
    /// datagram. What arrives is reported as binary messages: on TCP in the parts in which it is
    /// received, on UDP a datagram as one. There are no pings, no compression and no closing handshake:
    /// a close of this side ends its direction of TCP, and the end of the peer is reported with 1005.
    /// Subscriptions, prepared messages and all options of the handshake have no meaning.
    ///
    /// # Errors
    /// [`ConnectError::Url`] and [`ConnectError::Name`] as for [`Endpoint::resolve`].
    ///
    /// ```
    /// use ringway::Endpoint;
    ///
    /// let endpoint = Endpoint::resolve_plain("udp://127.0.0.1:7007")?;
    /// assert_eq!(endpoint.addresses(), ["127.0.0.1:7007".parse()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve_plain(url: &str) -> Result<Self, ConnectError> {
        let (kind, target) = Self::parse_plain(url)?;
        Ok(Self { plain: Some(kind), ..Self::resolve(&target)? })
    }

    /// As [`Endpoint::resolve_plain`], for a host with these addresses. Nothing is looked up.
    ///
    /// # Errors
    /// As [`Endpoint::resolve_plain`].
    pub fn plain_with_addresses(
        url: &str,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self, ConnectError> {
        let (kind, target) = Self::parse_plain(url)?;
        Ok(Self { plain: Some(kind), ..Self::with_addresses(&target, addresses)? })
    }

    /// The kind of a URL without WebSockets, and the same URL with them.
    fn parse_plain(url: &str) -> Result<(PlainKind, String), ConnectError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| TargetError::NoScheme(url.to_owned()))?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "tcp" => PlainKind::Stream,
            "udp" => PlainKind::Datagrams,
            _ => return Err(TargetError::Scheme(scheme.to_owned()).into()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        if port.parse::<u16>().is_err() {
            // There is no port that such a service usually has.
            return Err(TargetError::Port(port.to_owned()).into());
        }
        Ok((kind, format!("ws://{authority}")))
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
            return Err(without_address(target.host));
        }
        let tls = match target.scheme {
            Scheme::Ws => None,
            Scheme::Wss => Some(EndpointTls::new(&ClientTls::new()?, &target)?),
        };
        Ok(Self {
            target,
            routes: Routes::new(addresses),
            receive_buffer: None,
            holds: false,
            max_refusal: None,
            subprotocols: Vec::new(),
            origin: None,
            headers: HeaderMap::new(),
            tls,
            plain: None,
        })
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

    /// Begins each connection with another of the addresses, in turn, instead of the first one, so
    /// that all of them are used. The turns are those of all shards together. If an address cannot
    /// be reached, the ones after it are tried. Default: `false`.
    #[must_use]
    pub fn rotate_addresses(mut self, rotate: bool) -> Self {
        self.routes.rotate(rotate);
        self
    }

    /// Opens connections from these addresses of this machine, in turn over all shards. Default:
    /// the kernel chooses the address by the route.
    ///
    /// One address can have as many connections to one address of the server as there are local
    /// ports: 28,232 by default (`net.ipv4.ip_local_port_range`, ip(7)). Several addresses multiply
    /// this number, and so does [`Endpoint::rotate_addresses`]: all pairs of addresses are used
    /// equally. For a server on this machine, all of 127.0.0.0/8 can be used.
    ///
    /// Addresses of the server without a source of their family are not used. Whether this machine
    /// has an address is known when a connection is opened: [`ConnectError::Source`].
    ///
    /// # Errors
    /// A [`ConfigError`] for an empty list, an address that no machine can have, a list without a
    /// family of the server, and for a Unix socket.
    ///
    /// ```
    /// use ringway::Endpoint;
    /// use std::net::IpAddr;
    ///
    /// let endpoint = Endpoint::resolve("ws://127.0.0.1:9001/")?;
    /// let endpoint = endpoint.sources((2..=20).map(|last| IpAddr::from([127, 0, 0, last])))?;
    /// # let _ = endpoint;
    /// let error = Endpoint::resolve("ws://[::1]:9001/")?.sources(["127.0.0.2".parse()?]).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "endpoint.sources is 127.0.0.2: give an IPv6 address as well, because the server's are [::1]:9001"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sources(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Result<Self, ConfigError> {
        self.routes.set_sources(addresses.into_iter().collect())?;
        Ok(self)
    }

    /// Holds each connection when it is established, after the handshake of TLS if there is one:
    /// [`Handler::connected`](crate::Handler::connected) is called, and the request is sent after
    /// [`Shard::request_upgrade`](crate::Shard::request_upgrade). A client can thus open all of its
    /// connections first, and then upgrade them. Default: `false`, the request is sent at once.
    ///
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout) does not run while a
    /// connection is held, but that of the server does: many servers end a connection without a
    /// request after some seconds ([`ConnectError::Ended`]).
    #[must_use]
    pub fn hold_before_upgrade(mut self, hold: bool) -> Self {
        self.holds = hold;
        self
    }

    /// Receives what a server says that answers with another status than 101: its header, and up to
    /// `max_body` bytes of its body, 0 to 65 536. The connection fails with
    /// [`ConnectError::Refused`] then, when the body is complete, or a second after its header.
    /// Default: the connection fails at once with [`ConnectError::Handshake`].
    ///
    /// # Errors
    /// A [`ConfigError`] for a size out of range.
    ///
    /// ```
    /// use ringway::Endpoint;
    ///
    /// let endpoint = Endpoint::resolve("ws://127.0.0.1:9001/")?.read_refusals(1024)?;
    /// # let _ = endpoint;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_refusals(mut self, max_body: usize) -> Result<Self, ConfigError> {
        if max_body > 65_536 {
            return Err(ConfigError::new("endpoint.read_refusals", max_body.to_string(), "0 to 65536 bytes"));
        }
        self.max_refusal = Some(max_body);
        Ok(self)
    }

    /// Sets the size of the kernel's receive buffer in bytes, 1024 to 2³⁰ (`SO_RCVBUF`, socket(7)),
    /// before a connection is established. Default: the kernel adjusts it.
    ///
    /// A connection that its handler has paused ([`Connection::pause`](crate::Connection::pause))
    /// stops its server when this buffer is full. The kernel doubles the size for its own overhead,
    /// and limits it to `net.core.rmem_max`. Without effect on Unix sockets.
    ///
    /// # Errors
    /// A [`ConfigError`] for a size out of range.
    pub fn receive_buffer(mut self, bytes: u32) -> Result<Self, ConfigError> {
        if !(1024..=1 << 30).contains(&bytes) {
            return Err(ConfigError::new("endpoint.receive_buffer", bytes.to_string(), "1024 to 1073741824 bytes"));
        }
        self.receive_buffer = Some(bytes);
        Ok(self)
    }

    /// The addresses, in the order in which they are tried. At least one.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        self.routes.addresses()
    }

    /// The parts of the URL.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// The addresses of a host, in the order in which they are tried; at least one.
fn look_up(target: &Target) -> Result<Vec<Address>, ConnectError> {
    let host = match &target.zone {
        Some(zone) => Cow::Owned(format!("{}%{zone}", target.host)),
        None => Cow::Borrowed(target.host.as_str()),
    };
    match (&*host, target.port).to_socket_addrs() {
        Ok(addresses) => match interlace(addresses) {
            addresses if addresses.is_empty() => Err(without_address(host.into_owned())),
            addresses => Ok(addresses.into_iter().map(Address::from).collect()),
        },
        Err(error) => Err(ConnectError::Name(host.into_owned(), error)),
    }
}

fn without_address(host: String) -> ConnectError {
    ConnectError::Name(host, io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
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
    fn the_zone_of_a_link_local_address_is_its_scope() {
        // Interface 1 is the loopback interface; a number is a zone too (RFC 4007 section 11.2).
        let endpoint = Endpoint::resolve("ws://[fe80::1%251]:9001/").expect("an address needs no look-up");
        let address = std::net::SocketAddrV6::new("fe80::1".parse().expect("an address"), 9001, 0, 1);
        assert_eq!(endpoint.addresses(), [Address::from(SocketAddr::from(address))]);
        assert_eq!(endpoint.target().authority(), "[fe80::1]:9001");
        let unknown = Endpoint::resolve("ws://[fe80::1%25no-such-if]/").expect_err("no interface has this name");
        assert!(unknown.to_string().starts_with("cannot resolve \"fe80::1%no-such-if\": "), "{unknown}");
    }

    #[test]
    fn a_receive_buffer_out_of_range_is_refused() {
        let buffer = |bytes| Endpoint::resolve("ws://192.0.2.1/").expect("an address").receive_buffer(bytes);
        assert!(buffer(1024).is_ok() && buffer(1 << 30).is_ok());
        let error = buffer(1000).expect_err("too small").to_string();
        assert_eq!(error, "endpoint.receive_buffer is 1000: give 1024 to 1073741824 bytes");
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
