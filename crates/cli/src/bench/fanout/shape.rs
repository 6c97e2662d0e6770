//! The cells of the part `fanout`, and the parser of `--fanout`.

use crate::values;
use ringway_loadtest::size;
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// The shortest message: the generator's messages begin with their identity, of 24 bytes.
const MIN_SIZE: usize = 24;

/// The maximum number of deliveries that are due in a second.
const MAX_DELIVERIES: u64 = 20_000_000;

/// The maximum number of bytes that are due to subscribers in a second. What a slow server does not
/// send waits in its memory and in that of the kernel.
const MAX_BYTES: u64 = 2 << 30;

/// A window has at least this many published messages.
const MIN_PUBLISHED: u32 = 10;

/// The default cells, each of 50 000 deliveries a second: `subscribers, rate, size`.
const CELLS: [(u32, u32, usize); 6] = [
    (100, 500, MIN_SIZE),
    (1000, 50, MIN_SIZE),
    (5000, 10, MIN_SIZE),
    (100, 500, 1 << 10),
    (1000, 50, 1 << 10),
    (5000, 10, 1 << 10),
];

/// The cell of `--quick`.
const QUICK: [(u32, u32, usize); 1] = [(100, 500, MIN_SIZE)];

/// A shape of fan-out: one publisher, whose messages the server sends to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FanoutShape {
    /// The readers, without the publisher.
    pub(crate) subscribers: u32,
    /// Messages published per second.
    pub(crate) rate: u32,
    pub(crate) size: usize,
}

impl FanoutShape {
    /// The window of this cell: `base`, or the time of [`MIN_PUBLISHED`] messages if that is longer.
    pub(crate) fn window(self, base: Duration) -> Duration {
        base.max(self.time_of(MIN_PUBLISHED))
    }

    /// The warm-up of this cell: `base`, or the time of two messages if that is longer.
    pub(crate) fn warmup(self, base: Duration) -> Duration {
        base.max(self.time_of(2))
    }

    fn time_of(self, messages: u32) -> Duration {
        Duration::from_secs(messages.into()) / self.rate
    }

    /// The connections of the cell, the publisher included.
    pub(crate) fn connections(self) -> u32 {
        self.subscribers + 1
    }
}

impl fmt::Display for FanoutShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}/s × {}", self.subscribers, self.rate, size(self.size))
    }
}

/// The form that `--fanout` parses.
impl Serialize for FanoutShape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}x{}x{}", self.subscribers, self.rate, self.size))
    }
}

/// The default cells, or those of the quick bench.
pub(crate) fn default_shapes(is_quick: bool) -> Vec<FanoutShape> {
    let cells = if is_quick { &QUICK[..] } else { &CELLS };
    cells.iter().map(|&(subscribers, rate, size)| FanoutShape { subscribers, rate, size }).collect()
}

/// One cell of `--fanout`: `1000x50x24` is 1000 subscribers, 50 messages a second of 24 bytes.
pub(crate) fn fanout_shape(text: &str) -> Result<FanoutShape, String> {
    let [subscribers, rate, size] = text.split('x').collect::<Vec<_>>()[..] else {
        return Err("give subscribers, messages published per second and size, as 1000x50x24 or 100x500x1K".into());
    };
    let shape = FanoutShape {
        subscribers: values::connections(subscribers)
            .map_err(|error| format!("subscribers {subscribers:?}: {error}"))?,
        rate: values::connections(rate).map_err(|error| format!("messages per second {rate:?}: {error}"))?,
        size: values::some_size(size).map_err(|error| format!("size {size:?}: {error}"))?,
    };
    if !(MIN_SIZE..=ringway_loadtest::MAX_SIZE).contains(&shape.size) {
        let max = ringway_loadtest::size(ringway_loadtest::MAX_SIZE);
        return Err(format!("size {size:?}: give {MIN_SIZE} bytes to {max}"));
    }
    let deliveries = u64::from(shape.subscribers) * u64::from(shape.rate);
    if deliveries > MAX_DELIVERIES || deliveries.saturating_mul(shape.size as u64) > MAX_BYTES {
        return Err(format!(
            "it has {deliveries} deliveries a second: give fewer subscribers, a lower rate, or a smaller size, for at \
             most {MAX_DELIVERIES} deliveries and {} a second",
            ringway_loadtest::size(MAX_BYTES as usize)
        ));
    }
    Ok(shape)
}

/// The first duplicate cell.
pub(crate) fn duplicate(shapes: &[FanoutShape]) -> Option<FanoutShape> {
    shapes.iter().enumerate().find(|(at, shape)| shapes[..*at].contains(shape)).map(|(_, shape)| *shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_subscribers_rate_and_size() {
        let shape = |subscribers, rate, size| FanoutShape { subscribers, rate, size };
        assert_eq!(fanout_shape("1000x50x24"), Ok(shape(1000, 50, 24)));
        assert_eq!(fanout_shape("10kx1x1K"), Ok(shape(10_000, 1, 1024)));
        for shape in default_shapes(false).into_iter().chain(default_shapes(true)) {
            let text = serde_json::to_value(shape).expect("plain data");
            assert_eq!(fanout_shape(text.as_str().expect("a string")), Ok(shape));
        }
    }

    #[test]
    fn a_cell_that_cannot_be_measured_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "give subscribers, messages published"),
            ("100x20", "give subscribers, messages published"),
            ("0x20x24", "subscribers \"0\""),
            ("10x0x24", "messages per second \"0\""),
            ("10x10xbig", "size \"big\""),
            ("10x10x20", "size \"20\": give 24 bytes to "),
            ("10x10x65M", "size \"65M\": give 24 bytes to "),
            ("100kx1000x24", "it has 100000000 deliveries a second"),
            ("1000x100x1M", "it has 100000 deliveries a second"),
        ] {
            let error = fanout_shape(text).expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_window_has_several_messages_at_each_rate() {
        let base = Duration::from_millis(250);
        let shape = |rate| FanoutShape { subscribers: 10, rate, size: 24 };
        assert_eq!((shape(1000).window(base), shape(1000).warmup(base)), (base, base));
        assert_eq!(shape(10).window(base), Duration::from_secs(1));
        assert_eq!(shape(1).warmup(base), Duration::from_secs(2));
    }
}
