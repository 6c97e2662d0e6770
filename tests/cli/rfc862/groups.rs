//! What the kernel delivers to the service on a network, and the service ignores: broadcast, multicast,
//! its own port, and ports below 1024.
//!
//! The service and its clients are in two network namespaces, which a pair of veth devices connects.

use super::{DRIVERS, answer, await_metric, echo_address, metric, serve};
use ringway_tests::{Namespace, ServerProcess, WATCHDOG};
use socket2::SockRef;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// The device of the peers.
const PEER_DEVICE: &str = "toward-server";

struct Network {
    server: Namespace,
    peers: Namespace,
}

impl Network {
    fn new() -> Result<Self, String> {
        let (server, peers) = (Namespace::new()?, Namespace::new()?);
        server.ip(&format!("link add toward-peers type veth peer name {PEER_DEVICE} netns {}", peers.id()))?;
        for (namespace, device, v4, v6) in
            [(&server, "toward-peers", SERVER, SERVER6), (&peers, PEER_DEVICE, PEER, PEER6)]
        {
            namespace.ip(&format!("addr add {v4}/24 broadcast 10.0.0.255 dev {device}"))?;
            namespace.ip(&format!("addr add {v6}/64 dev {device} nodad"))?;
            namespace.ip(&format!("link set {device} up"))?;
        }
        Ok(Self { server, peers })
    }

    /// A socket of the peers.
    fn peer(&self, address: impl Into<IpAddr>, port: u16) -> UdpSocket {
        let address = SocketAddr::new(address.into(), port);
        let socket = self.peers.run(|| UdpSocket::bind(address)).expect("the port is free");
        socket.set_read_timeout(Some(WATCHDOG)).expect("not zero");
        socket.set_broadcast(true).expect("open");
        socket
    }

    /// Sends a datagram that the service ignores for a reason: it is delivered, and has no answer.
    fn expect_ignored(&self, serving: &ServerProcess, (from, to): (&UdpSocket, SocketAddr), reason: &str) {
        let label = format!("reason=\"{reason}\"");
        let ignored = || self.server.run(|| metric(serving, "ringway_echo_datagrams_ignored_total", &label));
        let (before, answered) = (ignored(), self.answered(serving));
        send(from, b"abuse", to);
        self.server.run(|| {
            await_metric(serving, "ringway_echo_datagrams_ignored_total", &label, |ignored| ignored > before);
        });
        assert_eq!((ignored(), self.answered(serving)), (before + 1, answered), "{to}");
        from.set_nonblocking(true).expect("open");
        let answer = from.recv_from(&mut [0; 16]);
        assert!(answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{to}: {answer:?}");
        from.set_nonblocking(false).expect("open");
    }

    fn answered(&self, serving: &ServerProcess) -> u64 {
        self.server.run(|| metric(serving, "ringway_echo_datagrams_total", ""))
    }
}

/// Sends a datagram. The routes of IPv6 appear a moment after the link is up.
fn send(from: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    while let Err(error) = from.send_to(bytes, to) {
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{to}: {error}");
        std::thread::yield_now();
    }
}

/// Runs a test on both drivers with the service at an address, or says that there is no network.
fn on_a_network(name: &str, service: &str, test: impl Fn(&Network, &ServerProcess, u16)) {
    let network = match Network::new() {
        Ok(network) => network,
        Err(why) => return eprintln!("NOT TESTED: {name}: no namespaces of its own: {why}"),
    };
    for driver in DRIVERS {
        let arguments = ["--shards=1", &format!("--driver={driver}"), &format!("--echo-udp={service}")];
        let serving = network.server.run(|| serve(&arguments));
        test(&network, &serving, echo_address(&serving, "udp").port());
    }
}

#[test]
fn ipv4_broadcast_and_multicast_are_delivered_and_ignored() {
    on_a_network("broadcast and multicast of IPv4", "0.0.0.0:0", |network, serving, port| {
        let client = network.peer(PEER, 0);
        SockRef::from(&client).set_multicast_if_v4(&PEER).expect("its own address");
        for group in [Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)] {
            network.expect_ignored(serving, (&client, SocketAddr::from((group, port))), "group");
        }
        let service = SocketAddr::from((SERVER, port));
        assert_eq!(answer(&client, b"client", service), (b"client".to_vec(), service));
    });
}

#[test]
fn ipv6_multicast_is_delivered_and_ignored() {
    on_a_network("multicast of IPv6", "[::]:0", |network, serving, port| {
        let client = network.peer(PEER6, 0);
        let device = network.peers.run(|| {
            let index = std::fs::read_to_string("/proc/thread-self/net/if_inet6").expect("it has IPv6");
            let line = index.lines().find(|line| line.ends_with(PEER_DEVICE)).expect("the device has an address");
            u32::from_str_radix(line.split_whitespace().nth(1).expect("its index"), 16).expect("a number")
        });
        // Answered when both ends of the link are configured.
        let service = SocketAddr::from((SERVER6, port));
        send(&client, b"first", service);
        assert_eq!(client.recv_from(&mut [0; 16]).expect("it is answered"), (5, service));
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let to = SocketAddr::V6(SocketAddrV6::new(all_nodes, port, 0, device));
        network.expect_ignored(serving, (&client, to), "group");
        assert_eq!(answer(&client, b"client", service).0, b"client");
    });
}

#[test]
fn ports_of_services_and_of_the_service_itself_are_delivered_and_ignored() {
    on_a_network("ports of services", "0.0.0.0:0", |network, serving, port| {
        let service = SocketAddr::from((SERVER, port));
        for low in [7, 19, 1023] {
            network.expect_ignored(serving, (&network.peer(PEER, low), service), "port");
        }
        // The port of the service at the address of another machine, as of an echo service there.
        network.expect_ignored(serving, (&network.peer(PEER, port), service), "own");
        assert_eq!(answer(&network.peer(PEER, 1024), b"client", service), (b"client".to_vec(), service));
    });
}

#[test]
fn datagrams_from_its_own_address_are_delivered_and_ignored() {
    on_a_network("its own address", "0.0.0.0:0", |network, serving, port| {
        // The service shares its port, so that this socket can have its address and port.
        let own = network.server.run(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a descriptor");
            socket.set_reuse_port(true).expect("open");
            socket.bind(&SocketAddr::from((SERVER, port)).into()).expect("it is shared");
            UdpSocket::from(socket)
        });
        let service = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        network.expect_ignored(serving, (&own, service), "own");
        drop(own);
        // A client on the same machine is answered.
        let client = network.server.run(|| UdpSocket::bind((SERVER, 0))).expect("a free port");
        client.set_read_timeout(Some(WATCHDOG)).expect("not zero");
        assert_eq!(answer(&client, b"client", service).0, b"client");
    });
}
