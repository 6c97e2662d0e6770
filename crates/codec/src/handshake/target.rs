//! WebSocket URLs (RFC 6455 section 3).

use std::fmt;
use std::net::Ipv6Addr;

/// The scheme of a WebSocket URL.
///
/// Exhaustive: RFC 6455 section 3 defines these two.
///
/// ```
/// use ringway_codec::Scheme;
///
/// assert_eq!((Scheme::Wss.to_string().as_str(), Scheme::Wss.default_port()), ("wss", 443));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `ws`: plain TCP, default port 80.
    Ws,
    /// `wss`: TLS, default port 443.
    Wss,
}

impl Scheme {
    /// 80 or 443.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
        })
    }
}

/// The URL to which a client connects, in parts.
///
/// ```
/// use ringway_codec::{Scheme, Target};
///
/// let target = Target::parse("wss://example.com/chat?room=1")?;
/// assert_eq!((target.scheme, target.host.as_str(), target.port), (Scheme::Wss, "example.com", 443));
/// assert_eq!(target.path_and_query, "/chat?room=1");
/// # Ok::<(), ringway_codec::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Target {
    /// Plain TCP or TLS.
    pub scheme: Scheme,
    /// A name, an IPv4 address, or an IPv6 address without its brackets: the name to resolve, and
    /// the server name for TLS.
    pub host: String,
    /// The zone of an IPv6 address of a link, such as `eth0`, decoded (RFC 6874): the interface
    /// that leads to it. It is not sent to the server.
    pub zone: Option<String>,
    /// The port, never 0.
    pub port: u16,
    /// The request target: at least `/`, percent-encoded.
    pub path_and_query: String,
}

/// The reason why a URL is not a valid WebSocket URL.
///
/// ```
/// use ringway_codec::{Target, TargetError};
///
/// assert_eq!(Target::parse("ws://example.com:0/"), Err(TargetError::Port("0".to_owned())));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No `://`.
    #[error("{0:?} has no scheme; expected a URL such as ws://{0}")]
    NoScheme(String),
    /// `http://` or `https://`.
    #[error("{found}:// is not a WebSocket scheme; did you mean {expected}://?")]
    Http {
        /// The scheme of the URL.
        found: &'static str,
        /// Its WebSocket counterpart.
        expected: Scheme,
    },
    /// Any other scheme.
    #[error("{0:?} is not a WebSocket scheme; expected ws or wss")]
    Scheme(String),
    /// A `#`, which WebSocket URLs must not have (RFC 6455 section 3).
    #[error("a WebSocket URL has no fragment; remove the part from '#', or write '%23' if it belongs to the path")]
    Fragment,
    /// `user@` or `user:password@`.
    #[error("user and password in the URL are not supported; send an Authorization header instead")]
    UserInfo,
    /// The host is empty.
    #[error("the URL has no host; expected one such as ws://example.com/")]
    NoHost,
    /// A host that is neither a name in ASCII nor an address.
    #[error("{0:?} is not a valid host; expected a name in ASCII, an IPv4 address, or an IPv6 address in brackets")]
    Host(String),
    /// A zone that is empty, or has other characters than letters, digits and `-._~`.
    #[error("{0:?} is not a valid zone; expected an interface, such as eth0 in [fe80::1%25eth0]")]
    Zone(String),
    /// A port that is not a number from 1 to 65535.
    #[error("{0:?} is not a valid port; expected a number from 1 to 65535")]
    Port(String),
    /// White space, a control character or a character outside ASCII in path or query.
    #[error("the path or query contains {0:?}; percent-encode it")]
    Path(char),
}

impl Target {
    /// Parses a `ws://` or `wss://` URL.
    ///
    /// # Errors
    ///
    /// A [`TargetError`] with the problem and the remedy.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let Some((scheme, rest)) = url.split_once("://") else { return Err(TargetError::NoScheme(url.to_owned())) };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "ws" => Scheme::Ws,
            "wss" => Scheme::Wss,
            "http" => return Err(TargetError::Http { found: "http", expected: Scheme::Ws }),
            "https" => return Err(TargetError::Http { found: "https", expected: Scheme::Wss }),
            _ => return Err(TargetError::Scheme(scheme.to_owned())),
        };
        if rest.contains('#') {
            return Err(TargetError::Fragment);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(TargetError::UserInfo);
        }
        let (host, zone, port) = host_and_port(authority)?;
        if let Some(character) = path.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(TargetError::Path(character));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            zone: zone.map(str::to_owned),
            port: port.unwrap_or(scheme.default_port()),
            path_and_query: format!("{slash}{path}"),
        })
    }

    /// The value of the `Host` header: IPv6 addresses in brackets and without their zone (RFC 6874
    /// section 4), the port only when it is not the default one.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = Bracketed(&self.host);
        if self.port == self.scheme.default_port() { host.to_string() } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority();
        match &self.zone {
            Some(zone) => write!(f, "{}://{}", self.scheme, authority.replacen(']', &format!("%25{zone}]"), 1))?,
            None => write!(f, "{}://{authority}", self.scheme)?,
        }
        f.write_str(&self.path_and_query)
    }
}

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        Self::parse(url)
    }
}

struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only an IPv6 address can have a colon.
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

/// The host, the zone of an IPv6 address, and the port.
type Authority<'a> = (&'a str, Option<&'a str>, Option<u16>);

fn host_and_port(authority: &str) -> Result<Authority<'_>, TargetError> {
    let mut zone = None;
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let Some((host, after)) = rest.split_once(']') else { return Err(TargetError::Host(authority.to_owned())) };
        // RFC 6874 section 2: "%25" separates the zone. A lone "%" is what people copy from other
        // programs (section 3).
        let (host, found) = match host.split_once('%') {
            Some((host, zone)) => (host, Some(zone.strip_prefix("25").unwrap_or(zone))),
            None => (host, None),
        };
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(TargetError::Host(host.to_owned()));
        }
        zone = found;
        if let Some(zone) = zone.filter(|zone| zone.is_empty() || !zone.bytes().all(is_unreserved)) {
            return Err(TargetError::Zone(zone.to_owned()));
        }
        match after.strip_prefix(':') {
            Some(port) => (host, port),
            None if after.is_empty() => (host, ""),
            None => return Err(TargetError::Host(authority.to_owned())),
        }
    } else {
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        if host.is_empty() {
            return Err(TargetError::NoHost);
        }
        if port.contains(':') {
            return Err(TargetError::Host(authority.to_owned()));
        }
        if !host.bytes().all(is_unreserved) {
            return Err(TargetError::Host(host.to_owned()));
        }
        (host, port)
    };
    // An empty port means the default one (RFC 3986 section 3.2.3).
    if port.is_empty() {
        return Ok((host, zone, None));
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits && number > 0 => Ok((host, zone, Some(number))),
        _ => Err(TargetError::Port(port.to_owned())),
    }
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (Scheme, String, u16, String, String) {
        let target = Target::parse(url).unwrap();
        let authority = target.authority();
        (target.scheme, target.host, target.port, target.path_and_query, authority)
    }

    fn expect(url: &str, scheme: Scheme, host: &str, port: u16, path: &str, authority: &str) {
        assert_eq!(parts(url), (scheme, host.into(), port, path.into(), authority.into()), "{url}");
    }

    #[test]
    fn rfc6455_3_urls() {
        expect("ws://example.com", Scheme::Ws, "example.com", 80, "/", "example.com");
        expect("wss://example.com/chat?a=b", Scheme::Wss, "example.com", 443, "/chat?a=b", "example.com");
        expect("WSS://example.com:443/", Scheme::Wss, "example.com", 443, "/", "example.com");
        expect("ws://example.com:443", Scheme::Ws, "example.com", 443, "/", "example.com:443");
        expect("ws://10.0.0.1:9001?q", Scheme::Ws, "10.0.0.1", 9001, "/?q", "10.0.0.1:9001");
        expect("ws://[::1]:9001/x", Scheme::Ws, "::1", 9001, "/x", "[::1]:9001");
        expect("ws://[fe80::1]", Scheme::Ws, "fe80::1", 80, "/", "[fe80::1]");
        expect("ws://h:/", Scheme::Ws, "h", 80, "/", "h");
        expect("ws://h/a?to=b://c@d", Scheme::Ws, "h", 80, "/a?to=b://c@d", "h");
    }

    #[test]
    fn a_zone_is_not_part_of_the_host() {
        for (url, zone) in [
            ("ws://[fe80::1%25eth0]:9001/x", Some("eth0")),
            ("ws://[fe80::1%eth0]:9001/x", Some("eth0")),
            ("ws://[fe80::1%252]:9001/x", Some("2")),
            ("ws://[fe80::1]:9001/x", None),
        ] {
            expect(url, Scheme::Ws, "fe80::1", 9001, "/x", "[fe80::1]:9001");
            assert_eq!(Target::parse(url).unwrap().zone.as_deref(), zone, "{url}");
        }
        for (url, zone) in [("ws://[fe80::1%25]/", ""), ("ws://[fe80::1%]/", ""), ("ws://[fe80::1%25a%20b]/", "a%20b")]
        {
            assert_eq!(Target::parse(url), Err(TargetError::Zone(zone.to_owned())), "{url}");
        }
        assert_eq!(Target::parse("ws://host%25eth0/"), Err(TargetError::Host("host%25eth0".to_owned())));
    }

    #[test]
    fn an_invalid_url_is_refused_with_the_reason() {
        use TargetError::{Fragment, Host, Http, NoHost, NoScheme, Path, Port, UserInfo};
        let refused = |url: &str| Target::parse(url).unwrap_err();
        assert_eq!(refused("example.com:80"), NoScheme("example.com:80".into()));
        assert_eq!(refused("http://h"), Http { found: "http", expected: Scheme::Ws });
        assert_eq!(refused("HTTPS://h"), Http { found: "https", expected: Scheme::Wss });
        assert_eq!(refused("ftp://h"), TargetError::Scheme("ftp".into()));
        assert_eq!(refused("ws://h/#top"), Fragment);
        assert_eq!(refused("ws://me:secret@h/"), UserInfo);
        assert_eq!(refused("ws:///path"), NoHost);
        assert_eq!(refused("ws://:80/"), NoHost);
        assert_eq!(refused("ws://a b/"), Host("a b".into()));
        assert_eq!(refused("ws://bücher/"), Host("bücher".into()));
        assert_eq!(refused("ws://fe80::1/"), Host("fe80::1".into()));
        assert_eq!(refused("ws://[::g]/"), Host("::g".into()));
        assert_eq!(refused("ws://[::1]x/"), Host("[::1]x".into()));
        assert_eq!(refused("ws://[::1/"), Host("[::1".into()));
        for port in ["0", "65536", "-1", "+80", "x"] {
            assert_eq!(refused(&format!("ws://h:{port}/")), Port(port.into()));
        }
        assert_eq!(refused("ws://h/a b"), Path(' '));
        assert_eq!(refused("ws://h/a\r\nx"), Path('\r'));
        assert_eq!(refused("ws://h/ü"), Path('ü'));
    }

    #[test]
    fn a_target_displays_as_its_url() {
        for url in ["ws://[::1]:9001/x?y", "wss://example.com/", "ws://[fe80::1%25eth0]:9001/", "ws://[fe80::1%25a]/"] {
            assert_eq!(Target::parse(url).unwrap().to_string(), url);
        }
        assert!(Target::parse("https://h").unwrap_err().to_string().contains("wss://"));
    }
}
