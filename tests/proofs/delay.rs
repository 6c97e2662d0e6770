//! (b) A server with an exact delay.
//!
//! A reply is seen after it was sent, and a message is received after it was sent, so each quantile
//! of the response time is at least that of the delays that the server has recorded: a latency that
//! leaves out a part breaks this. One that adds a part exceeds the bound of the median.

use crate::frame::{Cores, Proof, prove_on_two_cores};
use crate::generator::{Report, load};
use crate::servers::{Delays, impaired, url};
use crate::surroundings::round_trip_of_idle_cores;
use ringway_testkit::impaired::{ImpairedReport, Impairments};
use std::time::Duration;

/// The share by which a histogram may be below the true minimum.
const RESOLUTION: f64 = 1e-3;

/// A message and its reply between two idle cores take about 50 µs. Above this time, in
/// milliseconds, wakes are too slow for the narrow bound of the minimum.
const SLOW_WAKES: f64 = 0.1;

/// A load on a server with this delay.
fn run(delay: u64, arguments: &str, cores: Cores) -> (Report, ImpairedReport) {
    let server = impaired(Impairments { delay: Duration::from_millis(delay), ..Impairments::default() }, cores);
    let arguments = format!("{arguments} -t 1 -w 0 --verify all --cores {}", cores.generator);
    let report = load(&url(&server), &arguments);
    (report, server.stop())
}

/// What holds in each run: every message is answered, and no quantile is below the truth.
fn quantiles(proof: &mut Proof, report: &Report, server: &ImpairedReport, delay: u64, median: f64, cores: Cores) {
    let delays = Delays::of(server);
    proof.equal("messages.sent", report.count("messages.sent"), server.counts.messages);
    proof.equal("messages.received", report.count("messages.received"), server.counts.answered);
    proof.equal("delays", delays.count(), server.counts.answered);
    proof.equal("response.count", report.count("latency_us.response.count"), server.counts.answered);
    let minimum = delays.quantile(0.0);
    proof.at_least("delays.min ms", minimum, delay as f64);
    proof.at_least("response.min ms", report.millis("response.min"), minimum * (1.0 - RESOLUTION));
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        let response = report.millis(&format!("response.{name}"));
        proof.at_least(&format!("response.{name} ms"), response, delays.quantile(share));
    }
    // At least one message is not disturbed.
    let above = report.millis("response.min") - minimum;
    let resolution = minimum * RESOLUTION;
    let bound = 0.5 + resolution;
    proof.within("response.min above delays.min ms", above, -resolution..=bound);
    if above > bound {
        let raw = round_trip_of_idle_cores(cores).as_secs_f64() * 1000.0;
        proof.note("raw round trip ms", format!("{raw:.4}"));
        if raw > SLOW_WAKES {
            proof.disturbed();
        }
    }
    // Both directions of loopback and two wakes take 50 µs. A slice of another thread takes 5 ms,
    // on each side. Where the cores are busy, the generator is late, and states it (±).
    let median = report.at("generator.uncertainty_us").as_f64().map_or(median, |late| median.max(late / 1000.0));
    let above = |name: &str, share| report.millis(name) - delays.quantile(share);
    proof.within("response.p50 above delays.p50 ms", above("response.p50", 0.5), 0.0..=median);
    proof.within("service.p50 above delays.p50 ms", above("service.p50", 0.5), 0.0..=median);
    proof.within("response.p99 above delays.p99 ms", above("response.p99", 0.99), 0.0..=12.0);
}

#[test]
fn an_exact_delay_is_measured_exactly() {
    prove_on_two_cores("b, open loop", |proof, cores| {
        // A constant error, a factor, and a wrong unit differ over the delays. At 5k/s many
        // completions are handled in one turn. With one connection 10 messages are in flight: sends
        // do not wait for replies.
        for (delay, arguments, offered, median) in [
            (1, "-R 500 -c 4 -d 3s", 1_500, 0.5),
            (20, "-R 500 -c 4 -d 3s", 1_500, 0.5),
            (200, "-R 500 -c 4 -d 3s", 1_500, 0.5),
            (20, "-R 500 -c 1 -d 3s", 1_500, 0.5),
            (1, "-R 5k -c 50 -d 3s", 15_000, 1.0),
        ] {
            proof.part(format!("{delay} ms, {arguments}"));
            let (report, server) = run(delay, arguments, cores);
            proof.equal("messages.offered", report.count("messages.offered"), offered);
            quantiles(proof, &report, &server, delay, median, cores);
        }
    });
}

#[test]
fn a_closed_loop_agrees_with_littles_law() {
    prove_on_two_cores("b, closed loop", |proof, cores| {
        for (delay, arguments) in [(20, "-n 200"), (200, "-d 3s")] {
            proof.part(format!("{delay} ms, {arguments}"));
            let (report, server) = run(delay, &format!("-c 1 -p 1 {arguments}"), cores);
            // A closed loop states no uncertainty: the bound of the median is a slice of another
            // thread, and that of the minimum is the narrow one.
            quantiles(proof, &report, &server, delay, 5.0, cores);
            // Rate and latency are from different counters. The message in flight at the end of a
            // run by time is not counted in the rate.
            let in_flight = report.number("messages.per_second") * report.millis("response.mean") / 1000.0;
            let edge = 1.0 / report.count("messages.sent") as f64;
            proof.within("rate × response.mean", in_flight, 0.97 - edge..=1.03);
            proof.one_of("limited_by", report.limited_by(), &["concurrency"]);
        }
    });
}
