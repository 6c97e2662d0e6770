//! A handler whose actions a test chooses.

use crate::{CloseReason, ConnectError, Connection, ConnectionId, Ending, Handler, Message, Request, Shard, Upgrade};

/// A handler that records events, and whose actions a test can replace. By default it echoes. The
/// state is a number that the test chooses.
#[derive(Clone)]
pub(in crate::shard::event_loop::tests) struct Scripted {
    pub(in crate::shard::event_loop::tests) log: Vec<String>,
    pub(in crate::shard::event_loop::tests) opened: Vec<ConnectionId>,
    pub(in crate::shard::event_loop::tests) on_upgrade: fn(&mut Self, &Request<'_>) -> Upgrade<u32>,
    pub(in crate::shard::event_loop::tests) on_open: fn(&mut Self, &mut Connection<'_, Self>),
    pub(in crate::shard::event_loop::tests) on_message: fn(&mut Self, &mut Connection<'_, Self>, Message<'_>),
    pub(in crate::shard::event_loop::tests) on_drained: fn(&mut Self, &mut Connection<'_, Self>),
    pub(in crate::shard::event_loop::tests) on_closed: fn(&mut Self, &mut Shard<'_, Self>),
    pub(in crate::shard::event_loop::tests) on_failed: fn(&mut Self, &mut Shard<'_, Self>),
    pub(in crate::shard::event_loop::tests) on_woken: fn(&mut Self, &mut Shard<'_, Self>),
    /// Connections that are held, and the action for each.
    pub(in crate::shard::event_loop::tests) held: Vec<ConnectionId>,
    pub(in crate::shard::event_loop::tests) on_connected: fn(&mut Self, &mut Shard<'_, Self>, ConnectionId),
    /// Requests whose answer was deferred.
    pub(in crate::shard::event_loop::tests) deferred: Vec<ConnectionId>,
    /// The bytes that the last connection had not sent when it closed.
    pub(in crate::shard::event_loop::tests) unsent: usize,
    /// A counter for tests.
    pub(in crate::shard::event_loop::tests) count: usize,
}

impl Scripted {
    pub(in crate::shard::event_loop::tests) fn new() -> Self {
        Self {
            log: Vec::new(),
            opened: Vec::new(),
            on_upgrade: |_, _| Upgrade::accept(7),
            on_open: |_, _| {},
            on_message: |_, conn, message| conn.reply(message),
            on_drained: |_, _| {},
            on_closed: |_, _| {},
            on_failed: |_, _| {},
            on_woken: |_, _| {},
            held: Vec::new(),
            on_connected: |_, _, _| {},
            deferred: Vec::new(),
            unsent: 0,
            count: 0,
        }
    }

    /// The events since the last call.
    pub(in crate::shard::event_loop::tests) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

impl Handler for Scripted {
    type State = u32;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<u32> {
        (self.on_upgrade)(self, request)
    }

    fn connected(&mut self, shard: &mut Shard<'_, Self>, state: &mut u32, id: ConnectionId) {
        self.log.push(format!("connected {state}"));
        self.held.push(id);
        (self.on_connected)(self, shard, id);
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.log.push("open".to_owned());
        self.opened.push(conn.id());
        (self.on_open)(self, conn);
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let payload = message.payload();
        self.log.push(match message.as_text() {
            Some(text) if text.len() <= 20 => format!("message {text}"),
            _ => format!("message of {} bytes", payload.len()),
        });
        (self.on_message)(self, conn, message);
    }

    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        self.log.push("drained".to_owned());
        (self.on_drained)(self, conn);
    }

    fn ping(&mut self, _conn: &mut Connection<'_, Self>, payload: &[u8]) {
        self.log.push(format!("ping {}", payload.escape_ascii()));
    }

    fn pong(&mut self, _conn: &mut Connection<'_, Self>, payload: &[u8]) {
        self.log.push(format!("pong {}", payload.escape_ascii()));
    }

    fn closed(&mut self, shard: &mut Shard<'_, Self>, state: u32, reason: &CloseReason) {
        let ending = match &reason.ending {
            Ending::Violation(_) => "Violation".to_owned(),
            Ending::Failed(_) => "Failed".to_owned(),
            ending => format!("{ending:?}"),
        };
        self.log.push(format!("closed {state}: {} {ending}", reason.code.as_u16()));
        self.unsent = reason.unsent;
        (self.on_closed)(self, shard);
    }

    fn failed(&mut self, shard: &mut Shard<'_, Self>, state: u32, error: &ConnectError) {
        let kind = match error {
            ConnectError::Unreachable(error) => format!("Unreachable {:?}", error.kind()),
            ConnectError::Lost(stage, error) => format!("Lost {stage:?} {:?}", error.kind()),
            ConnectError::Handshake(error) => format!("Handshake {error:?}"),
            ConnectError::Refused(refused) => {
                let (status, body) = (refused.status, refused.body.escape_ascii());
                format!("Refused {status} {body}{}", if refused.is_cut { "…" } else { "" })
            }
            ConnectError::Source(error) => format!("Source {error}"),
            error => format!("{error:?}"),
        };
        self.log.push(format!("failed {state}: {kind}"));
        (self.on_failed)(self, shard);
    }

    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        self.log.push("woken".to_owned());
        (self.on_woken)(self, shard);
    }
}
