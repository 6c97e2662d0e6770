//! Datagrams: what is received names both ends, and a reply comes from the end that was addressed.

use super::*;
use crate::{Datagram, DatagramSocket};
use std::net::UdpSocket;

on_each_driver! {
    a_datagram_names_both_ends_and_its_reply_comes_from_the_addressed_one,
    empty_and_the_longest_datagrams_are_received_whole,
    more_datagrams_than_buffers_are_all_received,
    a_stopped_socket_leaves_its_queue_to_a_duplicate,
    datagrams_that_are_reported_after_a_stop_can_be_answered,
    a_driver_with_datagrams_can_be_dropped_at_any_time,
    a_refused_datagram_is_counted_and_the_socket_goes_on,
    a_connected_socket_exchanges_single_datagrams,
    a_port_without_a_service_ends_a_connected_socket,
}

fn open<D: TestDriver>(address: &str) -> (D, SocketAddr) {
    let mut driver = D::open(small(8));
    let socket = DatagramSocket::bind(address.parse().expect("an address")).expect("a free port");
    let address = socket.address();
    driver.open_datagrams(socket).expect("it has datagrams");
    (driver, address)
}

fn client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    socket
}

#[track_caller]
fn next(driver: &mut impl TestDriver) -> Datagram {
    until(driver, |_, completion| match completion {
        Completion::Datagram(datagram) => Some(*datagram),
        _ => None,
    })
}

/// Turns until the driver has sent this many datagrams.
#[track_caller]
fn until_sent(driver: &mut impl TestDriver, count: u64) {
    let mut completions = Vec::new();
    while driver.stats().datagrams_sent < count {
        driver.wait(Some(Duration::from_millis(1)), &mut completions).expect("the driver works");
    }
}

fn a_datagram_names_both_ends_and_its_reply_comes_from_the_addressed_one<D: TestDriver>() {
    for (service, from, to) in [
        ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.9:0", "127.0.0.5"),
        ("0.0.0.0:0", "127.0.0.1:0", "127.77.0.1"),
        ("[::1]:0", "[::1]:0", "::1"),
        ("[::]:0", "[::]:0", "::1"),
    ] {
        let (mut driver, address) = open::<D>(service);
        let client = client(from);
        let to = SocketAddr::new(to.parse().expect("an address"), address.port());
        client.send_to(b"hello", to).expect("room");
        let datagram = next(&mut driver);
        assert_eq!((datagram.payload.as_slice(), datagram.is_truncated), (&b"hello"[..], false));
        assert_eq!(datagram.peer.port(), client.local_addr().expect("bound").port());
        let local = datagram.local.expect("the kernel tells it");
        assert_eq!(local.destination, to.ip());
        assert!(local.local.is_none_or(|address| address == to.ip()), "{local:?}");
        driver.send_datagram(datagram);
        until_sent(&mut driver, 1);
        let mut bytes = [0; 16];
        let (len, by) = client.recv_from(&mut bytes).expect("it is answered");
        assert_eq!((&bytes[..len], by), (&b"hello"[..], to), "from the address that was asked");
        assert_eq!((driver.stats().datagrams_received, driver.stats().datagrams_unsent), (1, 0));
    }
}

fn empty_and_the_longest_datagrams_are_received_whole<D: TestDriver>() {
    let (mut driver, address) = open::<D>("127.0.0.1:0");
    let client = client("127.0.0.1:0");
    for len in [0, 1, 1472, 65_507, 0] {
        let sent: Vec<u8> = (0..len).map(|at| at as u8).collect();
        client.send_to(&sent, address).expect("room");
        let datagram = next(&mut driver);
        assert!(datagram.payload.as_slice() == sent && !datagram.is_truncated, "{len} bytes");
        let before = driver.stats().datagrams_sent;
        driver.send_datagram(datagram);
        until_sent(&mut driver, before + 1);
        let mut bytes = vec![0; 65_536];
        let (len, _) = client.recv_from(&mut bytes).expect("it is answered");
        assert!(bytes[..len] == sent);
    }
}

fn more_datagrams_than_buffers_are_all_received<D: TestDriver>() {
    let (mut driver, address) = open::<D>("127.0.0.1:0");
    let client = client("127.0.0.1:0");
    let mut expected = 0u32;
    for _ in 0..5 {
        // As many as the queue of the socket takes at least, and more than there are buffers.
        for number in expected..expected + 150 {
            client.send_to(&number.to_ne_bytes(), address).expect("room");
        }
        let mut kept = Vec::new();
        for number in expected..expected + 150 {
            let datagram = next_of(&mut driver, &mut kept);
            assert_eq!(datagram.payload.as_slice(), number.to_ne_bytes());
        }
        expected += 150;
    }
    assert_eq!(driver.stats().datagrams_received, u64::from(expected));
}

/// The next datagram. Others of the same turn are kept.
fn next_of(driver: &mut impl TestDriver, kept: &mut Vec<Datagram>) -> Datagram {
    let mut completions = Vec::new();
    while kept.is_empty() {
        driver.wait(Some(Duration::from_secs(20)), &mut completions).expect("the driver works");
        kept.extend(completions.drain(..).filter_map(|completion| match completion {
            Completion::Datagram(datagram) => Some(*datagram),
            _ => None,
        }));
    }
    kept.remove(0)
}

fn a_stopped_socket_leaves_its_queue_to_a_duplicate<D: TestDriver>() {
    let (mut old, address) = open::<D>("127.0.0.1:0");
    let duplicate = old.duplicate_datagrams().expect("a descriptor").pop().expect("one socket");
    let client = client("127.0.0.1:0");
    client.send_to(b"first", address).expect("room");
    assert_eq!(next(&mut old).payload.as_slice(), b"first");
    old.stop_datagrams();
    let mut completions = Vec::new();
    while old.has_datagrams() {
        old.wait(Some(Duration::from_millis(1)), &mut completions).expect("the driver works");
    }
    for text in ["second", "third"] {
        client.send_to(text.as_bytes(), address).expect("room");
    }
    old.wait(Some(Duration::ZERO), &mut completions).expect("the driver works");
    assert!(!completions.iter().any(|completion| matches!(completion, Completion::Datagram(_))), "{completions:?}");
    let mut new = D::open(small(8));
    let socket = DatagramSocket::take_over(std::os::fd::AsFd::as_fd(&duplicate).try_clone_to_owned().expect("open"));
    new.open_datagrams(socket.expect("UDP")).expect("it has datagrams");
    let mut kept = Vec::new();
    for text in ["second", "third"] {
        assert_eq!(next_of(&mut new, &mut kept).payload.as_slice(), text.as_bytes());
    }
}

fn datagrams_that_are_reported_after_a_stop_can_be_answered<D: TestDriver>() {
    for _ in 0..20 {
        let (mut driver, address) = open::<D>("127.0.0.1:0");
        let client = client("127.0.0.1:0");
        client.send_to(b"first", address).expect("room");
        let first = next(&mut driver);
        driver.send_datagram(first);
        // The kernel can put these into buffers before it cancels the receive.
        for _ in 0..8 {
            client.send_to(b"second", address).expect("room");
        }
        driver.stop_datagrams();
        let mut completions = Vec::new();
        while driver.has_datagrams() {
            driver.wait(Some(Duration::from_millis(1)), &mut completions).expect("the driver works");
            for completion in completions.drain(..) {
                if let Completion::Datagram(datagram) = completion {
                    driver.send_datagram(*datagram);
                }
            }
        }
        let stats = *driver.stats();
        assert_eq!(
            (stats.datagrams_sent + stats.datagrams_unsent, stats.datagrams_unsent),
            (stats.datagrams_received, 0)
        );
    }
}

fn a_driver_with_datagrams_can_be_dropped_at_any_time<D: TestDriver>() {
    for turns in 0..4 {
        let (mut driver, address) = open::<D>("127.0.0.1:0");
        let client = client("127.0.0.1:0");
        let mut completions = Vec::new();
        for _ in 0..turns {
            (0..20).for_each(|_| drop(client.send_to(b"bytes", address)));
            driver.wait(Some(Duration::ZERO), &mut completions).expect("the driver works");
            for completion in completions.drain(..) {
                if let Completion::Datagram(datagram) = completion {
                    driver.send_datagram(*datagram);
                }
            }
        }
        drop(driver);
        let again = UdpSocket::bind(address);
        assert!(again.is_ok(), "the socket is closed: {again:?}");
    }
}

fn a_refused_datagram_is_counted_and_the_socket_goes_on<D: TestDriver>() {
    let (mut driver, address) = open::<D>("127.0.0.1:0");
    let client = client("127.0.0.1:0");
    client.send_to(b"hello", address).expect("room");
    let mut datagram = next(&mut driver);
    // No route leads there from the loopback address.
    datagram.peer = "192.0.2.1:9".parse().expect("an address");
    driver.send_datagram(datagram);
    let mut completions = Vec::new();
    while driver.stats().datagrams_unsent == 0 {
        driver.wait(Some(Duration::from_millis(1)), &mut completions).expect("the driver works");
    }
    client.send_to(b"again", address).expect("room");
    assert_eq!(next(&mut driver).payload.as_slice(), b"again");
}

/// A connected slot, and its peer.
fn connected<D: TestDriver>() -> (D, Slot, UdpSocket) {
    let mut driver = D::open(UringConfig { buffers: BufferConfig { size: 4096, ..small(8).buffers }, ..small(8) });
    let peer = client("127.0.0.1:0");
    let slot = driver.reserve().expect("room");
    let options = ConnectOptions::default().datagrams(true);
    driver.connect_with(slot, peer.local_addr().expect("bound"), &options);
    until(&mut driver, |_, completion| matches!(completion, Completion::Connected { .. }).then_some(()));
    driver.receive(slot);
    (driver, slot, peer)
}

fn a_connected_socket_exchanges_single_datagrams<D: TestDriver>() {
    let (mut driver, slot, peer) = connected::<D>();
    driver.send(slot, one(b"first"));
    assert_eq!(sent(&mut driver), 5);
    let mut bytes = [0; 64];
    let (len, from) = peer.recv_from(&mut bytes).expect("it was sent");
    assert_eq!(&bytes[..len], b"first");
    // Several wait at once, and an empty one is no end.
    let texts = ["a", "", "bc", "def", "", "ghij", "k", "l", "m"];
    for text in texts {
        peer.send_to(text.as_bytes(), from).expect("room");
    }
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        assert_eq!(received_next(&mut driver), text.as_bytes());
    }
    driver.close(slot);
    run_until_idle(&mut driver);
}

/// The bytes of the next receive. Others of the same turn are kept.
fn received_next(driver: &mut impl TestDriver) -> Vec<u8> {
    thread_local!(static KEPT: std::cell::RefCell<Vec<Vec<u8>>> = const { std::cell::RefCell::new(Vec::new()) });
    let mut completions = Vec::new();
    while KEPT.with_borrow(Vec::is_empty) {
        driver.wait(Some(Duration::from_secs(20)), &mut completions).expect("the driver works");
        for completion in completions.drain(..) {
            match completion {
                Completion::Received { buffer, .. } => KEPT.with_borrow_mut(|kept| kept.push(buffer.to_vec())),
                Completion::Ended { cause, .. } => panic!("{cause:?}"),
                _ => {}
            }
        }
    }
    KEPT.with_borrow_mut(|kept| kept.remove(0))
}

fn a_port_without_a_service_ends_a_connected_socket<D: TestDriver>() {
    let (mut driver, slot, peer) = connected::<D>();
    drop(peer);
    driver.send(slot, one(b"nobody"));
    let cause = ended(&mut driver);
    assert!(matches!(&cause, Cause::Failed(error) if error.kind() == io::ErrorKind::ConnectionRefused), "{cause:?}");
    driver.close(slot);
    run_until_idle(&mut driver);
}
