//! The rates of replies, by address and in all.

use super::options::EchoRates;
use crate::admission::addresses::AddressKey;
use crate::admission::rate::{TokenBucket, nanos_since};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// The maximum number of addresses that are known: 256 KiB. While as many are active, others get no
/// reply.
const MAX_ADDRESSES: usize = 4096;

/// The time between two searches for addresses that are no longer active, in nanoseconds.
const SWEEP: u64 = 1_000_000_000;

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverRate {
    Address,
    Total,
}

/// The replies that are still allowed.
#[derive(Debug)]
pub(crate) struct ReplyRates {
    rates: EchoRates,
    start: Instant,
    total: TokenBucket,
    addresses: HashMap<AddressKey, TokenBucket>,
    swept: u64,
}

impl ReplyRates {
    pub(crate) fn new(rates: EchoRates, start: Instant) -> Self {
        Self { rates, start, total: TokenBucket::full(rates.total, 0), addresses: HashMap::new(), swept: 0 }
    }

    /// Counts a reply to an address, if it is within the rates.
    pub(crate) fn take(&mut self, address: IpAddr, now: Instant) -> Result<(), OverRate> {
        let now = nanos_since(self.start, now);
        let rate = self.rates.per_address;
        let key = AddressKey::of(address);
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&key) {
            self.sweep(now);
            if self.addresses.len() >= MAX_ADDRESSES {
                return Err(OverRate::Total);
            }
        }
        let bucket = self.addresses.entry(key).or_insert_with(|| TokenBucket::full(rate, now));
        if bucket.available(rate, now) == 0 {
            return Err(OverRate::Address);
        }
        if !self.total.try_take(self.rates.total, now) {
            return Err(OverRate::Total);
        }
        bucket.take(rate, 1, now);
        Ok(())
    }

    /// Forgets the addresses whose buckets are full: a new one is full as well.
    #[cold]
    fn sweep(&mut self, now: u64) {
        if now.saturating_sub(self.swept) < SWEEP && self.swept > 0 {
            return;
        }
        self.swept = now.max(1);
        let rate = self.rates.per_address;
        self.addresses.retain(|_, bucket| !bucket.is_full(rate, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::rate::Rate;
    use std::time::Duration;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn each_address_and_all_together_have_a_rate() {
        let start = Instant::now();
        let rates = EchoRates::default()
            .per_address(Rate::per_second(10).burst(2))
            .and_then(|rates| rates.total(Rate::per_second(100).burst(5)))
            .expect("in range");
        let mut rates = ReplyRates::new(rates, start);
        let mut take = |number, at| rates.take(address(number), start + Duration::from_millis(at));
        assert_eq!([take(1, 0), take(1, 0), take(1, 0)], [Ok(()), Ok(()), Err(OverRate::Address)]);
        assert_eq!([take(2, 0), take(2, 0), take(3, 0), take(4, 0)], [Ok(()), Ok(()), Ok(()), Err(OverRate::Total)]);
        assert_eq!([take(1, 100), take(1, 100)], [Ok(()), Err(OverRate::Address)]);
    }

    #[test]
    fn the_number_of_known_addresses_is_bounded_and_idle_ones_make_room() {
        let start = Instant::now();
        let mut rates = ReplyRates::new(EchoRates::default(), start);
        for number in 0..MAX_ADDRESSES as u32 {
            assert_eq!(rates.take(address(number), start), Ok(()));
        }
        assert_eq!(rates.take(address(u32::MAX), start), Err(OverRate::Total));
        assert_eq!(rates.take(address(7), start), Ok(()), "a known one");
        let later = start + Duration::from_secs(2);
        assert_eq!(rates.take(address(u32::MAX), later), Ok(()));
        assert!(rates.addresses.len() < 10, "{}", rates.addresses.len());
    }

    #[test]
    fn the_addresses_of_a_network_of_ipv6_have_one_rate() {
        let start = Instant::now();
        let rates = EchoRates::default().per_address(Rate::per_second(1)).expect("in range");
        let mut rates = ReplyRates::new(rates, start);
        let v6 = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(rates.take(v6("2001:db8::1"), start), Ok(()));
        assert_eq!(rates.take(v6("2001:db8::2"), start), Err(OverRate::Address));
        assert_eq!(rates.take(v6("2001:db8:0:1::2"), start), Ok(()));
    }
}
