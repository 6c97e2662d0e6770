//! The rates of answers, by address and in all, which all shards of a server share.
//!
//! Anyone can write any address into a datagram, so a table with an entry for each address could be
//! filled. The addresses have a fixed number of buckets instead, and a keyed hash chooses that of each.
//! Addresses that share a bucket share its rate, so that no address is answered beyond its rate,
//! whatever others send, and a new address needs no free entry. The keys change every minute, so that
//! an address does not share the bucket of a busy one for longer.

use super::options::EchoRates;
use crate::admission::addresses::AddressKey;
use crate::admission::rate::{Rate, nanos_since};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The number of buckets of addresses, a power of two: 128 KiB.
const BUCKETS: usize = 16_384;

/// The time for which an address has the same bucket, in nanoseconds.
const PERIOD: u64 = 60_000_000_000;

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverRate {
    Address,
    Total,
}

/// A rate as times: the generic cell rate algorithm (ITU-T I.371), which allows the same as a token
/// bucket, and whose state is a single integer.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The time that each answer takes of the rate, in nanoseconds. Rounded up, so that the rate is
    /// never exceeded, and at least 1.
    interval: u64,
    /// The time that answers may be ahead of the rate: that of the burst.
    tolerance: u64,
}

impl Pace {
    fn new(rate: Rate) -> Self {
        let interval = rate.time(1).max(1);
        Self { interval, tolerance: interval.saturating_mul(rate.capacity()) }
    }
}

/// The time at which the rate has caught up with the answers.
#[derive(Debug, Default)]
struct SharedBucket(AtomicU64);

impl SharedBucket {
    /// Counts an answer, if it is within the rate.
    fn try_take(&self, pace: Pace, now: u64) -> bool {
        let take = |due: u64| {
            let next = due.max(now).saturating_add(pace.interval);
            (next.saturating_sub(now) <= pace.tolerance).then_some(next)
        };
        // The value orders no other memory.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// The bucket that each shard changes, apart from what each shard only reads.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Apart(SharedBucket);

/// The answers of a server that are still allowed.
#[derive(Debug)]
pub(crate) struct ReplyRates {
    rates: EchoRates,
    start: Instant,
    per_address: Pace,
    total: Pace,
    all: Apart,
    addresses: Box<[SharedBucket]>,
    hasher: RandomState,
}

impl ReplyRates {
    pub(crate) fn new(rates: EchoRates, start: Instant) -> Self {
        Self {
            rates,
            start,
            per_address: Pace::new(rates.per_address),
            total: Pace::new(rates.total),
            all: Apart::default(),
            addresses: (0..BUCKETS).map(|_| SharedBucket::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Counts an answer to an address, if it is within the rates. One beyond the rate of all counts for
    /// its address too.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), OverRate> {
        let now = nanos_since(self.start, now);
        if !self.addresses[self.bucket(address, now)].try_take(self.per_address, now) {
            return Err(OverRate::Address);
        }
        if !self.all.0.try_take(self.total, now) {
            return Err(OverRate::Total);
        }
        Ok(())
    }

    /// The rate of each payload, which the shards do not share: the datagrams of one address and port
    /// arrive on one shard.
    pub(crate) fn per_payload(&self) -> Rate {
        self.rates.per_payload
    }

    /// The bucket of an address at this time.
    fn bucket(&self, address: IpAddr, now: u64) -> usize {
        self.hasher.hash_one((now / PERIOD, AddressKey::of(address))) as usize % BUCKETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::AtomicU32;
    use std::thread;
    use std::time::Duration;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn rates(per_address: Rate, total: Rate, start: Instant) -> ReplyRates {
        let rates = EchoRates::default().per_address(per_address).and_then(|rates| rates.total(total));
        ReplyRates::new(rates.expect("in range"), start)
    }

    /// Addresses that share no bucket.
    fn apart<const N: usize>(rates: &ReplyRates) -> [IpAddr; N] {
        let mut buckets = HashSet::new();
        let mut free = (1..).map(address).filter(|address| buckets.insert(rates.bucket(*address, 0)));
        [(); N].map(|()| free.next().expect("there are more buckets"))
    }

    #[test]
    fn each_address_and_all_together_have_a_rate() {
        let start = Instant::now();
        let rates = rates(Rate::per_second(10).burst(2), Rate::per_second(100).burst(5), start);
        let [one, two, three, four] = apart(&rates);
        let take = |address, at| rates.take(address, start + Duration::from_millis(at));
        assert_eq!([take(one, 0), take(one, 0), take(one, 0)], [Ok(()), Ok(()), Err(OverRate::Address)]);
        assert_eq!(
            [take(two, 0), take(two, 0), take(three, 0), take(four, 0)],
            [Ok(()), Ok(()), Ok(()), Err(OverRate::Total)]
        );
        assert_eq!([take(one, 100), take(one, 100)], [Ok(()), Err(OverRate::Address)]);
    }

    #[test]
    fn a_pace_allows_its_burst_and_then_its_rate() {
        for (per_second, burst) in [(1, 1), (3, 10), (8192, 1024), (131_072, 131_072), (10_000_000, 7)] {
            let (pace, bucket) = (Pace::new(Rate::per_second(per_second).burst(burst)), SharedBucket::default());
            let mut taken = 0;
            while bucket.try_take(pace, 0) {
                taken += 1;
            }
            assert_eq!(taken, burst);
            let second = 1_000_000_000;
            // Ten seconds later at once, and at the rate from then on.
            let saved = (0..).take_while(|_| bucket.try_take(pace, 10 * second)).count() as u64;
            assert_eq!(saved, burst, "at {per_second}/s");
            let steps = 1000;
            let step = 1_000_000_000 / per_second;
            let taken = (1..=steps).filter(|at| bucket.try_take(pace, 10 * second + at * step)).count() as u64;
            assert!((steps - 2..=steps).contains(&taken), "{taken} of {steps} at {per_second}/s");
        }
    }

    #[test]
    fn forged_addresses_do_not_lock_out_an_honest_one() {
        let start = Instant::now();
        let rates = rates(Rate::per_second(100).burst(30), Rate::per_second(1_000_000_000), start);
        let honest = IpAddr::from([192, 0, 2, 1]);
        // Ten thousand addresses in each of 180 seconds, none of them twice, and one request of the honest one.
        let mut forged = (0..).map(address);
        let mut answered = 0;
        for second in 0..180 {
            let now = start + Duration::from_secs(second);
            for forged in forged.by_ref().take(10_000) {
                assert_eq!(rates.take(forged, now), Ok(()), "each bucket has room");
            }
            answered += u32::from(rates.take(honest, now).is_ok());
        }
        assert_eq!((answered, rates.addresses.len()), (180, BUCKETS));
    }

    #[test]
    fn an_address_leaves_the_bucket_of_a_busy_one() {
        let start = Instant::now();
        let rates = rates(Rate::per_second(1).burst(1), Rate::per_second(1_000_000_000), start);
        let busy = address(1);
        let shared = (2..).map(address).find(|other| rates.bucket(*other, 0) == rates.bucket(busy, 0));
        let shared = shared.expect("endless");
        let mut answered = 0;
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            let _ = rates.take(busy, now);
            answered += u64::from(rates.take(shared, now).is_ok());
        }
        assert!((400..=540).contains(&answered), "{answered} of 600 seconds: they share a bucket for the first 60");
    }

    #[test]
    fn shards_together_keep_to_the_rates() {
        let start = Instant::now();
        let rates = rates(Rate::per_second(10).burst(500), Rate::per_second(10).burst(900), start);
        let ([one, two], answered) = (apart(&rates), [AtomicU32::new(0), AtomicU32::new(0)]);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        for (address, answered) in [one, two].into_iter().zip(&answered) {
                            answered.fetch_add(u32::from(rates.take(address, start).is_ok()), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let [one, two] = answered.map(AtomicU32::into_inner);
        assert!(one <= 500 && two <= 500 && one + two == 900, "{one} and {two}");
    }

    #[test]
    fn the_addresses_of_a_network_of_ipv6_have_one_rate() {
        let start = Instant::now();
        let rates = rates(Rate::per_second(1), Rate::per_second(1000), start);
        let v6 = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(rates.take(v6("2001:db8::1"), start), Ok(()));
        assert_eq!(rates.take(v6("2001:db8::2"), start), Err(OverRate::Address));
        let networks = (1..).map(|number| v6(&format!("2001:db8:0:{number:x}::2")));
        let mut others = networks.filter(|other| rates.bucket(*other, 0) != rates.bucket(v6("2001:db8::1"), 0));
        assert_eq!(rates.take(others.next().expect("endless"), start), Ok(()));
    }
}
