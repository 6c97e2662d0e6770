//! Streams in runtimes of tokio-uring, in both roles.

mod flow;
mod opening;
mod pair;
