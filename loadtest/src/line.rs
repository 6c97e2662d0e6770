//! The generator's state of each connection.

/// The position of a connection in its sequence of messages. 40 bytes, so that a million idle
/// connections take little memory.
#[derive(Default)]
pub(crate) struct Line {
    /// The number of the next message to send.
    pub(crate) sent: u32,
    /// The number of the next message to be answered.
    pub(crate) answered: u32,
    /// Distinguishes the connection's messages from those of others.
    pub(crate) salt: u32,
    /// With one message in flight, the time at which it was sent.
    stamp: u64,
    /// The send times of the messages in flight, by number modulo the length, which is a power of
    /// two. Empty if there is never more than one in flight.
    stamps: Box<[u64]>,
}

impl Line {
    /// A connection that is not open yet.
    pub(crate) fn connecting(salt: u32) -> Self {
        Self { salt, ..Self::default() }
    }

    /// Allocates send times for this many messages in flight.
    pub(crate) fn open(&mut self, in_flight: usize) {
        if in_flight > 1 {
            self.stamps = vec![0; in_flight.next_power_of_two()].into();
        }
    }

    /// The send time of message `number`. Each message in flight has its own place.
    #[inline]
    pub(crate) fn stamp(&mut self, number: u32) -> &mut u64 {
        if self.stamps.is_empty() {
            return &mut self.stamp;
        }
        let at = number as usize & (self.stamps.len() - 1);
        &mut self.stamps[at]
    }

    /// The number of unanswered messages.
    pub(crate) fn in_flight(&self) -> u64 {
        u64::from(self.sent.wrapping_sub(self.answered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_in_flight_keeps_its_moment() {
        for in_flight in [1, 2, 3, 16, 100] {
            let mut line = Line::connecting(0);
            line.open(in_flight as usize);
            // Past the largest number, wrapping to zero.
            (line.sent, line.answered) = (u32::MAX - 50, u32::MAX - 50);
            for _ in 0..200 {
                while line.in_flight() < in_flight {
                    let number = line.sent;
                    *line.stamp(number) = number.into();
                    line.sent = number.wrapping_add(1);
                }
                let number = line.answered;
                assert_eq!(*line.stamp(number), u64::from(number));
                line.answered = number.wrapping_add(1);
            }
        }
    }

    #[test]
    fn a_line_is_small() {
        assert!(size_of::<Line>() <= 40);
    }
}
