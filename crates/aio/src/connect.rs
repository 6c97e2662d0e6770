//! The client role.

use crate::connection::Connection;
use crate::error::Error;
use crate::resolve::resolve;
use crate::shard::RuntimeShard;
use crate::websocket::WebSocket;
use ringway::{ClientTls, ConfigError, ConnectError, Endpoint, HeaderMap, HeaderName, HeaderValue, StartError};
use std::rc::Rc;
use std::sync::Arc;

/// Connects to a `ws://` or `wss://` URL, or to `unix:PATH:/URI`: looks up the host, tries its
/// addresses in turn, and carries out the opening handshake.
///
/// A host name is looked up on another thread; there are at most 8 for the process. `wss://` verifies
/// the server with the root certificates of the system.
///
/// If the future is dropped, the attempt ends and its socket is closed.
///
/// # Errors
/// [`Error::Connect`]: the URL is invalid, the server cannot be reached, or its response is not that
/// of a WebSocket server; a redirect is not followed.
///
/// # Panics
/// In a runtime of tokio that is not one of tokio-uring.
pub async fn connect(url: &str) -> Result<WebSocket, Error> {
    Connector::new().connect(url).await
}

/// Connects to an endpoint, which many connections can share: nothing is looked up.
///
/// ```no_run
/// use ringway_aio::Endpoint;
/// use std::sync::Arc;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = Arc::new(Endpoint::resolve("ws://127.0.0.1:9001/")?);
/// let first = ringway_aio::connect_to(&endpoint).await?;
/// let second = ringway_aio::connect_to(&endpoint).await?;
/// # drop((first, second));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Connect`], as [`connect`].
///
/// # Panics
/// As [`connect`].
pub async fn connect_to(endpoint: &Arc<Endpoint>) -> Result<WebSocket, Error> {
    let shard = RuntimeShard::current()?;
    let connection = Rc::new(Connection::new(false));
    let socket = WebSocket::new(Rc::clone(&shard), Rc::clone(&connection));
    shard.with(|_, shard| shard.connect(endpoint, connection)).ok_or(Error::Stopped)?;
    shard.request_turn();
    socket.opened(None).await?;
    Ok(socket)
}

/// The options of outgoing connections. Compression is an option of the runtime:
/// [`configure`](crate::configure).
///
/// ```no_run
/// use ringway_aio::{ClientTls, Connector, HeaderName, HeaderValue};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let connector = Connector::new()
///     .subprotocols(["chat.v2", "chat.v1"])
///     .header(HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer secret"))
///     .tls(&ClientTls::with_ca_files(["test-ca.pem"])?);
/// let ws = connector.connect("wss://localhost:9001/chat").await?;
/// # drop(ws);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Connector {
    headers: HeaderMap,
    subprotocols: Vec<String>,
    origin: Option<String>,
    tls: Option<ClientTls>,
}

impl Connector {
    /// Without further header fields and subprotocols.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a further header field: see [`Endpoint::headers`].
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Offers subprotocols, the preferred one first.
    #[must_use]
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sends an `Origin` header, as browsers do.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Sets the TLS options of `wss://` URLs. They have no effect on `ws://` URLs.
    #[must_use]
    pub fn tls(mut self, tls: &ClientTls) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Does not verify the servers of `wss://` URLs: for tests only.
    #[must_use]
    pub fn insecure(self) -> Self {
        self.tls(&ClientTls::insecure())
    }

    /// The endpoint of a URL with these options, for [`connect_to`].
    ///
    /// # Errors
    /// [`Error::Connect`] and [`Error::Start`] for an invalid URL or option, and if the host has no
    /// address.
    pub async fn resolve(&self, url: &str) -> Result<Endpoint, Error> {
        let invalid = |error: ConfigError| Error::from(StartError::from(error));
        let mut endpoint = resolve(url).await?.headers(self.headers.clone());
        if !self.subprotocols.is_empty() {
            endpoint = endpoint.subprotocols(self.subprotocols.iter().cloned()).map_err(invalid)?;
        }
        if let Some(origin) = &self.origin {
            endpoint = endpoint.origin(origin.clone()).map_err(invalid)?;
        }
        if let Some(tls) = self.tls.as_ref().filter(|_| is_wss(url)) {
            endpoint = endpoint.tls(tls).map_err(ConnectError::from)?;
        }
        Ok(endpoint)
    }

    /// Connects to a URL, as [`connect`].
    ///
    /// # Errors
    /// As [`connect`], and [`Error::Start`] for an invalid option.
    ///
    /// # Panics
    /// As [`connect`].
    pub async fn connect(&self, url: &str) -> Result<WebSocket, Error> {
        // Before the look-up, so that a call outside of a runtime fails at once.
        RuntimeShard::current()?;
        connect_to(&Arc::new(self.resolve(url).await?)).await
    }
}

/// Whether the scheme of a URL is `wss`, in upper or lower case (RFC 3986 section 3.1).
fn is_wss(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("wss"))
}
