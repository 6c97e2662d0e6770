//! `ringway serve --accept balanced`.

use ringway_tests::{Frame, ServerProcess, TestDirectory, WATCHDOG, WirePeer, ringway, run};
use std::net::SocketAddr;
use std::time::Instant;

/// The address of the listener for operators.
fn admin(serving: &ServerProcess) -> SocketAddr {
    let line = serving.announced.iter().find_map(|line| line.strip_prefix("admin        http://"));
    let address = line.and_then(|line| line.split(' ').next()).unwrap_or_else(|| panic!("{:?}", serving.announced));
    address.parse().expect("an address")
}

/// The open connections of each shard, as `/metrics` has them.
fn open_connections(serving: &ServerProcess) -> Vec<u64> {
    let mut peer = WirePeer::connect(admin(serving));
    peer.write("GET /metrics HTTP/1.1\r\nHost: server.example\r\n\r\n");
    let metrics = peer.response().body;
    let of_shard = |shard| {
        let starts = ["state=\"open\"", &format!("shard=\"{shard}\"")].map(str::to_owned);
        let line = metrics.lines().find(|line| {
            line.starts_with("ringway_connections{") && starts.iter().all(|label| line.contains(label.as_str()))
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("shard {shard}: {metrics}"))
    };
    (0..4).map(of_shard).collect()
}

#[track_caller]
fn assert_evenly_spread(serving: &ServerProcess, connections: u64) {
    // A shard publishes its numbers at the end of a turn.
    let deadline = Instant::now() + WATCHDOG;
    let counts = loop {
        let counts = open_connections(serving);
        if counts.iter().sum::<u64>() == connections {
            break counts;
        }
        assert!(Instant::now() < deadline, "{counts:?} instead of {connections}");
    };
    assert_eq!(counts, [connections / 4; 4]);
}

#[test]
fn connections_are_spread_evenly_and_the_metrics_show_it() {
    for driver in ["--driver=uring", "--driver=epoll"] {
        let serving = ServerProcess::with(&["--shards=4", "--accept=balanced", "--admin=127.0.0.1:0", driver]);
        let mut peers: Vec<WirePeer> = (0..100).map(|_| WirePeer::open(serving.address())).collect();
        assert_evenly_spread(&serving, 100);
        peers.iter_mut().for_each(|peer| peer.expect_echo("hello"));
    }
}

#[test]
fn a_server_that_takes_over_spreads_its_connections_too() {
    let folder = TestDirectory::new("balanced-handover");
    let path = folder.path().join("handover.sock");
    let serve = |shards: &str| {
        let mut command = ringway(&["serve", "--listen=127.0.0.1:0", "--accept=balanced", "--admin=127.0.0.1:0"]);
        command.args(["--shards", shards, "--handover"]).arg(&path);
        ServerProcess::start(command)
    };
    let former = serve("3");
    let mut early: Vec<WirePeer> = (0..30).map(|_| WirePeer::open(former.address())).collect();
    let next = serve("4");
    for peer in &mut early {
        assert_eq!(peer.close_code(), Some(1012));
        peer.send(&Frame::close(1012, ""));
    }
    assert_eq!(former.wait().0.code(), Some(0));
    let _peers: Vec<WirePeer> = (0..100).map(|_| WirePeer::open(next.address())).collect();
    assert_evenly_spread(&next, 100);
}

#[test]
fn another_value_is_refused_with_the_values_that_exist() {
    let ended = run(ringway(&["serve", "--accept", "fair"]));
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        ended.stderr.contains("'fair'") && ended.stderr.contains("[possible values: kernel, balanced]"),
        "{ended:?}"
    );
}
