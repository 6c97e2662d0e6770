//! The servers of the proofs, on the core that the generator does not use.

use crate::frame::Cores;
use ringway::placement;
use ringway_testkit::impaired::{ImpairedReport, ImpairedServer, Impairments};
use ringway_tests::ServerProcess;
use std::thread;
use std::time::Duration;

/// Starts a server with known faults on the server's core. The core of the calling thread, which
/// the generator's process inherits, does not change.
pub(crate) fn impaired(impairments: Impairments, cores: Cores) -> ImpairedServer {
    let start = move || {
        placement::pin(cores.server).expect("it is in the mask");
        ImpairedServer::start(impairments)
    };
    thread::spawn(start).join().expect("the server starts")
}

/// Starts a server with known faults on any core, for counts, which do not depend on times.
pub(crate) fn impaired_anywhere(impairments: Impairments) -> ImpairedServer {
    ImpairedServer::start(impairments)
}

/// The URL of a server with known faults.
pub(crate) fn url(server: &ImpairedServer) -> String {
    format!("ws://{}/", server.address())
}

/// Starts `ringway serve` with one thread on the server's core.
pub(crate) fn serve(app: &str, cores: Cores) -> ServerProcess {
    ServerProcess::with(&["--app", app, "--shards", "1", "--cores", &cores.server.to_string()])
}

/// The delays that a server has taken, in order.
pub(crate) struct Delays(Vec<Duration>);

impl Delays {
    pub(crate) fn of(report: &ImpairedReport) -> Self {
        let mut delays = report.delays.clone();
        delays.sort_unstable();
        Self(delays)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// A quantile in milliseconds: the smallest delay that at least this share does not exceed. The
    /// minimum is that of 0.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let rank = ((share * self.0.len() as f64).ceil() as usize).max(1);
        self.0[rank - 1].as_secs_f64() * 1000.0
    }
}
