//! `--app delay:5ms`: sends each message back after a fixed time, in order.
//!
//! The time is the same for all messages, so the order in which they are due is that in which they
//! have arrived, and one alarm of the shard is enough for all connections.

use super::{App, Syntax};
use crate::serve::site;
use crate::values::some_time;
use ringway::{Connection, ConnectionId, Handler, Message, MessageKind, Request, Response, Shard, Upgrade};
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

pub(super) const SYNTAX: Syntax = Syntax {
    name: "delay",
    example: "delay:5ms",
    help: "Send each message back, here after 5 ms",
    parse: |options| parse(options).map(App::Delay),
};

/// The bytes that one connection can hold back before it is no longer read.
const MAX_HELD: usize = 1 << 20;

/// What a held message counts in addition to its payload, so that empty messages count too.
const OVERHEAD: usize = 64;

/// The time from the receipt of a message to its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DelayOptions(Duration);

impl fmt::Display for DelayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay, {:?} from each message to its reply", self.0)
    }
}

fn parse(options: Option<&str>) -> Result<DelayOptions, String> {
    let time = options.ok_or_else(|| format!("give a time, as {}", SYNTAX.example))?;
    some_time(time).map(DelayOptions)
}

/// A message that waits for its time.
struct Held {
    due: Instant,
    kind: MessageKind,
    payload: Vec<u8>,
}

impl Held {
    fn message(&self) -> Message<'_> {
        match self.kind {
            MessageKind::Binary => Message::binary(&self.payload),
            MessageKind::Text => {
                Message::text(std::str::from_utf8(&self.payload).expect("the payload of a received text message"))
            }
        }
    }
}

/// The messages that one connection holds back.
#[derive(Default)]
pub(crate) struct DelayState {
    held: VecDeque<Held>,
    /// The bytes of `held`, with [`OVERHEAD`].
    bytes: usize,
    is_paused: bool,
}

/// The application of one shard.
pub(crate) struct DelayApp {
    delay: Duration,
    /// The connection of each message that is held back, and the time at which it is due; in order.
    due: VecDeque<(Instant, ConnectionId)>,
}

impl DelayApp {
    pub(crate) fn new(options: DelayOptions) -> Self {
        Self { delay: options.0, due: VecDeque::new() }
    }

    /// Sends the messages of a connection that are due, as far as its outbox takes them.
    fn release(conn: &mut Connection<'_, Self>) {
        let now = conn.shard().turn_time();
        while conn.state().held.front().is_some_and(|held| held.due <= now)
            && let Some(held) = conn.state().held.pop_front()
        {
            if !conn.send(held.message()).is_accepted() {
                // `drained` continues; a connection that is closing needs no replies.
                conn.state().held.push_front(held);
                return;
            }
            let state = conn.state();
            state.bytes -= held.payload.len() + OVERHEAD;
            if state.is_paused && state.bytes <= MAX_HELD / 2 {
                state.is_paused = false;
                conn.resume();
            }
        }
    }
}

impl Handler for DelayApp {
    type State = DelayState;

    fn request(&mut self, request: &Request<'_>) -> Response {
        site::respond(request)
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<DelayState> {
        Upgrade::accept(DelayState::default())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let due = conn.shard().turn_time() + self.delay;
        if self.due.is_empty() {
            conn.shard().wake_at(due);
        }
        self.due.push_back((due, conn.id()));
        let state = conn.state();
        let payload = message.payload().to_vec();
        state.bytes += payload.len() + OVERHEAD;
        state.held.push_back(Held { due, kind: message.kind(), payload });
        if state.bytes > MAX_HELD && !state.is_paused {
            state.is_paused = true;
            conn.pause();
        }
    }

    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        Self::release(conn);
    }

    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        let now = shard.turn_time();
        while let Some(&(due, id)) = self.due.front() {
            if due > now {
                shard.wake_at(due);
                break;
            }
            self.due.pop_front();
            // `None`: the connection has ended.
            if let Some(mut conn) = shard.connection(id) {
                Self::release(&mut conn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_a_time() {
        assert_eq!(parse(Some("5ms")), Ok(DelayOptions(Duration::from_millis(5))));
        for text in [None, Some(""), Some("0"), Some("5us"), Some("soon")] {
            assert!(parse(text).is_err_and(|error| error.starts_with("give ")), "{text:?}");
        }
    }
}
