//! `market`

use crate::process::Process;
use ringway_tests::{RawRequest, WirePeer};
use std::collections::HashMap;
use std::thread;

const SHARES: u64 = 50;

/// More than the outbox of a reader and the buffers of the kernel hold.
const UPDATES: u64 = 400_000;

/// The number of the next update, and its share.
fn update(peer: &mut WirePeer) -> (u64, u64) {
    let text = String::from_utf8(peer.frame().payload).expect("UTF-8");
    let mut words = text.split(' ').map(|word| word.parse().ok());
    match (words.next(), words.next()) {
        (Some(Some(number)), Some(Some(share))) => (number, share),
        _ => panic!("not an update: {text}"),
    }
}

/// Reads until the last price of each share is known. Returns the shares of the updates, in order.
fn read_to_the_end(peer: &mut WirePeer) -> Vec<u64> {
    let mut latest = HashMap::new();
    let mut shares = Vec::new();
    let is_last = |latest: &HashMap<u64, u64>| {
        (UPDATES - SHARES + 1..=UPDATES).all(|number| latest.get(&(number % SHARES)) == Some(&number))
    };
    while !is_last(&latest) {
        let (number, share) = update(peer);
        assert_eq!(number % SHARES, share);
        assert!(latest.insert(share, number).is_none_or(|before| before < number), "the price of {share} went back");
        shares.push(share);
    }
    shares
}

/// The last price of each share is among what a slow reader receives, and it skips older ones.
#[test]
fn a_slow_reader_receives_the_latest_of_each_share() {
    let arguments = ["127.0.0.1:0", &SHARES.to_string(), "10000000", &UPDATES.to_string()];
    let market = Process::start("market", &arguments);
    let address = market.address();
    let mut slow = WirePeer::connect_narrow(address);
    slow.write(RawRequest::websocket().bytes());
    slow.expect_upgrade();
    // It reads nothing until all updates are published.
    assert_eq!(market.line(), "the last update is published");
    assert!(read_to_the_end(&mut slow).len() < UPDATES as usize, "nothing was skipped");

    // One that comes later receives the last price of each share first, unless its shard has not taken
    // all updates from its mailbox yet: then the others follow. That happens once on each shard.
    let shards = thread::available_parallelism().expect("the number of cores").get();
    let is_last_first = (0..=shards).any(|_| {
        let shares = read_to_the_end(&mut WirePeer::open(address));
        let mut first = shares[..SHARES as usize].to_vec();
        first.sort_unstable();
        assert_eq!(first, (0..SHARES).collect::<Vec<_>>());
        shares.len() == SHARES as usize
    });
    assert!(is_last_first, "older prices came first on a shard that had the last ones");
}
