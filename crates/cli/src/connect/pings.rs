//! The pings that wait for their pongs. A pong answers the ping with its payload (RFC 6455 section
//! 5.5.3).

use super::event::Answers;
use std::collections::VecDeque;
use std::time::Instant;

/// The pings that wait at most; older ones are given up.
const MAX_WAITING: usize = 64;

#[derive(Default)]
pub(super) struct Pings {
    waiting: VecDeque<Waiting>,
    /// The number of payloads that were made.
    made: u32,
}

struct Waiting {
    payload: Vec<u8>,
    sent: Instant,
    keeps_alive: bool,
}

impl Pings {
    /// A payload that no ping before had.
    pub(super) fn payload(&mut self) -> Vec<u8> {
        self.made = self.made.wrapping_add(1);
        format!("ringway {}", self.made).into_bytes()
    }

    /// A ping was sent.
    pub(super) fn sent(&mut self, payload: Vec<u8>, sent: Instant, keeps_alive: bool) {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { payload, sent, keeps_alive });
    }

    /// What a pong answers. A peer may answer the latest of several pings only, so the earlier ones
    /// wait no longer.
    pub(super) fn answered(&mut self, payload: &[u8], now: Instant) -> Answers {
        let Some(at) = self.waiting.iter().position(|ping| ping.payload == payload) else { return Answers::Nothing };
        self.waiting.drain(..at);
        let Some(ping) = self.waiting.pop_front() else { return Answers::Nothing };
        let took = now.saturating_duration_since(ping.sent);
        if ping.keeps_alive { Answers::KeepAlive(took) } else { Answers::Ping(took) }
    }

    /// The connection is another one.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_pong_answers_the_ping_with_its_payload() {
        let (mut pings, start) = (Pings::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        pings.sent(b"a".to_vec(), after(0), false);
        pings.sent(b"b".to_vec(), after(1), true);
        assert_eq!(pings.answered(b"x", after(2)), Answers::Nothing);
        assert_eq!(pings.answered(b"b", after(5)), Answers::KeepAlive(Duration::from_millis(4)));
        assert_eq!(pings.answered(b"a", after(6)), Answers::Nothing, "a later one was answered");
        pings.sent(b"a".to_vec(), after(7), false);
        assert_eq!(pings.answered(b"a", after(9)), Answers::Ping(Duration::from_millis(2)));
        assert_eq!(pings.answered(b"a", after(9)), Answers::Nothing, "once");
    }

    #[test]
    fn the_number_of_waiting_pings_is_limited_and_payloads_differ() {
        let (mut pings, now) = (Pings::default(), Instant::now());
        let first = pings.payload();
        pings.sent(first.clone(), now, false);
        for _ in 0..MAX_WAITING {
            let payload = pings.payload();
            assert!(payload != first && payload.len() <= 125);
            pings.sent(payload, now, false);
        }
        assert_eq!(pings.waiting.len(), MAX_WAITING);
        assert_eq!(pings.answered(&first, now), Answers::Nothing);
    }
}
