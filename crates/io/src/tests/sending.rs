//! Sending, acknowledged bytes, and the FIN after a send.

use super::*;

on_each_driver! {
    a_submitted_send_needs_no_wait,
    more_sends_than_the_submission_queue_holds_are_all_submitted,
    fin_follows_a_send_that_is_only_queued,
    fin_follows_a_send_that_waits_for_its_reader,
    fin_follows_the_rest_of_a_short_send,
    acknowledged_bytes_grow_as_the_peer_reads_during_a_send,
    the_last_byte_of_a_send_is_acknowledged,
    a_slot_without_a_connection_has_acknowledged_nothing,
}

fn a_submitted_send_needs_no_wait<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(4));
    driver.send(slot, one(b"echo"));
    driver.submit().expect("a submission");
    let mut received = [0; 4];
    peer.read_exact(&mut received).expect("the bytes");
    assert_eq!(&received, b"echo");
    assert_eq!(sent(&mut driver), 4, "the next wait returns the completion");
}

fn more_sends_than_the_submission_queue_holds_are_all_submitted<D: TestDriver>() {
    let mut config = small(64);
    config.ring_entries = 8;
    let (mut driver, address) = listening::<D>(config);
    let mut peers: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let slots: Vec<Slot> = (0..40).map(|_| accept_one(&mut driver)).collect();
    for slot in &slots {
        driver.send(*slot, Output::One(Chunk::from(b"hi".to_vec())));
    }
    let mut left = slots.len();
    until(&mut driver, |_, completion| {
        left -= usize::from(matches!(completion, Completion::Sent { written: 2, .. }));
        (left == 0).then_some(())
    });
    for peer in &mut peers {
        let mut bytes = [0; 2];
        peer.read_exact(&mut bytes).expect("sent");
        assert_eq!(&bytes, b"hi");
    }
}

fn fin_follows_a_send_that_is_only_queued<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
    driver.send(slot, one(b"the last words"));
    driver.finish(slot);
    assert_eq!(sent(&mut driver), 14);
    let mut all = Vec::new();
    peer.read_to_end(&mut all).expect("ended without RST");
    assert_eq!(all, b"the last words");
    driver.receive(slot);
    peer.write_all(b"receiving goes on").expect("open");
    assert_eq!(received(&mut driver), b"receiving goes on");
}

fn fin_follows_a_send_that_waits_for_its_reader<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
    const LEN: usize = 32 << 20;
    driver.send(slot, Output::One(Chunk::from(vec![1; LEN])));
    assert!(turn(&mut driver).is_empty(), "more than both socket buffers hold");
    driver.finish(slot);
    let peer = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all.len())
    });
    assert_eq!(sent(&mut driver), LEN);
    assert_eq!(peer.join().expect("no panic").expect("ended without RST"), LEN);
}

fn fin_follows_the_rest_of_a_short_send<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
    let chunks = (0..=Output::MAX_CHUNKS).map(|n| vec![n as u8].into()).collect();
    driver.send(slot, Output::Many(chunks));
    driver.finish(slot);
    assert_eq!(sent(&mut driver), Output::MAX_CHUNKS);
    driver.send(slot, one(&[Output::MAX_CHUNKS as u8]));
    assert_eq!(sent(&mut driver), 1);
    let mut all = Vec::new();
    peer.read_to_end(&mut all).expect("ended without RST");
    assert_eq!(all.len(), Output::MAX_CHUNKS + 1);
}

/// Turns until the peer has acknowledged at least `count` bytes, without a completion.
#[track_caller]
fn wait_for_acknowledged(driver: &mut impl TestDriver, slot: Slot, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while driver.acknowledged(slot).expect("the connection is open") < count {
        assert!(Instant::now() < deadline, "{:?} of {count} bytes are acknowledged", driver.acknowledged(slot));
        let completions = turn(driver);
        assert!(completions.is_empty(), "{completions:?}");
    }
}

fn acknowledged_bytes_grow_as_the_peer_reads_during_a_send<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
    const LEN: usize = 32 << 20;
    const STEP: usize = 4 << 20;
    driver.send(slot, Output::One(Chunk::from(vec![1; LEN])));
    assert!(turn(&mut driver).is_empty(), "more than both socket buffers hold");
    let mut bytes = vec![0; STEP];
    for step in 1..=4 {
        let reader = std::thread::spawn(move || peer.read_exact(&mut bytes).map(|()| (peer, bytes)));
        wait_for_acknowledged(&mut driver, slot, (step * STEP) as u64);
        (peer, bytes) = reader.join().expect("no panic").expect("sent");
    }
    reset(peer);
    driver.receive(slot);
    assert!(matches!(ended(&mut driver), Cause::Reset));
    assert_eq!(driver.acknowledged(slot), None);
}

fn the_last_byte_of_a_send_is_acknowledged<D: TestDriver>() {
    let (mut driver, _, slot, mut peer) = connection::<D>(small(8));
    let before = driver.acknowledged(slot).expect("the connection is open");
    driver.send(slot, one(&[7; 1000]));
    assert_eq!(sent(&mut driver), 1000);
    peer.read_exact(&mut [0; 1000]).expect("sent");
    wait_for_acknowledged(&mut driver, slot, before + 1000);
    driver.close(slot);
    assert_eq!(driver.acknowledged(slot), None);
}

fn a_slot_without_a_connection_has_acknowledged_nothing<D: TestDriver>() {
    let mut driver = D::open(small(8));
    let slot = driver.reserve().expect("a slot");
    assert_eq!((driver.acknowledged(slot), driver.unread(slot)), (None, 0));
}
