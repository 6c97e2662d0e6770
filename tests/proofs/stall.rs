//! (a) A server that freezes for 100 ms in each second.
//!
//! Messages are due uniformly over whole periods, so a tenth of them is due in a freeze and waits
//! for the rest of it, which is uniform in 0..100 ms; the others take less than a millisecond. So
//! P(response > x) = 0.1 (1 - x / 100 ms): p95 is 50 ms, p99 is 90 ms, the mean 5 ms.

use crate::frame::{Proof, prove_on_two_cores};
use crate::generator::{Report, load};
use crate::servers::serve;
use std::ops::RangeInclusive;

const APP: &str = "stall:100ms/1s";

/// An open loop shows the freezes. A closed loop, or one outstanding message on each connection,
/// shows a p95 below 1 ms; so does a time that is measured from the submission of messages that
/// were held back. If the messages that are due in a freeze are skipped, the share of slow ones
/// falls.
#[test]
fn an_open_loop_shows_the_freezes_of_a_server() {
    prove_on_two_cores("a", |proof, cores| {
        let server = serve(APP, cores);
        let url = format!("ws://{}/", server.address());
        let core = cores.generator;
        // The share of 10 000 Poisson arrivals that is due in freezes is 0.1 ± 0.003 (one σ), which
        // moves p95 by 1.5 ms.
        for (part, arguments, offered, p95, p99) in [
            ("uniform", "-R 1k -c 20 -t 1 -d 10s", 10_000, 45.0..=55.0, 81.0..=99.0),
            ("two threads", "-R 2k -c 20 -t 2 -d 5s", 10_000, 45.0..=55.0, 81.0..=99.0),
            ("Poisson", "-R 2k -c 20 -t 1 -d 5s --arrivals poisson --seed 1", 10_000, 42.0..=58.0, 80.0..=99.0),
        ] {
            proof.part(part);
            // Two threads share the core, so that the server has its own.
            let report = load(&url, &format!("{arguments} -w 0 --verify all --cores {core}"));
            let sent = report.count("messages.sent");
            if part == "Poisson" {
                proof.within("messages.sent", sent as f64, offered as f64 * 0.95..=offered as f64 * 1.05);
            } else {
                proof.equal("messages.sent", sent, offered);
            }
            proof.equal("messages.offered", report.count("messages.offered"), sent);
            proof.equal("messages.received", report.count("messages.received"), sent);
            proof.equal("response.count", report.count("latency_us.response.count"), sent);
            response(proof, &report, p95, p99);
            proof.note("send_lag.p99 ms", report.millis("send_lag.p99"));
            proof.note("send_lag.max ms", report.millis("send_lag.max"));
            proof.note("response.p50 ms", report.millis("response.p50"));
            proof.note("run delay", report.each("generator.threads", "run_delay").iter().sum::<f64>());
            proof.note("others on its core", report.number("verdict.figures.generator_cores.others"));
        }
    });
}

/// Where the cores are busy, each side is late, which makes the response times longer and never
/// shorter. The upper bounds allow for the lateness that the generator states (±), on both sides;
/// the lower bounds, below which the wrong methods are, do not move. The mean of the other messages
/// is added to the 5 ms; a mean of the messages that are answered at once is below 1 ms.
fn response(proof: &mut Proof, report: &Report, p95: RangeInclusive<f64>, p99: RangeInclusive<f64>) {
    let late = 2.0 * report.number("generator.uncertainty_us") / 1000.0;
    let latest = 2.0 * report.millis("send_lag.max");
    proof.within("response.p95 ms", report.millis("response.p95"), *p95.start()..=*p95.end() + late);
    proof.within("response.p99 ms", report.millis("response.p99"), *p99.start()..=*p99.end() + late);
    proof.within("response.max ms", report.millis("response.max"), 95.0..=160.0 + latest);
    proof.within("response.mean ms", report.millis("response.mean"), 4.5..=7.0 + late);
}

/// The service time on a closed loop of one connection cannot show the freezes, although they are
/// there: one message is in flight when each begins.
#[test]
fn a_closed_loop_cannot_show_the_freezes() {
    const SECONDS: usize = 5;
    prove_on_two_cores("a, closed loop", |proof, cores| {
        let server = serve(APP, cores);
        let url = format!("ws://{}/", server.address());
        let arguments = format!("-c 1 -p 1 -t 1 -w 0 -d {SECONDS}s --verify all --cores {}", cores.generator);
        let report = load(&url, &arguments);
        proof.within("service.p95 ms", report.millis("service.p95"), 0.0..=10.0);
        // 90 ms in an open loop.
        proof.within("service.p99 ms", report.millis("service.p99"), 0.0..=45.0);
        proof.within("service.max ms", report.millis("service.max"), 90.0..=160.0);
        // One freeze ends in each second. One that ends at the edge of two may count as either's.
        let maxima = report.each("timeline", "max");
        let frozen = maxima.iter().filter(|max| **max > 45_000.0).count();
        proof.equal("seconds", maxima.len() as u64, SECONDS as u64);
        proof.within("seconds with a freeze", frozen as f64, SECONDS as f64 - 1.0..=SECONDS as f64);
    });
}
