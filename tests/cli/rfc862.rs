//! The echo service of `ringway serve` (RFC 862): what peers see of it on each driver, at its limits,
//! in a drain and in a hand-over.

mod abuse;
mod groups;
mod handover;

use ringway_tests::{ServerProcess, TestDirectory, WATCHDOG, WirePeer, ringway, run};
use rustix::process::Signal;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;

const DRIVERS: [&str; 2] = ["uring", "epoll"];

fn serve(arguments: &[&str]) -> ServerProcess {
    ServerProcess::with(&[&["--listen=127.0.0.1:0", "--admin=127.0.0.1:0"], arguments].concat())
}

/// The address of the service that is announced for a transport.
fn echo_address(serving: &ServerProcess, transport: &str) -> SocketAddr {
    let prefix = format!("echo         {transport}://");
    let line = serving.announced.iter().find_map(|line| line.strip_prefix(&prefix));
    let address = line.and_then(|line| line.split_whitespace().next());
    address.unwrap_or_else(|| panic!("{:?}", serving.announced)).parse().expect("an address")
}

/// The sum of a metric over all shards, with these labels.
fn metric(serving: &ServerProcess, name: &str, label: &str) -> u64 {
    let mut admin = WirePeer::connect(serving.admin());
    admin.write("GET /metrics HTTP/1.1\r\nHost: server.example\r\nConnection: close\r\n\r\n");
    let text = admin.response().body;
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok()).expect("a number")).sum()
}

/// Waits for a metric, which is published at the end of a turn.
fn await_metric(serving: &ServerProcess, name: &str, label: &str, is_reached: impl Fn(u64) -> bool) {
    while !is_reached(metric(serving, name, label)) {
        thread::yield_now();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    stream
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 253) as u8).collect()
}

/// Writes bytes, ends this direction, and returns what comes back until the end.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    let mut reader = stream.try_clone().expect("a descriptor");
    let reading = thread::spawn(move || {
        let mut echo = Vec::new();
        reader.read_to_end(&mut echo).map(|_| echo)
    });
    stream.write_all(bytes).expect("it reads");
    stream.shutdown(Shutdown::Write).expect("open");
    reading.join().expect("no panic").expect("no reset")
}

#[test]
fn rfc862_tcp_sends_back_every_byte_until_the_peer_ends() {
    for driver in DRIVERS {
        for (listen, family) in [("0", "127.0.0.1:"), ("[::1]:0", "[::1]:")] {
            let (driver, listen) = (format!("--driver={driver}"), format!("--echo-tcp={listen}"));
            let serving = serve(&["--shards=2", &driver, &listen]);
            let address = echo_address(&serving, "tcp");
            assert!(address.to_string().starts_with(family), "{address}");
            let peers: Vec<_> = (0..8)
                .map(|peer| {
                    let sent = bytes(1 + peer * 100_000);
                    thread::spawn(move || assert!(exchange(address, &sent) == sent, "every byte comes back in order"))
                })
                .collect();
            peers.into_iter().for_each(|peer| peer.join().expect("every byte comes back"));
            // The WebSocket service is not affected.
            WirePeer::open(serving.address()).expect_echo("hello");
            await_metric(&serving, "ringway_echo_connections", "", |open| open == 0);
            assert_eq!(metric(&serving, "ringway_echo_connections_served_total", ""), 8);
            assert_eq!(metric(&serving, "ringway_echo_sent_bytes_total", ""), 2_800_008);
        }
    }
}

#[test]
fn a_slow_reader_is_not_read_beyond_the_high_water_mark() {
    for driver in DRIVERS {
        let driver = format!("--driver={driver}");
        let limits = ["--max-buffered=64K", "--buffer-size=4K", "--buffers=64", "--shards=1"];
        let serving = serve(&[&limits[..], &[&driver, "--echo-tcp=0"]].concat());
        let mut stream = connect(echo_address(&serving, "tcp"));
        stream.set_nonblocking(true).expect("open");
        let piece = bytes(64 << 10);
        let mut written = 0;
        // Until the server has stopped, and the buffers of the kernel are full.
        let mut last = u64::MAX;
        loop {
            match stream.write(&piece) {
                Ok(len) => written += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let received = metric(&serving, "ringway_echo_received_bytes_total", "");
                    if received == std::mem::replace(&mut last, received)
                        && metric(&serving, "ringway_echo_pauses_total", "") > 0
                    {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        let queued = metric(&serving, "ringway_queue_bytes", "");
        // A turn can fill all receive buffers before the pause takes effect.
        assert!(queued <= (64 << 10) + 64 * (4 << 10), "{queued} bytes are queued");
        // Others are served meanwhile, and so is this one when it reads.
        assert_eq!(exchange(echo_address(&serving, "tcp"), b"others"), b"others");
        stream.set_nonblocking(false).expect("open");
        let (mut echo, mut piece) = (0, vec![0; 64 << 10]);
        stream.shutdown(Shutdown::Write).expect("open");
        loop {
            match stream.read(&mut piece).expect("no reset") {
                0 => break,
                len => echo += len,
            }
        }
        assert_eq!(echo, written);
    }
}

#[test]
fn echo_connections_count_towards_the_limits_of_connections() {
    let serving = serve(&["--shards=1", "--echo-tcp=0", "--max-connections-total=2"]);
    let address = echo_address(&serving, "tcp");
    let mut first = connect(address);
    let mut websocket = WirePeer::open(serving.address());
    first.write_all(b"x").expect("open");
    first.read_exact(&mut [0]).expect("it is echoed");
    let mut refused = connect(address);
    assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)), "the limit is reached");
    assert_eq!(metric(&serving, "ringway_connections_rejected_total", "reason=\"limit\""), 1);
    // A place is free again when a connection of either kind has ended.
    drop(first);
    await_metric(&serving, "ringway_echo_connections", "", |open| open == 0);
    assert_eq!(exchange(address, b"again"), b"again");
    websocket.expect_echo("hello");
}

#[test]
fn idle_echo_connections_are_closed() {
    let serving = serve(&["--shards=1", "--echo-tcp=0", "--idle-timeout=1s"]);
    let mut silent = connect(echo_address(&serving, "tcp"));
    assert_eq!(silent.read(&mut [0]).expect("it is closed in order"), 0);
    await_metric(&serving, "ringway_idle_closed_total", "", |closed| closed == 1);
}

#[test]
fn a_stop_ends_echo_connections_in_order() {
    for driver in DRIVERS {
        let driver = format!("--driver={driver}");
        let serving = serve(&["--shards=2", &driver, "--echo-tcp=0"]);
        let address = echo_address(&serving, "tcp");
        let mut peers: Vec<TcpStream> = (0..20).map(|_| connect(address)).collect();
        for peer in &mut peers {
            peer.write_all(b"before").expect("open");
            peer.read_exact(&mut [0; 6]).expect("it is echoed");
        }
        serving.signal(Signal::TERM);
        for peer in &mut peers {
            assert_eq!(peer.read(&mut [0]).expect("a FIN, and no reset"), 0);
        }
        drop(peers);
        let (status, stderr) = serving.wait();
        assert!(status.success(), "{stderr}");
    }
}

fn client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a free port");
    socket.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    socket
}

/// The answer to a datagram, and where it comes from.
fn answer(client: &UdpSocket, bytes: &[u8], to: SocketAddr) -> (Vec<u8>, SocketAddr) {
    client.send_to(bytes, to).expect("room");
    let mut echo = vec![0; 65_536];
    let (len, from) = client.recv_from(&mut echo).expect("it is answered");
    echo.truncate(len);
    (echo, from)
}

#[test]
fn rfc862_udp_sends_back_each_datagram_from_the_address_that_was_asked() {
    for driver in DRIVERS {
        let driver = format!("--driver={driver}");
        for (service, from, to) in [
            ("0", "127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.1:0", "127.1.2.3"),
            ("[::1]:0", "[::1]:0", "::1"),
            ("[::]:0", "[::]:0", "::1"),
        ] {
            let serving = serve(&["--shards=2", &driver, &format!("--echo-udp={service}")]);
            let port = echo_address(&serving, "udp").port();
            let to = SocketAddr::new(to.parse().expect("an address"), port);
            // Several ports, so that both shards receive some.
            for _ in 0..16 {
                let client = client(from);
                for len in [0, 1, 512, 1472, 65_000] {
                    let sent = bytes(len);
                    assert!(answer(&client, &sent, to) == (sent, to), "{len} bytes to {to}");
                }
            }
            await_metric(&serving, "ringway_echo_datagrams_total", "", |answered| answered == 80);
            assert_eq!(metric(&serving, "ringway_echo_datagram_bytes_total", ""), 16 * (1 + 512 + 1472 + 65_000));
        }
    }
}

#[test]
fn datagrams_from_ports_of_services_are_ignored() {
    for driver in DRIVERS {
        let serving = serve(&["--shards=1", &format!("--driver={driver}"), "--echo-udp=0"]);
        let address = echo_address(&serving, "udp");
        // The system chooses no port below 1024, so one that is free is looked for.
        let service = (900..1024).find_map(|port| UdpSocket::bind(("127.0.0.1", port)).ok());
        let service = service.expect("the tests run as root, and a port below 1024 is free");
        service.send_to(b"chargen", address).expect("room");
        await_metric(&serving, "ringway_echo_datagrams_ignored_total", "reason=\"port\"", |ignored| ignored == 1);
        assert_eq!(answer(&client("127.0.0.1:0"), b"client", address).0, b"client");
        assert_eq!(metric(&serving, "ringway_echo_datagrams_total", ""), 1);
    }
}

#[test]
fn answers_beyond_the_rate_of_an_address_are_withheld() {
    let serving = serve(&["--shards=1", "--echo-udp=0", "--echo-udp-rate=1:5"]);
    let (address, client) = (echo_address(&serving, "udp"), client("127.0.0.1:0"));
    for _ in 0..50 {
        client.send_to(b"flood", address).expect("room");
    }
    let both = |serving: &ServerProcess| {
        let ignored = metric(serving, "ringway_echo_datagrams_ignored_total", "reason=\"address-rate\"");
        (metric(serving, "ringway_echo_datagrams_total", ""), ignored)
    };
    while both(&serving).0 + both(&serving).1 < 50 {
        thread::yield_now();
    }
    let (answered, ignored) = both(&serving);
    // One more for each second that the test took.
    assert!((5..20).contains(&answered) && answered + ignored == 50, "{answered} {ignored}");
    // Another address has its own rate.
    assert_eq!(answer(&self::client("127.0.0.2:0"), b"other", address).0, b"other");
}

#[test]
fn bad_addresses_of_the_echo_service_are_refused_in_one_line() {
    for (argument, text) in [
        ("--echo-tcp=65536", "give a port from 0 to 65535"),
        ("--echo-tcp=localhost", "give a port, as 7; or an address and a port"),
    ] {
        let ended = run(ringway(&["serve", argument]));
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let line = ended.stderr.lines().next().unwrap_or_default();
        assert!(line.contains(argument.split('=').next().unwrap_or_default()) && line.contains(text), "{line}");
    }
    // A port in use: the program that has it is found by the same hint as for --listen.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let echo = format!("--echo-tcp={address}");
    let ended = run(ringway(&["serve", "--listen=127.0.0.1:0", &echo]));
    assert!(ended.line(1).contains(&format!("cannot listen on {address}: the port is taken")), "{}", ended.line(1));
}

/// The report of a load.
fn load(arguments: &[&str]) -> (i32, serde_json::Value) {
    let ended = run(ringway(&[&["load", "--format=json", "-t1", "--warmup=0"], arguments].concat()));
    let report = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended.status.code().expect("no signal"), report)
}

#[test]
fn load_verifies_the_echoes_of_both_services() {
    for driver in DRIVERS {
        let driver = format!("--driver={driver}");
        let rates = ["--echo-udp-rate=10m", "--echo-udp-total=10m", "--echo-udp-repeats=10m"];
        let serving = serve(&[&["--shards=1", &driver, "--echo-tcp=0", "--echo-udp=0"][..], &rates].concat());
        for transport in ["tcp", "udp"] {
            let url = format!("{transport}://{}", echo_address(&serving, transport));
            for arguments in [
                // Sizes with and without a mark, several in flight, also of several buffers.
                &["-c4", "-p8", "-n4000", "--size=1-3000"][..],
                &["-c3", "-p1", "-n600", "--size=20000"],
                &["-c2", "-n500", "--message=the same"],
                &["-c2", "-n400", "--json", "--size=200"],
                &["-c2", "-n300", "--rate=1000", "--binary"],
            ] {
                let (code, report) = load(&[&[url.as_str(), &driver, "--verify=all"], arguments].concat());
                let messages = &report["messages"];
                assert_eq!((code, &report["errors"]), (0, &serde_json::json!({})), "{url} {arguments:?}: {messages}");
                let wanted: u64 =
                    arguments[1..].iter().find_map(|flag| flag.strip_prefix("-n")?.parse().ok()).expect("-n");
                for count in ["sent", "received"] {
                    assert_eq!(messages[count], wanted, "{count} of {url} {arguments:?}");
                }
                for count in ["missing", "lost", "corrupted", "duplicated", "late", "unasked"] {
                    assert_eq!(messages[count], 0, "{count} of {url} {arguments:?}");
                }
                assert_eq!(report["latency_us"]["response"]["count"], wanted);
                let opening = &report["opening_us"];
                assert!(opening["upgrade"].is_null() && opening["total"] == opening["connect"], "{opening}");
            }
        }
    }
}

/// Answers datagrams until the end of the test: `answers` has what is sent back for each.
fn datagram_server(mut answers: impl FnMut(u64, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        for number in 1.. {
            let Ok((len, peer)) = socket.recv_from(&mut bytes) else { return };
            for answer in answers(number, &bytes[..len]) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    address
}

#[test]
fn load_shows_exactly_the_datagrams_that_are_lost_and_those_that_come_twice_or_swapped() {
    let url = |address: SocketAddr| format!("udp://{address}");
    let run = ["-c1", "-n1000", "--timeout=200ms", "--size=64"];
    // Every 20th is dropped.
    let dropping =
        url(datagram_server(|number, bytes| if number.is_multiple_of(20) { vec![] } else { vec![bytes.to_vec()] }));
    let (code, report) = load(&[&[dropping.as_str(), "-p10"], &run[..]].concat());
    let count = |report: &serde_json::Value, name: &str| report["messages"][name].as_u64().expect("a number");
    assert_eq!(code, 1, "messages were lost");
    assert_eq!((count(&report, "lost"), count(&report, "missing"), count(&report, "received")), (50, 50, 950));
    assert_eq!((count(&report, "late"), count(&report, "duplicated"), count(&report, "reordered")), (0, 0, 0));
    assert_eq!(report["latency_us"]["response"]["count"], 1000, "those that were lost have waited");
    // A share of losses can be allowed.
    let (code, _) = load(&[&[dropping.as_str(), "-p10", "--max-errors=6%"], &run[..]].concat());
    assert_eq!(code, 0);
    // Every 10th is sent twice.
    let doubling =
        url(datagram_server(|number, bytes| vec![bytes.to_vec(); if number.is_multiple_of(10) { 2 } else { 1 }]));
    let (_, report) = load(&[&[doubling.as_str(), "-p1"], &run[..]].concat());
    assert_eq!((count(&report, "lost"), count(&report, "received")), (0, 1000));
    // That of the last message may come after the end.
    assert!((99..=100).contains(&count(&report, "duplicated")), "{}", report["messages"]);
    // Pairs are swapped.
    let mut first: Option<Vec<u8>> = None;
    let swapping = url(datagram_server(move |_, bytes| match first.take() {
        None => {
            first = Some(bytes.to_vec());
            vec![]
        }
        Some(first) => vec![bytes.to_vec(), first],
    }));
    let (_, report) = load(&[&[swapping.as_str(), "-p2"], &run[..]].concat());
    assert_eq!((count(&report, "lost"), count(&report, "received")), (0, 1000));
    assert_eq!(count(&report, "reordered"), 500, "{}", report["messages"]);
    // Bytes are damaged.
    let damaging = url(datagram_server(|number, bytes| {
        let mut bytes = bytes.to_vec();
        if number.is_multiple_of(100) {
            bytes[40] ^= 1;
        }
        vec![bytes]
    }));
    let (_, report) = load(&[&[damaging.as_str(), "-p1", "--verify=all"], &run[..]].concat());
    assert_eq!((count(&report, "corrupted"), count(&report, "received")), (10, 990));
}

#[test]
fn load_counts_answers_after_the_timeout_as_lost_and_late() {
    // The 5th is answered with the 6th, which is sent when the 5th has timed out.
    let mut held: Option<Vec<u8>> = None;
    let server = datagram_server(move |number, bytes| match number {
        5 => {
            held = Some(bytes.to_vec());
            vec![]
        }
        _ => held.take().into_iter().chain([bytes.to_vec()]).collect(),
    });
    let (_, report) = load(&[&format!("udp://{server}"), "-c1", "-n20", "--timeout=100ms"]);
    let messages = &report["messages"];
    assert_eq!((&messages["lost"], &messages["late"], &messages["received"]), (&1.into(), &1.into(), &19.into()));
}

#[test]
fn load_without_a_service_fails_in_one_line() {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let (code, report) = load(&[&format!("udp://{free}"), "-c2", "-n10", "--timeout=200ms"]);
    assert_eq!(code, 1, "{report}");
    assert!(report["errors"].as_object().is_some_and(|errors| !errors.is_empty()), "{}", report["errors"]);
}

#[test]
fn what_an_echo_service_cannot_do_is_refused_in_one_line() {
    for (arguments, text) in [
        (&["udp://127.0.0.1:9", "--deflate"][..], "udp:// has no compression (--deflate): leave it out"),
        (&["tcp://127.0.0.1:9", "-HX-A: b"], "tcp:// has no headers (-H): leave it out"),
        (&["tcp://127.0.0.1:9", "--origin=https://a.example"], "tcp:// has no origin (--origin): leave it out"),
        (&["udp://127.0.0.1:9", "--subprotocol=a"], "udp:// has no subprotocols (--subprotocol): leave it out"),
        (
            &["udp://127.0.0.1:9", "--mode=broadcast", "-R10"],
            "udp:// is for echo and request, and the mode is broadcast",
        ),
        (&["tcp://127.0.0.1:9", "--mode=idle"], "tcp:// is for echo, request, connect and churn, and the mode is idle"),
        (&["udp://127.0.0.1:9", "--size=65508"], "65508 bytes do not fit into a datagram: give at most 65507"),
        (&["tcp://127.0.0.1:9", "--size=0"], "a message of no bytes has no echo on tcp://"),
        (&["udp://127.0.0.1:9", "ws://127.0.0.1:9"], "give servers of one kind"),
        (&["udp://127.0.0.1"], "port"),
    ] {
        let ended = run(ringway(&[&["load"], arguments].concat()));
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(text), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn a_scenario_can_measure_datagrams() {
    let serving = serve(&["--shards=1", "--echo-udp=0"]);
    let folder = TestDirectory::new("rfc862-scenario");
    let path = folder.path().join("udp.toml");
    let url = format!("udp://{}", echo_address(&serving, "udp"));
    let text = format!(
        "targets = [{{ url = \"{url}\" }}]\nmessages = 200\n[[populations]]\nbehaviour = \"echo\"\nconnections = 2\n"
    );
    std::fs::write(&path, text).expect("a folder");
    let (code, report) = load(&["--scenario", path.to_str().expect("UTF-8")]);
    assert_eq!((code, &report["messages"]["received"]), (0, &200.into()), "{report}");
}
