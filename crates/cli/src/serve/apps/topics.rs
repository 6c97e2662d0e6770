//! `--app topics`: publishing to topics by messages of text, as docs/topics.md describes.
//!
//! A shard handles its own subscriptions, and the engine carries messages between shards. A
//! subscriber that reads too slowly is closed with 1013 ([`TopicPolicy::Close`]), so that no
//! subscriber has a gap that it does not see.
//!
//! [`TopicPolicy::Close`]: ringway::TopicPolicy::Close

use super::{App, Syntax, without_options};
use crate::serve::site;
use ringway::{CloseCode, Connection, Handler, Message, MessageKind, Prepared, Request, Response, TopicLimit, Upgrade};
use std::fmt;

pub(super) const SYNTAX: Syntax = Syntax {
    name: "topics",
    example: "topics",
    help: "Publish to topics: sub TOPIC, unsub TOPIC, pub TOPIC with the payload in the next lines",
    parse: |options| without_options(App::Topics, options),
};

/// The maximum length of a topic's name in bytes.
const MAX_NAME: usize = 255;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TopicCommand<'a> {
    Subscribe(&'a str),
    Unsubscribe(&'a str),
    /// A topic, and the payload behind the first line.
    Publish(&'a str, &'a [u8]),
}

/// Why a message is no command. Each is written as its reason and the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommandError {
    Unknown,
    Name,
    NoPayload,
    Payload,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown command: send sub TOPIC, unsub TOPIC or pub TOPIC"),
            Self::Name => {
                write!(f, "invalid topic: give a name of 1 to {MAX_NAME} bytes without spaces and control characters")
            }
            Self::NoPayload => f.write_str("no payload: put it behind the first line of pub"),
            Self::Payload => f.write_str("unexpected payload: send sub and unsub as one line"),
        }
    }
}

impl<'a> TopicCommand<'a> {
    /// Parses a message: a line with the command and the topic, and for `pub` a line feed and the
    /// payload.
    fn parse(message: &'a [u8]) -> Result<Self, CommandError> {
        let (line, payload) = match message.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&message[..end], Some(&message[end + 1..])),
            None => (message, None),
        };
        let line = std::str::from_utf8(line).map_err(|_| CommandError::Unknown)?;
        let (command, topic) = line.split_once(' ').unwrap_or((line, ""));
        if !matches!(command, "sub" | "unsub" | "pub") {
            return Err(CommandError::Unknown);
        }
        if !(1..=MAX_NAME).contains(&topic.len()) || topic.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(CommandError::Name);
        }
        match (command, payload) {
            ("pub", Some(payload)) => Ok(Self::Publish(topic, payload)),
            ("pub", None) => Err(CommandError::NoPayload),
            (_, Some(_)) => Err(CommandError::Payload),
            ("sub", None) => Ok(Self::Subscribe(topic)),
            (_, None) => Ok(Self::Unsubscribe(topic)),
        }
    }
}

/// The message to the subscribers of a topic, of the kind of the one that was published.
fn delivery(topic: &str, payload: &[u8], kind: MessageKind) -> Prepared {
    let bytes = [b"msg ", topic.as_bytes(), b"\n", payload].concat();
    match (kind, std::str::from_utf8(&bytes)) {
        (MessageKind::Text, Ok(text)) => Prepared::text(text),
        _ => Prepared::binary(&bytes),
    }
}

/// The application of one shard.
pub(crate) struct TopicsApp;

impl TopicsApp {
    fn execute(
        conn: &mut Connection<'_, Self>,
        command: TopicCommand<'_>,
        kind: MessageKind,
    ) -> Result<Option<String>, TopicLimit> {
        match command {
            TopicCommand::Subscribe(topic) => conn.subscribe(topic).map(|_| Some(format!("ok sub {topic}"))),
            TopicCommand::Unsubscribe(topic) => {
                conn.unsubscribe(topic);
                Ok(Some(format!("ok unsub {topic}")))
            }
            TopicCommand::Publish(topic, payload) => {
                conn.shard().publish(topic, &delivery(topic, payload, kind)).map(|_| None)
            }
        }
    }
}

impl Handler for TopicsApp {
    type State = ();

    fn request(&mut self, request: &Request<'_>) -> Response {
        site::respond_with_topics(request)
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let answer = match TopicCommand::parse(message.payload()) {
            Ok(command) => match Self::execute(conn, command, message.kind()) {
                Ok(answer) => answer,
                Err(limit) => Some(format!("err {limit}")),
            },
            Err(error) => Some(format!("err {error}")),
        };
        let Some(answer) = answer else { return };
        if !conn.send(Message::text(&answer)).is_accepted() {
            // Its answers have no room, so that it could not tell which of its commands have one.
            let _ = conn.close(CloseCode::TRY_AGAIN, "the answers are not read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_command_and_the_rest_the_payload() {
        for (message, command) in [
            (&b"sub news"[..], TopicCommand::Subscribe("news")),
            (b"unsub news/today", TopicCommand::Unsubscribe("news/today")),
            (b"pub news\n", TopicCommand::Publish("news", b"")),
            (b"pub news\nline\n\nline", TopicCommand::Publish("news", b"line\n\nline")),
            (b"pub a\n\0\xff", TopicCommand::Publish("a", b"\0\xff")),
            ("sub caf\u{e9}".as_bytes(), TopicCommand::Subscribe("caf\u{e9}")),
        ] {
            assert_eq!(TopicCommand::parse(message), Ok(command));
        }
        let longest = "n".repeat(MAX_NAME);
        assert_eq!(TopicCommand::parse(format!("sub {longest}").as_bytes()), Ok(TopicCommand::Subscribe(&longest)));
    }

    #[test]
    fn what_is_no_command_has_a_reason_and_a_remedy() {
        let long = format!("sub {}", "n".repeat(MAX_NAME + 1));
        for (message, error) in [
            (&b""[..], CommandError::Unknown),
            (b"publish news\nx", CommandError::Unknown),
            (b"SUB news", CommandError::Unknown),
            (b"\xff news", CommandError::Unknown),
            (b"sub", CommandError::Name),
            (b"sub ", CommandError::Name),
            (b"sub a b", CommandError::Name),
            (b"sub a\r", CommandError::Name),
            (b"pub \nx", CommandError::Name),
            (long.as_bytes(), CommandError::Name),
            (b"pub news", CommandError::NoPayload),
            (b"sub news\n", CommandError::Payload),
            (b"unsub news\nx", CommandError::Payload),
        ] {
            assert_eq!(TopicCommand::parse(message), Err(error), "{message:?}");
            assert!(error.to_string().contains(": "), "{error}");
        }
    }

    #[test]
    fn a_delivery_has_the_topic_in_its_first_line_and_the_kind_of_the_message() {
        let text = delivery("news", b"a\nb", MessageKind::Text);
        assert_eq!((text.kind(), text.payload()), (MessageKind::Text, &b"msg news\na\nb"[..]));
        let binary = delivery("news", b"\xff", MessageKind::Binary);
        assert_eq!((binary.kind(), binary.payload()), (MessageKind::Binary, &b"msg news\n\xff"[..]));
    }
}
