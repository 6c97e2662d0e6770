//! The header of the PROXY protocol, versions 1 and 2, which a proxy sends before the first byte of
//! a client (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! The parser is strict: a header that the protocol does not allow is an error, and its length is
//! bounded. It copies nothing and keeps no state; a header that arrives in parts is parsed again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The signature of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The beginning of version 1.
const PREFIX: &[u8; 6] = b"PROXY ";

/// The maximum length of a header of version 1, with its line end.
const LINE_MAX: usize = 107;

/// The maximum length of a header of version 2: its 16 bytes, the addresses, and 4 KiB of further
/// fields. The protocol allows 64 KiB; what proxies send is some hundred bytes, with a name of the
/// client's certificate.
pub(crate) const HEADER_MAX: usize = 16 + 216 + 4096;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// The address of the client; `None`: the connection is the proxy's own, such as a health check,
    /// or the address is not one of TCP, and the address of the peer counts.
    pub(crate) client: Option<SocketAddr>,
    /// The length of the header.
    pub(crate) len: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error(
        "a trusted peer begins without a header of the PROXY protocol; let the proxy send it (HAProxy: `send-proxy-v2`)"
    )]
    Missing,
    #[error("the header of the PROXY protocol version 1 is malformed")]
    Line,
    #[error("the header of the PROXY protocol version 2 is malformed")]
    Binary,
    #[error("no header of the PROXY protocol has arrived within the handshake timeout")]
    Timeout,
    #[error("a peer that is not trusted sends a header of the PROXY protocol; if it is a proxy, trust it (--trust)")]
    Untrusted,
    #[error("the header of the PROXY protocol is longer than {HEADER_MAX} bytes")]
    TooLong,
}

/// Parses a header at the beginning of `bytes`; `None`: it is incomplete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    if begins(bytes, SIGNATURE) {
        parse_binary(bytes)
    } else if begins(bytes, PREFIX) {
        parse_line(bytes)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Whether a connection begins with a header, as far as its first bytes show.
pub(crate) fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE) || bytes.starts_with(PREFIX)
}

/// Whether `bytes` begin with `start`, or are a part of it.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let len = bytes.len().min(start.len());
    bytes[..len] == start[..len]
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`
fn parse_line(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let head = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        // The address family and the fields have to be valid by then, which the end shows.
        return if bytes.len() < LINE_MAX { Ok(None) } else { Err(ProxyError::Line) };
    };
    let line = std::str::from_utf8(&head[..end]).map_err(|_| ProxyError::Line)?;
    let mut fields = line.split(' ').skip(1);
    let client = match fields.next() {
        // What follows has no meaning.
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let mut address = || -> Option<IpAddr> {
                let text = fields.next()?;
                if family == "TCP4" { text.parse().ok().map(IpAddr::V4) } else { text.parse().ok().map(IpAddr::V6) }
            };
            let (source, destination) = (address(), address());
            let (source_port, destination_port) = (fields.next().and_then(port), fields.next().and_then(port));
            match (source, destination, source_port, destination_port, fields.next()) {
                (Some(source), Some(_), Some(port), Some(_), None) => Some(SocketAddr::new(source, port)),
                _ => return Err(ProxyError::Line),
            }
        }
        _ => return Err(ProxyError::Line),
    };
    Ok(Some(ProxyHeader { client, len: end + 2 }))
}

/// A port without leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

fn parse_binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let Some(&[command, family, high, low]) = bytes.get(12..16) else {
        // Version and command are checked as soon as they arrive.
        return match bytes.get(12) {
            Some(command) if !matches!(command, 0x20 | 0x21) => Err(ProxyError::Binary),
            _ => Ok(None),
        };
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Binary),
    };
    let addresses_len = match (family >> 4, family & 0xf) {
        (_, 3..) | (4.., _) => return Err(ProxyError::Binary),
        (1, _) => 12,
        (2, _) => 36,
        (3, _) => 216,
        _ => 0,
    };
    let len = 16 + usize::from(u16::from_be_bytes([high, low]));
    if len > HEADER_MAX {
        return Err(ProxyError::TooLong);
    }
    // The content of a local connection has no meaning.
    if !is_local && len < 16 + addresses_len {
        return Err(ProxyError::Binary);
    }
    let Some(content) = bytes.get(16..len) else { return Ok(None) };
    // The fields behind the addresses are skipped.
    let client = if is_local {
        None
    } else {
        match (family, content) {
            // TCP over IPv4: source, destination, source port, destination port.
            (0x11, &[a, b, c, d, _, _, _, _, high, low, _, _, ..]) => {
                Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
            }
            // TCP over IPv6.
            (0x21, content) => match (content.first_chunk::<16>(), content.get(32..34)) {
                (Some(source), Some(&[high, low])) => {
                    Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes([high, low])))
                }
                _ => return Err(ProxyError::Binary),
            },
            _ => None,
        }
    };
    Ok(Some(ProxyHeader { client, len }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, content].concat()
    }

    const INET: [u8; 12] = [203, 0, 113, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

    fn inet6() -> Vec<u8> {
        let address = |text: &str| text.parse::<Ipv6Addr>().expect("an address").octets();
        [&address("2001:db8::7")[..], &address("2001:db8::1"), &[0xdc, 0x04, 0x01, 0xbb]].concat()
    }

    /// Valid headers, and the client that each names.
    fn valid() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let (ssl, noop) = ([0x20, 0, 5, 1, 0, 0, 0, 0], [4, 0, 3, 1, 2, 3]);
        vec![
            (b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n".to_vec(), Some("203.0.113.7:56324")),
            (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".to_vec(), Some("0.0.0.0:0")),
            (b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n".to_vec(), Some("[2001:db8::7]:56324")),
            (
                b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff7 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
                    .to_vec(),
                Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff7]:65535"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever 1 2 3\r\n".to_vec(), None),
            (binary(0x21, 0x11, &INET), Some("203.0.113.7:56324")),
            (binary(0x21, 0x11, &[&INET[..], &ssl, &noop].concat()), Some("203.0.113.7:56324")),
            (binary(0x21, 0x11, &[&INET[..], &[0; 4000]].concat()), Some("203.0.113.7:56324")),
            (binary(0x21, 0x21, &inet6()), Some("[2001:db8::7]:56324")),
            (binary(0x21, 0x21, &[&inet6()[..], &noop].concat()), Some("[2001:db8::7]:56324")),
            // The proxy's own connection, with and without content.
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &INET), None),
            (binary(0x20, 0x11, &[]), None),
            // Unspecified, datagrams, and Unix sockets.
            (binary(0x21, 0x00, &[]), None),
            (binary(0x21, 0x00, &noop), None),
            (binary(0x21, 0x12, &INET), None),
            (binary(0x21, 0x31, &[b'/'; 216]), None),
        ]
    }

    #[test]
    fn valid_headers_are_parsed_in_every_split_and_nothing_behind_them_is_read() {
        for (header, client) in valid() {
            let client = client.map(|client| client.parse().expect("an address"));
            let expected = ProxyHeader { client, len: header.len() };
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Ok(None), "{} of {}", end, header.escape_ascii());
            }
            for rest in [&b""[..], b"GET / HTTP/1.1\r\n", b"\r\n", &SIGNATURE[..], b"\x16\x03\x01"] {
                let bytes = [&header[..], rest].concat();
                assert_eq!(parse(&bytes), Ok(Some(expected)), "{}", bytes.escape_ascii());
            }
        }
    }

    /// Headers that are refused.
    fn malformed() -> Vec<Vec<u8>> {
        let mut corpus: Vec<Vec<u8>> = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "proxy TCP4 203.0.113.7 198.51.100.1 56324 443\r\n",
            "PROXY\tTCP4 203.0.113.7 198.51.100.1 56324 443\r\n",
            "PROXY  TCP4 203.0.113.7 198.51.100.1 56324 443\r\n",
            "PROXY TCP4  203.0.113.7 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.1 56324 443 \r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.1 56324 443 1\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.1 56324\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.1 56324 65536\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.1 -1 443\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.1 056324 443\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.1 56324 \r\n",
            "PROXY TCP4 203.0.113.07 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 203.0.113 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 203.0.113.256 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n",
            "PROXY TCP6 203.0.113.7 198.51.100.1 56324 443\r\n",
            "PROXY TCP6 2001:db8::7%eth0 ::1 56324 443\r\n",
            "PROXY TCP6 [2001:db8::7] [::1] 56324 443\r\n",
            "PROXY TCP5 203.0.113.7 198.51.100.1 56324 443\r\n",
            "PROXY UDP4 203.0.113.7 198.51.100.1 56324 443\r\n",
            "PROXY tcp4 203.0.113.7 198.51.100.1 56324 443\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\n\r\n",
            "\r\n\r\n\0\r\nQUIT\r",
            "\r\nGET / HTTP/1.1\r\n",
        ]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
        corpus.push(b"PROXY TCP4 203.0.113.7\xff 198.51.100.1 56324 443\r\n".to_vec());
        // A line without an end.
        corpus.push([&PREFIX[..], b"UNKNOWN ", &[b'x'; 200]].concat());
        corpus.push([&PREFIX[..], &[b'9'; 101]].concat());
        for command in (0..=u8::MAX).filter(|command| !matches!(command, 0x20 | 0x21)) {
            corpus.push(binary(command, 0x11, &INET));
            corpus.push(binary(command, 0x11, &INET)[..13].to_vec());
        }
        for family in [0x13, 0x1f, 0x03, 0x41, 0x40, 0xf1, 0xff] {
            corpus.push(binary(0x21, family, &[0; 300]));
        }
        // Too short for the addresses, and too long.
        corpus.push(binary(0x21, 0x11, &INET[..11]));
        corpus.push(binary(0x21, 0x21, &inet6()[..35]));
        corpus.push(binary(0x21, 0x31, &[b'/'; 215]));
        corpus.push(binary(0x21, 0x11, &[0; HEADER_MAX - 15]));
        corpus.push(binary(0x20, 0x00, &[0; 65_535])[..16].to_vec());
        corpus
    }

    #[test]
    fn malformed_headers_are_refused_in_every_split() {
        for bytes in malformed() {
            let refused = (0..=bytes.len()).find(|end| parse(&bytes[..*end]).is_err());
            let Some(refused) = refused else { panic!("{} is not refused", bytes.escape_ascii()) };
            for end in 0..=bytes.len() {
                assert_ne!(
                    parse(&bytes[..end]).map(|header| header.is_some()),
                    Ok(true),
                    "{} of {}",
                    end,
                    bytes.escape_ascii()
                );
                assert_eq!(parse(&bytes[..end]).is_err(), end >= refused, "more bytes mend nothing");
            }
        }
    }

    #[test]
    fn an_incomplete_header_is_bounded() {
        for (header, _) in valid() {
            assert!(header.len() <= HEADER_MAX);
        }
        let longest = binary(0x21, 0x11, &[0; HEADER_MAX - 16]);
        assert_eq!(parse(&longest[..HEADER_MAX - 1]), Ok(None));
        assert!(matches!(parse(&longest), Ok(Some(ProxyHeader { len: HEADER_MAX, .. }))));
        assert!(is_header(&longest) && is_header(b"PROXY T") && !is_header(b"GET / HTTP/1.1") && !is_header(b""));
    }
}
