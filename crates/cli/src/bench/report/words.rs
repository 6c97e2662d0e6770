//! Figures as the tables write them.

use crate::bench::statistics::Spread;
use crate::bench::verdict::Ratio;

/// What stands where there is no figure.
pub(super) const GAP: &str = "-";

/// What `write` makes of a figure, if there is one.
pub(super) fn figure<T>(value: Option<T>, write: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| GAP.into(), write)
}

pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

pub(super) fn cpu(us: f64) -> String {
    format!("{us:.2}")
}

pub(super) fn whole(number: f64) -> String {
    format!("{number:.0}")
}

pub(super) fn time(us: f64) -> String {
    if us >= 1000.0 { format!("{:.2} ms", us / 1000.0) } else { format!("{us:.0} µs") }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// The ends of a spread: `1.2–3.4`.
pub(super) fn ends(spread: &Spread, write: impl Fn(f64) -> String) -> String {
    format!("{}–{}", write(spread.min), write(spread.max))
}

/// The middle of a spread with its ends.
pub(super) fn middle_and_ends(spread: &Spread, write: impl Fn(f64) -> String) -> String {
    format!("{} ({})", write(spread.median), ends(spread, &write))
}

/// A ratio with its ends and what it is of.
pub(super) fn ratio(ratio: &Ratio) -> String {
    format!("{} {}", middle_and_ends(&ratio.spread, cpu), ratio.by)
}
