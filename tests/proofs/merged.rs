//! (f) Merged histograms are the histogram of merged samples. The property is tested in the crate
//! of the generator; here, that it holds for the report of several threads: the server's record of
//! the same run has all delays.

use crate::frame::prove_on_two_cores;
use crate::generator::load;
use crate::servers::{Delays, impaired, url};
use ringway_testkit::impaired::Impairments;
use std::time::Duration;

/// A percentile that is the mean of those of the threads, or that of one thread, is below the truth
/// in the upper tail: each thread has a share of the slow messages that differs from the whole.
#[test]
fn the_figures_of_several_threads_are_those_of_all_messages() {
    prove_on_two_cores("f", |proof, cores| {
        // Two of 20 replies wait for 100 ms, because they are to be swapped and none follows.
        let impairments = Impairments { delay: Duration::from_millis(2), swap_every: 20, ..Impairments::default() };
        let server = impaired(impairments, cores);
        let arguments = format!("-c 7 -p 1 -t 3 -n 3000 --verify all --cores {}", cores.generator);
        let report = load(&url(&server), &arguments);
        let server = server.stop();
        let delays = Delays::of(&server);
        proof.equal("threads", report.at("generator.threads").as_array().map_or(0, Vec::len) as u64, 3);
        proof.equal("response.count", report.count("latency_us.response.count"), server.counts.answered);
        proof.equal("received", report.count("messages.received"), server.counts.answered);
        proof.equal("delays", delays.count(), 3000);
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
            let (response, delay) = (report.millis(&format!("response.{name}")), delays.quantile(share));
            proof.at_least(&format!("response.{name} ms"), response, delay);
            if share < 0.95 {
                proof.within(&format!("response.{name} above delays.{name} ms"), response - delay, 0.0..=12.0);
            }
        }
    });
}
