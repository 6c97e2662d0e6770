//! (g) A generator that is starved of its core by other threads: never the server's limit.

use crate::frame::{Cores, Proof, prove_on_two_cores};
use crate::generator::{Report, load};
use crate::servers::serve;
use ringway::placement;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Threads that compute without sleeping on a core, until they are dropped.
struct BusyThreads {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyThreads {
    fn start(number: usize, core: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..number).map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                placement::pin(core).expect("it is in the mask");
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        Self { threads: threads.collect(), stop }
    }
}

impl Drop for BusyThreads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that failed has printed why.
            let _ = thread.join();
        }
    }
}

const OPEN: &str = "-R 10k -c 50";
const CLOSED: &str = "-c 50 -p 4";

fn run(load_arguments: &str, url: &str, cores: Cores, busy: usize) -> Report {
    let _busy = BusyThreads::start(busy, cores.generator);
    load(url, &format!("{load_arguments} -t 1 -d 3s -w 500ms --cores {}", cores.generator))
}

fn run_delay(report: &Report) -> f64 {
    report.each("generator.threads", "run_delay").iter().sum()
}

/// What holds in each run with other threads on the generator's core.
fn starved(proof: &mut Proof, report: &Report) {
    proof.one_of("limited_by", report.limited_by(), &["generator", "surroundings"]);
    proof.note("evidence", report.evidence());
    // The busy threads belong neither to the generator nor to the server. One has about half of the
    // core; /proc/stat counts it in ticks, and the figure is a lower bound.
    proof.at_least("others on its core", report.number("verdict.figures.generator_cores.others"), 0.3);
    proof.note("server.busiest_thread", report.number("server.busiest_thread"));
}

#[test]
fn a_generator_that_is_starved_of_its_core_does_not_blame_the_server() {
    prove_on_two_cores("g", |proof, cores| {
        let server = serve("echo", cores);
        let url = format!("ws://{}/", server.address());

        proof.part("control, open loop");
        let control = run(OPEN, &url, cores, 0);
        // Where other processes use the core, it is late here too.
        proof.one_of("limited_by", control.limited_by(), &["rate", "generator", "surroundings"]);
        proof.note("evidence", control.evidence());
        proof.note("send_lag.p99 ms", control.millis("send_lag.p99"));
        proof.note("run delay", run_delay(&control));

        proof.part("1 busy thread, open loop");
        let report = run(OPEN, &url, cores, 1);
        starved(proof, &report);
        proof.at_least("run delay", run_delay(&report), 0.1);
        // The slices of the other thread.
        let lag = report.millis("send_lag.p99");
        proof.at_least("send_lag.p99 ms", lag, 1.0);
        // The response time is the lag and the service time.
        proof.at_least("response.p99 ms", report.millis("response.p99"), lag * 0.999);

        for (busy, share) in [(1, 0.35), (3, 0.6)] {
            proof.part(format!("{busy} busy threads, closed loop"));
            let report = run(CLOSED, &url, cores, busy);
            starved(proof, &report);
            // The scheduler's fair shares, 1/2 and 3/4, of the time in which the generator has
            // work. It is more where other processes use the core too, or where the generator
            // sleeps in between, and waits for the end of a slice after each sleep.
            let ran: f64 = ["busy", "polling"].iter().flat_map(|key| report.each("generator.threads", key)).sum();
            let delay = run_delay(&report);
            proof.at_least("run delay / time with work", delay / (delay + ran), share);
            // It waits for the starved generator.
            proof.within("server.busiest_thread", report.number("server.busiest_thread"), 0.0..=0.9);
        }
    });
}
