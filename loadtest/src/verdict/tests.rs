//! Tables of situations, and two situations of a real thread.

use super::*;
use crate::observe::cores::CoreShares;
use crate::observe::sampler::tests::{BusyThread, sampled, two_cores};
use crate::observe::sampler::{GeneratorThread, Measured};
use crate::observe::server::{ObservedServer, ServerUse};
use LimitedBy::{Concurrency, Generator, Inconclusive, Rate, Server, Surroundings};
use std::time::Duration;

const CALM: CoreShares = CoreShares { softirq: 0.05, stolen: 0.0, others: 0.01 };

/// A generator thread on core 3.
fn thread(busy: f64, waiting: f64) -> ThreadFigures {
    ThreadFigures { core: Some(3), busy, polling: 0.0, waiting: Some(waiting) }
}

/// A server with one busy thread, on four cores.
fn server(busiest: f64, waiting: f64) -> Option<ServerUse> {
    let demand = (busiest + waiting).min(1.0);
    Some(ServerUse { busiest, waiting, demand, cores_used: busiest, cores: 4, threads: 5, ..ServerUse::default() })
}

/// 100 messages in flight in a closed loop on loopback, each answered after 1 ms.
fn closed(generator: ThreadFigures, server: Option<ServerUse>) -> Figures {
    Figures {
        load: LoadFigures::Closed { in_flight: 100 },
        established: 100,
        messages: 1_000_000,
        messages_per_second: 100_000.0,
        bytes_per_second: 2e6,
        response_mean_us: Some(1000.0),
        response_p99_us: Some(2000.0),
        generator: vec![generator],
        generator_cores: Some(CALM),
        generator_throttled: Some(0.0),
        server,
        server_threads: Vec::new(),
        server_cores: server.map(|_| CALM),
        shares_cores: server.map(|_| false),
        server_throttled: server.map(|_| 0.0),
        path: PathFigures { is_local: true, round_trip_us: Some(40.0), link_bits_per_second: None },
        missing: Vec::new(),
        too_short: None,
    }
}

/// An open loop of 10 s at 10 000/s that has kept up, on time.
fn open(generator: ThreadFigures, server: Option<ServerUse>) -> Figures {
    let load = OpenFigures {
        offered: 100_000,
        answered_share: 0.999,
        send_lag_p99_us: Some(60.0),
        replies_per_second: 9_990.0,
        ..OpenFigures::default()
    };
    Figures {
        load: LoadFigures::Open(load),
        messages: 99_900,
        messages_per_second: 9_990.0,
        ..closed(generator, server)
    }
}

/// The same with a change of the open loop.
fn open_with(generator: ThreadFigures, server: Option<ServerUse>, change: impl FnOnce(&mut OpenFigures)) -> Figures {
    let mut figures = open(generator, server);
    if let LoadFigures::Open(open) = &mut figures.load {
        change(open);
    }
    figures
}

/// An open loop that has answered half of what was due, although all was sent in time.
fn behind(generator: ThreadFigures, server: Option<ServerUse>) -> Figures {
    open_with(generator, server, |open| (open.answered_share, open.backlog_growth) = (0.5, 50_000))
}

/// The same, because it was sent late.
fn late(generator: ThreadFigures, server: Option<ServerUse>) -> Figures {
    open_with(generator, server, |open| {
        (open.answered_share, open.backlog_growth, open.unsent_growth) = (0.5, 50_000, 50_000);
        open.send_lag_p99_us = Some(2e6);
    })
}

/// A round trip of 50 ms, of which the network's is `network`.
fn far(figures: Figures, network: f64) -> Figures {
    Figures {
        messages_per_second: 2000.0,
        response_mean_us: Some(50_000.0),
        path: PathFigures { is_local: false, round_trip_us: Some(network), link_bits_per_second: None },
        ..figures
    }
}

/// One message in flight, answered after 50 µs.
fn alone(figures: Figures) -> Figures {
    Figures {
        load: LoadFigures::Closed { in_flight: 1 },
        messages_per_second: 20_000.0,
        response_mean_us: Some(50.0),
        ..figures
    }
}

fn cores(figures: Figures, change: impl Fn(&mut CoreShares, &mut CoreShares)) -> Figures {
    let (mut generator, mut server) = (CALM, CALM);
    change(&mut generator, &mut server);
    Figures { generator_cores: Some(generator), server_cores: figures.server.map(|_| server), ..figures }
}

/// Evaluates each situation; a verdict has evidence, and the figures that it was derived from.
fn check(situations: impl IntoIterator<Item = (&'static str, Figures, LimitedBy)>) {
    for (name, figures, expected) in situations {
        let verdict = evaluate(figures.clone());
        assert_eq!(verdict.limited_by, expected, "{name}: {:?}", verdict.evidence);
        assert!(!verdict.evidence.is_empty(), "{name}");
        assert_eq!(verdict.figures, figures, "{name}");
        let needs_remedy = !matches!(expected, Server | Rate | Inconclusive);
        assert!(verdict.remedy.is_some() || !needs_remedy, "{name}: {:?}", verdict.evidence);
    }
}

#[test]
fn a_closed_loop_is_limited_by_the_side_without_reserve() {
    let many_threads = |busiest, cores_used| {
        server(busiest, 0.3).map(|server| ServerUse { cores_used, threads: 64, demand: 0.99, ..server })
    };
    check([
        ("a full server", closed(thread(0.60, 0.0), server(0.99, 0.0)), Server),
        ("all its cores full", closed(thread(0.60, 0.0), many_threads(0.5, 3.9)), Server),
        ("its threads share a core of four", closed(thread(0.60, 0.0), many_threads(0.5, 1.0)), Server),
        ("a full generator", closed(thread(0.99, 0.0), server(0.60, 0.0)), Generator),
        ("both full", closed(thread(0.99, 0.0), server(0.99, 0.0)), Inconclusive),
        ("both half idle", closed(thread(0.50, 0.0), server(0.50, 0.0)), Inconclusive),
        ("a generator between the bounds", closed(thread(0.90, 0.0), server(0.50, 0.0)), Inconclusive),
        ("a generator between the bounds, a full server", closed(thread(0.90, 0.0), server(0.97, 0.0)), Server),
        (
            "a thread of two is full",
            Figures {
                generator: vec![thread(0.2, 0.0), ThreadFigures { core: Some(2), ..thread(0.99, 0.0) }],
                ..closed(thread(0.0, 0.0), server(0.5, 0.0))
            },
            Generator,
        ),
        (
            "a generator that only polls",
            Figures {
                generator: vec![ThreadFigures { polling: 0.7, ..thread(0.3, 0.0) }],
                ..closed(thread(0.0, 0.0), server(0.99, 0.0))
            },
            Server,
        ),
    ]);
}

/// 2.7 (e): the process of the server cannot be read.
#[test]
fn an_unknown_server_is_never_the_limit_of_a_closed_loop() {
    for busy in [0.0, 0.1, 0.5, 0.79, 0.8, 0.9, 0.99] {
        for waiting in [0.0, 0.05, 0.2, 0.4, 0.9] {
            for figures in [closed(thread(busy, waiting), None), alone(closed(thread(busy, waiting), None))] {
                for round_trip in [None, Some(40.0)] {
                    let mut figures = figures.clone();
                    figures.path.round_trip_us = round_trip;
                    let verdict = evaluate(figures);
                    assert_ne!(verdict.limited_by, Server, "{busy} {waiting}: {:?}", verdict.evidence);
                }
            }
        }
    }
    check([
        ("an idle generator", closed(thread(0.50, 0.0), None), Inconclusive),
        ("a full generator", closed(thread(0.99, 0.0), None), Generator),
        ("one in flight, most of it on the path", alone(closed(thread(0.30, 0.0), None)), Concurrency),
        (
            "one in flight, for long",
            Figures {
                messages_per_second: 500.0,
                response_mean_us: Some(2000.0),
                ..alone(closed(thread(0.01, 0.0), None))
            },
            Inconclusive,
        ),
        ("a starved generator", closed(thread(0.30, 0.40), None), Surroundings),
        ("a disturbed generator", closed(thread(0.30, 0.15), None), Inconclusive),
        (
            "nothing known at all",
            Figures { generator: Vec::new(), generator_cores: None, ..closed(thread(0.0, 0.0), None) },
            Inconclusive,
        ),
    ]);
    let why = "the server's CPU time: the process belongs to user 33";
    let verdict = evaluate(Figures { missing: vec![why.into()], ..closed(thread(0.5, 0.0), None) });
    assert!(verdict.evidence.iter().any(|sentence| sentence == why), "{:?}", verdict.evidence);
}

/// 2.7 (g): another thread has the generator's core.
#[test]
fn a_starved_generator_never_blames_the_server() {
    for known in [None, server(0.05, 0.0), server(0.5, 0.0), server(0.5, 0.3)] {
        for (busy, waiting) in [(0.5, 0.49), (0.1, 0.88), (0.3, 0.4), (0.02, 0.97)] {
            let starved = thread(busy, waiting);
            let other = |figures| cores(figures, |generator, _| generator.others = waiting);
            for figures in [closed(starved, known), late(starved, known), alone(closed(starved, known))] {
                for figures in [figures.clone(), other(figures)] {
                    let verdict = evaluate(figures);
                    let limited_by = verdict.limited_by;
                    assert!(matches!(limited_by, Generator | Surroundings), "{limited_by:?} {:?}", verdict.evidence);
                }
            }
        }
    }
    let verdict = evaluate(cores(closed(thread(0.5, 0.49), None), |generator, _| generator.others = 0.5));
    let evidence = verdict.evidence.join("; ");
    assert!(evidence.contains("the server or other processes used 50 % of its cores"), "{evidence}");
}

#[test]
fn lost_time_is_attributed() {
    let both = |figures: Figures| figures;
    let two_on_one = Figures { generator: vec![thread(0.5, 0.49); 2], ..closed(thread(0.0, 0.0), server(0.5, 0.0)) };
    check([
        ("its own threads share a core", two_on_one, Generator),
        (
            "the server runs on its core",
            Figures { shares_cores: Some(true), ..closed(thread(0.6, 0.38), server(0.38, 0.6)) },
            Surroundings,
        ),
        ("starved, and the server is full", closed(thread(0.5, 0.49), server(0.99, 0.0)), Inconclusive),
        (
            "steal from the generator",
            cores(closed(thread(0.80, 0.0), server(0.5, 0.0)), |generator, _| {
                generator.stolen = 0.3;
            }),
            Surroundings,
        ),
        (
            "a little steal",
            cores(closed(thread(0.97, 0.0), server(0.5, 0.0)), |generator, _| {
                generator.stolen = 0.03;
            }),
            Generator,
        ),
        (
            "steal from the server",
            cores(closed(thread(0.4, 0.0), server(0.6, 0.0)), |_, server| {
                server.stolen = 0.4;
            }),
            Surroundings,
        ),
        (
            "a throttled generator",
            Figures { generator_throttled: Some(0.5), ..closed(thread(0.5, 0.0), server(0.3, 0.0)) },
            Surroundings,
        ),
        (
            "a throttled server",
            Figures { server_throttled: Some(0.5), ..closed(thread(0.3, 0.0), server(0.5, 0.0)) },
            Surroundings,
        ),
        (
            "others on the server's core",
            cores(closed(thread(0.3, 0.0), server(0.5, 0.49)), |_, server| {
                server.others = 0.5;
            }),
            Surroundings,
        ),
        (
            "the server waited, and nobody knows for whom",
            Figures { server_cores: None, shares_cores: None, ..closed(thread(0.3, 0.0), server(0.5, 0.49)) },
            Inconclusive,
        ),
        (
            "others on the server's core, which it does not need",
            both(cores(closed(thread(0.99, 0.0), server(0.3, 0.0)), |_, server| server.others = 0.5)),
            Generator,
        ),
    ]);
}

/// A server competes with itself only if several of its threads work.
#[test]
fn a_server_with_one_busy_thread_does_not_compete_with_itself() {
    let threads = |busiest, cores_used, waiting| {
        let used = ServerUse { cores_used, ..server(busiest, waiting).expect("it is known") };
        closed(thread(0.3, 0.0), Some(used))
    };
    check([
        ("one thread", threads(0.5, 0.52, 0.49), Inconclusive),
        ("several threads", threads(0.5, 1.0, 0.49), Server),
        ("one thread that is full", threads(0.96, 0.97, 0.12), Server),
    ]);
    let evidence = |figures| evaluate(figures).evidence.join("; ");
    let (one, several) = (evidence(threads(0.5, 0.52, 0.49)), evidence(threads(0.5, 1.0, 0.49)));
    assert!(one.contains("which threads had its cores is unknown"), "{one}");
    assert!(several.contains("its own threads compete for its cores"), "{several}");
}

#[test]
fn idle_sides_are_limited_by_concurrency_only_where_more_in_flight_helps() {
    let idle = || closed(thread(0.10, 0.0), server(0.10, 0.0));
    let unknown = || closed(thread(0.10, 0.0), None);
    check([
        ("one in flight", alone(closed(thread(0.4, 0.0), server(0.4, 0.0))), Concurrency),
        ("a long path", far(idle(), 49_000.0), Concurrency),
        ("a long path to an unknown server", far(unknown(), 49_000.0), Concurrency),
        ("a server with an idle delay of its own", far(idle(), 100.0), Inconclusive),
        ("an unknown server with a delay of its own", far(unknown(), 100.0), Inconclusive),
        ("half of the delay is the path's, and the server is unknown", far(unknown(), 25_000.0), Inconclusive),
        ("half of the delay is the path's, and the server idle", far(idle(), 25_000.0), Concurrency),
        ("the path is long, and the server full", far(closed(thread(0.1, 0.0), server(0.99, 0.0)), 49_000.0), Server),
        ("places were not occupied", Figures { messages_per_second: 1000.0, ..far(idle(), 49_000.0) }, Inconclusive),
        ("the response time is unknown", Figures { response_mean_us: None, ..far(idle(), 49_000.0) }, Inconclusive),
        ("steal is unknown", Figures { generator_cores: None, ..far(idle(), 49_000.0) }, Inconclusive),
    ]);
    let evidence = evaluate(far(idle(), 49_000.0)).evidence.join("; ");
    assert!(evidence.contains("100 messages in flight, each answered after"), "{evidence}");
}

#[test]
fn a_server_that_polls_is_not_mistaken_for_a_full_one() {
    check([
        ("both busy with one in flight", alone(closed(thread(0.4, 0.0), server(1.0, 0.0))), Inconclusive),
        ("a server that computes for each message", alone(closed(thread(0.03, 0.0), server(0.96, 0.0))), Server),
        ("several in flight can overlap", closed(thread(0.4, 0.0), server(1.0, 0.0)), Server),
    ]);
}

#[test]
fn an_open_loop_that_keeps_up_is_limited_by_its_rate() {
    let lag = |busy, waiting, lag, response| Figures {
        response_p99_us: Some(response),
        ..open_with(thread(busy, waiting), None, |open| open.send_lag_p99_us = Some(lag))
    };
    check([
        ("known", open(thread(0.2, 0.0), server(0.3, 0.0)), Rate),
        ("unknown", open(thread(0.2, 0.0), None), Rate),
        ("a server that polls", open(thread(0.2, 0.0), server(1.0, 0.0)), Rate),
        ("a small lag", lag(0.2, 0.0, 90.0, 100.0), Rate),
        ("a lag that is small beside the response", lag(0.2, 0.0, 3_000.0, 90_000.0), Rate),
        ("late without a reason", lag(0.2, 0.0, 3_000.0, 4_000.0), Generator),
        ("its replies waited for its core", lag(0.2, 0.3, 3_000.0, 15_000.0), Surroundings),
        ("late because it waited for its core", lag(0.2, 0.3, 3_000.0, 4_000.0), Surroundings),
        (
            "held back by the server",
            open_with(thread(0.2, 0.0), None, |open| {
                (open.send_lag_p99_us, open.held_back) = (Some(5_000.0), 7);
            }),
            Rate,
        ),
    ]);
    let evidence = evaluate(open(thread(0.2, 0.0), None)).evidence.join("; ");
    assert!(evidence.contains("Little's law") && evidence.contains("the send lag was 60.0 µs at p99"), "{evidence}");
    assert!(evidence.contains("on average 9.99 messages were due"), "{evidence}");
    let evidence = evaluate(behind(thread(0.2, 0.0), None)).evidence.join("; ");
    assert!(!evidence.contains("Little's law"), "it does not hold while a backlog grows: {evidence}");
}

/// Messages without replies have no response time that a send lag could be a share of.
#[test]
fn an_open_loop_without_response_times_is_late_from_a_fixed_lag() {
    let stream = |lag| Figures {
        response_mean_us: None,
        response_p99_us: None,
        ..open_with(thread(0.2, 0.0), server(0.3, 0.0), |open| {
            (open.send_lag_p99_us, open.completion) = (Some(lag), Completion::Sent);
        })
    };
    check([
        ("on time", stream(60.0), Rate),
        ("a lag that is usual", stream(150.0), Rate),
        ("a lag of a millisecond", stream(1_000.0), Rate),
        ("late", stream(1_100.0), Generator),
    ]);
    let evidence = evaluate(stream(150.0)).evidence.join("; ");
    assert!(evidence.contains("99.9 % of the 100000 due messages were sent"), "{evidence}");
    assert!(!evidence.contains("answered"), "{evidence}");
}

/// 2.7 (d): a server that is limited to a rate, whether its process is known or not.
#[test]
fn an_open_loop_that_falls_behind_on_time_is_limited_by_the_server() {
    check([
        ("a full server", behind(thread(0.2, 0.0), server(0.99, 0.0)), Server),
        ("a server with an idle limit", behind(thread(0.2, 0.0), server(0.10, 0.0)), Server),
        (
            "a server that waits for its core and has reserve",
            cores(behind(thread(0.2, 0.0), server(0.2, 0.2)), |_, server| server.others = 0.7),
            Server,
        ),
        (
            "a server that waits for its core and has none",
            cores(behind(thread(0.2, 0.0), server(0.5, 0.4)), |_, server| server.others = 0.7),
            Surroundings,
        ),
        ("an unknown server", behind(thread(0.2, 0.0), None), Server),
        ("an unknown server, and a generator that waited now and then", behind(thread(0.2, 0.15), None), Server),
        (
            "an idle server, and a generator that waited now and then",
            behind(thread(0.2, 0.15), server(0.1, 0.0)),
            Server,
        ),
        (
            "a server that does not read",
            open_with(thread(0.2, 0.0), None, |open| {
                (open.answered_share, open.backlog_growth, open.held_back) = (0.5, 50_000, 40_000);
                open.send_lag_p99_us = Some(2e6);
            }),
            Server,
        ),
        ("a generator without reserve", behind(thread(0.9, 0.0), None), Inconclusive),
        ("a saturated generator", behind(thread(0.99, 0.0), None), Generator),
        (
            "a generator whose cores are unknown",
            Figures { generator_cores: None, ..behind(thread(0.2, 0.0), None) },
            Inconclusive,
        ),
        (
            // 6 messages are due in the send lag.
            "a starved generator, and a backlog that is far larger",
            behind(thread(0.2, 0.4), None),
            Server,
        ),
        (
            "a starved generator, and a backlog that it explains",
            open_with(thread(0.2, 0.4), None, |open| {
                (open.answered_share, open.backlog_growth, open.send_lag_p99_us) = (0.5, 50, Some(900.0));
            }),
            Surroundings,
        ),
        ("a late generator", late(thread(0.2, 0.0), None), Generator),
        (
            // 400 messages are due in 40 ms, and 50 000 were not answered.
            "a generator that is late by a little of the backlog",
            open_with(thread(0.2, 0.1), None, |open| {
                (open.answered_share, open.backlog_growth, open.send_lag_p99_us) = (0.5, 50_000, Some(40_000.0));
            }),
            Server,
        ),
        (
            "a generator that is late by a part of the backlog",
            open_with(thread(0.2, 0.0), None, |open| {
                (open.answered_share, open.backlog_growth, open.send_lag_p99_us) = (0.97, 3_000, Some(40_000.0));
            }),
            Generator,
        ),
        ("a late and disturbed generator", late(thread(0.2, 0.3), server(0.3, 0.0)), Surroundings),
        (
            "the lag is unknown",
            open_with(thread(0.2, 0.0), None, |open| {
                (open.answered_share, open.backlog_growth, open.send_lag_p99_us) = (0.5, 50_000, None);
            }),
            Inconclusive,
        ),
        (
            "connections have ended",
            open_with(thread(0.2, 0.0), None, |open| {
                (open.answered_share, open.lost_turns) = (0.5, 49_000);
            }),
            Inconclusive,
        ),
        (
            "a backlog that grows slowly",
            open_with(thread(0.2, 0.0), server(0.2, 0.0), |open| {
                (open.answered_share, open.backlog_growth) = (0.985, 3_000);
            }),
            Server,
        ),
        (
            "a throttled server",
            Figures { server_throttled: Some(0.4), ..behind(thread(0.2, 0.0), server(0.6, 0.0)) },
            Surroundings,
        ),
    ]);
}

#[test]
fn a_stream_shows_its_limit_by_what_the_connections_accept() {
    let stream = |generator, server, held_back| Figures {
        load: LoadFigures::Stream { held_back },
        response_mean_us: None,
        ..closed(generator, server)
    };
    check([
        ("a full server", stream(thread(0.3, 0.0), server(0.99, 0.0), 0), Server),
        ("an unknown server that does not read", stream(thread(0.3, 0.0), None, 500), Server),
        ("an unknown server", stream(thread(0.3, 0.0), None, 0), Inconclusive),
        ("a full generator", stream(thread(0.99, 0.0), None, 500), Generator),
        ("a starved generator", stream(thread(0.3, 0.5), None, 500), Surroundings),
    ]);
}

#[test]
fn bandwidth_belongs_to_the_surroundings() {
    let bandwidth = |bytes_per_second, is_local, link| {
        let busy = if is_local { 0.99 } else { 0.5 };
        Figures {
            bytes_per_second,
            path: PathFigures { is_local, round_trip_us: None, link_bits_per_second: link },
            ..closed(thread(busy, 0.0), server(busy, 0.0))
        }
    };
    check([
        ("both copy", bandwidth(3e9, true, None), Surroundings),
        ("both work on small messages", bandwidth(1e8, true, None), Inconclusive),
        ("a full link", bandwidth(118e6, false, Some(1e9)), Surroundings),
        ("a link with reserve", bandwidth(60e6, false, Some(1e9)), Inconclusive),
        ("an unknown link", bandwidth(118e6, false, None), Inconclusive),
    ]);
}

/// A window of 3 ms, in which a thread can seem to wait for its core all the time.
#[test]
fn a_window_that_is_too_short_is_inconclusive() {
    for figures in [closed(thread(0.1, 0.9), server(0.1, 0.9)), open(thread(0.99, 0.0), server(0.99, 0.0))] {
        let verdict = evaluate(Figures { too_short: Some(Duration::from_millis(3)), ..figures });
        assert_eq!(verdict.limited_by, Inconclusive);
        assert!(verdict.evidence[0].contains("3.00 ms is too short"), "{verdict:?}");
        assert!(verdict.remedy.is_some_and(|remedy| remedy.contains("-n")));
    }
}

#[test]
fn nothing_measured_is_inconclusive() {
    let figures = || closed(thread(0.0, 0.0), server(0.99, 0.0));
    for (figures, why) in [
        (Figures { load: LoadFigures::None, messages: 0, ..figures() }, "held open"),
        (Figures { messages: 0, ..figures() }, "no message"),
        (Figures { established: 0, messages: 0, ..figures() }, "no connection"),
    ] {
        let verdict = evaluate(figures);
        assert_eq!(verdict.limited_by, Inconclusive);
        assert!(verdict.evidence[0].contains(why), "{verdict:?}");
    }
}

#[test]
fn connections_that_only_receive_are_judged_by_both_sides() {
    let receives = |figures: Figures| evaluate(Figures { load: LoadFigures::None, ..figures });
    assert_eq!(receives(closed(thread(0.5, 0.0), server(0.99, 0.0))).limited_by, Server);
    assert_eq!(receives(closed(thread(0.99, 0.0), server(0.5, 0.0))).limited_by, Generator);
    let neither = receives(closed(thread(0.5, 0.0), server(0.5, 0.0)));
    assert_eq!((neither.limited_by, &neither.remedy), (Inconclusive, &None));
    assert!(neither.evidence.iter().any(|why| why.contains("the server decides when it sends")), "{neither:?}");
}

#[test]
fn the_evidence_names_the_figures() {
    let evidence = evaluate(closed(thread(0.61, 0.0), server(0.99, 0.0))).evidence.join("; ");
    assert_eq!(
        evidence,
        "the generator's thread was 61 % busy; the server's busiest thread was 99 % busy, all its threads used 0.99 of \
         4 cores; the server was saturated"
    );
}

#[test]
fn the_json_has_every_figure_and_null_for_unknown_ones() {
    let verdict = evaluate(Figures { missing: vec!["why".into()], ..behind(thread(0.2, 0.0), None) });
    let json = serde_json::to_value(&verdict).expect("it serializes");
    assert_eq!((&json["limited_by"], &json["figures"]["server"]), (&"server".into(), &serde_json::Value::Null));
    assert_eq!(json["figures"]["load"]["loop"], "open");
    assert_eq!(json["figures"]["load"]["backlog_growth"], 50_000);
    assert_eq!(json["figures"]["load"]["answered_share"], 0.5);
    assert_eq!(json["figures"]["generator"][0]["busy"], 0.2);
    assert_eq!(json["figures"]["missing"][0], "why");
}

/// 2.7 (g) with a thread of this process: two threads that compute share a core, and one of them is
/// the generator.
#[test]
fn a_thread_that_shares_its_core_is_seen_as_starved() {
    let Some((_, core)) = two_cores() else { return };
    let (generator, other) = (BusyThread::start(core), BusyThread::start(core));
    let measured = Measured {
        server: ObservedServer::default(),
        generator: vec![GeneratorThread { thread: generator.thread, core: Some(core) }],
    };
    let window = sampled(measured);
    let used = ThreadFigures::new(&generator.end(), Some(core));
    drop(other);
    let mut figures = Figures { generator_cores: None, ..closed(used, None) };
    figures.observe(window);
    let verdict = evaluate(figures);
    assert_eq!(verdict.limited_by, Surroundings, "{:?}", verdict.evidence);
    assert!(verdict.figures.missing.iter().any(|why| why.starts_with("the server's CPU time")), "{verdict:?}");
}

#[test]
fn a_generator_whose_waiting_is_unknown_shows_no_reserve() {
    let unknown = ThreadFigures { waiting: None, ..thread(0.2, 0.0) };
    let figures = |thread| closed(thread, server(0.2, 0.0));
    assert!(Side::generator(&figures(thread(0.2, 0.0))).has_reserve);
    let side = Side::generator(&figures(unknown));
    assert!(!side.has_reserve && !side.works_little, "{side:?}");
    let Some((_, core)) = two_cores() else { return };
    let busy = BusyThread::start(core);
    let generator = vec![GeneratorThread { thread: busy.thread, core: Some(core) }];
    let mut figures = figures(unknown);
    figures.observe(sampled(Measured { server: ObservedServer::default(), generator }));
    drop(busy);
    let why = "the time for which the generator's threads waited for a core";
    assert!(figures.missing.iter().any(|missing| missing.starts_with(why)), "{:?}", figures.missing);
}
