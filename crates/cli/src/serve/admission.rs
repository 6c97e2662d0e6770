//! The flags of `serve` for admission: which connections it takes, and how fast.

use crate::choices::TrustedPeers;
use crate::values::{byte_rate, connections, rate, some_time, trusted};
use clap::{Args, ValueEnum};
use ringway::{Admission, ConfigError, Limits, OverRate, Rate, RejectWith};
use std::time::Duration;

/// What happens to connections above the accept rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverAcceptRate {
    /// They wait in the queue of the kernel
    Pause,
    /// They are rejected
    Reject,
}

/// How connections are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reject {
    /// With status 503 and Retry-After
    #[value(name = "503")]
    Unavailable,
    /// With status 429 and Retry-After
    #[value(name = "429")]
    TooManyRequests,
    /// With a close, and no response
    Close,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Admission")]
pub(crate) struct AdmissionOptions {
    /// Maximum number of connections of all shards together; further ones are rejected [default: no
    /// limit besides --max-connections of each shard]
    #[arg(long, value_name = "N", value_parser = connections)]
    max_connections_total: Option<u32>,
    /// Maximum number of opening handshakes in progress; a new connection takes the place of the
    /// oldest one, which is rejected [default: no limit]
    #[arg(long, value_name = "N", value_parser = connections)]
    max_handshakes: Option<u32>,
    /// Maximum number of connections of one IPv4 address, or of one /64 network of IPv6; further ones
    /// are rejected [default: no limit]
    #[arg(long, value_name = "N", value_parser = connections)]
    max_per_address: Option<u32>,
    /// Maximum rate of accepting connections per second, and the burst that may exceed it, as 5k or
    /// 5k:20k [default: no limit]
    #[arg(long, value_name = "N[:BURST]", value_parser = rate)]
    accept_rate: Option<Rate>,
    /// What happens to connections above --accept-rate
    #[arg(long, value_enum, value_name = "MODE", default_value = "pause")]
    over_accept_rate: OverAcceptRate,
    /// How connections are rejected; always with a close on an address with TLS
    #[arg(long, value_enum, value_name = "HOW", default_value = "503")]
    reject_with: Reject,
    /// Time in the Retry-After header of a rejection, in whole seconds
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    retry_after: Duration,
    /// Network of proxies that may name the address of a client, as 10.0.0.0/8, or `unix` for the
    /// peers of Unix sockets; may be given several times [default: none]
    #[arg(long, value_name = "CIDR|unix", value_parser = trusted)]
    trust: Vec<TrustedPeers>,
    /// Let the peers of --trust begin each connection with a header of the PROXY protocol,
    /// version 1 or 2, before TLS; it is then required of them, and refused from all others
    #[arg(long, requires = "trust")]
    proxy_protocol: bool,
    /// Maximum rate of messages per second on one connection, and the burst that may exceed it, as 20
    /// or 20:100; above it the connection is not read for a while [default: no limit]
    #[arg(long, value_name = "N[:BURST]", value_parser = rate)]
    message_rate: Option<Rate>,
    /// Maximum rate of bytes per second on one connection, and the burst that may exceed it, as 64K
    /// or 64K:1M [default: no limit]
    #[arg(long, value_name = "SIZE[:BURST]", value_parser = byte_rate)]
    byte_rate: Option<Rate>,
}

impl AdmissionOptions {
    pub(crate) fn admission(&self) -> Result<Admission, ConfigError> {
        let over = match self.over_accept_rate {
            OverAcceptRate::Pause => OverRate::Pause,
            OverAcceptRate::Reject => OverRate::Reject,
        };
        let reject_with = match self.reject_with {
            Reject::Unavailable => RejectWith::Unavailable,
            Reject::TooManyRequests => RejectWith::TooManyRequests,
            Reject::Close => RejectWith::Close,
        };
        let admission = Admission::new()
            .max_connections(self.max_connections_total)?
            .max_handshakes(self.max_handshakes)?
            .max_per_address(self.max_per_address)?
            .accept_rate(self.accept_rate)?
            .over_accept_rate(over)
            .reject_with(reject_with)
            .retry_after(self.retry_after)?
            .trust(self.trust.iter().filter_map(|peers| match peers {
                TrustedPeers::Network(network) => Some(*network),
                TrustedPeers::Unix => None,
            }))?
            .trust_unix(self.trust.contains(&TrustedPeers::Unix))
            .proxy_protocol(self.proxy_protocol);
        Ok(admission)
    }

    pub(crate) fn limits(&self, limits: Limits) -> Result<Limits, ConfigError> {
        limits.message_rate(self.message_rate)?.byte_rate(self.byte_rate)
    }
}
