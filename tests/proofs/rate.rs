//! (d) A server of a known rate: a queue whose service takes 1 ms.
//!
//! At twice the rate, a message that is due at `t` waits for `t`, so the median of a run of `T` is
//! `T / 2`, and the drain answers all after `2 T`. A generator that waits for replies before it
//! sends shows a few milliseconds instead.

use crate::frame::{Cores, Proof, prove_on_two_cores};
use crate::generator::{Report, load};
use crate::servers::{Delays, impaired, url};
use ringway_testkit::impaired::{ImpairedReport, Impairments};

/// Replies per second.
const RATE: u32 = 1000;

/// The length of a run in seconds.
const SECONDS: f64 = 4.0;

fn run(impairments: Impairments, arguments: &str, cores: Cores) -> (Report, ImpairedReport) {
    let server = impaired(Impairments { rate: Some(RATE), ..impairments }, cores);
    let arguments = format!("{arguments} -c 10 -t 1 -w 0 --verify all --cores {}", cores.generator);
    let report = load(&url(&server), &arguments);
    (report, server.stop())
}

/// The figures of a run at twice the rate whose messages are all answered.
fn overloaded(proof: &mut Proof, report: &Report, server: &ImpairedReport, is_in_order: bool) {
    let offered = 2.0 * f64::from(RATE) * SECONDS;
    proof.equal("sent", report.count("messages.sent"), offered as u64);
    proof.equal("messages", server.counts.messages, offered as u64);
    proof.equal("received", report.count("messages.received"), offered as u64);
    // 2 % are a standstill of 80 ms.
    let rate = f64::from(RATE);
    proof.within("messages.per_second", report.number("messages.per_second"), rate * 0.98..=rate * 1.005);
    proof.within("messages.achieved", report.number("messages.achieved"), 0.49..=0.503);
    let growth = report.number("verdict.figures.load.backlog_growth");
    proof.within("backlog_growth", growth, rate * SECONDS * 0.99..=rate * SECONDS * 1.02);
    // Under backpressure the replies of different connections are not in the order of their
    // messages: the server reads the sockets in another one.
    let quantiles = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];
    for (name, share) in &quantiles[..if is_in_order { 3 } else { 1 }] {
        let truth = SECONDS * 1000.0 * share;
        proof.within(
            &format!("response.{name} ms"),
            report.millis(&format!("response.{name}")),
            truth * 0.98..=truth * 1.02,
        );
    }
    // The generator had time, so that it is not the limit, and the CPU time of the server does not
    // show it: the evidence is the backlog.
    proof.one_of("limited_by", report.limited_by(), &["server"]);
    proof.note("evidence", report.evidence());
    proof.note("send_lag.p99 ms", report.millis("send_lag.p99"));
    proof.note("run delay", report.each("generator.threads", "run_delay").iter().sum::<f64>());
}

#[test]
fn twice_the_rate_of_a_server_shows_its_backlog() {
    prove_on_two_cores("d, over", |proof, cores| {
        let arguments = format!("-R 2k -d {SECONDS}s --timeout 60s");
        proof.part("unbounded queue");
        let (unbounded, server) = run(Impairments::default(), &arguments, cores);
        overloaded(proof, &unbounded, &server, true);
        // Sends are taken at once.
        let (response, service) = (unbounded.millis("response.p50"), unbounded.millis("service.p50"));
        proof.within("service.p50 / response.p50", service / response, 0.98..=1.0);

        // The backlog exceeds the kernel's buffers, and a part of it waits in the generator.
        proof.part("backpressure");
        let full = Impairments { queue_limit: 100, receive_buffer: Some(16 << 10), ..Impairments::default() };
        let (bounded, server) = run(full, &format!("{arguments} -s 4K"), cores);
        overloaded(proof, &bounded, &server, false);
        proof.equal("max_waiting", u64::from(server.counts.max_waiting < 1000), 1);
        let ratio = bounded.millis("response.p50") / response;
        proof.within("response.p50 / that of the unbounded queue", ratio, 0.95..=1.05);
    });
}

#[test]
fn messages_over_the_timeout_are_lower_bounds() {
    prove_on_two_cores("d, cut", |proof, cores| {
        let (report, _) = run(Impairments::default(), "-R 2k -d 3s --timeout 1s", cores);
        let count = |figure: &str| report.count(&format!("messages.{figure}"));
        proof.equal("sent", count("sent"), 6000);
        proof.equal("received + missing", count("received") + count("missing"), 6000);
        // Those that are due in the first second wait for less. The generator looks for expired
        // messages 20 times in a timeout, which is 100 messages later at most.
        proof.within("received", count("received") as f64, 1940.0..=2160.0);
        proof.equal("lower_bounds", report.count("latency_us.response.lower_bounds"), count("missing"));
        proof.at_least("response.p50 ms", report.millis("response.p50"), 1000.0);
        let bound = report.millis("response.lower_bound_from");
        proof.within("response.lower_bound_from ms", bound, 999.0..=report.millis("response.p50"));
    });
}

#[test]
fn half_of_the_rate_of_a_server_is_no_limit() {
    prove_on_two_cores("d, under", |proof, cores| {
        let (report, server) = run(Impairments::default(), "-R 500 -d 3s", cores);
        proof.equal("sent", report.count("messages.sent"), 1500);
        proof.equal("received", report.count("messages.received"), server.counts.answered);
        proof.within("messages.achieved", report.number("messages.achieved"), 0.995..=1.0);
        proof.within("backlog_growth", report.number("verdict.figures.load.backlog_growth"), 0.0..=10.0);
        // The service takes 1 ms. Where the cores are busy, the server is late, which it has
        // recorded, and the generator, which states it (±).
        let (response, delay) = (report.millis("response.p50"), Delays::of(&server).quantile(0.5));
        proof.within("response.min ms", report.millis("response.min"), 0.999..=1.5);
        proof.at_least("response.p50 ms", response, delay);
        let late = report.number("generator.uncertainty_us") / 1000.0;
        proof.within("response.p50 above delays.p50 ms", response - delay, 0.0..=late.max(0.5));
        proof.one_of("limited_by", report.limited_by(), &["rate"]);
        proof.note("evidence", report.evidence());
    });
}
