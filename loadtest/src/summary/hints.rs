//! What to check if no connection could be opened.

/// The remedy for this kind of error, with the separator before it; empty if there is none.
pub(super) fn hint(kind: &str, urls: &[&str]) -> &'static str {
    // The usual answer of an HTTP server to a request without TLS on a port with it.
    let is_plain = urls.iter().all(|url| url.starts_with("ws://"));
    let is_unix = urls.iter().all(|url| url.starts_with("unix:"));
    match kind {
        "connect_refused" if is_unix => "; is the server running?",
        "connect_refused" => "; is the server running, and on this port?",
        "connect_failed" if is_unix => "; check the path of the socket, and whether the server is running",
        "connect_timeout" => "; check the address, and whether a firewall drops the packets (--connect-timeout)",
        "connect_unreachable" => "; check the address and the routes of this machine",
        "handshake_status_200" => "; it is an HTTP server that does not speak WebSocket on this path",
        "handshake_status_301" | "handshake_status_302" | "handshake_status_307" | "handshake_status_308" => {
            "; redirects are not followed: give the URL to which it redirects"
        }
        "handshake_status_400" if is_plain => "; if this port expects TLS, use wss://",
        "handshake_status_401" => "; give credentials with --bearer, --basic or --cookie",
        "handshake_status_403" => "; it may require credentials (--bearer, --basic, --cookie) or an origin (--origin)",
        "handshake_status_404" => "; check the path of the URL",
        "handshake_status_429" | "handshake_status_503" => {
            "; open connections more slowly (--connect-rate, --connect-concurrency)"
        }
        "handshake_invalid" => "; the server on this port may not speak HTTP",
        "handshake_ended" if is_plain => "; if this port expects TLS, use wss://",
        "subscribe_invalid" | "subscribe_timeout" => {
            "; --topic needs the protocol of `ringway serve --app topics` (docs/topics.md)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn a_hint_fits_the_scheme() {
        assert!(hint("handshake_status_400", &["ws://a/"]).contains("wss://"));
        assert_eq!(hint("handshake_status_400", &["wss://a/"]), "");
        assert!(hint("connect_refused", &["ws://a/"]).contains("port"));
        assert!(!hint("connect_refused", &["unix:/a"]).contains("port"));
        assert_eq!(hint("reset", &["ws://a/"]), "");
    }
}
