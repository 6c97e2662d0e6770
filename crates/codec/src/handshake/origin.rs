//! The origins that may connect (RFC 6455 section 10.2).

/// The origins that may connect. Browsers always send theirs, so a list excludes the pages of other
/// sites. Other programs can send any origin, so a list does not replace authentication.
///
/// ```
/// use ringway_codec::OriginPolicy;
///
/// let policy = OriginPolicy::List(vec!["https://example.com".to_owned()]);
/// assert!(policy.admits(Some("https://EXAMPLE.com:443")));
/// assert!(!policy.admits(Some("https://example.org")) && !policy.admits(None));
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
    /// Whether a page of this origin may connect; `None` for a request without an origin.
    #[must_use]
    pub fn admits(&self, origin: Option<&str>) -> bool {
        match (self, origin) {
            (Self::Any, _) => true,
            (Self::Required, origin) => origin.is_some(),
            (Self::List(_), None) => false,
            (Self::List(allowed), Some(origin)) => allowed.iter().any(|allowed| same(allowed, origin)),
        }
    }
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

    #[test]
    fn any_admits_every_request() {
        for origin in [None, Some("null"), Some("http://a")] {
            assert!(OriginPolicy::Any.admits(origin));
        }
    }

    #[test]
    fn required_needs_an_origin() {
        assert!(OriginPolicy::Required.admits(Some("http://a")));
        assert!(!OriginPolicy::Required.admits(None));
    }

    #[test]
    fn a_list_admits_equal_origins_only() {
        let list = OriginPolicy::List(vec!["https://Example.com".into(), "http://[::1]:8080".into()]);
        for origin in ["https://example.com", "HTTPS://EXAMPLE.COM:443", "http://[::1]:8080"] {
            assert!(list.admits(Some(origin)), "{origin}");
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
            assert!(!list.admits(Some(origin)), "{origin}");
        }
        assert!(!list.admits(None));
        assert!(OriginPolicy::List(vec!["null".into()]).admits(Some("null")));
    }
}
