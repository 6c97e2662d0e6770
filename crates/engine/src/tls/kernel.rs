//! Whether the kernel offers TLS of its own (the upper-layer protocol `tls`, Linux 4.13). Ringway
//! does not use it; docs/tuning.md has what it would bring.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// The upper-layer protocols of TCP whose modules are loaded (Documentation/networking/ip-sysctl,
/// since 4.13).
const AVAILABLE: &str = "/proc/sys/net/ipv4/tcp_available_ulp";

/// The maximum number of bytes that are read of it. The kernel limits it to 256.
const MAX: u64 = 4096;

/// What the kernel offers.
#[derive(Debug)]
pub(crate) enum KernelTls {
    Available,
    NotLoaded,
    Unknown(io::Error),
}

impl KernelTls {
    /// Reads it from the kernel.
    pub(crate) fn probe() -> Self {
        let mut text = String::new();
        match File::open(AVAILABLE).and_then(|file| file.take(MAX).read_to_string(&mut text)) {
            Ok(_) => Self::parse(&text),
            Err(error) => Self::Unknown(error),
        }
    }

    fn parse(protocols: &str) -> Self {
        if protocols.split_whitespace().any(|name| name == "tls") { Self::Available } else { Self::NotLoaded }
    }
}

impl fmt::Display for KernelTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => f.write_str("kernel TLS: available, not used"),
            Self::NotLoaded => f.write_str("kernel TLS: not available (no module tls), not used"),
            Self::Unknown(error) => write!(f, "kernel TLS: unknown ({AVAILABLE}: {error}), not used"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_found_by_its_whole_name() {
        for (text, found) in
            [("tls\n", true), ("mptcp tls\n", true), ("mptcp\n", false), ("espintcp mptcp tlsx\n", false), ("", false)]
        {
            assert_eq!(matches!(KernelTls::parse(text), KernelTls::Available), found, "{text:?}");
        }
    }

    #[test]
    fn each_result_is_one_line() {
        let denied = KernelTls::Unknown(io::ErrorKind::PermissionDenied.into());
        for (result, text) in [
            (KernelTls::parse("tls"), "kernel TLS: available, not used"),
            (KernelTls::parse("mptcp"), "kernel TLS: not available (no module tls), not used"),
            (denied, "kernel TLS: unknown (/proc/sys/net/ipv4/tcp_available_ulp: permission denied), not used"),
        ] {
            assert_eq!(result.to_string(), text);
        }
        assert_eq!(KernelTls::probe().to_string().lines().count(), 1);
    }
}
