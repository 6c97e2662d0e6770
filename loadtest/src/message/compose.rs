//! Messages of several parts: the same code writes a message, and compares a reply with it without
//! writing it.

/// Receives the parts of a message in their order.
pub(super) trait Sink {
    /// Bytes that are known.
    fn put(&mut self, bytes: &[u8]);

    /// The time at which the message was sent, in this unit.
    fn time(&mut self, unit: TimeUnit);
}

/// The unit of a time in a message, since the Unix epoch. Each is written with all digits that it
/// has from 2001 to 2286.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeUnit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl TimeUnit {
    /// The number of digits.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Milliseconds => 13,
            Self::Microseconds => 16,
            Self::Nanoseconds => 19,
        }
    }

    fn nanoseconds(self) -> u64 {
        match self {
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1_000,
            Self::Nanoseconds => 1,
        }
    }
}

/// A decimal number of this width, with this padding before it.
pub(super) fn put_number(sink: &mut impl Sink, mut value: u64, width: usize, padding: u8) {
    let mut digits = [padding; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 || at == 0 {
            break;
        }
    }
    debug_assert!(digits.len() - at <= width, "a width is that of the largest number");
    sink.put(&digits[digits.len() - width..]);
}

/// Writes a message.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Nanoseconds since the Unix epoch.
    at: u64,
}

impl<'a> Writer<'a> {
    /// Replaces the content of `out` by a message that is sent at this time.
    pub(super) fn new(out: &'a mut Vec<u8>, at: u64) -> Self {
        out.clear();
        Self { out, at }
    }
}

impl Sink for Writer<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn time(&mut self, unit: TimeUnit) {
        // After 2286 the first digit is missing.
        let bound = 10u64.pow(unit.width() as u32);
        put_number(self, self.at / unit.nanoseconds() % bound, unit.width(), b'0');
    }
}

/// Compares a payload with a message.
pub(super) struct Comparison<'a> {
    /// What follows the compared parts. `None` after a difference.
    rest: Option<&'a [u8]>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { rest: Some(payload) }
    }

    /// Whether the payload is the message.
    pub(super) fn is_equal(&self) -> bool {
        self.rest.is_some_and(<[u8]>::is_empty)
    }
}

impl Sink for Comparison<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.rest = self.rest.and_then(|rest| rest.strip_prefix(bytes));
    }

    /// Accepts any digits.
    fn time(&mut self, unit: TimeUnit) {
        let split = self.rest.and_then(|rest| rest.split_at_checked(unit.width()));
        self.rest = split.filter(|(digits, _)| digits.iter().all(u8::is_ascii_digit)).map(|(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = b"before".to_vec();
        write(&mut Writer::new(&mut out, 1_763_769_601_123_456_789));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_have_their_width_and_padding() {
        for (value, width, padding, text) in [
            (0, 1, b' ', "0"),
            (0, 10, b' ', "         0"),
            (42, 4, b'0', "0042"),
            (9_999, 4, b'0', "9999"),
            (u64::MAX, 20, b' ', "18446744073709551615"),
        ] {
            assert_eq!(written(|sink| put_number(sink, value, width, padding)), text);
        }
    }

    #[test]
    fn a_time_has_all_digits_of_its_unit() {
        for (unit, text) in [
            (TimeUnit::Milliseconds, "1763769601123"),
            (TimeUnit::Microseconds, "1763769601123456"),
            (TimeUnit::Nanoseconds, "1763769601123456789"),
        ] {
            assert_eq!(written(|sink| sink.time(unit)), text);
            let mut early = Vec::new();
            Writer::new(&mut early, 1_000_000).time(unit);
            let mut late = Vec::new();
            Writer::new(&mut late, u64::MAX).time(unit);
            assert_eq!((early.len(), late.len()), (unit.width(), unit.width()));
        }
    }

    #[test]
    fn a_comparison_accepts_the_message_alone() {
        let compare = |payload: &str| {
            let mut sink = Comparison::new(payload.as_bytes());
            sink.put(b"at ");
            sink.time(TimeUnit::Milliseconds);
            sink.put(b"!");
            sink.is_equal()
        };
        assert!(compare("at 1763769601123!") && compare("at 0000000000000!"));
        for other in ["", "at ", "at 1763769601123", "at 1763769601123!!", "at 176376960112x!", "At 1763769601123!"] {
            assert!(!compare(other), "{other}");
        }
    }
}
