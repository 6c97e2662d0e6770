//! Listeners, and when accepting pauses.

use super::*;

on_each_driver! {
    an_accepted_connection_names_its_listener,
    accepting_pauses_at_the_limit_and_resumes_when_a_slot_is_freed,
    accepting_pauses_after_a_permanent_error_of_accept,
    a_listener_outlives_the_accepts_on_it,
    draining_accepts_the_queue_and_then_closes_the_listener,
    draining_waits_for_a_free_slot,
    the_queue_of_an_inherited_listener_is_left_to_its_owner,
}

fn accepting_pauses_at_the_limit_and_resumes_when_a_slot_is_freed<D: TestDriver>() {
    let (mut driver, address) = listening::<D>(small(1));
    let first = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    assert_eq!(driver.stats().accept_pauses, 1);
    let mut completions = Vec::new();
    while driver.is_accepting() {
        driver.wait(None, &mut completions).expect("the driver works");
    }
    assert!(driver.reserve().is_none());
    let second = TcpStream::connect(address).expect("the backlog takes it");
    driver.close(slot);
    let next = accept(&mut driver);
    assert_eq!(driver.peer_address(next), second.local_addr().ok());
    assert_eq!((driver.local_address(next), driver.local_address(slot)), (Some(address), None));
    drop(first);
}

fn accepting_pauses_after_a_permanent_error_of_accept<D: TestDriver>() {
    let mut driver = D::open(small(8));
    let listener = Listener::bind(LOCAL).expect("a free port");
    // accept(2) on a socket that does not listen any more fails with EINVAL.
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).expect("open");
    driver.listen(listener);
    for _ in 0..20 {
        turn(&mut driver);
    }
    assert_eq!((driver.stats().accept_pauses, driver.stats().completions), (1, 1), "one EINVAL, then a pause");
}

fn a_listener_outlives_the_accepts_on_it<D: TestDriver>() {
    let (mut driver, address) = listening::<D>(small(8));
    driver.begin_turn();
    driver.stop_listening();
    // The accept is not submitted yet. If the listener were closed now, the next socket would get
    // its descriptor.
    drop(TcpStream::connect(address).expect("it listens"));
    while driver.is_accepting() {
        turn(&mut driver);
    }
    TcpStream::connect(address).expect_err("it listens no more");
}

/// Turns until no listener is left. Returns the number of accepted connections.
fn drain<D: TestDriver>(driver: &mut D) -> usize {
    driver.drain_listeners();
    let mut accepted = 0;
    while driver.has_listeners() {
        let completions = turn(driver);
        accepted += completions.iter().filter(|of| matches!(of, Completion::Accepted { .. })).count();
    }
    accepted
}

fn draining_accepts_the_queue_and_then_closes_the_listener<D: TestDriver>() {
    let (mut driver, address) = listening::<D>(small(256));
    let other = Listener::bind(LOCAL).expect("a free port");
    let second = other.address().tcp().expect("TCP");
    driver.listen(other);
    assert!(driver.has_listeners());
    driver.pause_accepting();
    let peers: Vec<TcpStream> =
        [address, second].iter().cycle().take(150).map(|to| TcpStream::connect(to).expect("it listens")).collect();
    driver.resume_accepting();
    assert_eq!(drain(&mut driver), 150);
    for address in [address, second] {
        TcpStream::connect(address).expect_err("it listens no more");
    }
    drop(peers);
}

fn draining_waits_for_a_free_slot<D: TestDriver>() {
    let (mut driver, address) = listening::<D>(small(1));
    let first = TcpStream::connect(address).expect("it listens");
    let slot = accept(&mut driver);
    let second = TcpStream::connect(address).expect("the backlog takes it");
    driver.drain_listeners();
    for _ in 0..20 {
        assert!(turn(&mut driver).is_empty());
    }
    assert!(driver.has_listeners());
    driver.close(slot);
    let next = accept(&mut driver);
    assert_eq!(driver.peer_address(next), second.local_addr().ok());
    driver.close(next);
    while driver.has_listeners() {
        turn(&mut driver);
    }
    drop(first);
}

fn the_queue_of_an_inherited_listener_is_left_to_its_owner<D: TestDriver>() {
    let mut driver = D::open(small(8));
    let socket = std::net::TcpListener::bind(LOCAL).expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    driver.listen(Listener::inherit(socket.try_clone().expect("a descriptor")).expect("it listens"));
    driver.pause_accepting();
    let peer = TcpStream::connect(address).expect("it listens");
    assert_eq!(drain(&mut driver), 0);
    let (_, from) = socket.accept().expect("the connection is in the queue");
    assert_eq!(Some(from), peer.local_addr().ok());
}

fn an_accepted_connection_names_its_listener<D: TestDriver>() {
    let (mut driver, first) = listening::<D>(small(8));
    let listener = Listener::bind(LOCAL).expect("a free port");
    let second = listener.address().tcp().expect("TCP");
    driver.listen(listener);
    for (address, number) in [(second, 1), (first, 0), (second, 1)] {
        let _peer = TcpStream::connect(address).expect("it listens");
        let accepted = until(&mut driver, |_, completion| match completion {
            Completion::Accepted { listener, .. } => Some(listener),
            _ => None,
        });
        assert_eq!(accepted, number);
    }
}
