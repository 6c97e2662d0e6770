//! Where to connect: abbreviated URLs, addresses of names, local addresses.

use std::net::{IpAddr, SocketAddr};

/// The largest number of addresses of one range.
const MAX_RANGE: u64 = 65_536;

/// A server and its weight: a URL, `HOST:PORT` or `:PORT`, with `=N` behind it. A URL with a query,
/// which can have equals signs, has no weight.
///
/// # Errors
/// What to write instead.
pub fn target(text: &str) -> Result<(String, u32), String> {
    let weighted = text.rsplit_once('=').and_then(|(url, weight)| Some((url, weight.parse::<u32>().ok()?)));
    let (url, weight) = match weighted {
        Some((url, weight)) if !url.contains('?') => (url, weight),
        _ => (text, 1),
    };
    if weight == 0 {
        return Err(format!("the weight of {url} is 0: give at least 1, or leave the server out"));
    }
    Ok((self::url(url)?, weight))
}

/// A server: a URL, `HOST:PORT` or `:PORT`. Returns the URL.
///
/// # Errors
/// What to write instead.
pub fn url(text: &str) -> Result<String, String> {
    let url = text;
    if url.is_empty() || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("give a URL, HOST:PORT or :PORT, as ws://127.0.0.1:9001/ or :9001".into());
    }
    if url.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("write the port {url} as :{url}"));
    }
    Ok(expand(url))
}

/// The URL of an abbreviated one.
fn expand(url: &str) -> String {
    if url.contains("://") || url.starts_with("unix:") {
        return url.to_owned();
    }
    let (authority, path) = url.find('/').map_or((url, "/"), |at| url.split_at(at));
    let authority = match authority.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => authority.to_owned(),
    };
    format!("ws://{authority}{path}")
}

/// An address of a host name, as curl has it: `HOST:PORT:ADDR`.
///
/// # Errors
/// What to write instead.
pub fn resolve(text: &str) -> Result<(String, SocketAddr), String> {
    let wrong = || "give HOST:PORT:ADDR, as example.com:443:127.0.0.1".to_owned();
    // The host can be an IPv6 address in brackets.
    let host_end = if text.starts_with('[') { text.find(']').ok_or_else(wrong)? } else { 0 };
    let colon = text[host_end..].find(':').map(|at| host_end + at).ok_or_else(wrong)?;
    let (host, rest) = (&text[..colon], &text[colon + 1..]);
    let (port, address) = rest.split_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| format!("{port:?} is not a port: {}", wrong()))?;
    let address = unbracketed(address);
    let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is not an IP address: {}", wrong()))?;
    if host.is_empty() {
        return Err(wrong());
    }
    Ok((unbracketed(host).to_ascii_lowercase(), SocketAddr::new(address, port)))
}

/// A host without the brackets of an IPv6 address.
fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The host in lower case and the port of a URL; `None` for a Unix socket and an invalid port.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let default = if scheme.eq_ignore_ascii_case("wss") { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        // A colon in brackets is part of an address.
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, default),
    };
    Some((unbracketed(host).to_ascii_lowercase(), port))
}

/// The addresses that are given for the host and port of a URL.
#[must_use]
pub fn addresses_of(url: &str, given: &[(String, SocketAddr)]) -> Vec<SocketAddr> {
    let Some((host, port)) = host_and_port(url) else { return Vec::new() };
    given.iter().filter(|(name, address)| *name == host && address.port() == port).map(|(_, at)| *at).collect()
}

/// Local addresses: one, or a range as `127.0.0.2-127.0.0.9` of at most 65 536.
///
/// # Errors
/// What to write instead.
pub fn sources(text: &str) -> Result<Vec<IpAddr>, String> {
    let address = |text: &str| {
        text.trim()
            .parse::<IpAddr>()
            .map_err(|_| format!("{text:?} is not an IP address: give one, as 127.0.0.2, or a range"))
    };
    let Some((first, last)) = text.split_once('-') else { return Ok(vec![address(text)?]) };
    match (address(first)?, address(last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (u32::from(first), u32::from(last));
            range(first.into(), last.into())?;
            Ok((first..=last).map(|bits| IpAddr::V4(bits.into())).collect())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (first, last) = (u128::from(first), u128::from(last));
            range(first, last)?;
            Ok((first..=last).map(|bits| IpAddr::V6(bits.into())).collect())
        }
        _ => Err(format!("{text}: both ends of a range are of one family, IPv4 or IPv6")),
    }
}

fn range(first: u128, last: u128) -> Result<(), String> {
    match last.checked_sub(first) {
        None => Err("give the smaller address first".into()),
        Some(more) if more >= MAX_RANGE.into() => Err(format!("a range has at most {MAX_RANGE} addresses")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviated_urls_are_expanded() {
        for (text, url, weight) in [
            ("ws://a/b", "ws://a/b", 1),
            ("WSS://a:1/b?c=2", "WSS://a:1/b?c=2", 1),
            (":9001", "ws://127.0.0.1:9001/", 1),
            (":9001/chat", "ws://127.0.0.1:9001/chat", 1),
            ("localhost:9001", "ws://localhost:9001/", 1),
            ("[::1]:9001", "ws://[::1]:9001/", 1),
            ("unix:/run/a.sock:/x", "unix:/run/a.sock:/x", 1),
            (":9001=3", "ws://127.0.0.1:9001/", 3),
            ("ws://a/=2", "ws://a/", 2),
            ("[::1]:9001=2", "ws://[::1]:9001/", 2),
            ("wss://[2001:db8::1]/x", "wss://[2001:db8::1]/x", 1),
            ("ws://a/?key=2", "ws://a/?key=2", 1),
        ] {
            assert_eq!(target(text), Ok((url.to_owned(), weight)), "{text}");
        }
        for wrong in [":9001=0", "", "=2", "a b"] {
            assert!(target(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(target("9001"), Err("write the port 9001 as :9001".into()));
    }

    #[test]
    fn names_have_the_addresses_that_are_given() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(resolve("Example.com:443:127.0.0.1"), Ok(("example.com".into(), at("127.0.0.1:443"))));
        assert_eq!(resolve("a:80:[::1]"), Ok(("a".into(), at("[::1]:80"))));
        assert_eq!(resolve("[::2]:80:::1"), Ok(("::2".into(), at("[::1]:80"))));
        for wrong in ["a", "a:80", "a:x:127.0.0.1", "a:80:b", ":80:127.0.0.1"] {
            assert!(resolve(wrong).is_err(), "{wrong}");
        }
        let given = [("a".to_owned(), at("127.0.0.1:443")), ("a".to_owned(), at("127.0.0.2:443"))];
        assert_eq!(addresses_of("wss://A/x", &given).len(), 2);
        let literal = [("::2".to_owned(), at("[::1]:80"))];
        assert_eq!(addresses_of("ws://[::2]/", &literal), addresses_of("ws://[::2]:80", &literal));
        assert_eq!(addresses_of("ws://[::2]/", &literal).len(), 1);
        assert!(addresses_of("unix:/run/a.sock:/", &given).is_empty());
        assert!(addresses_of("ws://a/x", &given).is_empty() && addresses_of("wss://b/", &given).is_empty());
    }

    #[test]
    fn sources_are_single_or_ranges() {
        assert_eq!(sources("127.0.0.2-127.0.0.4").map(|all| all.len()), Ok(3));
        assert_eq!(sources("::1-::2").map(|all| all.len()), Ok(2));
        for wrong in ["127.0.0.4-127.0.0.2", "127.0.0.1-::1", "10.0.0.0-10.255.0.0", "x"] {
            assert!(sources(wrong).is_err(), "{wrong}");
        }
    }
}
