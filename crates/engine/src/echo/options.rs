//! The options of the echo service on UDP.

use crate::admission::rate::Rate;
use crate::config::ConfigError;

/// How many datagrams the echo service answers. What exceeds a rate is ignored, and counted.
///
/// The rate of one payload ends loops with services that send back the same bytes. The two others bound
/// what a flood from forged addresses can cause, and loops with services whose answers differ. The
/// rates are those of the whole server, except that of a payload, which is that of the shard on which
/// the datagrams of its address and port arrive.
///
/// ```
/// use ringway::{EchoRates, Rate};
///
/// let rates = EchoRates::default().per_address(Rate::per_second(1000))?;
/// # let _ = rates;
/// # Ok::<(), ringway::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoRates {
    pub(crate) per_address: Rate,
    pub(crate) total: Rate,
    pub(crate) per_payload: Rate,
}

impl Default for EchoRates {
    /// 8192 in a second for each IPv4 address or /64 network of IPv6, with bursts of 1024; 131,072 in
    /// a second in all; one in a second for each payload of an address and port, with bursts of 32.
    fn default() -> Self {
        Self {
            per_address: Rate::per_second(8192).burst(1024),
            total: Rate::per_second(131_072),
            per_payload: Rate::per_second(1).burst(32),
        }
    }
}

impl EchoRates {
    /// The rate of replies to one IPv4 address, or to one /64 network of IPv6. Default: 8192 in a
    /// second, with bursts of 1024.
    ///
    /// Addresses have 16,384 buckets, so that a flood from forged addresses neither takes memory nor
    /// excludes new ones. With as many active addresses some share a bucket, and its rate; the choice
    /// changes each minute, and a burst is allowed again then.
    ///
    /// # Errors
    /// A [`ConfigError`] for a rate out of range.
    pub fn per_address(mut self, rate: Rate) -> Result<Self, ConfigError> {
        rate.check("echo.per_address")?;
        self.per_address = rate;
        Ok(self)
    }

    /// The rate of replies to all addresses. Default: 131,072 in a second.
    ///
    /// # Errors
    /// A [`ConfigError`] for a rate out of range.
    pub fn total(mut self, rate: Rate) -> Result<Self, ConfigError> {
        rate.check("echo.total")?;
        self.total = rate;
        Ok(self)
    }

    /// The rate of replies to the same payload from the same address and port. Payloads of more than
    /// 1024 bytes that differ only in the middle count as the same. Default: one in a second, with
    /// bursts of 32.
    ///
    /// A datagram in a loop with a service that sends back the same bytes is the same each time it
    /// arrives. One that is not answered ends the loop, after about this burst if a round takes less
    /// than the time between two replies of this rate; a slower loop keeps to the rate. A loop with a
    /// service whose answers differ is bounded by [`per_address`](Self::per_address) only. Raise this
    /// rate for measurements with payloads that do not change, or of fewer than 8 bytes.
    ///
    /// # Errors
    /// A [`ConfigError`] for a rate out of range.
    pub fn per_payload(mut self, rate: Rate) -> Result<Self, ConfigError> {
        rate.check("echo.per_payload")?;
        self.per_payload = rate;
        Ok(self)
    }
}
