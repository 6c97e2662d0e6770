//! Streams in runtimes of tokio-uring, in both roles.

mod backpressure;
mod compression;
mod ending;
mod flow;
mod halves;
mod interop;
mod limits;
mod opening;
mod pair;
mod serving;
mod tls;
