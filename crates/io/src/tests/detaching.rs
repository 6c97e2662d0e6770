//! Connections that move from one driver to another.

use super::*;
use crate::{Detached, UnixAddress, UnixSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::thread;

on_each_driver! {
    a_detached_connection_is_served_by_the_driver_that_adopts_it,
    a_detached_slot_is_free_and_its_number_is_stale,
    a_detached_connection_that_nobody_adopts_is_closed,
    a_connection_of_the_other_kind_of_driver_can_be_adopted,
    a_unix_connection_stays_one_when_it_moves,
    adopting_at_the_limit_pauses_accepting,
    #[should_panic(expected = "is detached after a request on it")]
    a_connection_that_receives_cannot_be_detached,
    #[should_panic(expected = "was not accepted")]
    a_reserved_slot_cannot_be_detached,
}

/// Adopts a connection whose peer has sent `ping`, and answers with `pong`.
fn serve<D: TestDriver>(detached: Detached) {
    let mut driver = D::open(small(8));
    let slot = driver.adopt(detached);
    assert_eq!((driver.stats().open, driver.stats().accepted), (1, 0));
    driver.receive(slot);
    assert_eq!(received(&mut driver), b"ping");
    driver.send(slot, one(b"pong"));
    assert_eq!(sent(&mut driver), 4);
    driver.close(slot);
    run_until_idle(&mut driver);
}

#[track_caller]
fn assert_answered(mut peer: impl Read) {
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).expect("it ends with FIN");
    assert_eq!(answer, b"pong");
}

fn a_detached_connection_is_served_by_the_driver_that_adopts_it<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
    // What has arrived moves with the socket.
    peer.write_all(b"ping").expect("open");
    let detached = driver.detach(slot).expect("the slot is open");
    assert_eq!(driver.stats().open, 0);
    thread::spawn(|| serve::<D>(detached)).join().expect("no panic");
    assert_answered(peer);
    assert!(turn(&mut driver).is_empty(), "the first driver has nothing to report");
}

fn a_detached_slot_is_free_and_its_number_is_stale<D: TestDriver>() {
    let (mut driver, address, slot, _peer) = connection::<D>(small(8));
    let detached = driver.detach(slot);
    assert!(detached.is_some() && driver.detach(slot).is_none() && driver.peer_address(slot).is_none());
    // Calls for it are ignored, as for a closed slot.
    driver.receive(slot);
    driver.close(slot);
    let _second = TcpStream::connect(address).expect("it listens");
    let next = accept(&mut driver);
    assert!(next.index() == slot.index() && next != slot, "{next:?} after {slot:?}");
}

fn a_detached_connection_that_nobody_adopts_is_closed<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
    drop(driver.detach(slot));
    assert_eq!(peer.read(&mut [0; 1]).expect("it ends with FIN"), 0);
}

fn a_connection_of_the_other_kind_of_driver_can_be_adopted<D: TestDriver>() {
    // Non-blocking sockets of the one would end receives of the other with EAGAIN.
    for serve in [serve::<crate::uring::Uring>, serve::<crate::epoll::Epoll>] {
        let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
        let detached = driver.detach(slot).expect("the slot is open");
        let serving = thread::spawn(move || serve(detached));
        peer.write_all(b"ping").expect("open");
        serving.join().expect("no panic");
        assert_answered(peer);
    }
}

fn a_unix_connection_stays_one_when_it_moves<D: TestDriver>() {
    let name = format!("{}-{}-detached", std::any::type_name::<D>(), std::process::id());
    let address = UnixAddress::from_abstract_name(name.clone()).expect("short");
    let mut driver = D::open(small(8));
    driver.listen(Listener::bind_unix(&UnixSocket::new(address)).expect("the name is free"));
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("short");
    let peer = UnixStream::connect_addr(&address).expect("it listens");
    let slot = accept(&mut driver);
    let detached = driver.detach(slot).expect("the slot is open");
    let mut other = D::open(small(8));
    let slot = other.adopt(detached);
    assert_eq!(
        other.peer_credentials(slot).and_then(|of| of.pid.map(std::num::NonZero::get)),
        Some(std::process::id())
    );
    assert_eq!(other.tcp_info(slot), None);
    other.send(slot, one(b"x"));
    assert_eq!((sent(&mut other), other.acknowledged(slot)), (1, Some(1 << 32)), "one send, not a byte");
    drop(peer);
}

fn adopting_at_the_limit_pauses_accepting<D: TestDriver>() {
    let (mut driver, _, slot, _first) = connection::<D>(small(8));
    let detached = driver.detach(slot).expect("the slot is open");
    let (mut full, address) = listening::<D>(small(1));
    let adopted = full.adopt(detached);
    assert_eq!((full.stats().open, full.stats().accept_pauses), (1, 1));
    let second = TcpStream::connect(address).expect("the backlog takes it");
    for _ in 0..20 {
        assert!(turn(&mut full).is_empty(), "it is at its limit");
    }
    full.close(adopted);
    let next = accept(&mut full);
    assert_eq!(full.peer_address(next), second.local_addr().ok());
}

fn a_connection_that_receives_cannot_be_detached<D: TestDriver>() {
    let (mut driver, _, slot, _peer) = connection::<D>(small(8));
    driver.receive(slot);
    driver.detach(slot);
}

fn a_reserved_slot_cannot_be_detached<D: TestDriver>() {
    let mut driver = D::open(small(8));
    let slot = driver.reserve().expect("a slot");
    driver.detach(slot);
}
