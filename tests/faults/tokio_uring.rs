//! The tests of `main.rs`, on tokio-uring.

mod bad_inputs;
mod balancing;
mod broadcast;
mod client;
mod closing;
mod deferred;
mod delivery;
mod ending_log;
mod exhausted;
mod half_open;
mod handshake;
mod idle;
mod outgoing;
mod overload;
mod sockets;
mod stopping;
mod storms;
mod sums;
mod tls;
mod tls_client;
mod tls_options;
mod unix;

use ringway::{Config, DriverChoice, Limits};
use ringway_tests::{Echo, TestServer};

/// Whether the driver lends its receive buffers to the kernel in advance.
const HAS_BUFFER_RING: bool = false;

/// The configuration of the tests' servers and clients.
fn config() -> Config {
    ringway_tests::config().driver(DriverChoice::TokioUring)
}

/// A server that echoes, with the default limits.
fn echo_server() -> TestServer<Echo> {
    TestServer::start(config(), Limits::default(), |_| Echo)
}
