//! What forged datagrams can cause: loops between two services.

use super::{DRIVERS, answer, await_metric, client, echo_address, metric, serve};
use crate::stopped::wait_until_stopped;
use ringway_tests::ServerProcess;
use rustix::process::Signal;
use std::net::UdpSocket;
use std::time::Instant;

/// A server whose other rates are never reached.
fn unlimited(driver: &str, echo: &str) -> ServerProcess {
    // Few rounds end a loop: on a busy machine one takes long, and the rate grows meanwhile.
    let rates = ["--echo-udp-rate=10m", "--echo-udp-total=10m", "--echo-udp-repeats=1:4"];
    serve(&[&["--shards=2", driver, &format!("--echo-udp={echo}")][..], &rates].concat())
}

const ANSWERED: &str = "ringway_echo_datagrams_total";

fn answered(serving: &ServerProcess) -> u64 {
    metric(serving, ANSWERED, "")
}

/// Lets a client have an answer, which is the only one beyond `before`. An answer arrives before its
/// metric is published.
fn expect_one_answer(serving: &ServerProcess, before: u64) {
    assert_eq!(answer(&client("127.0.0.1:0"), b"client", echo_address(serving, "udp")).0, b"client");
    await_metric(serving, ANSWERED, "", |answered| answered > before);
    assert_eq!(answered(serving), before + 1, "nothing but the client");
}

/// Two services, of which the first one gets a datagram that the second one seems to have sent.
fn looped(driver: &str, has_same_port: bool) -> [ServerProcess; 2] {
    let driver = format!("--driver={driver}");
    let first = unlimited(&driver, "127.0.0.1:0");
    let address = echo_address(&first, "udp");
    // The datagram is in the queue of the first one before the second one has the port.
    first.signal(Signal::STOP);
    wait_until_stopped(first.pid());
    let port = if has_same_port { address.port() } else { 0 };
    let forger = UdpSocket::bind(("127.0.0.2", port)).expect("a free port");
    forger.send_to(b"forged", address).expect("room");
    let forged = forger.local_addr().expect("bound");
    drop(forger);
    let second = unlimited(&driver, &forged.to_string());
    first.signal(Signal::CONT);
    [first, second]
}

#[test]
fn two_services_with_one_port_do_not_answer_each_other() {
    for driver in DRIVERS {
        let [first, second] = looped(driver, true);
        await_metric(&first, "ringway_echo_datagrams_ignored_total", "reason=\"own\"", |ignored| ignored == 1);
        for serving in [&first, &second] {
            expect_one_answer(serving, 0);
        }
    }
}

#[test]
fn a_loop_of_two_services_with_different_ports_ends() {
    for driver in DRIVERS {
        let start = Instant::now();
        let servers = looped(driver, false);
        // The datagram is ignored by one of them, and does not exist any more. The other one has answered
        // as often, or once more if it began.
        let ignored = || servers.each_ref().map(|of| metric(of, "ringway_echo_datagrams_ignored_total", "repeat"));
        let by_first = loop {
            match ignored() {
                [0, 0] => std::thread::yield_now(),
                [by_first, _] => break by_first > 0,
            }
        };
        let counts =
            if by_first { [answered(&servers[0]); 2] } else { [1, 0].map(|more| answered(&servers[1]) + more) };
        for (serving, count) in servers.iter().zip(counts) {
            await_metric(serving, ANSWERED, "", |answered| answered >= count);
        }
        assert_eq!(servers.each_ref().map(answered), counts);
        // Both answer the burst, and one more for each second that the test takes.
        let allowed = 4..=5 + start.elapsed().as_secs();
        assert!(counts.iter().all(|count| allowed.contains(count)), "{counts:?}");
        for (serving, count) in servers.iter().zip(counts) {
            expect_one_answer(serving, count);
        }
    }
}
