//! The formats of figures in tables.

use crate::bench::statistics::Spread;
use crate::bench::verdict::Ratio;

/// The placeholder of a missing figure.
pub(super) const GAP: &str = "-";

/// Formats a figure with `write`, or returns [`GAP`] if there is none.
pub(in crate::bench) fn figure<T>(value: Option<T>, write: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| GAP.into(), write)
}

pub(in crate::bench) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

pub(in crate::bench) fn cpu(us: f64) -> String {
    format!("{us:.2}")
}

pub(in crate::bench) fn whole(number: f64) -> String {
    format!("{number:.0}")
}

pub(in crate::bench) fn time(us: f64) -> String {
    if us >= 1000.0 { format!("{:.2} ms", us / 1000.0) } else { format!("{us:.0} µs") }
}

pub(in crate::bench) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// The minimum and maximum of a spread: `1.2–3.4`.
pub(super) fn ends(spread: &Spread, write: impl Fn(f64) -> String) -> String {
    format!("{}–{}", write(spread.min), write(spread.max))
}

/// The median of a spread with its minimum and maximum.
pub(in crate::bench) fn middle_and_ends(spread: &Spread, write: impl Fn(f64) -> String) -> String {
    format!("{} ({})", write(spread.median), ends(spread, &write))
}

/// A ratio with its minimum and maximum and its basis.
pub(in crate::bench) fn ratio(ratio: &Ratio) -> String {
    format!("{} {}", middle_and_ends(&ratio.spread, cpu), ratio.by)
}
