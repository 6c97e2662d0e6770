//! Formats of figures with units.

/// Three significant digits.
fn digits(value: f64) -> String {
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// Microseconds, as µs, ms or s.
#[must_use]
pub fn time(micros: f64) -> String {
    if micros < 999.5 {
        format!("{} µs", digits(micros))
    } else if micros < 999_500.0 {
        format!("{} ms", digits(micros / 1e3))
    } else {
        format!("{} s", digits(micros / 1e6))
    }
}

/// A count or a rate, with k or M.
#[must_use]
pub fn count(value: f64) -> String {
    if value < 999.5 {
        let text = digits(value);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else if value < 999_500.0 {
        format!("{} k", digits(value / 1e3))
    } else {
        format!("{} M", digits(value / 1e6))
    }
}

/// Bytes, in B, KiB, MiB or GiB.
#[must_use]
pub fn bytes(value: f64) -> String {
    let units = [(1024.0 * 1024.0 * 1024.0, "GiB"), (1024.0 * 1024.0, "MiB"), (1024.0, "KiB")];
    match units.iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{} {name}", digits(value / unit)),
        None => format!("{value:.0} B"),
    }
}

/// The size of a message: exact, in KiB, MiB or GiB only if it is a whole number of them.
#[must_use]
pub fn size(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_size() {
        assert_eq!([time(0.5), time(999.4), time(999.6), time(1e6)], ["0.50 µs", "999 µs", "1.00 ms", "1.00 s"]);
        assert_eq!(
            [count(0.0), count(12.0), count(500.0), count(1000.0), count(2.5e6)],
            ["0", "12", "500", "1.00 k", "2.50 M"]
        );
        assert_eq!([bytes(512.0), bytes(1536.0), bytes(3e9)], ["512 B", "1.50 KiB", "2.79 GiB"]);
    }

    #[test]
    fn sizes_are_exact() {
        assert_eq!([size(0), size(1023), size(1025)], ["0 B", "1023 B", "1025 B"]);
        assert_eq!([size(1024), size(16 << 10), size(64 << 20)], ["1 KiB", "16 KiB", "64 MiB"]);
    }
}
