//! The echo service on TCP (RFC 862), on any driver: what a connection sends comes back, in order,
//! until the peer ends its direction.
//!
//! [`EchoStreams`] has the connections of one driver. Its owner passes the completions of their
//! slots, and calls [`EchoStreams::flush`] at the end of each turn. A received buffer goes back out
//! without a copy. The server of `ringway serve`, and the server that benches compare with, use this
//! code; [`EchoOutbox`] is also that of their client.

mod outbox;
mod stream;
mod streams;
#[cfg(test)]
mod tests;

pub use outbox::EchoOutbox;
pub use streams::{EchoCounts, EchoEnd, EchoLimits, EchoStreams, Room};
