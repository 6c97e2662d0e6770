//! What an impaired server does to its replies, and what it has done.

use std::time::Duration;

/// What the server does. By default it answers each message at once and without a fault.
///
/// The fields `…_every` select one in so many replies, counted over all connections; 0 selects
/// none. A reply has at most one fault: where two would meet, the one declared later hits the next
/// reply. So in `m` replies a fault with `every: n` occurs `m / n` times, less at most one for each
/// fault declared before it. The sum of the shares must be at most 1.
#[derive(Clone, Debug)]
pub struct Impairments {
    /// The time from the receipt of a message to its reply, in addition to that of the rate.
    pub delay: Duration,
    /// The replies a second over all connections, in the order of receipt. The server is a queue
    /// with one server whose service takes `1 / rate`: a message that finds it idle is answered
    /// after that time, and one that finds others waiting, `1 / rate` after the last of them.
    pub rate: Option<u32>,
    /// The number of messages that may wait for their reply. While so many wait, the server reads
    /// nothing, and TCP flow control applies backpressure to the clients. By default the queue is
    /// unbounded: a client can always send, and its messages wait in the server.
    pub queue_limit: usize,
    /// The size of the kernel's receive buffers (SO_RCVBUF of socket(7)), so that backpressure
    /// begins soon after the queue is full; `None` for that of the system, which can be 32 MiB.
    pub receive_buffer: Option<usize>,
    /// Replies that are not sent.
    pub drop_every: u32,
    /// Replies that are sent twice.
    pub duplicate_every: u32,
    /// Replies of which one bit is flipped. An empty reply cannot have this fault, which hits the
    /// next one.
    pub corrupt_every: u32,
    /// The byte with that bit.
    pub corrupted_byte: CorruptedByte,
    /// Replies that are sent after the next reply of their connection. If that one does not come
    /// within [`Impairments::SWAP_WAIT`], the reply is sent without a fault and is counted as
    /// [`ImpairedCounts::not_swapped`].
    pub swap_every: u32,
    /// Replies that are preceded by a ping.
    pub ping_every: u32,
    /// Replies that are sent as three frames.
    pub fragment_every: u32,
    /// Replies that are followed by a message that answers nothing.
    pub unasked_every: u32,
    /// The payload of that message; its kind is that of the reply. It must be UTF-8 if the messages
    /// are text.
    pub unasked_payload: Vec<u8>,
    /// Whether pings stay unanswered.
    pub ignore_pings: bool,
    /// The connections that the server ends.
    pub ending: Option<PlannedEnding>,
}

/// The byte of a corrupted reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorruptedByte {
    /// The first one, which is a part of the mark of a load generator. In text whose first
    /// character is not ASCII it is the last one.
    First,
    /// The last one. Text stays valid UTF-8.
    Last,
}

/// Connections that the server ends: one in `one_in`, in the order of accepting, after so many
/// replies.
#[derive(Clone, Copy, Debug)]
pub struct PlannedEnding {
    /// 1 for all connections.
    pub one_in: u32,
    /// The number of answered messages, at least 1.
    pub after: u64,
    /// How.
    pub how: EndingKind,
}

/// How the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndingKind {
    /// With a close frame of this code.
    Close(u16),
    /// With FIN and without a close frame.
    Finish,
    /// With RST.
    Reset,
}

impl Default for Impairments {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            rate: None,
            queue_limit: usize::MAX,
            receive_buffer: None,
            drop_every: 0,
            duplicate_every: 0,
            corrupt_every: 0,
            corrupted_byte: CorruptedByte::Last,
            swap_every: 0,
            ping_every: 0,
            fragment_every: 0,
            unasked_every: 0,
            unasked_payload: b"an unasked-for message".to_vec(),
            ignore_pings: false,
            ending: None,
        }
    }
}

impl Impairments {
    /// How long a reply to swap waits for the next one of its connection.
    pub const SWAP_WAIT: Duration = Duration::from_millis(100);

    /// Checks the ranges.
    pub(super) fn check(&self) {
        let share: f64 =
            self.shares().iter().filter(|(_, every)| *every > 0).map(|(_, every)| f64::from(*every).recip()).sum();
        assert!(share <= 1.0 + 1e-9, "the faults select {share} of the replies: give shares of at most 1 in sum");
        assert!(self.rate != Some(0), "a rate of 0 answers nothing: give at least 1");
        assert!(self.queue_limit > 0, "a queue limit of 0 reads nothing: give at least 1");
        if let Some(ending) = self.ending {
            assert!(ending.one_in > 0 && ending.after > 0, "{ending:?}: give at least 1");
        }
    }

    /// The faults in the order in which they are declared.
    fn shares(&self) -> [(ReplyFault, u32); 7] {
        [
            (ReplyFault::Drop, self.drop_every),
            (ReplyFault::Duplicate, self.duplicate_every),
            (ReplyFault::Corrupt, self.corrupt_every),
            (ReplyFault::Swap, self.swap_every),
            (ReplyFault::Ping, self.ping_every),
            (ReplyFault::Fragment, self.fragment_every),
            (ReplyFault::Unasked, self.unasked_every),
        ]
    }
}

/// What a server has done. The numbers are those of all connections.
///
/// `messages` is the sum of `answered`, `dropped`, `undelivered` and `waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImpairedCounts {
    /// WebSocket connections.
    pub connections: u64,
    /// Opening handshakes that were refused.
    pub refused: u64,
    /// Connections that ended because a client violated the protocol.
    pub violations: u64,
    /// Messages received.
    pub messages: u64,
    /// Messages with a reply, whatever its fault.
    pub answered: u64,
    /// Messages without a reply.
    pub dropped: u64,
    /// Messages whose connection ended before they were answered.
    pub undelivered: u64,
    /// Messages that wait for their reply.
    pub waiting: u64,
    /// The maximum of `waiting`.
    pub max_waiting: u64,
    /// Replies sent twice.
    pub duplicated: u64,
    /// Replies with a flipped bit.
    pub corrupted: u64,
    /// Replies sent after the one that follows them.
    pub swapped: u64,
    /// Replies that were selected to be swapped, and for which no other one came in time.
    pub not_swapped: u64,
    /// Pings in front of replies.
    pub pings_sent: u64,
    /// Replies of several frames.
    pub fragmented: u64,
    /// Messages that answer nothing.
    pub unasked: u64,
    /// Pings received.
    pub pings_received: u64,
    /// Pongs sent.
    pub pongs_sent: u64,
    /// Pongs received.
    pub pongs_received: u64,
    /// Connections that a client closed with a close frame.
    pub closed_by_client: u64,
    /// Connections ended as [`Impairments::ending`] says.
    pub ended: u64,
}

/// A fault of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyFault {
    Drop,
    Duplicate,
    Corrupt,
    Swap,
    Ping,
    Fragment,
    Unasked,
}

/// Which reply has which fault.
#[derive(Debug)]
pub(super) struct FaultPlan {
    /// For each fault one in how many replies has it, and the replies since it was last due.
    faults: Vec<(ReplyFault, u32, u32)>,
}

impl FaultPlan {
    pub(super) fn new(impairments: &Impairments) -> Self {
        let selected = impairments.shares().into_iter().filter(|(_, every)| *every > 0);
        Self { faults: selected.map(|(fault, every)| (fault, every, 0)).collect() }
    }

    /// The fault of the next reply, of those that `can_have` returns true for.
    pub(super) fn next(&mut self, can_have: impl Fn(ReplyFault) -> bool) -> Option<ReplyFault> {
        let mut found = None;
        for (fault, every, since) in &mut self.faults {
            *since += 1;
            if found.is_none() && *since >= *every && can_have(*fault) {
                *since -= *every;
                found = Some(*fault);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(impairments: &Impairments, count: usize) -> Vec<Option<ReplyFault>> {
        let mut plan = FaultPlan::new(impairments);
        (0..count).map(|_| plan.next(|_| true)).collect()
    }

    #[test]
    fn one_fault_hits_exactly_every_nth_reply() {
        let faults = faults(&Impairments { drop_every: 100, ..Impairments::default() }, 1000);
        for (number, fault) in (1..).zip(faults) {
            assert_eq!(fault.is_some(), number % 100 == 0, "reply {number}");
        }
    }

    #[test]
    fn faults_that_meet_hit_successive_replies_and_each_keeps_its_share() {
        let impairments = Impairments { drop_every: 10, corrupt_every: 10, unasked_every: 5, ..Impairments::default() };
        let faults = faults(&impairments, 1002);
        let count = |fault| faults.iter().filter(|found| **found == Some(fault)).count();
        assert_eq!((count(ReplyFault::Drop), count(ReplyFault::Corrupt), count(ReplyFault::Unasked)), (100, 100, 200));
        assert_eq!(faults[9..12], [ReplyFault::Drop, ReplyFault::Corrupt, ReplyFault::Unasked].map(Some));
    }

    #[test]
    fn a_fault_that_a_reply_cannot_have_hits_the_next_one() {
        let mut plan = FaultPlan::new(&Impairments { corrupt_every: 3, ..Impairments::default() });
        let found: Vec<bool> = (1..10).map(|number| plan.next(|_| number != 3).is_some()).collect();
        assert_eq!(found, [false, false, false, true, false, true, false, false, true]);
    }

    #[test]
    #[should_panic(expected = "give shares of at most 1 in sum")]
    fn more_faults_than_replies_are_refused() {
        Impairments { drop_every: 1, ping_every: 100, ..Impairments::default() }.check();
    }
}
