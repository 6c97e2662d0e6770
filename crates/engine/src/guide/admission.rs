//! Admission: which connections a server takes, how fast, and what each may send.
//!
//! [`Limits::max_connections`] bounds the connections of one shard; further ones wait in the queue of
//! the kernel. [`Admission`] adds limits over all shards, which reject connections, and
//! [`Limits::message_rate`] and [`Limits::byte_rate`] bound the rate of one connection. All of them
//! are off by default, and cost nothing then.
//!
//! ```
//! use ringway::{Admission, Config, Limits, Rate};
//!
//! let admission = Admission::new()
//!     .max_connections(Some(200_000))?
//!     .max_handshakes(Some(10_000))?
//!     .max_per_address(Some(100))?
//!     .accept_rate(Some(Rate::per_second(5_000).burst(10_000)))?;
//! let config = Config::default().admission(admission);
//! let limits = Limits::default().message_rate(Some(Rate::per_second(20).burst(100)))?;
//! # let _ = (config, limits);
//! # Ok::<(), ringway::ConfigError>(())
//! ```
//!
//! | limit | when it is reached | counted in [`Counters`] |
//! |---|---|---|
//! | [`Admission::max_connections`] | the new connection is rejected | `rejected_limit` |
//! | [`Admission::accept_rate`] | connections wait in the queue of the kernel, or are rejected ([`OverRate`]) | `rejected_rate` |
//! | [`Admission::max_handshakes`] | the oldest handshake in progress is rejected in favour of the new connection | `rejected_handshakes` |
//! | [`Admission::max_per_address`] | the new connection is rejected | `rejected_address` |
//! | [`Limits::message_rate`], [`Limits::byte_rate`] | the connection is not read until the rate allows it | `rate_pauses` |
//!
//! A connection is rejected with 503 or 429 and `Retry-After`, or with a close
//! ([`Admission::reject_with`]). Connections with TLS are closed, because a response would take a
//! handshake. A warning in the log, at most one of each reason in a second for each shard, has the
//! address of the peer.
//!
//! # Slow handshakes
//!
//! A client that sends its request byte by byte keeps a connection for
//! [`Config::handshake_timeout`](crate::Config::handshake_timeout), 10 s by default, and 16 KiB of
//! memory at most. Handshakes in progress do not delay others. [`Admission::max_handshakes`] bounds
//! their number: under a flood, each handshake has as much time as the limit divided by the rate of
//! the flood.
//!
//! # Rates
//!
//! A rate is a token bucket: the burst passes at once, and the average holds afterwards. A paused
//! connection is neither idle nor slow, and loses nothing: what it has sent waits in its socket, and
//! then at its peer. A rate of bytes can be exceeded by what the kernel has received before the pause
//! begins; the pause is longer by as much.
//!
//! # Clients behind a proxy
//!
//! [`Admission::trust`] names the proxies that may say who a client is. [`Request::client_addr`] then
//! returns the address that the PROXY protocol names ([`Admission::proxy_protocol`]), or the rightmost
//! untrusted one of `X-Forwarded-For`. The headers of all other peers are ignored, and a header of the
//! PROXY protocol from one of them ends its connection (`rejected_proxy`).
//!
//! ```
//! use ringway::{Admission, Config};
//!
//! let admission = Admission::new().trust(["10.0.0.5".parse()?])?.proxy_protocol(true).max_per_address(Some(100))?;
//! let config = Config::default().admission(admission);
//! # let _ = config;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Next: [panics](super::panics).
//!
//! [`Admission`]: crate::Admission
//! [`Admission::accept_rate`]: crate::Admission::accept_rate
//! [`Admission::max_connections`]: crate::Admission::max_connections
//! [`Admission::max_handshakes`]: crate::Admission::max_handshakes
//! [`Admission::max_per_address`]: crate::Admission::max_per_address
//! [`Admission::reject_with`]: crate::Admission::reject_with
//! [`Counters`]: crate::Counters
//! [`Limits::byte_rate`]: crate::Limits::byte_rate
//! [`Limits::max_connections`]: crate::Limits::max_connections
//! [`Limits::message_rate`]: crate::Limits::message_rate
//! [`Admission::proxy_protocol`]: crate::Admission::proxy_protocol
//! [`Admission::trust`]: crate::Admission::trust
//! [`OverRate`]: crate::OverRate
//! [`Request::client_addr`]: crate::Request::client_addr
