//! One cell of the bench: a shape of traffic, and what its rounds gave.

use serde::Serialize;
use std::fmt;

/// What carries the echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Tcp,
    Ws,
}

/// A shape of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B, {} connections, {} in flight", self.size, self.connections, self.in_flight)
    }
}

/// All shapes, in the order of the table.
pub(crate) fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for in_flight in [1, 16] {
        for size in [20, 512, 16 << 10] {
            for connections in [1, 100, 1000] {
                shapes.push(Shape { size, connections, in_flight });
            }
        }
    }
    shapes
}

/// What one run of one shape gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) messages_per_second: f64,
    pub(crate) server_cpu_us_per_message: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// A shape with the samples of all rounds, over TCP and over WebSocket. Sample `n` of both were taken one right after
/// the other; `None` where no message came back.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) shape: Shape,
    pub(crate) tcp: Vec<Option<Sample>>,
    pub(crate) ws: Vec<Option<Sample>>,
}

/// One line of the report. Without figures where no message came back in any round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) protocol: Protocol,
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) messages_per_second: Option<f64>,
    pub(crate) server_cpu_us_per_message: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) ratio_to_floor: Option<f64>,
}

impl Pair {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, tcp: Vec::new(), ws: Vec::new() }
    }

    /// Whether there is a round to report.
    pub(crate) fn is_measured(&self) -> bool {
        !self.tcp.is_empty()
    }

    /// The medians over the rounds. The ratio is the median of the rounds' ratios, not the ratio of the medians: the two
    /// runs of a round shared the machine's mood.
    pub(crate) fn cells(&self) -> [Cell; 2] {
        let both = self.ws.iter().zip(&self.tcp).filter_map(|(ws, tcp)| ws.as_ref().zip(tcp.as_ref()));
        let ratios = both.map(|(ws, tcp)| ws.messages_per_second / tcp.messages_per_second);
        let floor = median(self.tcp.iter().flatten().map(|_| 1.0));
        [cell(Protocol::Tcp, self.shape, &self.tcp, floor), cell(Protocol::Ws, self.shape, &self.ws, median(ratios))]
    }
}

fn cell(protocol: Protocol, shape: Shape, samples: &[Option<Sample>], ratio_to_floor: Option<f64>) -> Cell {
    let of = |figure: fn(&Sample) -> f64| median(samples.iter().flatten().map(figure));
    Cell {
        protocol,
        size: shape.size,
        connections: shape.connections,
        in_flight: shape.in_flight,
        messages_per_second: of(|sample| sample.messages_per_second),
        server_cpu_us_per_message: of(|sample| sample.server_cpu_us_per_message),
        p50_us: of(|sample| sample.p50_us),
        p99_us: of(|sample| sample.p99_us),
        ratio_to_floor,
    }
}

/// The median; the mean of the middle two of an even number.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(messages_per_second: f64) -> Option<Sample> {
        Some(Sample { messages_per_second, server_cpu_us_per_message: 1.0, p50_us: 2.0, p99_us: 3.0 })
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn the_ratio_is_taken_round_by_round() {
        let shape = shapes()[0];
        // The machine was half as fast in the second round, for both.
        let pair =
            Pair { shape, tcp: [100.0, 50.0, 100.0].map(sample).to_vec(), ws: [90.0, 45.0, 95.0].map(sample).to_vec() };
        let [tcp, ws] = pair.cells();
        assert_eq!((tcp.ratio_to_floor, ws.ratio_to_floor), (Some(1.0), Some(0.9)));
        assert_eq!(tcp.messages_per_second, Some(100.0));
    }

    #[test]
    fn a_round_without_an_echo_is_left_out_and_takes_nothing_with_it() {
        let shape = shapes()[0];
        let pair = Pair { shape, tcp: vec![sample(100.0), sample(50.0)], ws: vec![None, sample(40.0)] };
        let [tcp, ws] = pair.cells();
        assert_eq!((tcp.messages_per_second, ws.messages_per_second), (Some(75.0), Some(40.0)));
        assert_eq!(ws.ratio_to_floor, Some(0.8), "of the round in which both were measured");
        let none = Pair { shape, tcp: vec![sample(100.0)], ws: vec![None] };
        let [tcp, ws] = none.cells();
        assert!(none.is_measured() && tcp.p50_us.is_some());
        assert_eq!((ws.messages_per_second, ws.p99_us, ws.ratio_to_floor), (None, None, None));
    }

    #[test]
    fn every_shape_is_there_once() {
        let shapes = shapes();
        assert_eq!(shapes.len(), 18);
        assert!(shapes.iter().all(|shape| shapes.iter().filter(|other| *other == shape).count() == 1));
    }
}
