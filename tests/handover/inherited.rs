//! Sockets of a service manager that differ in number from the shards.

use super::{DRIVERS, Ledger, replace, start};
use ringway::Server;
use ringway_tests::{TestDirectory, WirePeer};
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

/// Listening sockets of one port each, or all of the same one.
fn sockets(count: usize, same_port: bool) -> Vec<(OwnedFd, SocketAddr)> {
    let first = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let open = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
        socket.set_reuse_port(true).expect("a socket option");
        let port = if same_port { first.port() } else { 0 };
        socket.bind(&SocketAddr::new(first.ip(), port).into()).expect("a free port");
        socket.listen(128).expect("bound");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("TCP");
        (socket.into(), address)
    };
    (0..count).map(open).collect()
}

#[test]
fn each_inherited_socket_is_served_whatever_the_number_of_shards() {
    for driver in DRIVERS {
        for (count, shards) in [(1, 3), (3, 2), (2, 1), (2, 3), (4, 4)] {
            for same_port in [false, true] {
                let what = format!("{driver:?}, {count} sockets, {shards} shards, same port: {same_port}");
                let inherited = sockets(count, same_port);
                let addresses: Vec<SocketAddr> = inherited.iter().map(|(_, address)| *address).collect();
                // The service manager keeps its own descriptors.
                let kept: Vec<_> =
                    inherited.iter().map(|(socket, _)| socket.try_clone().expect("one is left")).collect();
                let server = Server::from_listeners(inherited.into_iter().map(|(socket, _)| socket));
                let running = start(server.expect("they listen"), driver, shards, &Ledger::default());
                for round in 0..12 {
                    for address in &addresses {
                        WirePeer::open(*address).expect_echo(&format!("{what}, round {round}"));
                    }
                }
                running.stop();
                let reports = running.wait().expect("it ends without an error");
                let accepted: u64 = reports.iter().map(|report| report.stats.accepted).sum();
                assert_eq!(accepted, 12 * count as u64, "{what}");
                // The queues are left to the next server.
                let mut early: Vec<WirePeer> = addresses.iter().map(|address| WirePeer::connect(*address)).collect();
                let again = start(Server::from_listeners(kept).expect("they listen"), driver, 1, &Ledger::default());
                for peer in &mut early {
                    peer.upgrade();
                    peer.expect_echo("by the next server");
                }
                drop(early);
                again.stop();
                again.wait().expect("it ends without an error");
            }
        }
    }
}

#[test]
fn sockets_that_a_service_manager_passes_to_both_servers_are_served_once() {
    for driver in DRIVERS {
        let folder = TestDirectory::new(&format!("inherited-{driver:?}"));
        let path = folder.file("h.sock");
        let ledger = Ledger::default();
        let (socket, address) = sockets(1, false).remove(0);
        let (for_new, added) = (socket.try_clone().expect("one is left"), sockets(1, false).remove(0));
        let old = start(Server::from_listeners([socket]).expect("it listens"), driver, 2, &ledger);
        old.offer(&path).expect("the path is free");
        let mut peer = WirePeer::open(address);
        let new = replace(&path, driver, 2, &ledger, |former| {
            assert!(former.is_activated());
            Server::taking_over(former)?.and_listeners([for_new, added.0])
        });
        assert_eq!(new.addresses().len(), 2);
        assert_eq!(peer.close_code(), Some(1012));
        peer.send(&ringway_tests::Frame::close(1012, ""));
        old.wait().expect("it ends without an error");
        for address in [address, added.1] {
            for _ in 0..8 {
                WirePeer::open(address).expect_echo("by the new server");
            }
        }
        new.stop();
        new.wait().expect("it ends without an error");
    }
}
