//! What is said about a connection that has opened.

use super::event::Opened;
use ringway::{Connection, Endpoint, Handler, TlsSession, TlsVersion};

/// Collects what the opening handshake has agreed on.
pub(super) fn opened<H: Handler>(conn: &Connection<'_, H>, endpoint: &Endpoint, url: &str) -> Opened {
    let headers = conn.response_headers();
    let header = |name: &str| {
        let values = headers?.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let values = values.collect::<Vec<_>>().join(", ");
        (!values.is_empty()).then_some(values)
    };
    let address = match conn.remote_addr() {
        Some(address) => address.to_string(),
        // A Unix socket has one address, which is that of the endpoint.
        None => endpoint.addresses().first().map(ToString::to_string).unwrap_or_default(),
    };
    let all = headers.into_iter().flatten();
    Opened {
        url: url.to_owned(),
        address,
        took: conn.opening_times().map(|times| times.total()).unwrap_or_default(),
        tls: conn.tls().map(|session| tls(&session)),
        certificate: conn.tls().and_then(|session| session.peer_certificate()).map(|it| it.to_string()),
        subprotocol: conn.subprotocol().map(str::to_owned),
        extensions: header("sec-websocket-extensions"),
        headers: all
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
    }
}

/// The TLS session in one line.
fn tls(session: &TlsSession<'_>) -> String {
    let version = match session.version() {
        Some(TlsVersion::Tls12) => "1.2",
        Some(TlsVersion::Tls13) => "1.3",
        _ => "of an unknown version",
    };
    format!("TLS {version}, {}", session.cipher_suite().unwrap_or("unknown cipher suite"))
}
