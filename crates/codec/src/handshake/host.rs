//! The syntax of hosts in HTTP: `uri-host [ ":" port ]` (RFC 9110 section 7.2, RFC 3986 section
//! 3.2).

use std::net::Ipv6Addr;

/// Returns the host, brackets included, of a host with or without a port; `None` if the syntax is
/// invalid or the port exceeds 65535. As in RFC 3986 the host may be empty.
pub(super) fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let literal = rest.split_once(']').map(|(literal, _)| literal).filter(|literal| is_ip_literal(literal))?;
        authority.split_at(literal.len() + 2)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        if !is_reg_name(host) {
            return None;
        }
        (host, port)
    };
    port.strip_prefix(':').map_or(port.is_empty(), is_port).then_some(host)
}

/// Digits, or empty for the default port (RFC 3986 section 3.2.3).
fn is_port(port: &str) -> bool {
    port.is_empty() || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// The content of the brackets (RFC 3986 section 3.2.2): an IPv6 address, or one of a future
/// version, such as `v7.a:b`.
fn is_ip_literal(literal: &str) -> bool {
    let is_future = |literal: &str| {
        let Some((version, address)) = literal.split_once('.') else { return false };
        !version.is_empty()
            && version.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !address.is_empty()
            && address.bytes().all(|byte| byte == b':' || is_plain(byte))
    };
    match literal.strip_prefix(['v', 'V']) {
        Some(rest) => is_future(rest),
        None => literal.parse::<Ipv6Addr>().is_ok(),
    }
}

/// A name, or an IPv4 address, which has the same syntax.
fn is_reg_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let mut is_hex = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
        if !(is_plain(byte) || byte == b'%' && is_hex() && is_hex()) {
            return false;
        }
    }
    true
}

/// `unreserved` and `sub-delims` of RFC 3986 section 2.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3986_3_2_2_hosts_and_ports() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com:8080", "EXAMPLE.com"),
            ("my_host", "my_host"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("b%C3%BCcher:1", "b%C3%BCcher"),
            ("a!$&'()*+,;=~", "a!$&'()*+,;=~"),
            ("h:", "h"),
            ("h:00080", "h"),
            ("[::1]", "[::1]"),
            ("[::ffff:10.0.0.1]:9001", "[::ffff:10.0.0.1]"),
            ("[v1F.a:b]:2", "[v1F.a:b]"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(host_of(authority), Some(host), "{authority}");
        }
    }

    #[test]
    fn rfc3986_3_2_2_invalid_hosts() {
        for authority in [
            "a b",
            "a/b",
            "me@h",
            "h?x",
            "h#x",
            "h\\x",
            "h<",
            "bücher",
            "h%",
            "h%4",
            "h%4g",
            "::1",
            "h:80:80",
            "h:x",
            "h:+80",
            "h:-1",
            "h:65536",
            "h: 80",
            "[",
            "[]",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]80",
            "[::1]:x",
            "[::g]",
            "[fe80::1%25eth0]",
            "[10.0.0.1]",
            "[v.a]",
            "[v1]",
            "[v1.]",
            "[vg.a]",
            "[v1.a/b]",
            "a[::1]",
            "a,\tb",
        ] {
            assert_eq!(host_of(authority), None, "{authority}");
        }
    }
}
