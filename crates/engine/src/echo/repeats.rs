//! Datagrams that come again and again: the same payload from the same address and port.
//!
//! A datagram in a loop with a service that sends back the same bytes is the same each time it
//! arrives, whatever the port of that service. A loop consists of one datagram in flight, so one that
//! is not answered ends it. A loop with a service whose answers differ each time has no repeats: only
//! the rate of its address bounds it ([`ReplyRates`](super::rates::ReplyRates)), and it goes on if its
//! rounds are slower than that rate.

use crate::admission::rate::{Rate, TokenBucket, nanos_since};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Instant;

/// The number of payloads that are known, a power of two: 96 KiB. Another one takes the place of one
/// of them.
const ENTRIES: usize = 4096;

/// The bytes at each end of a payload that are compared, with its length.
const COMPARED: usize = 512;

/// What is known of a payload from an address and port.
#[derive(Clone, Copy, Debug)]
struct Entry {
    fingerprint: u64,
    bucket: TokenBucket,
}

/// The payloads that were answered recently, by the sources that sent them.
#[derive(Debug)]
pub(crate) struct Repeats {
    rate: Rate,
    start: Instant,
    entries: Box<[Entry]>,
    /// Its keys are random, so that no sender can choose which payloads share an entry.
    hasher: RandomState,
}

impl Repeats {
    pub(crate) fn new(rate: Rate, start: Instant) -> Self {
        let entry = Entry { fingerprint: 0, bucket: TokenBucket::full(rate, 0) };
        Self { rate, start, entries: vec![entry; ENTRIES].into(), hasher: RandomState::new() }
    }

    /// Counts an answer to a payload from a source, if it is within the rate.
    pub(crate) fn try_take(&mut self, source: SocketAddr, payload: &[u8], now: Instant) -> bool {
        let now = nanos_since(self.start, now);
        let first = &payload[..payload.len().min(COMPARED)];
        let last = &payload[payload.len().saturating_sub(COMPARED)..];
        let fingerprint = self.hasher.hash_one((source, payload.len(), first, last));
        let entry = &mut self.entries[fingerprint as usize % ENTRIES];
        if entry.fingerprint != fingerprint {
            *entry = Entry { fingerprint, bucket: TokenBucket::full(self.rate, now) };
        }
        entry.bucket.try_take(self.rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn source(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 9], port))
    }

    #[test]
    fn the_same_payload_of_a_source_has_a_rate_and_others_have_their_own() {
        let start = Instant::now();
        let mut repeats = Repeats::new(Rate::per_second(1).burst(3), start);
        let taken: Vec<bool> = (0..5).map(|_| repeats.try_take(source(5000), b"same", start)).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert!(repeats.try_take(source(5000), b"another", start) && repeats.try_take(source(5001), b"same", start));
        assert!(repeats.try_take(source(5000), b"", start), "an empty one is a payload");
        let later = start + Duration::from_secs(1);
        assert!(repeats.try_take(source(5000), b"same", later) && !repeats.try_take(source(5000), b"same", later));
    }

    #[test]
    fn long_payloads_differ_by_their_length_and_by_both_ends() {
        let start = Instant::now();
        let mut repeats = Repeats::new(Rate::per_second(1).burst(1), start);
        let long = vec![7; 65_507];
        let (mut first, mut last) = (long.clone(), long.clone());
        (first[0], last[65_506]) = (8, 8);
        for payload in [&long[..], &long[1..], &first, &last] {
            assert!(repeats.try_take(source(5000), payload, start), "{} bytes", payload.len());
            assert!(!repeats.try_take(source(5000), payload, start), "{} bytes", payload.len());
        }
    }
}
