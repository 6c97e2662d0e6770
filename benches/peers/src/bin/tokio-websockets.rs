//! Echo on tokio-websockets.

use ringway_peers::{accept, echo_tokio_websockets, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(|listener| accept(listener, echo_tokio_websockets))
}
