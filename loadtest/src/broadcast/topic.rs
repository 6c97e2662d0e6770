//! The protocol of `ringway serve --app topics` (docs/topics.md), as far as a broadcast speaks it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a topic of `ringway serve --app topics`: 1 to 255 bytes of UTF-8 without spaces and
/// control characters. A clone shares the name.
///
/// ```
/// use ringway_loadtest::Topic;
///
/// let topic: Topic = "news/today".parse()?;
/// assert_eq!(topic.name(), "news/today");
/// assert!("two words".parse::<Topic>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The maximum length of a name in bytes.
    pub const MAX_LEN: usize = 255;

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The command that subscribes to the topic.
    pub(crate) fn subscribe(&self) -> String {
        format!("sub {self}")
    }

    /// What precedes the payload of a message to be published.
    pub(crate) fn publish(&self) -> String {
        format!("pub {self}\n")
    }

    /// Parses a message of the server.
    #[inline]
    pub(crate) fn parse<'a>(&self, message: &'a [u8]) -> TopicEvent<'a> {
        let name = self.0.as_bytes();
        let after = |start: &[u8]| message.strip_prefix(start).and_then(|rest| rest.strip_prefix(name));
        if let Some(payload) = after(b"msg ").and_then(|rest| rest.strip_prefix(b"\n")) {
            return TopicEvent::Delivery(payload);
        }
        match message.strip_prefix(b"err ").map(std::str::from_utf8) {
            Some(Ok(reason)) => TopicEvent::Error(reason),
            _ if after(b"ok sub ") == Some(b"") => TopicEvent::Subscribed,
            _ => TopicEvent::Other,
        }
    }
}

impl FromStr for Topic {
    type Err = String;

    /// The topic of this name. The error says what to give instead.
    fn from_str(name: &str) -> Result<Self, String> {
        let is_printable = !name.contains(|c: char| c.is_whitespace() || c.is_control());
        match (1..=Self::MAX_LEN).contains(&name.len()) && is_printable {
            true => Ok(Self(name.into())),
            false => Err(format!("give a name of 1 to {} bytes without spaces and control characters", Self::MAX_LEN)),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the server says to a subscriber of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicEvent<'a> {
    /// A message of the topic.
    Delivery(&'a [u8]),
    /// The answer to the subscription.
    Subscribed,
    /// A command was not executed, for this reason.
    Error(&'a str),
    /// Nothing that a server of this protocol sends to such a subscriber.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_range_of_the_protocol() {
        let longest = "n".repeat(Topic::MAX_LEN);
        for name in ["a", "news/today", "caf\u{e9}", &longest] {
            assert_eq!(name.parse::<Topic>().map(|topic| topic.name().to_owned()), Ok(name.to_owned()));
        }
        let long = format!("{longest}n");
        for name in ["", " ", "a b", "a\n", "a\u{2003}b", "\u{7f}", &long] {
            assert!(name.parse::<Topic>().is_err_and(|error| error.starts_with("give a name of 1 to 255 bytes")));
        }
    }

    #[test]
    fn only_what_is_of_the_topic_is_a_delivery_or_an_answer() {
        let topic: Topic = "news".parse().expect("a name");
        assert_eq!((topic.subscribe(), topic.publish()), ("sub news".into(), "pub news\n".into()));
        for (message, event) in [
            (&b"msg news\npayload"[..], TopicEvent::Delivery(b"payload")),
            (b"msg news\n", TopicEvent::Delivery(b"")),
            (b"msg news\n\nmsg news\n\xff", TopicEvent::Delivery(b"\nmsg news\n\xff")),
            (b"msg news", TopicEvent::Other),
            (b"msg news2\npayload", TopicEvent::Other),
            (b"msg new\npayload", TopicEvent::Other),
            (b"ok sub news", TopicEvent::Subscribed),
            (b"ok sub news2", TopicEvent::Other),
            (b"ok unsub news", TopicEvent::Other),
            (b"err too many topics: wait", TopicEvent::Error("too many topics: wait")),
            (b"err \xff", TopicEvent::Other),
            (b"sub news", TopicEvent::Other),
            (b"", TopicEvent::Other),
        ] {
            assert_eq!(topic.parse(message), event, "{message:?}");
        }
    }
}
