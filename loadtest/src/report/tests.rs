use super::*;
use crate::opening::TlsSessionFigures;
use crate::verdict::Figures;

fn quantiles() -> Quantiles {
    Quantiles { p50: 120.0, p90: 180.5, p99: 1234.0, p999: 2_500_000.0, max: 3e6, mean: 130.0, count: 1000 }
}

/// The figures of one stage, around this median.
fn stage(p50: f64) -> Quantiles {
    Quantiles { p50, p90: 2.0 * p50, p99: 3.0 * p50, p999: 4.0 * p50, max: 5.0 * p50, mean: p50, count: 49 }
}

/// The report of the same run with TLS, in which three connections have failed.
fn secure_report() -> Report {
    let session = |version, cipher_suite, full, resumed| TlsSessionFigures { version, cipher_suite, full, resumed };
    let sessions = vec![
        session("TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 1, 0),
        session("TLS 1.3", "TLS13_AES_256_GCM_SHA384", 2, 44),
    ];
    let plain = report();
    Report {
        target: "wss://127.0.0.1:9001/".into(),
        connections: ConnectionFigures {
            established: 47,
            failed: 3,
            failed_in: StageFailures { connect: 0, tls: 2, upgrade: 1 },
            ..plain.connections
        },
        opening_us: OpeningFigures { tls: Some(stage(500.0)), ..plain.opening_us },
        tls: Some(TlsFigures { full: 3, resumed: 44, sessions }),
        ..plain
    }
}

fn report() -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        target: "ws://127.0.0.1:9001/".into(),
        mode: Mode::Echo,
        connections: ConnectionFigures {
            requested: 50,
            established: 49,
            failed: 1,
            failed_in: StageFailures { connect: 1, ..StageFailures::default() },
            per_second: 15_600.0,
        },
        opening_us: OpeningFigures {
            connect: Some(stage(60.0)),
            tls: None,
            upgrade: Some(stage(75.0)),
            total: Some(quantiles()),
        },
        tls: None,
        messages: MessageFigures {
            offered: 1002,
            sent: 1002,
            received: 1000,
            missing: 1,
            per_second: 500.0,
            bytes_per_second: 32_000.0,
        },
        latency_us: LatencyFigures { response: Some(quantiles()), service: Some(quantiles()), send_lag: None },
        errors: BTreeMap::from([("connect_refused".into(), 1)]),
        first_errors: BTreeMap::from([(
            "connect_refused".into(),
            "cannot connect: Connection refused (os error 111)".into(),
        )]),
        generator: GeneratorFigures {
            threads: 2,
            cores: vec![Some(3), Some(2)],
            busy_share: vec![0.49, 0.25],
            cpu_seconds: 1.48,
        },
        server: Some(ServerFigures {
            pid: 7,
            cpu_seconds: 2.0,
            rss_bytes: 3 << 20,
            busiest_thread: 0.99,
            cores_used: 1.0,
        }),
        verdict: Verdict {
            limited_by: LimitedBy::Server,
            evidence: vec!["because".into()],
            remedy: None,
            figures: Figures::default(),
        },
        measured: Duration::from_secs(2),
        connect_time: Duration::from_micros(3200),
        saturated: 0,
        compressing: None,
        interrupted: false,
        load: "echo".into(),
        placement: "2, on cores 2-3".into(),
    }
}

fn keys(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn sorted<const N: usize>(mut names: [&str; N]) -> Vec<&str> {
    names.sort_unstable();
    names.into()
}

#[test]
fn the_json_has_the_stable_keys_and_no_others() {
    let json: serde_json::Value = serde_json::from_str(&report().to_json()).expect("JSON");
    let top = [
        "schema_version",
        "target",
        "mode",
        "connections",
        "opening_us",
        "tls",
        "messages",
        "latency_us",
        "errors",
        "generator",
        "server",
        "verdict",
        "interrupted",
        "measured_seconds",
    ];
    assert_eq!(keys(&json), sorted(top));
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["mode"], "echo");
    assert_eq!((&json["interrupted"], &json["measured_seconds"]), (&false.into(), &2.0.into()));
    let connections = ["requested", "established", "failed", "failed_in", "per_second"];
    assert_eq!(keys(&json["connections"]), sorted(connections));
    assert_eq!(json["connections"]["failed_in"], serde_json::json!({ "connect": 1, "tls": 0, "upgrade": 0 }));
    assert_eq!(keys(&json["opening_us"]), sorted(["connect", "tls", "upgrade", "total"]));
    assert_eq!((&json["opening_us"]["connect"]["p50"], &json["tls"]), (&60.0.into(), &serde_json::Value::Null));
    assert!(json["opening_us"]["tls"].is_null());
    let messages = ["offered", "sent", "received", "missing", "per_second", "bytes_per_second"];
    assert_eq!(keys(&json["messages"]), sorted(messages));
    assert_eq!(keys(&json["latency_us"]), sorted(["response", "service", "send_lag"]));
    let quantiles = ["p50", "p90", "p99", "p999", "max", "mean", "count"];
    assert_eq!(keys(&json["latency_us"]["response"]), sorted(quantiles));
    assert_eq!(keys(&json["opening_us"]["total"]), sorted(quantiles));
    assert!(json["latency_us"]["send_lag"].is_null());
    assert_eq!(json["errors"], serde_json::json!({ "connect_refused": 1 }));
    assert_eq!(keys(&json["generator"]), sorted(["threads", "cores", "busy_share", "cpu_seconds"]));
    assert_eq!(json["generator"]["cores"], serde_json::json!([3, 2]));
    assert_eq!(keys(&json["server"]), sorted(["pid", "cpu_seconds", "rss_bytes"]));
    assert_eq!(keys(&json["verdict"]), sorted(["limited_by", "evidence", "remedy", "figures"]));
    assert_eq!(json["verdict"]["limited_by"], "server");
    let elsewhere = Report { server: None, ..report() };
    assert!(elsewhere.to_json().contains("\"server\": null"));
}

#[test]
fn the_json_of_a_run_with_tls_has_its_handshakes() {
    let json: serde_json::Value = serde_json::from_str(&secure_report().to_json()).expect("JSON");
    assert_eq!((&json["opening_us"]["tls"]["p50"], &json["opening_us"]["tls"]["count"]), (&500.0.into(), &49.into()));
    assert_eq!(json["connections"]["failed_in"], serde_json::json!({ "connect": 0, "tls": 2, "upgrade": 1 }));
    let tls = &json["tls"];
    assert_eq!(keys(tls), sorted(["full", "resumed", "sessions"]));
    assert_eq!((&tls["full"], &tls["resumed"]), (&3.into(), &44.into()));
    let expected = serde_json::json!({
        "version": "TLS 1.3", "cipher_suite": "TLS13_AES_256_GCM_SHA384", "full": 2, "resumed": 44
    });
    assert_eq!((&tls["sessions"][1], tls["sessions"].as_array().map(Vec::len)), (&expected, Some(2)));
}

#[test]
fn the_text_has_the_stages_of_opening_and_the_tls_handshakes() {
    let expected = "\
connections  47 of 50 in 3.20 ms (15.6 k/s), 3 failed
             failed at: TLS 2, upgrade 1
opening      p50 120 µs  p90 180 µs  p99 1.23 ms  p99.9 2.50 s  max 3.00 s
  TCP        p50 60.0 µs  p90 120 µs  p99 180 µs  p99.9 240 µs  max 300 µs
  TLS        p50 500 µs  p90 1.00 ms  p99 1.50 ms  p99.9 2.00 ms  max 2.50 ms
  upgrade    p50 75.0 µs  p90 150 µs  p99 225 µs  p99.9 300 µs  max 375 µs
tls          TLS 1.2, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 1 full, 0 resumed
             TLS 1.3, TLS13_AES_256_GCM_SHA384: 2 full, 44 resumed
messages ";
    let text = secure_report().to_text();
    assert!(text.contains(expected), "{text}");
    let unix = Report { target: "unix:/run/app.sock:/".into(), ..report() }.to_text();
    assert!(unix.contains("\n  Unix       p50 60.0 µs") && !unix.contains("TCP"), "{unix}");
}

#[test]
fn the_text_says_it_all() {
    let expected = "\
target       ws://127.0.0.1:9001/
load         echo
threads      2, on cores 2-3
connections  49 of 50 in 3.20 ms (15.6 k/s), 1 failed
             failed at: TCP 1
opening      p50 120 µs  p90 180 µs  p99 1.23 ms  p99.9 2.50 s  max 3.00 s
  TCP        p50 60.0 µs  p90 120 µs  p99 180 µs  p99.9 240 µs  max 300 µs
  upgrade    p50 75.0 µs  p90 150 µs  p99 225 µs  p99.9 300 µs  max 375 µs
messages     500/s, 31.2 KiB/s
             1002 sent, 1000 answered, 1 missing, in 2.00 s
latency      p50 120 µs  p90 180 µs  p99 1.23 ms  p99.9 2.50 s  max 3.00 s  (closed loop)
generator    2 threads, 49 %, 25 % busy, 1.48 s of CPU
server       process 7, busiest thread 99 % busy, 2.00 s of CPU, 2.00 ms a message, 3.00 MiB
errors       1 × connect_refused: cannot connect: Connection refused (os error 111)
limited by   the server: because
";
    assert_eq!(report().to_text(), expected);
}

#[test]
fn where_nothing_was_measured_there_are_no_figures() {
    let connections = ConnectionFigures {
        requested: 1000,
        established: 0,
        failed: 12,
        failed_in: StageFailures::default(),
        per_second: 0.0,
    };
    let usage = [Usage::default(); 2];
    let generator = GeneratorFigures::new(&usage, &Assignment::unpinned(2.try_into().expect("2 is not 0")));
    assert_eq!((generator.threads, &generator.busy_share[..]), (2, &[0.0; 2][..]));
    assert!(generator.cpu_seconds.is_sign_positive());
    let text = Report {
        connections,
        generator,
        measured: Duration::ZERO,
        opening_us: OpeningFigures::default(),
        server: None,
        ..report()
    }
    .to_text();
    assert!(text.contains("connections  0 of 1000, 12 failed, 988 given up\n"), "{text}");
    assert!(text.contains("messages     nothing was measured\n"), "{text}");
    assert!(!text.contains("µs") && !text.contains("generator  "), "{text}");
}

#[test]
fn every_error_is_a_failure() {
    let good = || {
        let mut report = report();
        report.messages.missing = 0;
        report.errors.clear();
        report
    };
    assert!(!good().is_failure() && !good().is_void());
    let missing = Report { messages: report().messages, ..good() };
    assert!(missing.is_failure());
    for kind in ["connect_refused", "handshake_status_503", "closed_early", "vanished", "reset", "verify_content"] {
        assert!(Report { errors: BTreeMap::from([(kind.into(), 1)]), ..good() }.is_failure(), "{kind}");
    }
    let rude = Report { errors: BTreeMap::from([("close_unanswered".into(), 1)]), ..good() };
    assert!(!rude.is_failure(), "the error occurs after measuring");
    let mut void = good();
    void.messages.per_second = 0.0;
    assert!(void.is_void());
}

#[test]
fn why_nothing_opened_is_said_where_nothing_did() {
    assert_eq!(report().connect_failure(), None);
    let connections = ConnectionFigures { established: 0, failed: 50, ..report().connections };
    let said = Report { connections, ..report() }.connect_failure();
    let expected = "none of 50 connections to ws://127.0.0.1:9001/ could be opened (connect_refused): \
                    cannot connect: Connection refused (os error 111)";
    assert_eq!(said.as_deref(), Some(expected));
    assert_eq!(Report { connections, errors: BTreeMap::new(), ..report() }.connect_failure(), None);
}

#[test]
fn the_load_is_described() {
    let plan = Plan { pipeline: 16, sizes: 1..=9, ..Plan::new("ws://x/") };
    assert_eq!(describe(&plan, 2), "echo, 50 connections, 2 threads, text of 1 B to 9 B, 16 in flight on each");
    let idle = Plan { connections: 1, mode: Mode::Idle, ..plan };
    assert_eq!(describe(&idle, 1), "idle, 1 connection, 1 thread");
}
