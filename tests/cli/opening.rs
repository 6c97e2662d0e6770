//! The stages of opening in the report of `ringway load`: TCP, TLS and upgrade, the handshakes of
//! TLS, and failures by stage, on both drivers.

use ringway_testkit::certificates::{Authority, Folder};
use ringway_tests::{Ended, ServerProcess, TestDirectory, ringway, run};
use serde_json::{Value, json};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;

const DRIVERS: [&str; 2] = ["uring", "epoll"];

/// A server of TLS, and the file of the CA that has issued its certificate.
struct SecureServer {
    process: ServerProcess,
    ca: PathBuf,
    /// Removes the files at the end.
    _folder: Folder,
}

impl SecureServer {
    fn start(driver: &str, arguments: &[&str]) -> Self {
        let (folder, root) = (Folder::new(), Authority::root("Test Root"));
        let (certificate, key) = folder.write_identity("server", &root.issue(&["localhost"]));
        let ca = folder.write("ca.pem", root.pem());
        let files = [certificate, key].map(|path| path.to_str().expect("UTF-8").to_owned());
        let tls = ["--shards", "1", "--driver", driver, "--tls-cert", &files[0], "--tls-key", &files[1]];
        let process = ServerProcess::with(&[&tls, arguments].concat());
        Self { process, ca, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        let address = |line: &String| line.strip_prefix("listening on wss://")?.parse().ok();
        self.process.announced.iter().find_map(address).expect("a listener of TLS")
    }

    /// A load of one thread over `wss://`.
    fn load(&self, driver: &str, arguments: &[&str]) -> Ended {
        let url = format!("wss://{}/", self.address());
        let ca = self.ca.to_str().expect("UTF-8");
        let tls = ["--cacert", ca, "--servername", "localhost", "--driver", driver];
        run(ringway(&[&["load", &url, "-t", "1", "-w", "0"], &tls[..], arguments].concat()))
    }
}

/// The report as JSON. Checks the exit code.
fn report(ended: &Ended, code: i32) -> Value {
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Checks the histograms of these stages: each has all connections, no quantile is above a higher
/// one, and the stages together take as long as the whole.
fn assert_stages(report: &Value, stages: &[&str], connections: u64) {
    let times = &report["opening_us"];
    let mut sum = 0.0;
    for stage in stages.iter().chain(&["total"]) {
        let [p50, p90, p99, max, mean] = ["p50", "p90", "p99", "max", "mean"].map(|key| number(&times[stage][key]));
        assert_eq!(times[stage]["count"], connections, "{stage}: {times}");
        assert!(0.0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= max * 1.001, "{stage}: {times}");
        sum += if *stage == "total" { 0.0 } else { mean };
    }
    // Each recorded time is rounded up by at most 0.1 %.
    let total = number(&times["total"]["mean"]);
    assert!((sum - total).abs() <= total * 0.003, "the stages take {sum} µs: {times}");
    for stage in ["connect", "tls", "upgrade"] {
        assert_eq!(times[stage].is_null(), !stages.contains(&stage), "{times}");
    }
}

#[test]
fn without_resumption_every_tls_handshake_is_full() {
    for driver in DRIVERS {
        let server = SecureServer::start(driver, &[]);
        let arguments = ["-c", "20", "-n", "200", "--verify", "all"];
        let report = report(&server.load(driver, &[&arguments[..], &["--format", "json"]].concat()), 0);
        assert_stages(&report, &["connect", "tls", "upgrade"], 20);
        let session = json!({
            "version": "TLS 1.3", "cipher_suite": "TLS13_AES_128_GCM_SHA256", "full": 20, "resumed": 0
        });
        assert_eq!(report["tls"], json!({ "full": 20, "resumed": 0, "sessions": [session] }), "{driver}");
        let text = server.load(driver, &arguments).stdout;
        for line in ["\n  opening  ", "\n    TCP  ", "\n    TLS  ", "\n    upgrade  "] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        let line = "\ntls          TLS 1.3, TLS13_AES_128_GCM_SHA256: 20 full, 0 resumed\n";
        assert!(text.contains(line), "{text}");
    }
}

/// A ticket arrives before the response to the upgrade, so a connection that opens after another
/// one can resume its session.
#[test]
fn with_resumption_connections_in_sequence_resume_the_session_of_the_first() {
    for driver in DRIVERS {
        let server = SecureServer::start(driver, &[]);
        let sequence = ["-c", "100", "-n", "100", "--connect-concurrency", "1", "--format", "json"];
        let resuming = report(&server.load(driver, &[&sequence[..], &["--resume"]].concat()), 0);
        assert_eq!((&resuming["tls"]["full"], &resuming["tls"]["resumed"]), (&1.into(), &99.into()), "{driver}");
        assert_stages(&resuming, &["connect", "tls", "upgrade"], 100);
        let full = report(&server.load(driver, &sequence), 0);
        assert_eq!((&full["tls"]["full"], &full["tls"]["resumed"]), (&100.into(), &0.into()), "{driver}");
    }
}

#[test]
fn without_tls_the_stages_are_the_connection_and_the_upgrade() {
    let directory = TestDirectory::new("cli-opening");
    for driver in DRIVERS {
        let path = directory.file(driver);
        let unix = format!("unix:{}", path.display());
        let server = ServerProcess::with(&["--listen", &unix, "--shards", "1", "--driver", driver]);
        for (url, label) in [(format!("ws://{}/", server.address()), "TCP"), (format!("{unix}:/"), "Unix")] {
            let arguments = ["load", &url, "-c", "20", "-n", "100", "-w", "0", "-t", "1", "--driver", driver];
            let report = report(&run(ringway(&[&arguments[..], &["--format", "json"]].concat())), 0);
            assert_stages(&report, &["connect", "upgrade"], 20);
            assert!(report["tls"].is_null(), "{report}");
            let text = run(ringway(&arguments)).stdout;
            assert!(text.contains(&format!("\n    {label:<8} ")) && text.contains("\n    upgrade  "), "{text}");
            assert!(!text.contains("TLS"), "{text}");
        }
    }
}

#[test]
fn failures_are_counted_by_stage() {
    for driver in DRIVERS {
        let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let common = ["-c", "3", "-t", "1", "--driver", driver, "--format", "json"];
        let load = |url: &str, tls: &[&str]| report(&run(ringway(&[&["load", url], &common[..], tls].concat())), 1);
        let refused = load(&format!("ws://{nobody}/"), &[]);
        assert_eq!(refused["connections"]["failed_in"], json!({ "connect": 3, "tls": 0, "upgrade": 0 }), "{driver}");
        // A CA that has not issued the certificate.
        let server = SecureServer::start(driver, &[]);
        let folder = Folder::new();
        let other = folder.write("other.pem", Authority::root("Other Root").pem());
        let url = format!("wss://{}/", server.address());
        let untrusted = load(&url, &["--servername", "localhost", "--cacert", other.to_str().expect("UTF-8")]);
        assert_eq!(untrusted["connections"]["failed_in"], json!({ "connect": 0, "tls": 3, "upgrade": 0 }), "{driver}");
        assert_eq!(
            (&untrusted["errors"]["tls_failed"]["count"], &untrusted["opening_us"]["total"]),
            (&3.into(), &Value::Null)
        );
        assert_eq!(untrusted["tls"], json!({ "full": 0, "resumed": 0, "sessions": [] }));
        // An origin that the server refuses.
        let picky = ServerProcess::with(&["--shards", "1", "--driver", driver, "--origin", "https://a.example"]);
        let rejected = load(&format!("ws://{}/", picky.address()), &["--origin", "https://b.example"]);
        assert_eq!(rejected["connections"]["failed_in"], json!({ "connect": 0, "tls": 0, "upgrade": 3 }), "{driver}");
        assert_eq!(rejected["errors"]["handshake_status_403"]["count"], 3, "{driver}");
    }
}

#[test]
fn a_server_that_ends_the_connection_fails_the_stage_in_progress() {
    for (scheme, failed_in) in [
        ("ws", json!({ "connect": 0, "tls": 0, "upgrade": 2 })),
        ("wss", json!({ "connect": 0, "tls": 2, "upgrade": 0 })),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("{scheme}://{}/", listener.local_addr().expect("it is bound"));
        let server = thread::spawn(move || {
            for _ in 0..2 {
                let (stream, _) = listener.accept().expect("a client");
                stream.shutdown(Shutdown::Write).expect("it is connected");
                // The client ends its direction.
                let _ = std::io::copy(&mut &stream, &mut std::io::sink());
            }
        });
        let insecure: &[&str] = if scheme == "wss" { &["-k"] } else { &[] };
        let arguments = ["load", &url, "-c", "2", "-t", "1", "--format", "json"];
        let report = report(&run(ringway(&[&arguments[..], insecure].concat())), 1);
        assert_eq!(report["connections"]["failed_in"], failed_in, "{scheme}");
        assert_eq!(report["errors"]["handshake_ended"]["count"], 2, "{scheme}");
        server.join().expect("no assertion in it");
    }
}
