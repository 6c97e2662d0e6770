use super::*;
use crate::histogram::Quantiles;
use crate::observe::MachineFigures;
use crate::observe::RampFigures;
use crate::observe::server::ServerUse;
use crate::opening::OpeningFigures;
use crate::summary::{
    ErrorFigures, GeneratorFigures, GeneratorThreadFigures, LatencyFigures, PlanFigures, PopulationFigures,
    ReachFigures, SCHEMA_VERSION, ServerFigures,
};
use crate::verdict::{self, Figures, LoadFigures, OpenFigures};
use std::collections::BTreeMap;
use std::num::NonZero;

/// Quantiles with these figures in microseconds.
fn quantiles(p50: f64, p90: f64, p99: f64, p999: f64, max: f64) -> Quantiles {
    Quantiles { min: p50 / 2.0, p50, p90, p99, p999, max, mean: p50, count: 1000, ..Quantiles::default() }
}

fn population(name: &str, behaviour: &'static str) -> PopulationFigures {
    PopulationFigures {
        name: name.into(),
        behaviour,
        load: "closed",
        in_flight: Some(1),
        connections: ConnectionFigures { requested: 50, established: 50, ..ConnectionFigures::default() },
        opening_us: OpeningFigures::default(),
        opened_per_second: 0.0,
        messages: MessageFigures {
            offered: 100_000,
            sent: 100_000,
            received: 100_000,
            per_second: 50_000.0,
            ..MessageFigures::default()
        },
        latency_us: LatencyFigures {
            response: Some(quantiles(100.0, 200.0, 300.0, 400.0, 500.0)),
            ..LatencyFigures::default()
        },
        gaps_us: None,
        reach: None,
        errors: BTreeMap::new(),
    }
}

/// A report of a closed loop. No figure is measured.
fn report() -> Report {
    let mut response = Recorder::default();
    for (nanos, times) in [(50_000, 50), (100_000, 800), (300_000, 145), (500_000, 5)] {
        (0..times).for_each(|_| response.record(nanos));
    }
    let plan = Plan::new("ws://127.0.0.1:9001/");
    let one_thread = Assignment::unpinned(NonZero::new(1).expect("not 0"));
    let echo = population("echo", "echo");
    let opening = quantiles(2000.0, 3000.0, 4000.0, 4000.0, 4000.0);
    let figures = Figures {
        load: LoadFigures::Closed { in_flight: 50 },
        established: 50,
        messages: 100_000,
        messages_per_second: 50_000.0,
        generator: vec![verdict::ThreadFigures { busy: 0.6, ..Default::default() }],
        server: Some(ServerUse { busiest: 0.98, demand: 0.98, cores_used: 0.98, cores: 1, ..ServerUse::default() }),
        ..Figures::default()
    };
    Report {
        schema_version: SCHEMA_VERSION,
        version: "0.0.0",
        started_at: 0.0,
        machine: MachineFigures::default(),
        plan: PlanFigures::new(&plan, 7, 64, "io_uring (DEFER_TASKRUN, restricted)".into(), &one_thread),
        connections: ConnectionFigures { per_second: 5_000.0, ..echo.connections },
        opening_us: OpeningFigures {
            connect: Some(opening),
            tls: None,
            upgrade: Some(opening),
            total: Some(quantiles(4000.0, 6000.0, 8000.0, 8000.0, 8000.0)),
        },
        ramp: RampFigures::default(),
        tls: None,
        compression: None,
        messages: MessageFigures {
            bytes_sent_per_second: 64.0 * 50_000.0,
            bytes_received_per_second: 64.0 * 50_000.0,
            ..echo.messages
        },
        latency_us: echo.latency_us.clone(),
        populations: vec![echo],
        histograms: None,
        errors: BTreeMap::new(),
        timeline: Vec::new(),
        generator: GeneratorFigures {
            threads: vec![GeneratorThreadFigures { busy: 0.6, ..GeneratorThreadFigures::default() }],
            cpu_seconds: 1.2,
            uncertainty_us: None,
        },
        server: Some(ServerFigures {
            pid: 4711,
            name: "ringway".into(),
            cpu_seconds: 1.96,
            cpu_us_per_message: Some(19.6),
            rss_bytes: 16 << 20,
            busiest_thread: 0.98,
            cores_used: 0.98,
        }),
        verdict: verdict::evaluate(figures),
        interrupted: false,
        measured: Duration::from_secs(2),
        text: Details {
            placement: "1, on core 1".into(),
            loads: vec!["echo, 50 connections, closed loop with 1 in flight on each, text of 64 B".into()],
            ramp_time: Duration::from_millis(10),
            response,
            completed_per_second: 50_000.0,
            has_traffic: true,
        },
    }
}

/// The report of an open loop that misses messages.
fn open() -> Report {
    let mut report = report();
    let bounded = Quantiles {
        lower_bounds: 20,
        lower_bound_from: Some(10_000.0),
        ..quantiles(100.0, 5000.0, 10_000.0, 1e6, 2e6)
    };
    report.latency_us.response = Some(bounded);
    report.latency_us.service = Some(quantiles(90.0, 200.0, 300.0, 400.0, 500.0));
    report.latency_us.send_lag = Some(quantiles(10.0, 20.0, 30.0, 40.0, 50.0));
    report.generator.uncertainty_us = Some(30.0);
    report.messages.offered = 100_000;
    report.messages.missing = 20;
    report.messages.unsent = 1_000;
    report.messages.achieved = Some(0.99);
    report.verdict = verdict::evaluate(Figures {
        load: LoadFigures::Open(OpenFigures { offered: 100_000, answered_share: 0.99, ..OpenFigures::default() }),
        established: 50,
        messages: 99_000,
        messages_per_second: 49_500.0,
        response_mean_us: Some(200.0),
        missing: vec!["the server: no process listens on its port here".into()],
        ..Figures::default()
    });
    report
}

#[test]
fn the_summary_of_a_closed_loop() {
    let expected = "\
target       ws://127.0.0.1:9001/
load         echo, 50 connections, closed loop with 1 in flight on each, text of
               64 B
threads      1, on core 1, io_uring, seed 7
connections  50 of 50 in 10.0 ms (5.00 k/s)

messages     50.0 k/s, 3.05 MiB/s out, 3.05 MiB/s in
             100000 sent, 100000 answered, in 2.00 s

times               p50       p90       p99     p99.9       max      mean
  response       100 µs    200 µs    300 µs    400 µs    500 µs    100 µs
  opening       4.00 ms   6.00 ms   8.00 ms   8.00 ms   8.00 ms   4.00 ms
    TCP         2.00 ms   3.00 ms   4.00 ms   4.00 ms   4.00 ms   2.00 ms
    upgrade     2.00 ms   3.00 ms   4.00 ms   4.00 ms   4.00 ms   2.00 ms

histogram      50.0 µs        50  ■■■
               62.9 µs         0
               79.2 µs         0
               99.8 µs       800  ■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■
                126 µs         0
                158 µs         0
                199 µs         0
                251 µs       145  ■■■■■■■
                316 µs         0
                397 µs+        5  ·

server       ringway (process 4711): 0.98 cores, busiest thread 98 % busy,
             19.6 µs of CPU a message, 16.0 MiB of memory
generator    1 thread, 60 % busy, 12.0 µs of CPU a message
errors       none

limited by   the server
             - the generator's thread was 60 % busy
             - the server's busiest thread was 98 % busy, all its threads used
               0.98 of 1 cores
             - the server was saturated
";
    let text = report().to_text(80);
    assert_eq!(text, expected, "{text}");
    assert!((24..=40).contains(&text.lines().count()), "it fits on a screen");
}

#[test]
fn wide_terminals_have_longer_lines_and_narrow_ones_whole_tables() {
    let wide = report().to_text(200);
    assert!(wide.contains(", text of 64 B\n") && wide.contains("cores\n"), "{wide}");
    let narrow = report().to_text(20);
    assert!(narrow.lines().all(|line| line.chars().count() <= 74), "{narrow}");
}

#[test]
fn lower_bounds_and_the_uncertainty_have_their_signs() {
    let text = open().to_text(120);
    for line in [
        "  response       100 µs   5.00 ms ≥ 10.0 ms  ≥ 1.00 s  ≥ 2.00 s  ≥ 100 µs\n",
        "  service       90.0 µs    200 µs    300 µs    400 µs    500 µs   90.0 µs\n",
        "  send lag      10.0 µs   20.0 µs   30.0 µs   40.0 µs   50.0 µs   10.0 µs\n",
        "; response times ± 30.0 µs",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

#[test]
fn an_open_loop_has_its_schedule_unsent_shares_and_littles_law() {
    let text = open().to_text(120);
    for part in [
        "50.0 k/s, 99.0 % of the schedule",
        "20 missing (0.02 %), 1000 unsent (1 %)",
        "(Little's law:",
        "unknown      - the server: no process listens on its port here",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn each_population_of_a_mix_has_a_line() {
    let mut report = report();
    let mut idle = population("idle", "idle");
    (idle.messages, idle.latency_us) = (MessageFigures::default(), LatencyFigures::default());
    let mut churn = population("churn", "churn");
    churn.connections.established = 12_345;
    churn.messages.missing = 3;
    report.populations.extend([idle, churn]);
    let text = report.to_text(80);
    for line in [
        "populations      opened     msg/s   missing       p50       p99       max\n",
        "  echo            50/50    50.0 k         0    100 µs    300 µs    500 µs\n",
        "  idle            50/50         -         -         -         -         -\n",
        "  churn          12.3 k    50.0 k         3    100 µs    300 µs    500 µs\n",
        "connections  50 opened, up to 50 at a time in",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

#[test]
fn errors_have_samples_and_their_share() {
    let mut report = report();
    report.plan.max_errors = 0.001;
    let error =
        |count, samples: &[&str]| ErrorFigures { count, samples: samples.iter().map(|s| (*s).into()).collect() };
    report.errors.insert("reset".into(), error(5, &["Connection reset", "Connection reset", "other"]));
    report.errors.insert("vanished".into(), error(95, &["gone"]));
    for kind in 0..8 {
        report.errors.insert(format!("kind_{kind}"), error(1, &["rare"]));
    }
    let text = report.to_text(80);
    for part in [
        "failed       108 of 100050 messages and connections, 0.11 % (allowed: 0.1 %)\n",
        "errors       95 × vanished: gone\n             5 × reset: Connection reset | other\n",
        "             2 errors of 2 more kinds; --format json has all\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(report.is_failure());
}

#[test]
fn each_message_fails_once() {
    let error = |count| ErrorFigures { count, samples: vec!["one".into()] };
    let mut report = report();
    report.plan.max_errors = 0.05;
    (report.messages.offered, report.messages.sent, report.messages.unsent) = (4_000, 3_000, 1_000);
    assert_eq!((report.failures(), report.attempts()), (1_000, 4_050), "unsent messages have failed");
    assert!(report.is_failure());
    let text = report.to_text(80);
    assert!(text.contains("failed       1000 of 4050 messages and connections, 25 % (allowed: 5 %)\n"), "{text}");
    (report.messages.missing, report.messages.corrupted) = (30, 10);
    for (kind, count) in
        [("reply_timeout", 20), ("late_reply", 5), ("verify_content", 10), ("close_unanswered", 50), ("reset", 10)]
    {
        report.errors.insert(kind.into(), error(count));
    }
    assert_eq!(report.failures(), 1_000 + 30 + 10 + 10, "only the ends of connections are failures of their own");
    let churn = &mut report.populations[0];
    (churn.behaviour, churn.messages.unsent, churn.messages.held_back) = ("churn", 1_000, 100);
    assert_eq!((report.failures(), report.attempts()), (150, 3_150), "turns between two lifetimes are no failures");
}

/// The messages of the warm-up are no attempts, so their errors are no failures.
#[test]
fn failures_and_attempts_are_those_of_the_same_phases() {
    let error = |count| ErrorFigures { count, samples: vec!["one".into()] };
    let mut report = report();
    report.connections.established = 4;
    (report.messages.offered, report.messages.sent) = (4, 4);
    for kind in ["duplicate_reply", "unexpected_message", "verify_length", "reply_timeout"] {
        report.errors.insert(kind.into(), error(14));
    }
    assert_eq!((report.failures(), report.attempts()), (0, 8));
    (report.messages.duplicated, report.messages.unasked) = (2, 1);
    assert_eq!((report.failures(), report.attempts()), (3, 8));
    report.errors.insert("connect_refused".into(), error(1));
    assert_eq!(report.failures(), 4, "attempts include the connections of all phases");
}

#[test]
fn duplicates_among_pushed_messages_are_failures_of_what_arrived() {
    let mut report = report();
    report.populations[0].behaviour = "receive";
    report.populations[0].messages = MessageFigures { arrived: 1_000, duplicated: 60, ..MessageFigures::default() };
    report.messages = report.populations[0].messages;
    assert_eq!((report.failures(), report.attempts()), (60, 1_050));
}

#[test]
fn each_delivery_of_a_broadcast_can_fail() {
    let mut report = report();
    (report.messages.offered, report.messages.sent, report.messages.missing) = (200, 200, 1_000);
    report.populations[0].reach =
        Some(ReachFigures { messages: 200, readers: 50, reached: 0.9, ..ReachFigures::default() });
    assert_eq!((report.failures(), report.attempts()), (1_000, 10_050));
}

#[test]
fn problems_of_the_ramp_are_printed_only_if_there_are_any() {
    let mut report = report();
    assert!(!report.to_text(80).contains("SYN"));
    report.ramp.counters.syn_retransmits = Some(12);
    report.ramp.counters.listen_overflows = Some(12);
    report.ramp.server_drops = Some(12);
    let text = report.to_text(80);
    assert!(text.contains("- the accept queue of the server overflowed 12 times"), "{text}");
    assert!(text.contains("- 12 SYNs were sent again"), "{text}");
}

#[test]
fn connections_that_only_receive_have_their_gaps() {
    let mut report = report();
    report.messages = MessageFigures { arrived: 50, per_second: 25.0, ..MessageFigures::default() };
    report.latency_us = LatencyFigures::default();
    report.populations[0].gaps_us = Some(quantiles(10.0, 20.0, 30.0, 40.0, 50.0));
    let text = report.to_text(80);
    assert!(text.contains("             50 received, in 2.00 s\n") && text.contains("\n  gaps "), "{text}");
}

/// The response time of connect contains the opening; its service time does not.
#[test]
fn connect_has_the_time_of_its_first_message() {
    for mut report in [report(), open()] {
        report.populations[0].behaviour = "connect";
        report.populations[0].latency_us.service = Some(quantiles(90.0, 200.0, 300.0, 400.0, 500.0));
        let text = report.to_text(80);
        let row = "  first message 90.0 µs    200 µs    300 µs    400 µs    500 µs   90.0 µs\n";
        assert!(text.contains(row) && !text.contains("\n  service "), "{text}");
    }
    assert!(!open().to_text(80).contains("first message"));
}

#[test]
fn idle_connections_have_the_round_trips_of_their_pings() {
    let mut report = report();
    report.latency_us = LatencyFigures::default();
    report.populations[0].behaviour = "idle";
    let text = report.to_text(80);
    let row = "  ping           100 µs    200 µs    300 µs    400 µs    500 µs    100 µs\n";
    assert!(text.contains(row) && !text.contains("\n  response "), "{text}");
}

#[test]
fn a_broadcast_has_its_reach() {
    let mut report = report();
    let times = Some(quantiles(10.0, 20.0, 30.0, 40.0, 50.0));
    report.populations[0].reach = Some(ReachFigures {
        messages: 200,
        readers: 50,
        reached: 0.995,
        first_us: times,
        median_us: times,
        last_us: times,
        ..ReachFigures::default()
    });
    let text = report.to_text(80);
    for part in ["reach        200 messages, each to 99.5 % of 50 readers\n", "\n  first ", "\n  median ", "\n  last "]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn a_run_without_a_connection_has_no_empty_figures() {
    let mut report = report();
    report.connections = ConnectionFigures { requested: 50, failed: 50, ..ConnectionFigures::default() };
    report.connections.failed_in.connect = 50;
    report.opening_us = OpeningFigures::default();
    report.measured = Duration::ZERO;
    let text = report.to_text(80);
    let end = "\
connections  0 of 50, 50 failed
             failed at: TCP 50

messages     nothing was measured
errors       none
";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn shares_have_two_digits() {
    let shares = [0.0, 1.0, 0.12, 0.0149, 0.0010, 0.00012, 0.995, 2.5e-9].map(percent);
    assert_eq!(shares, ["0 %", "100 %", "12 %", "1.5 %", "0.1 %", "0.012 %", "99.5 %", "0.00000025 %"]);
}

/// A report of a run against an echo service without WebSockets.
fn plain(url: &str) -> String {
    let mut report = report();
    let one_thread = Assignment::unpinned(NonZero::new(1).expect("not 0"));
    report.plan = PlanFigures::new(&Plan::new(url), 7, 64, "epoll".into(), &one_thread);
    report.opening_us = OpeningFigures { upgrade: None, ..report.opening_us };
    report.messages.missing = 20;
    report.populations.push(population("other", "echo"));
    report.to_text(120)
}

#[test]
fn datagrams_are_lost_and_their_sockets_have_one_stage() {
    let text = plain("udp://127.0.0.1:7007");
    for part in [" 20 lost (0.02 %)", "  opening UDP", "msg/s      lost "] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    for part in ["missing", "TCP", "upgrade"] {
        assert!(!text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn connections_of_tcp_alone_have_one_stage() {
    let text = plain("tcp://127.0.0.1:7007");
    for part in [" 20 missing (0.02 %)", "  opening TCP"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    for part in ["    TCP", "upgrade"] {
        assert!(!text.contains(part), "{part:?} in {text}");
    }
}
