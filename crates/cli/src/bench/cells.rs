//! The cells of the bench, each a shape of traffic, and the parser of `--cells`.

use crate::values;
use ringway_loadtest::{MAX_IN_FLIGHT, MAX_SIZE, size};
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// The maximum number of bytes in flight over all connections of a cell: sockets hold them in
/// kernel memory, on both sides. Of the default cells it excludes 1000 connections × 64 KiB × 16.
pub(crate) const MAX_BYTES_IN_FLIGHT: usize = 256 << 20;

/// The assumed rate of transfer in bytes per second. Windows are long enough for the bytes in
/// flight at this rate.
const SLOW: f64 = (1_u32 << 30) as f64;

/// The default cells are all combinations of these, within [`MAX_BYTES_IN_FLIGHT`].
const SIZES: [usize; 4] = [20, 512, 16 << 10, 64 << 10];
const CONNECTIONS: [usize; 4] = [1, 10, 100, 1000];
const IN_FLIGHT: [usize; 2] = [1, 16];

/// The cells of `--quick`: few and many connections, small and large messages, one and many in
/// flight.
const QUICK: [(usize, usize, usize); 4] = [(10, 20, 1), (100, 20, 1), (100, 16 << 10, 1), (100, 20, 16)];

/// A shape of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) in_flight: usize,
}

impl Shape {
    /// The bytes in flight over all connections.
    fn bytes_in_flight(self) -> usize {
        self.connections.saturating_mul(self.size).saturating_mul(self.in_flight)
    }

    /// The time that a slow machine takes to transfer all bytes in flight once.
    fn pass(self) -> Duration {
        Duration::from_secs_f64(self.bytes_in_flight() as f64 / SLOW)
    }

    /// The warm-up of this cell: `base`, and the time to transfer the bytes in flight once.
    pub(crate) fn warmup(self, base: Duration) -> Duration {
        base + self.pass()
    }

    /// The window of this cell: `base`, or the time to transfer the bytes in flight three times if
    /// that is longer.
    pub(crate) fn window(self, base: Duration) -> Duration {
        base.max(self.pass() * 3)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {} × {}", self.connections, size(self.size), self.in_flight)
    }
}

/// The form that `--cells` parses.
impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unit = |factor: usize| self.size >= factor && self.size.is_multiple_of(factor);
        let size = match self.size {
            size if unit(1 << 20) => format!("{}M", size >> 20),
            size if unit(1 << 10) => format!("{}K", size >> 10),
            size => size.to_string(),
        };
        serializer.collect_str(&format_args!("{}x{size}x{}", self.connections, self.in_flight))
    }
}

/// The cells of the default bench, or of the quick one.
pub(crate) fn default_cells(quick: bool) -> Vec<Shape> {
    if quick {
        return QUICK.map(|(connections, size, in_flight)| Shape { connections, size, in_flight }).to_vec();
    }
    let mut shapes = Vec::new();
    for in_flight in IN_FLIGHT {
        for size in SIZES {
            for connections in CONNECTIONS {
                shapes.push(Shape { connections, size, in_flight });
            }
        }
    }
    shapes.retain(|shape| shape.bytes_in_flight() <= MAX_BYTES_IN_FLIGHT);
    shapes
}

/// One cell of `--cells`: `100x20x1` is 100 connections with messages of 20 B, 1 in flight on each.
pub(crate) fn cell(text: &str) -> Result<Shape, String> {
    let [connections, size, in_flight] = text.split('x').collect::<Vec<_>>()[..] else {
        return Err("give connections, size and messages in flight, as 100x20x1 or 10x16Kx16".into());
    };
    let shape = Shape {
        connections: values::connections(connections)
            .map_err(|error| format!("connections {connections:?}: {error}"))? as usize,
        size: values::some_size(size).map_err(|error| format!("size {size:?}: {error}"))?,
        in_flight: values::pipeline(in_flight).map_err(|error| format!("in flight {in_flight:?}: {error}"))? as usize,
    };
    debug_assert!(shape.in_flight <= MAX_IN_FLIGHT as usize);
    if shape.size > MAX_SIZE {
        return Err(format!("size {size:?}: give at most {}", ringway_loadtest::size(MAX_SIZE)));
    }
    if shape.bytes_in_flight() > MAX_BYTES_IN_FLIGHT {
        return Err(format!(
            "more than {} would be in flight: give fewer connections, a smaller size, or fewer in flight",
            ringway_loadtest::size(MAX_BYTES_IN_FLIGHT)
        ));
    }
    Ok(shape)
}

/// The first duplicate cell.
pub(crate) fn duplicate(shapes: &[Shape]) -> Option<Shape> {
    shapes.iter().enumerate().find(|(at, shape)| shapes[..*at].contains(shape)).map(|(_, shape)| *shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(connections: usize, size: usize, in_flight: usize) -> Shape {
        Shape { connections, size, in_flight }
    }

    #[test]
    fn a_cell_is_connections_size_and_in_flight() {
        assert_eq!(cell("100x20x1"), Ok(shape(100, 20, 1)));
        assert_eq!(cell("10x16Kx16"), Ok(shape(10, 16 << 10, 16)));
        assert_eq!(cell("1kx1x1"), Ok(shape(1000, 1, 1)));
    }

    #[test]
    fn a_cell_that_cannot_be_measured_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "give connections, size"),
            ("100x20", "give connections, size"),
            ("1x2x3x4", "give connections, size"),
            ("0x20x1", "connections \"0\""),
            ("1x0x1", "size \"0\""),
            ("1x20x0", "in flight \"0\""),
            ("1xlargex1", "size \"large\""),
            ("1x65Mx1", "size \"65M\": give at most 64 MiB"),
            ("1000x64Kx16", "more than 256 MiB would be in flight"),
            ("1000000000x64Mx65536", "more than 256 MiB would be in flight"),
        ] {
            let error = cell(text).expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }

    #[test]
    fn cells_are_written_as_they_are_given() {
        for text in ["100x20x1", "10x16Kx16", "1x1Mx1", "1x1025x1"] {
            let json = serde_json::to_value(cell(text).expect(text)).expect("a string");
            assert_eq!(json, text);
        }
        assert_eq!(shape(10, 16 << 10, 16).to_string(), "10 × 16 KiB × 16");
    }

    #[test]
    fn the_default_cells_are_within_the_bound_and_each_is_there_once() {
        let all = default_cells(false);
        assert_eq!(all.len(), SIZES.len() * CONNECTIONS.len() * IN_FLIGHT.len() - 1);
        assert!(all.contains(&shape(1000, 16 << 10, 16)) && !all.contains(&shape(1000, 64 << 10, 16)));
        let quick = default_cells(true);
        assert!(quick.iter().all(|shape| all.contains(shape)));
        assert_eq!((duplicate(&all), duplicate(&quick)), (None, None));
        assert_eq!(duplicate(&[quick[0], quick[1], quick[0]]), Some(quick[0]));
    }

    #[test]
    fn windows_are_longer_where_more_is_in_flight() {
        let base = Duration::from_millis(250);
        assert_eq!(shape(100, 20, 1).window(base), base);
        assert_eq!(shape(1024, 16 << 10, 16).window(base), Duration::from_millis(750));
        assert_eq!(shape(1024, 16 << 10, 16).warmup(base), Duration::from_millis(500));
    }
}
