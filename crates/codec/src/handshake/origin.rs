//! The origins that may connect (RFC 6455 section 10.2).

use http::StatusCode;

use super::request::Request;
use super::respond::Refusal;

/// The origins that may connect. Browsers always send theirs, so a list excludes the pages of other
/// sites. Other programs can send any origin, so a list does not replace authentication.
///
/// ```
/// use ringway_codec::{HeadLimits, OriginPolicy, parse_request};
///
/// let policy = OriginPolicy::List(vec!["https://example.com".to_owned()]);
/// let head = b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://example.org\r\n\r\n";
/// let (request, _) = parse_request(head, &HeadLimits::default())?.expect("the head is complete");
/// assert_eq!(policy.check(&request).unwrap_err().status, 403);
/// # Ok::<(), ringway_codec::Refusal>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Any origin, and none.
    #[default]
    Any,
    /// Any one origin: browsers only.
    Required,
    /// One of these origins, such as `https://example.com` or `http://localhost:8080`. Scheme and
    /// host are compared ASCII case-insensitively, and the default port (80 for http and ws, 443
    /// for https and wss) equals no port. The origin `null` of sandboxed pages matches only an
    /// entry `null`.
    List(Vec<String>),
}

impl OriginPolicy {
    /// Checks the `Origin` of a request.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] with status 403 when the origin is missing, duplicated or not allowed.
    /// [`Any`](OriginPolicy::Any) never fails.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Refusal> {
        if *self == Self::Any {
            return Ok(());
        }
        let count = request.header_values("origin").count();
        let (1, Some(origin)) = (count, request.origin()) else {
            return Err(forbidden("expected exactly one Origin header"));
        };
        match self {
            Self::List(allowed) if !allowed.iter().any(|allowed| same(allowed, origin)) => {
                Err(forbidden("connections from this origin are not allowed"))
            }
            _ => Ok(()),
        }
    }
}

#[cold]
fn forbidden(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, reason)
}

/// Whether two origins are the same (RFC 6454 section 5).
fn same(left: &str, right: &str) -> bool {
    match (parts(left), parts(right)) {
        (Some((left_scheme, left_host, left_port)), Some((right_scheme, right_host, right_port))) => {
            left_scheme.eq_ignore_ascii_case(right_scheme)
                && left_host.eq_ignore_ascii_case(right_host)
                && left_port == right_port
        }
        (None, None) => left.eq_ignore_ascii_case(right),
        _ => false,
    }
}

/// Scheme, host and port; `None` if `origin` has another form.
fn parts(origin: &str) -> Option<(&str, &str, Option<u16>)> {
    let (scheme, authority) = origin.split_once("://")?;
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of an IPv6 address without a port is inside its brackets.
        Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
        _ => (authority, None),
    };
    let default = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") => Some(443),
        _ => None,
    };
    Some((scheme, host, port.or(default)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{HeadLimits, parse_request};

    fn check(policy: &OriginPolicy, origins: &[&str]) -> Option<u16> {
        let fields: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        let (request, _) = parse_request(head.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
        policy.check(&request).err().map(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn any_admits_every_request() {
        for origins in [&[][..], &["null"], &["http://a", "http://b"]] {
            assert_eq!(check(&OriginPolicy::Any, origins), None);
        }
    }

    #[test]
    fn required_needs_exactly_one_origin() {
        assert_eq!(check(&OriginPolicy::Required, &["http://a"]), None);
        assert_eq!(check(&OriginPolicy::Required, &[]), Some(403));
        assert_eq!(check(&OriginPolicy::Required, &["http://a", "http://a"]), Some(403));
    }

    #[test]
    fn a_list_admits_equal_origins_only() {
        let list = OriginPolicy::List(vec!["https://Example.com".into(), "http://[::1]:8080".into()]);
        for origin in ["https://example.com", "HTTPS://EXAMPLE.COM:443", "http://[::1]:8080"] {
            assert_eq!(check(&list, &[origin]), None, "{origin}");
        }
        for origin in [
            "http://example.com",
            "https://example.com:444",
            "https://example.com.evil.org",
            "https://evil-example.com",
            "https://example.com:port",
            "http://[::1]",
            "null",
            "example.com",
            "",
        ] {
            assert_eq!(check(&list, &[origin]), Some(403), "{origin}");
        }
        assert_eq!(check(&list, &[]), Some(403));
        assert_eq!(check(&OriginPolicy::List(vec!["null".into()]), &["null"]), None);
    }
}
