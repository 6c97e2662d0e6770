//! A population: connections that behave alike.

use crate::lifetime::Span;
use crate::message::Content;
use crate::pace::{Arrivals, Schedule};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Connections that behave alike. Each population has figures of its own.
#[derive(Clone, Debug)]
pub struct Population {
    /// Its name in the report. Unique within a plan.
    pub name: String,
    /// The number of connections over all threads.
    pub connections: u32,
    /// What the connections do.
    pub behaviour: Behaviour,
    /// When messages are sent.
    pub load: Load,
    /// What is sent.
    pub message: Content,
}

impl Population {
    /// A population of this behaviour with the defaults: 50 connections, messages of 64 bytes of
    /// text, one in flight.
    #[must_use]
    pub fn new(behaviour: Behaviour) -> Self {
        Self {
            name: behaviour.name().into(),
            connections: 50,
            behaviour,
            load: Load::Closed { in_flight: 1 },
            message: Content::default(),
        }
    }
}

impl Default for Population {
    fn default() -> Self {
        Self::new(Behaviour::Echo)
    }
}

/// When messages are sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Load {
    /// A closed loop: each connection has this many messages in flight, and sends the next one when
    /// a reply arrives. A slow server receives fewer messages.
    Closed {
        /// 1 to [`MAX_IN_FLIGHT`](crate::MAX_IN_FLIGHT).
        in_flight: u32,
    },
    /// An open loop: messages are sent at their times, whether replies are outstanding or not, on
    /// the connections in turn. Latency is measured from the time at which a message was due.
    Open {
        /// The rate over time, over all connections of the population.
        schedule: Schedule,
        /// How arrivals are distributed.
        arrivals: Arrivals,
    },
}

impl Load {
    /// The number of messages in flight on each connection, if the load limits it.
    #[must_use]
    pub fn in_flight(&self) -> Option<u32> {
        match self {
            Self::Closed { in_flight } => Some(*in_flight),
            Self::Open { .. } => None,
        }
    }

    /// Whether the loop is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// What the connections of a population do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Send messages and verify the echoes.
    Echo,
    /// Send a message, wait for the reply, wait for the think time, and again. The reply is any one
    /// message; its content is not verified.
    Request {
        /// The time from a reply to the next request.
        think: Span,
    },
    /// Send messages as fast as the server reads them, or at the rate of an open loop. What the
    /// server sends is counted.
    Send,
    /// Receive what the server sends: counts, and times between messages. Missing, repeated and
    /// exchanged messages are counted where they have the sequence numbers of
    /// `ringway serve --app push`.
    Receive,
    /// Hold the connection open. A connection that does not answer a ping within the timeout of the
    /// plan is dropped.
    Idle {
        /// The interval of pings; `None`: none are sent.
        ping: Option<Duration>,
    },
    /// Open a connection, exchange one message, close it, and again. In a closed loop `in_flight` of
    /// each connection is 1; an open loop is a rate of connections. The number of connections of the
    /// population is the maximum at a time, handshakes included.
    Connect,
    /// Publish messages on some connections, which the server sends to all. All connections are
    /// readers. A publisher's own copy does not count as a delivery, because servers differ in
    /// whether they send it. Messages are random, of at least 24 bytes, and begin with their
    /// identity in printable characters.
    Broadcast {
        /// The number of connections that publish.
        publishers: u32,
    },
    /// Echo on connections that end and connect again. After a failure to connect, the place of a
    /// connection waits for a random time with a maximum of 100 ms, which doubles with each failure
    /// up to 10 s.
    Churn {
        /// The time for which each connection is open.
        lifetime: Span,
        /// The time after the end of a connection before the next attempt.
        pause: Span,
    },
    /// Read what the server sends, slowly, with a small receive buffer, so that the rest waits in the
    /// buffers of the server.
    Slow {
        /// Bytes of payload per second of each connection.
        bytes_per_second: u64,
    },
}

impl Behaviour {
    /// The name in options, scenarios and reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Request { .. } => "request",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Idle { .. } => "idle",
            Self::Connect => "connect",
            Self::Broadcast { .. } => "broadcast",
            Self::Churn { .. } => "churn",
            Self::Slow { .. } => "slow",
        }
    }

    /// Whether messages are sent, so that a schedule and a number of messages apply.
    #[must_use]
    pub fn sends(&self) -> bool {
        !matches!(self, Self::Receive | Self::Idle { .. } | Self::Slow { .. })
    }

    /// Whether each message that is sent has one reply.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(self, Self::Echo | Self::Request { .. } | Self::Connect | Self::Churn { .. })
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Behaviour {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
