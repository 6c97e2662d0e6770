//! A population: connections that behave alike.

use crate::broadcast::Topic;
use crate::lifetime::Span;
use crate::message::Content;
use crate::pace::{Arrivals, Schedule};
use crate::parse;
use crate::recording::Speed;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
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
    /// Send the messages of a recording ([`Content::Recording`]) at its times, and again until the end
    /// of the run. What the server sends is counted.
    Replay {
        /// How fast.
        speed: Speed,
    },
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
    /// Open a connection, exchange one message, close it, and again. In a closed loop `in_flight`
    /// of each connection is 1; an open loop is a rate of connections. The number of connections of
    /// the population is the maximum at a time, handshakes included.
    Connect,
    /// Publish messages on some connections, which the server sends to all. All connections are
    /// readers. A publisher's own copy does not count as a delivery, because servers differ in
    /// whether they send it. Messages are random, of at least 24 bytes, and begin with their
    /// identity in printable characters.
    Broadcast {
        /// The number of connections that publish.
        publishers: u32,
        /// The topic of `ringway serve --app topics` on which they publish, and to which all
        /// connections subscribe before the run begins. `None`: the server sends each message to
        /// all connections, as `ringway serve --app broadcast` does.
        topic: Option<Topic>,
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
    /// Read what the server sends, slowly, with a small receive buffer, so that the rest waits in
    /// the buffers of the server.
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
            Self::Replay { .. } => "replay",
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

    /// Whether messages can be sent at the times of a schedule.
    #[must_use]
    pub fn has_schedule(&self) -> bool {
        self.sends() && !matches!(self, Self::Request { .. } | Self::Replay { .. })
    }

    /// Whether a closed loop can have more than one message in flight on each connection.
    #[must_use]
    pub fn has_pipeline(&self) -> bool {
        matches!(self, Self::Echo | Self::Churn { .. })
    }

    /// Whether each message that is sent has one reply.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(self, Self::Echo | Self::Request { .. } | Self::Connect | Self::Churn { .. })
    }
}

/// The default of the time between a reply and the next request.
const THINK: Duration = Duration::from_secs(1);

/// The default of the time for which a connection of churn is open.
const LIFETIME: Duration = Duration::from_secs(30);

/// The default of the bytes per second of slow connections.
const SLOW: u64 = 64 << 10;

const FORMS: &str = "echo, request[:TIME], send, receive, idle[:TIME], connect, broadcast[:PUBLISHERS], \
                     churn[:TIME] or slow[:BYTES]";

impl FromStr for Behaviour {
    type Err = String;

    /// A name, or one with a value as `request:1s-5s`. Without a value: a think time of 1 s, no
    /// pings of idle connections, 1 publisher without a topic, a lifetime of 30 s without a pause, 64 KiB per
    /// second.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let span = |default: Duration| match value {
            Some(value) => value.parse::<Span>().map_err(|error| error.to_string()),
            None => Ok(Span::Fixed(default)),
        };
        let publishers = |value| u32::try_from(parse::count(value)?).map_err(|_| "too many publishers".to_owned());
        let behaviour = match name {
            "echo" => Self::Echo,
            "request" => Self::Request { think: span(THINK)? },
            "send" => Self::Send,
            "receive" => Self::Receive,
            "idle" => Self::Idle { ping: value.map(parse::time).transpose()? },
            "connect" => Self::Connect,
            "broadcast" => Self::Broadcast { publishers: value.map_or(Ok(1), publishers)?, topic: None },
            "churn" => Self::Churn { lifetime: span(LIFETIME)?, pause: Span::ZERO },
            "slow" => {
                let bytes_per_second = value.map_or(Ok(SLOW), |value| parse::size(value).map(|bytes| bytes as u64))?;
                Self::Slow { bytes_per_second }
            }
            "replay" => return Err("replay needs a recording: give --replay FILE instead of a mode".into()),
            _ => return Err(format!("give {FORMS}")),
        };
        match (&behaviour, value) {
            (Self::Echo | Self::Send | Self::Receive | Self::Connect, Some(value)) => {
                Err(format!("{name} takes no value, and {value:?} is given"))
            }
            _ => Ok(behaviour),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn behaviour(text: &str) -> Result<Behaviour, String> {
        text.parse()
    }

    #[test]
    fn behaviours_have_values_of_their_own() {
        let second = Duration::from_secs(1);
        assert_eq!(behaviour("echo"), Ok(Behaviour::Echo));
        assert_eq!(behaviour("idle"), Ok(Behaviour::Idle { ping: None }));
        assert_eq!(behaviour("idle:20s"), Ok(Behaviour::Idle { ping: Some(20 * second) }));
        assert_eq!(behaviour("request"), Ok(Behaviour::Request { think: Span::Fixed(second) }));
        assert_eq!(behaviour("request:1s-5s"), Ok(Behaviour::Request { think: Span::Uniform(second, 5 * second) }));
        let churn = Behaviour::Churn { lifetime: Span::Exponential(30 * second), pause: Span::ZERO };
        assert_eq!(behaviour("churn:exp:30s"), Ok(churn));
        assert_eq!(behaviour("broadcast:10"), Ok(Behaviour::Broadcast { publishers: 10, topic: None }));
        assert_eq!(behaviour("slow:1K"), Ok(Behaviour::Slow { bytes_per_second: 1024 }));
        assert_eq!(behaviour("echo:5"), Err("echo takes no value, and \"5\" is given".into()));
        assert!(behaviour("replay").is_err_and(|error| error.contains("--replay FILE")));
        assert!(behaviour("ping").is_err_and(|error| error.starts_with("give echo, ")));
        for wrong in ["idle:fast", "request:fast", "broadcast:5000m", "slow:x", "connect:1"] {
            assert!(behaviour(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_that_of_its_behaviour() {
        for name in ["echo", "request", "send", "receive", "idle", "connect", "broadcast", "churn", "slow"] {
            assert_eq!(behaviour(name).map(|behaviour| behaviour.name()), Ok(name));
        }
    }
}
