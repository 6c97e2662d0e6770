//! What the generator keeps for each connection.

/// A connection's place in its sequence of messages. 40 bytes, so that a million idle ones cost little.
#[derive(Default)]
pub(crate) struct Line {
    /// The number of the next message to send.
    pub(crate) sent: u32,
    /// The number of the next message to be answered.
    pub(crate) answered: u32,
    /// Tells the connection's messages apart from those of others.
    pub(crate) salt: u32,
    /// When connecting began; later, with one message in flight, when that was sent.
    stamp: u64,
    /// When each message in flight was sent, by its number modulo the length, which is a power of two. Empty when there
    /// is never more than one in flight.
    stamps: Box<[u64]>,
}

impl Line {
    /// A connection that begins to connect at `now`.
    pub(crate) fn connecting(salt: u32, now: u64) -> Self {
        Self { salt, stamp: now, ..Self::default() }
    }

    /// Makes room for the moments of sending of this many messages in flight, and says when connecting began.
    pub(crate) fn open(&mut self, in_flight: usize) -> u64 {
        if in_flight > 1 {
            self.stamps = vec![0; in_flight.next_power_of_two()].into();
        }
        self.stamp
    }

    /// When message `number` was sent: of those in flight each has a place of its own.
    #[inline]
    pub(crate) fn stamp(&mut self, number: u32) -> &mut u64 {
        if self.stamps.is_empty() {
            return &mut self.stamp;
        }
        let at = number as usize & (self.stamps.len() - 1);
        &mut self.stamps[at]
    }

    /// How many messages are unanswered.
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
            let mut line = Line::connecting(0, 5);
            assert_eq!(line.open(in_flight as usize), 5);
            // Beyond the largest number, and on from zero.
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
