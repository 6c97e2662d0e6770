//! Opening handshakes (RFC 6455 section 4), valid and invalid ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The key of the example in RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer that a server must derive from it.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request; by default one that opens a WebSocket.
#[derive(Clone, Debug)]
pub struct RawRequest {
    line: String,
    fields: Vec<(String, String)>,
}

impl Default for RawRequest {
    fn default() -> Self {
        Self::websocket()
    }
}

impl RawRequest {
    /// A request without header fields.
    #[must_use]
    pub fn new(line: &str) -> Self {
        Self { line: line.into(), fields: Vec::new() }
    }

    /// A request that opens a WebSocket.
    #[must_use]
    pub fn websocket() -> Self {
        Self::new("GET /chat HTTP/1.1")
            .with("Host", "server.example.com")
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Key", KEY)
            .with("Sec-WebSocket-Version", "13")
    }

    /// Replaces the request line.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.line = line.into();
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Removes the header fields of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self
    }

    /// The request as it is sent.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let fields: String = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{fields}\r\n", self.line).into_bytes()
    }
}

/// The answer of a server that accepts the request with this head (RFC 6455 section 4.2.2).
#[must_use]
pub fn accepting(head: &str) -> String {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    assert_eq!(STANDARD.decode(key).expect("base64").len(), 16);
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(sha1.digest().bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// The answer of a server.
#[derive(Clone, Debug)]
pub struct RawResponse {
    /// The status code.
    pub status: u16,
    fields: Vec<(String, String)>,
    /// The body, of the length in `Content-Length`.
    pub body: String,
}

impl RawResponse {
    /// Parses a head, which ends with its blank line.
    pub(crate) fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {line:?}"));
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("not a header field: {line:?}"));
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self { status, fields: lines.filter(|line| !line.is_empty()).map(field).collect(), body: String::new() }
    }

    /// The value of the only header field with this name (in lower case); `None` when there is
    /// none.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is duplicated");
        value
    }
}
