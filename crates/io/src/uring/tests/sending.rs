//! Sending, and the FIN behind it.

use super::*;

#[test]
fn more_sends_than_the_submission_queue_holds_are_all_submitted() {
    let mut config = small(64);
    config.entries = 8;
    let (mut driver, address) = listening(config);
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

#[test]
fn fin_follows_a_send_that_is_only_queued() {
    let (mut driver, _, slot, mut peer) = connection(small(8));
    driver.send(slot, one(b"the last words"));
    driver.finish(slot);
    assert_eq!(sent(&mut driver), 14);
    let mut all = Vec::new();
    peer.read_to_end(&mut all).expect("ended in order");
    assert_eq!(all, b"the last words");
    driver.receive(slot);
    peer.write_all(b"receiving goes on").expect("open");
    assert_eq!(received(&mut driver), b"receiving goes on");
}

#[test]
fn fin_follows_a_send_that_waits_for_its_reader() {
    let (mut driver, _, slot, mut peer) = connection(small(8));
    const LEN: usize = 32 << 20;
    driver.send(slot, Output::One(Chunk::from(vec![1; LEN])));
    assert!(turn(&mut driver).is_empty(), "more than both socket buffers hold");
    driver.finish(slot);
    let peer = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all.len())
    });
    assert_eq!(sent(&mut driver), LEN);
    assert_eq!(peer.join().expect("no panic").expect("ended in order"), LEN);
}

#[test]
fn fin_follows_the_rest_of_a_short_send() {
    let (mut driver, _, slot, mut peer) = connection(small(8));
    let chunks = (0..=Output::MAX_CHUNKS).map(|n| vec![n as u8].into()).collect();
    driver.send(slot, Output::Many(chunks));
    driver.finish(slot);
    assert_eq!(sent(&mut driver), Output::MAX_CHUNKS);
    driver.send(slot, one(&[Output::MAX_CHUNKS as u8]));
    assert_eq!(sent(&mut driver), 1);
    let mut all = Vec::new();
    peer.read_to_end(&mut all).expect("ended in order");
    assert_eq!(all.len(), Output::MAX_CHUNKS + 1);
}
