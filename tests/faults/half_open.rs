//! Peers that are gone without a FIN or a reset, because the link to them is down. The kernel would
//! notice after minutes; the server does after the configured times, in each state of a connection.
//!
//! The server and its peers are in two network namespaces, which a pair of veth devices connects.

use crate::config;
use crate::ending_log::EndingLog;
use ringway::Limits;
use ringway_tests::{Frame, Namespace, RawRequest, TestServer, WirePeer};
use std::time::{Duration, Instant};

/// Two namespaces, and the link between them.
struct Link {
    server: Namespace,
    peers: Namespace,
}

impl Link {
    const ADDRESS: &str = "10.0.0.1:0";

    fn new() -> Result<Self, String> {
        let (server, peers) = (Namespace::new()?, Namespace::new()?);
        server.ip(&format!("link add toward-peers type veth peer name toward-server netns {}", peers.id()))?;
        server.ip("addr add 10.0.0.1/24 dev toward-peers")?;
        peers.ip("addr add 10.0.0.2/24 dev toward-server")?;
        server.ip("link set toward-peers up")?;
        peers.ip("link set toward-server up")?;
        // Without it, the server would learn after a second that the address of the peers is
        // unreachable on its link, as it would not behind a router.
        let hardware = "de:ad:00:00:00:02";
        peers.ip(&format!("link set toward-server address {hardware}"))?;
        server.ip(&format!("neigh replace 10.0.0.2 lladdr {hardware} nud permanent dev toward-peers"))?;
        Ok(Self { server, peers })
    }

    /// Takes the end of the peers down: what the server sends is lost, as is what they send.
    fn cut(&self) {
        self.peers.ip("link set toward-server down").expect("it was up");
    }

    fn mend(&self) {
        self.peers.ip("link set toward-server up").expect("it was down");
    }
}

/// The deadlines of the server, of which the last is that of a closing connection. The kernel gives a
/// peer up after a quarter of an hour (tcp_retries2 of tcp(7)).
const HANDSHAKE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(3);
const WRITE: Duration = Duration::from_secs(2);
const CLOSE: Duration = Duration::from_secs(1);

/// The state of a connection when the link goes down, and how its end is reported, if it is.
type State = (&'static str, fn(&mut WirePeer), Option<&'static str>);

const STATES: [State; 7] = [
    ("connected", |_| {}, None),
    ("half of a request", |peer| peer.write(&RawRequest::websocket().bytes()[..40]), None),
    ("open", |peer| peer.upgrade(), Some("1006 idle")),
    (
        "open, after an echo",
        |peer| {
            peer.upgrade();
            peer.expect_echo("hello");
        },
        Some("1006 idle"),
    ),
    (
        "half of a message",
        |peer| {
            peer.upgrade();
            peer.write(&Frame::binary([1; 100_000]).bytes()[..50_000]);
        },
        Some("1006 idle"),
    ),
    (
        "output in flight",
        |peer| {
            peer.upgrade();
            // More than both kernels hold.
            (0..16).for_each(|_| peer.send(&Frame::binary([1; 100_000])));
        },
        Some("1006 write timeout"),
    ),
    (
        "closed by the server",
        |peer| {
            peer.upgrade();
            peer.send(&Frame::binary("unmasked").unmasked());
            assert_eq!(peer.close_code(), Some(1002));
        },
        Some("1002 violation"),
    ),
];

#[test]
fn a_peer_whose_link_is_down_is_noticed_in_every_state_and_its_connection_is_freed() {
    let link = match Link::new() {
        Ok(link) => link,
        Err(why) => return eprintln!("NOT TESTED: half-open connections: no namespaces of its own: {why}"),
    };
    let server = link.server.run(|| {
        let config = config().handshake_timeout(HANDSHAKE).and_then(|config| config.idle_timeout(Some(IDLE)));
        let config = config.and_then(|config| config.write_timeout(WRITE)?.close_timeout(CLOSE));
        let server = ringway::Server::bind(Link::ADDRESS).expect("the address of the namespace");
        TestServer::listening(server, config.expect("in range"), Limits::default(), |_| EndingLog::default())
    });
    for (state, bring, ending) in STATES {
        let mut peer = link.peers.run(|| {
            let mut peer = WirePeer::connect_narrow(server.address());
            bring(&mut peer);
            peer
        });
        server.wait_until("it is accepted", |_, shard| shard.connection_count() == 1);
        link.cut();
        let cut = Instant::now();
        // The watchdog of the test is shorter than the time for which the kernel retransmits.
        server.wait_until_empty();
        println!("{state}: freed {:.1?} after the link went down", cut.elapsed());
        let endings = server.on_shard(|log, shard| (std::mem::take(&mut log.endings), shard.memory_held()));
        assert_eq!(endings, (ending.into_iter().map(str::to_owned).collect(), 0), "{state}");
        link.mend();
        // The peer learns of the end when the link is up: by a reset, or by the rest of the output.
        let _ = peer.try_write([0]);
        while peer.skip(1).is_ok() {}
        link.peers.run(|| WirePeer::open(server.address()).expect_echo("the next one is served"));
        server.wait_until_empty();
        server.on_shard(|log, _| log.endings.clear());
    }
}
