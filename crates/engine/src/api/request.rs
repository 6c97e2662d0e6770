//! The handler's view of HTTP requests.

use crate::admission::forwarded::{ClientSource, client_of};
use crate::api::id::ConnectionId;
use crate::api::tls::TlsSession;
use ringway_io::{PeerCredentials, Slot, TcpInfo};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Finds out who a slot's peer is; the part of the driver that handlers can use.
pub(crate) trait PeerAddress {
    fn peer_address(&self, slot: Slot) -> Option<SocketAddr>;

    fn peer_credentials(&self, slot: Slot) -> Option<PeerCredentials>;

    fn tcp_info(&self, slot: Slot) -> Option<TcpInfo>;
}

/// An HTTP request: a request for a WebSocket, or a plain one on the same port.
///
/// All text is borrowed from the received bytes. Each call searches the header fields in order, at
/// a few nanoseconds each; nothing is allocated.
///
/// ```
/// use ringway::{Connection, Handler, Message, Request, StatusCode, Upgrade};
///
/// struct Rooms;
///
/// impl Handler for Rooms {
///     type State = String;
///
///     /// `GET /chat?room=blue`, with a cookie that contains the user's name.
///     fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
///         if request.path() != "/chat" {
///             return Upgrade::reject(StatusCode::NOT_FOUND, "there is only /chat");
///         }
///         let room = request.query_pairs().find(|(name, _)| name == "room").map(|(_, room)| room);
///         match (request.cookie("user"), room) {
///             (Some(user), Some(room)) => Upgrade::accept(format!("{user} in {room}")),
///             _ => Upgrade::reject(StatusCode::BAD_REQUEST, "name a room, and log in first"),
///         }
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         conn.reply(message);
///     }
/// }
/// # let _ = Rooms;
/// ```
pub struct Request<'a> {
    head: &'a ringway_codec::Request<'a>,
    id: ConnectionId,
    peers: &'a dyn PeerAddress,
    tls: Option<TlsSession<'a>>,
    client: ClientSource<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(
        head: &'a ringway_codec::Request<'a>,
        id: ConnectionId,
        peers: &'a dyn PeerAddress,
        tls: Option<TlsSession<'a>>,
        client: ClientSource<'a>,
    ) -> Self {
        Self { head, id, peers, tls, client }
    }

    /// The connection on which the request was received.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The peer's address; `None` if the connection is gone, or came through a Unix socket, whose
    /// clients have no address: see [`Request::peer_credentials`]. Costs one `getpeername(2)`.
    ///
    /// Behind a proxy, this is the address of the proxy, or `None` if the proxy connects to a Unix
    /// socket: see [`Request::client_addr`].
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.peers.peer_address(self.id.0)
    }

    /// The address of the client, also behind trusted proxies ([`Admission::trust`]). An IPv4 address
    /// within IPv6 is returned as IPv4.
    ///
    /// It is the one that the PROXY protocol names ([`Admission::proxy_protocol`]), otherwise that of
    /// the peer. If that address is trusted, or the peer is one of a trusted Unix socket, the
    /// `X-Forwarded-For` headers are read from the right, where each proxy has appended the address of
    /// its peer: the first address that is not trusted is the client. At an element that is no
    /// address, and at the end, the last address counts. The headers of an untrusted peer are ignored,
    /// and so is `Forwarded` (RFC 7239) of any peer: a proxy that sets one of both headers often
    /// passes the other one on as the client has sent it.
    ///
    /// `None` if the connection is gone, or came through a Unix socket and no address is named. A
    /// connection does not keep the address: store it in the state that `upgrade` returns. Costs one
    /// `getpeername(2)`, and the search for the headers.
    ///
    /// ```
    /// use ringway::{Request, StatusCode, Upgrade};
    /// use std::net::IpAddr;
    ///
    /// /// Keeps the address of the client with its connection.
    /// fn upgrade(request: &Request<'_>) -> Upgrade<IpAddr> {
    ///     match request.client_addr() {
    ///         Some(address) => Upgrade::accept(address),
    ///         None => Upgrade::reject(StatusCode::FORBIDDEN, "clients need an address"),
    ///     }
    /// }
    /// # let _ = upgrade;
    /// ```
    ///
    /// [`Admission::trust`]: crate::Admission::trust
    /// [`Admission::proxy_protocol`]: crate::Admission::proxy_protocol
    #[must_use]
    pub fn client_addr(&self) -> Option<IpAddr> {
        let peer = self.client.proxied.or_else(|| self.remote_addr().map(|address| address.ip()));
        let headers = self.header_values("x-forwarded-for");
        client_of(peer, headers, self.client.trust).map(|address| address.to_canonical())
    }

    /// The TLS session; `None` on a connection without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<TlsSession<'a>> {
        self.tls
    }

    /// The process, user and group that have connected through a Unix socket; `None` for TCP, or if
    /// the connection is gone. Costs one `getsockopt(2)` with `SO_PEERCRED` (unix(7)).
    ///
    /// ```
    /// use ringway::{Request, StatusCode, Upgrade};
    ///
    /// /// Accepts connections of one user, from this machine.
    /// fn upgrade(request: &Request<'_>, user: u32) -> Upgrade<()> {
    ///     match request.peer_credentials() {
    ///         Some(peer) if peer.uid == user => Upgrade::accept(()),
    ///         _ => Upgrade::reject(StatusCode::FORBIDDEN, "this socket is for another user"),
    ///     }
    /// }
    /// # let _ = upgrade;
    /// ```
    #[must_use]
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.peers.peer_credentials(self.id.0)
    }

    /// The method, such as `GET`; case-sensitive. `GET` for a request for a WebSocket.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.head.method()
    }

    /// The request target as it was received: path and query, or an absolute URL (RFC 9112 section
    /// 3.2).
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.head.target()
    }

    /// The path of the target, still percent-encoded, without the query; at least `/`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// The part of the target after the first `?`, still percent-encoded; `None` without a `?`.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.head.query()
    }

    /// The query as pairs of name and value, decoded as `application/x-www-form-urlencoded`: `+` is
    /// a space, `%` and two hexadecimal digits are a byte, and bytes that are not UTF-8 become
    /// U+FFFD. A name without `=` has an empty value. Allocates only for names and values that are
    /// encoded.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// The requested host: a name or address, and a port unless it is the default one. Taken from
    /// the target if it is an absolute URL (RFC 9112 section 3.2.2), otherwise from the `Host`
    /// header. `None` if absent or not UTF-8.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.head.host()
    }

    /// The value of the first header field with this name, compared without regard to ASCII case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.header(name)
    }

    /// The values of all header fields with this name, in the order of receipt.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.head.header_values(name)
    }

    /// All header fields, name and value, in the order of receipt.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.head.headers()
    }

    /// The `Origin` header, which browsers set (RFC 6454 section 7). `None` if absent or not UTF-8.
    /// Clients other than browsers can send any origin.
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        self.head.origin()
    }

    /// The cookies, name and value, of all `Cookie` headers (RFC 6265 section 5.4). Values are
    /// unchanged, including quotes; pairs without `=` and headers that are not UTF-8 are skipped.
    pub fn cookies(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.head.cookies()
    }

    /// The value of the first cookie with this name; case-sensitive.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.cookies().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The subprotocols that the client offers, in order of preference, from all
    /// `Sec-WebSocket-Protocol` headers (RFC 6455 section 11.3.4).
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        self.head.subprotocols()
    }

    /// Whether the request asks for a WebSocket: an `Upgrade` header names it. Always true in
    /// [`Handler::upgrade`](crate::Handler::upgrade), and never in
    /// [`Handler::request`](crate::Handler::request).
    #[must_use]
    pub fn wants_upgrade(&self) -> bool {
        self.head.wants_upgrade()
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("head", self.head).field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::network::Trust;
    use ringway_codec::{HeadLimits, parse_request};

    struct Nobody;

    impl PeerAddress for Nobody {
        fn peer_address(&self, _: Slot) -> Option<SocketAddr> {
            None
        }

        fn peer_credentials(&self, _: Slot) -> Option<PeerCredentials> {
            None
        }

        fn tcp_info(&self, _: Slot) -> Option<TcpInfo> {
            None
        }
    }

    #[test]
    fn all_parts_of_a_request_can_be_read() {
        let bytes = b"GET /chat/a%20b?room=red+blue&empty&%C3%BC=%FF&room=2 HTTP/1.1\r\nHost: server.example:81\r\n\
            Origin: https://page.example\r\nCookie: user=\"ada\"; theme=dark\r\nX-One: 1\r\nx-one: 2\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Protocol: v2, v1\r\n\r\n";
        let parsed = parse_request(bytes, &HeadLimits::default()).expect("it is valid");
        let (head, _) = parsed.expect("it is complete");
        let id = ConnectionId(Slot::new(1, 2));
        let client = ClientSource { proxied: None, trust: &Trust::default() };
        let request = Request::new(&head, id, &Nobody, None, client);
        assert_eq!((request.id(), request.remote_addr()), (id, None));
        assert_eq!(
            (request.method(), request.path(), request.host()),
            ("GET", "/chat/a%20b", Some("server.example:81"))
        );
        assert_eq!(request.query(), Some("room=red+blue&empty&%C3%BC=%FF&room=2"));
        let pairs: Vec<_> = request.query_pairs().collect();
        let expected = [("room", "red blue"), ("empty", ""), ("ü", "\u{fffd}"), ("room", "2")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(request.origin(), Some("https://page.example"));
        assert_eq!(request.cookies().collect::<Vec<_>>(), [("user", "\"ada\""), ("theme", "dark")]);
        assert_eq!((request.cookie("theme"), request.cookie("Theme")), (Some("dark"), None));
        assert_eq!(request.header("X-ONE"), Some(&b"1"[..]));
        assert_eq!(request.header_values("x-one").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(request.headers().count(), 7);
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["v2", "v1"]);
        assert!(request.wants_upgrade() && request.target().starts_with("/chat/"));
    }

    #[test]
    fn a_target_without_a_query_has_no_pairs() {
        let parsed = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &HeadLimits::default()).expect("valid");
        let (head, _) = parsed.expect("it is complete");
        let client = ClientSource { proxied: None, trust: &Trust::default() };
        let request = Request::new(&head, ConnectionId(Slot::new(1, 2)), &Nobody, None, client);
        assert_eq!((request.query(), request.query_pairs().count()), (None, 0));
    }
}
