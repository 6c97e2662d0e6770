//! Outgoing connections.

use super::*;

on_each_driver! {
    a_driver_connects_to_another,
    a_refused_connect_reports_the_cause,
    fin_before_the_connection_follows_when_it_is_established,
    a_receive_before_the_connection_waits_for_it,
    a_connection_comes_from_its_source_address,
    a_source_address_of_another_machine_is_named_in_the_error,
    a_source_address_of_the_other_family_is_an_error,
    the_port_of_a_source_address_is_chosen_by_connect,
    the_receive_buffer_is_set_before_the_connection_is_established,
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
    assert_eq!(driver.local_address(slot), peer.peer_addr().ok());
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

/// Connects with these options. Returns the cause of a failure.
fn connect_with<D: TestDriver>(driver: &mut D, peer: SocketAddr, options: &ConnectOptions) -> Result<Slot, Cause> {
    let slot = driver.reserve().expect("a free slot");
    driver.connect_with(slot, peer, options);
    until(driver, |_, completion| match completion {
        Completion::Connected { slot } => Some(Ok(slot)),
        Completion::Ended { cause, .. } => Some(Err(cause)),
        _ => None,
    })
}

fn a_connection_comes_from_its_source_address<D: TestDriver>() {
    let mut driver = D::open(small(8));
    for (server, source) in [("127.0.0.1:0", "127.0.0.1"), ("127.0.0.1:0", "127.0.5.77"), ("[::1]:0", "::1")] {
        let Ok(listener) = TcpListener::bind(server) else {
            eprintln!("NOT TESTED: this machine has no {server}");
            continue;
        };
        let source: IpAddr = source.parse().expect("an address");
        let options = ConnectOptions::default().source(Some(source));
        let slot = connect_with(&mut driver, listener.local_addr().expect("bound"), &options).expect("it listens");
        let (mut peer, from) = listener.accept().expect("it connected");
        assert_eq!(from.ip(), source);
        driver.send(slot, one(b"hello"));
        sent(&mut driver);
        let mut read = [0; 5];
        peer.read_exact(&mut read).expect("open");
        assert_eq!(&read, b"hello");
        driver.close(slot);
    }
}

#[track_caller]
fn source_error(cause: &Cause) -> &SourceError {
    let Cause::Unconnected(error) = cause else { panic!("{cause:?}") };
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("{error:?}"))
}

fn a_source_address_of_another_machine_is_named_in_the_error<D: TestDriver>() {
    let listener = TcpListener::bind(LOCAL).expect("a free port");
    let mut driver = D::open(small(8));
    // TEST-NET-3 (RFC 5737).
    let source: IpAddr = [203, 0, 113, 9].into();
    let options = ConnectOptions::default().source(Some(source));
    let cause = connect_with(&mut driver, listener.local_addr().expect("bound"), &options).expect_err("not ours");
    let error = source_error(&cause);
    assert_eq!((error.address, error.error.raw_os_error()), (source, Some(libc::EADDRNOTAVAIL)));
    assert_eq!(error.to_string(), "203.0.113.9 is not an address of this machine");
}

fn a_source_address_of_the_other_family_is_an_error<D: TestDriver>() {
    let listener = TcpListener::bind(LOCAL).expect("a free port");
    let mut driver = D::open(small(8));
    let options = ConnectOptions::default().source(Some("::1".parse().expect("an address")));
    let cause = connect_with(&mut driver, listener.local_addr().expect("bound"), &options).expect_err("not IPv4");
    assert_eq!(source_error(&cause).address, options.source.expect("set above"));
}

/// A port chosen by bind(2) would serve one connection, to one server.
fn the_port_of_a_source_address_is_chosen_by_connect<D: TestDriver>() {
    let listener = TcpListener::bind(LOCAL).expect("a free port");
    let mut driver = D::open(small(8));
    let options = ConnectOptions::default().source(Some([127, 0, 7, 1].into()));
    let slot = connect_with(&mut driver, listener.local_addr().expect("bound"), &options).expect("it listens");
    let (mut value, mut len): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the option is an integer, and the kernel writes at most as much.
    let result = unsafe {
        let (option, at) = (libc::IP_BIND_ADDRESS_NO_PORT, (&raw mut value).cast());
        libc::getsockopt(driver.descriptor_of(slot), libc::IPPROTO_IP, option, at, &raw mut len)
    };
    assert_eq!((result, value), (0, 1));
}

fn the_receive_buffer_is_set_before_the_connection_is_established<D: TestDriver>() {
    let listener = TcpListener::bind(LOCAL).expect("a free port");
    let mut driver = D::open(small(8));
    let address = listener.local_addr().expect("bound");
    let options = ConnectOptions::default().receive_buffer(Some(4096));
    let slot = connect_with(&mut driver, address, &options).expect("it listens");
    // SAFETY: the slot is open.
    let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(driver.descriptor_of(slot)) };
    assert_eq!(socket2::SockRef::from(&socket).recv_buffer_size().expect("open"), 8192, "the kernel doubles it");
    // Nothing is received, so the peer can send about as much as the buffer holds.
    let (mut peer, _) = listener.accept().expect("it connected");
    socket2::SockRef::from(&peer).set_send_buffer_size(4096).expect("open");
    peer.set_nonblocking(true).expect("open");
    let mut written = 0;
    while let Ok(len) = peer.write(&[0; 1024]) {
        written += len;
        assert!(written < 256 * 1024, "the window does not close");
    }
}
