//! The echo service of `serve` (RFC 862).

use crate::exit::Failure;
use crate::values::{self, rate};
use clap::Args;
use ringway::{ConfigError, EchoRates, Handler, Rate, Running, Server};

/// The options of `serve` for the echo service.
#[derive(Debug, Args)]
pub(crate) struct EchoOptions {
    /// Serve the echo service of RFC 862 on TCP too, on this port of 127.0.0.1, or at an address as
    /// 0.0.0.0:7; its connections have the limits of the others
    #[arg(long, value_name = "PORT|ADDR:PORT", value_parser = echo_address)]
    pub(crate) echo_tcp: Option<String>,
    /// Serve the echo service of RFC 862 on UDP too, as --echo-tcp. Datagrams from ports below 1024,
    /// from a port of the service itself, from or to broadcast and multicast addresses, and beyond
    /// --echo-udp-rate, --echo-udp-total and --echo-udp-repeats are ignored
    #[arg(long, value_name = "PORT|ADDR:PORT", value_parser = echo_address)]
    pub(crate) echo_udp: Option<String>,
    /// Maximum rate of answers per second of --echo-udp to one IPv4 address, or to one /64 network of
    /// IPv6, and the burst that may exceed it; of all shards together
    #[arg(long, value_name = "N[:BURST]", default_value = "8192:1024", value_parser = rate)]
    pub(crate) echo_udp_rate: Rate,
    /// The same to all addresses
    #[arg(long, value_name = "N[:BURST]", default_value = "131072", value_parser = rate)]
    pub(crate) echo_udp_total: Rate,
    /// The same to one payload from one address and port: it ends loops with services that send back
    /// the same bytes; others are bounded by --echo-udp-rate only. Raise it to measure with payloads
    /// that do not change, or of fewer than 8 bytes
    #[arg(long, value_name = "N[:BURST]", default_value = "1:32", value_parser = rate)]
    pub(crate) echo_udp_repeats: Rate,
}

/// Parses a port, or an address with a port. A port is one of the loopback address: an echo service
/// is open to others only if that was asked for.
fn echo_address(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let port: u16 = text.parse().map_err(|_| "give a port from 0 to 65535".to_owned())?;
        return Ok(format!("127.0.0.1:{port}"));
    }
    values::listen(text).map_err(|error| format!("give a port, as 7; or {}", error.trim_start_matches("give ")))
}

impl EchoOptions {
    /// Opens the sockets, or takes them over.
    pub(super) fn listen(&self, server: Server) -> Result<Server, Failure> {
        let server = match &self.echo_tcp {
            Some(address) => server.and_echo(address)?,
            None => server,
        };
        Ok(match &self.echo_udp {
            Some(address) => server.and_echo_datagrams(address)?,
            None => server,
        })
    }

    /// How many datagrams are answered.
    ///
    /// # Errors
    /// A rate out of range.
    pub(super) fn rates(&self) -> Result<EchoRates, ConfigError> {
        let rates = EchoRates::default().per_address(self.echo_udp_rate)?.total(self.echo_udp_total)?;
        rates.per_payload(self.echo_udp_repeats)
    }

    /// The number of sockets of each shard.
    pub(super) fn sockets(&self) -> usize {
        usize::from(self.echo_tcp.is_some()) + usize::from(self.echo_udp.is_some())
    }
}

/// The lines about the service of a running server.
pub(super) fn describe<H: Handler>(running: &Running<H>) -> String {
    let tcp = running.echo_addresses().iter().map(|address| format!("echo         tcp://{address}\n"));
    let udp = running.echo_datagram_addresses().iter().map(|address| format!("echo         udp://{address}\n"));
    tcp.chain(udp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_the_loopback_address() {
        assert_eq!(echo_address("7"), Ok("127.0.0.1:7".into()));
        assert_eq!(echo_address("0.0.0.0:7"), Ok("0.0.0.0:7".into()));
        assert_eq!(echo_address("[::1]:7007"), Ok("[::1]:7007".into()));
        assert_eq!(echo_address("65536"), Err("give a port from 0 to 65535".into()));
        for wrong in ["", "echo", "127.0.0.1", ":7", "::1:7x"] {
            assert!(echo_address(wrong).is_err(), "{wrong}");
        }
    }
}
