//! Unix sockets in both roles.

use super::*;
use crate::{Address, UnixAddress, UnixSocket};
use socket2::{Domain, Socket, Type};
use std::os::unix::net::UnixStream;

on_each_driver! {
    both_ends_of_a_unix_connection_see_the_other_process,
    tcp_connections_have_no_credentials,
    a_connect_waits_for_room_in_the_queue_of_a_unix_socket,
    a_connect_without_a_server_reports_the_cause,
    drivers_that_share_a_listener_take_turns,
    a_listener_that_accepts_one_by_one_can_be_stopped,
    a_send_that_waits_for_a_unix_peer_shows_each_buffer_that_it_reads,
    a_unix_connection_that_is_gone_has_acknowledged_nothing,
    fin_follows_the_last_part_of_an_output,
}

/// An abstract name of one test.
fn name<D>(test: &str) -> UnixAddress {
    let driver = std::any::type_name::<D>();
    UnixAddress::from_abstract_name(format!("{driver}-{}-{test}", std::process::id())).expect("short")
}

fn connect(address: &UnixAddress) -> UnixStream {
    use std::os::linux::net::SocketAddrExt;
    let name = address.as_abstract_name().expect("an abstract name");
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("short");
    UnixStream::connect_addr(&address).expect("it listens")
}

/// A driver with one accepted connection, and its peer.
fn unix_connection<D: TestDriver>(test: &str) -> (D, Slot, UnixStream) {
    let mut driver = D::open(small(8));
    let address = name::<D>(test);
    driver.listen(Listener::bind_unix(&UnixSocket::new(address.clone())).expect("the name is free"));
    let peer = connect(&address);
    let slot = accept(&mut driver);
    (driver, slot, peer)
}

fn both_ends_of_a_unix_connection_see_the_other_process<D: TestDriver>() {
    let mut driver = D::open(small(8));
    let address = name::<D>("both");
    driver.listen(Listener::bind_unix(&UnixSocket::new(address.clone())).expect("the name is free"));
    let client = driver.reserve().expect("a slot");
    assert_eq!(driver.peer_credentials(client), None, "there is no connection yet");
    driver.connect(client, address);
    let (mut server, mut connected) = (None, false);
    until(&mut driver, |_, completion| {
        match completion {
            Completion::Accepted { slot, .. } => server = Some(slot),
            Completion::Connected { slot } => connected = slot == client,
            other => panic!("{other:?}"),
        }
        (server.is_some() && connected).then_some(())
    });
    let server = server.expect("accepted");
    for slot in [client, server] {
        let peer = driver.peer_credentials(slot).expect("a Unix socket has them");
        assert_eq!(peer.pid.map(std::num::NonZero::get), Some(std::process::id()));
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!((driver.peer_address(slot), driver.local_address(slot)), (None, None));
    }
    driver.receive(server);
    driver.send(client, one(b"hello"));
    assert_eq!(received(&mut driver), b"hello");
    driver.close(client);
    assert!(matches!(ended(&mut driver), Cause::Finished));
    assert_eq!(driver.peer_credentials(client), None);
}

fn tcp_connections_have_no_credentials<D: TestDriver>() {
    let (driver, _, slot, _peer) = connection::<D>(small(8));
    assert_eq!(driver.peer_credentials(slot), None);
}

fn a_connect_without_a_server_reports_the_cause<D: TestDriver>() {
    let mut driver = D::open(small(8));
    let nowhere = UnixAddress::from_path("/nonexistent/ringway.sock").expect("short");
    for (address, kind) in
        [(name::<D>("refused"), io::ErrorKind::ConnectionRefused), (nowhere, io::ErrorKind::NotFound)]
    {
        let slot = driver.reserve().expect("a free slot");
        driver.connect(slot, address);
        let cause = ended(&mut driver);
        assert!(matches!(&cause, Cause::Unconnected(error) if error.kind() == kind), "{cause:?}");
        driver.close(slot);
    }
    run_until_idle(&mut driver);
}

fn a_connect_waits_for_room_in_the_queue_of_a_unix_socket<D: TestDriver>() {
    let address = name::<D>("full");
    let server = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor");
    server.bind(&Address::from(address.clone()).to_sock_addr()).expect("the name is free");
    server.listen(0).expect("bound");
    let (_first, mut driver) = (connect(&address), D::open(small(8)));
    let [waiting, closed] = [(); 2].map(|()| driver.reserve().expect("a free slot"));
    for slot in [waiting, closed] {
        driver.connect(slot, address.clone());
    }
    for _ in 0..10 {
        assert!(turn(&mut driver).is_empty(), "the queue is full");
    }
    driver.close(closed);
    server.accept().expect("the first connection");
    let connected = until(&mut driver, |_, completion| match completion {
        Completion::Connected { slot } => Some(slot),
        other => panic!("{other:?}"),
    });
    assert_eq!(connected, waiting);
    driver.close(waiting);
    run_until_idle(&mut driver);
}

fn drivers_that_share_a_listener_take_turns<D: TestDriver>() {
    const CONNECTIONS: u64 = 40;
    let address = name::<D>("turns");
    let listener = Listener::bind_unix(&UnixSocket::new(address.clone())).expect("the name is free");
    let (accepted, accepts) = std::sync::mpsc::channel();
    let drivers: Vec<_> = [listener.sibling().expect("a descriptor"), listener]
        .into_iter()
        .map(|listener| {
            let accepted = accepted.clone();
            std::thread::spawn(move || {
                let mut driver = D::open(small(64));
                driver.listen(listener);
                accepted.send(driver.waker()).expect("the test waits");
                let mut completions = Vec::new();
                loop {
                    driver.wait(None, &mut completions).expect("the driver works");
                    for completion in completions.drain(..) {
                        match completion {
                            // The peer connects again when it sees the end of its connection.
                            Completion::Accepted { slot, .. } => driver.close(slot),
                            Completion::Woken => return driver.stats().accepted,
                            other => panic!("{other:?}"),
                        }
                    }
                }
            })
        })
        .collect();
    let wakers = [accepts.recv(), accepts.recv()];
    for _ in 0..CONNECTIONS {
        assert_eq!(connect(&address).read(&mut [0]).expect("closed"), 0);
    }
    wakers.into_iter().for_each(|waker| waker.expect("it runs").wake());
    let counts: Vec<u64> = drivers.into_iter().map(|driver| driver.join().expect("no panic")).collect();
    assert_eq!(counts.iter().sum::<u64>(), CONNECTIONS);
    assert!(counts.iter().all(|count| *count >= CONNECTIONS / 8), "{counts:?}");
}

fn a_listener_that_accepts_one_by_one_can_be_stopped<D: TestDriver>() {
    let mut driver = D::open(small(8));
    let path =
        std::env::temp_dir().join(format!("ringway-{}-{}.sock", std::process::id(), std::any::type_name::<D>().len()));
    let socket = UnixSocket::new(UnixAddress::from_path(&path).expect("short"));
    driver.listen(Listener::bind_unix(&socket).expect("the path is free"));
    let _peer = UnixStream::connect(&path).expect("it listens");
    accept(&mut driver);
    turn(&mut driver);
    driver.stop_listening();
    while driver.is_accepting() {
        turn(&mut driver);
    }
    assert!(!path.exists());
}

/// Sends until no more is taken, and returns the number of bytes that were.
fn fill(driver: &mut impl TestDriver, slot: Slot) -> usize {
    let mut taken = 0;
    loop {
        driver.send(slot, Output::One(Chunk::from(vec![1; 1 << 20])));
        match turn(driver).pop() {
            Some(Completion::Sent { written, .. }) => taken += written,
            None => return taken,
            other => panic!("{other:?}"),
        }
    }
}

fn a_send_that_waits_for_a_unix_peer_shows_each_buffer_that_it_reads<D: TestDriver>() {
    let (mut driver, slot, mut peer) = unix_connection::<D>("progress");
    assert_eq!(driver.acknowledged(slot), Some(0));
    let taken = fill(&mut driver, slot);
    let mut before = driver.acknowledged(slot);
    for _ in 0..10 {
        turn(&mut driver);
        assert_eq!(driver.acknowledged(slot), before, "the peer reads nothing");
    }
    // No more than the kernel's buffers hold, so that the send may wait until the end.
    let mut read = 0;
    while read + 64 * 1024 < taken {
        let mut bytes = vec![0; 64 * 1024];
        peer.read_exact(&mut bytes).expect("sent");
        read += bytes.len();
        for completion in turn(&mut driver) {
            assert!(matches!(completion, Completion::Sent { .. }), "{completion:?}");
            driver.send(slot, one(&[1]));
        }
        let now = driver.acknowledged(slot);
        assert!(now > before, "{now:?} after {before:?}, although the peer has read {read} bytes");
        before = now;
    }
    assert!(read > 0, "the buffers hold {taken} bytes");
}

fn a_unix_connection_that_is_gone_has_acknowledged_nothing<D: TestDriver>() {
    let (mut driver, slot, peer) = unix_connection::<D>("gone");
    fill(&mut driver, slot);
    drop(peer);
    assert_eq!(sent(&mut driver), 0);
    let gone = driver.acknowledged(slot);
    let reserved = driver.reserve().expect("a slot");
    assert_eq!((gone, driver.acknowledged(reserved)), (None, None));
}

fn fin_follows_the_last_part_of_an_output<D: TestDriver>() {
    let (mut driver, slot, mut peer) = unix_connection::<D>("fin");
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all.len())
    });
    const LEN: usize = 4 << 20;
    let mut left = LEN;
    driver.send(slot, Output::One(Chunk::from(vec![1; left])));
    driver.finish(slot);
    while left > 0 {
        left -= sent(&mut driver);
        if left > 0 {
            driver.send(slot, Output::One(Chunk::from(vec![1; left])));
        }
    }
    assert!(driver.stats().short_sends > 0, "the kernel takes 4 MiB at once");
    assert_eq!(reader.join().expect("no panic").expect("ended without an error"), LEN);
}
