//! Outgoing connections.

use super::*;

on_each_driver! {
    a_driver_connects_to_another,
    a_refused_connect_reports_the_cause,
    fin_before_the_connection_follows_when_it_is_established,
    a_receive_before_the_connection_waits_for_it,
    #[should_panic(expected = "slot 0.0 was connected or accepted before")]
    a_second_connect_is_refused,
    #[should_panic(expected = "slot 0.0 was connected or accepted before")]
    connecting_an_accepted_slot_is_refused,
}

fn a_driver_connects_to_another<D: TestDriver>() {
    let listener = TcpListener::bind(LOCAL).expect("a free port");
    let mut driver = D::open(small(8));
    let slot = driver.reserve().expect("a free slot");
    driver.connect(slot, listener.local_addr().expect("bound"));
    until(&mut driver, |_, completion| matches!(completion, Completion::Connected { .. }).then_some(()));
    let (mut peer, _) = listener.accept().expect("it connected");
    assert_eq!(driver.peer_address(slot), listener.local_addr().ok());
    driver.receive(slot);
    peer.write_all(b"hello").expect("open");
    let received = until(&mut driver, |_, completion| match completion {
        Completion::Received { buffer, .. } => Some(buffer.to_vec()),
        _ => None,
    });
    assert_eq!(received, b"hello");
    driver.close(slot);
    run_until_idle(&mut driver);
    assert_eq!(peer.read(&mut [0; 8]).expect("closed without RST"), 0);
}

fn a_refused_connect_reports_the_cause<D: TestDriver>() {
    let mut driver = D::open(small(8));
    // A port that was free, without a listener.
    let address = TcpListener::bind(LOCAL).and_then(|listener| listener.local_addr()).expect("a free port");
    let slot = driver.reserve().expect("a free slot");
    driver.connect(slot, address);
    let cause = ended(&mut driver);
    assert!(
        matches!(&cause, Cause::Unconnected(error) if error.kind() == io::ErrorKind::ConnectionRefused),
        "{cause:?}"
    );
    driver.close(slot);
    run_until_idle(&mut driver);
}

fn fin_before_the_connection_follows_when_it_is_established<D: TestDriver>() {
    let listener = TcpListener::bind(LOCAL).expect("a free port");
    let mut driver = D::open(small(8));
    let slot = driver.reserve().expect("a free slot");
    driver.finish(slot);
    driver.connect(slot, listener.local_addr().expect("bound"));
    until(&mut driver, |_, completion| matches!(completion, Completion::Connected { .. }).then_some(()));
    let (mut peer, _) = listener.accept().expect("it connected");
    assert_eq!(peer.read(&mut [0; 8]).expect("ended without RST"), 0);
}

fn a_receive_before_the_connection_waits_for_it<D: TestDriver>() {
    for before in [true, false] {
        let listener = TcpListener::bind(LOCAL).expect("a free port");
        let mut driver = D::open(small(8));
        let slot = driver.reserve().expect("a free slot");
        if before {
            driver.receive(slot);
        }
        driver.connect(slot, listener.local_addr().expect("bound"));
        if !before {
            driver.receive(slot);
        }
        until(&mut driver, |_, completion| {
            assert!(matches!(completion, Completion::Connected { .. }), "{completion:?}");
            Some(())
        });
        let (mut peer, _) = listener.accept().expect("it connected");
        peer.write_all(b"hello").expect("open");
        assert_eq!(received(&mut driver), b"hello");
    }
}

fn a_second_connect_is_refused<D: TestDriver>() {
    let mut driver = D::open(small(8));
    let slot = driver.reserve().expect("a free slot");
    driver.connect(slot, LOCAL);
    driver.connect(slot, LOCAL);
}

fn connecting_an_accepted_slot_is_refused<D: TestDriver>() {
    let (mut driver, address, slot, _peer) = connection::<D>(small(8));
    driver.connect(slot, address);
}
