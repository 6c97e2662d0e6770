//! Tests with faulty peers and networks, on real sockets, against a server in this process.

mod bad_inputs;
mod client;
mod closing;
mod deferred;
mod delivery;
mod ending_log;
mod handshake;
mod idle;
mod overload;
mod sockets;
mod stopping;
mod sums;
mod unix;
