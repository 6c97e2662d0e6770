//! The state of plain HTTP that the connections of a shard share: the date of the responses, and the
//! number of requests answered on each connection that continues.

use ringway_io::Slot;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The last second that a date of HTTP can express: the end of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct HttpState {
    date: DateText,
    /// By the index of the slot. Only connections that are kept alive after a plain response have an
    /// entry, of 8 bytes, so that a session needs no room for it.
    answered: HashMap<u32, u32>,
}

impl HttpState {
    /// The number of requests that were answered on a connection which continues.
    pub(crate) fn answered(&self, slot: Slot) -> u32 {
        if self.answered.is_empty() { 0 } else { self.answered.get(&slot.index()).copied().unwrap_or(0) }
    }

    /// Records this number.
    pub(crate) fn set_answered(&mut self, slot: Slot, count: u32) {
        self.answered.insert(slot.index(), count);
    }

    /// Removes a connection that has opened a WebSocket or ended.
    pub(crate) fn forget(&mut self, slot: Slot) {
        if !self.answered.is_empty() {
            self.answered.remove(&slot.index());
            if self.answered.is_empty() {
                // A table keeps its largest size otherwise.
                self.answered = HashMap::new();
            }
        }
    }

    /// The number of connections that are kept alive.
    #[cfg(test)]
    pub(crate) fn kept_alive(&self) -> usize {
        self.answered.len()
    }

    /// Updates the date, once per second. `wall` reads the time.
    pub(crate) fn update_date(&mut self, now: Instant, wall: impl FnOnce() -> SystemTime) {
        if self.date.until.is_none_or(|until| now >= until) {
            self.date.set(now, wall());
        }
    }

    /// The date, as of the last update.
    pub(crate) fn date(&self) -> &str {
        &self.date.text
    }
}

/// The time in the format of RFC 9110 section 5.6.7, and the end of its second.
#[derive(Debug, Default)]
struct DateText {
    text: String,
    until: Option<Instant>,
}

impl DateText {
    fn set(&mut self, now: Instant, wall: SystemTime) {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
        self.text.clear();
        let _ = write!(self.text, "{}", httpdate::HttpDate::from(UNIX_EPOCH + since));
        let left = Duration::from_secs(1).saturating_sub(Duration::from_nanos(since.subsec_nanos().into()));
        self.until = now.checked_add(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_read_once_per_second_and_changes_with_the_second() {
        let mut state = HttpState::default();
        let start = Instant::now();
        let mut at = |millis: u64, wall: Option<f64>| {
            let read = || UNIX_EPOCH + Duration::from_secs_f64(wall.expect("the date is up to date"));
            state.update_date(start + Duration::from_millis(millis), read);
            state.date().to_owned()
        };
        assert_eq!(at(0, Some(784_111_777.25)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(749, None), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(750, Some(784_111_778.0)), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(at(1749, None), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(at(1750, Some(0.0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_clock_outside_of_the_range_of_dates_is_limited_to_it() {
        let mut date = DateText::default();
        date.set(Instant::now(), UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(date.text, "Thu, 01 Jan 1970 00:00:00 GMT");
        date.set(Instant::now(), UNIX_EPOCH + LAST + Duration::from_secs(5));
        assert_eq!(date.text, "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
