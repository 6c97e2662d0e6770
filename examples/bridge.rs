//! A bridge: a server that is itself a client. Each connection of a client gets a connection to
//! another server, and messages pass in both directions.
//!
//! ```sh
//! cargo run --release -p ringway --example bridge -- 127.0.0.1:9000 ws://127.0.0.1:9001/
//! ```
//!
//! The request of a client is answered when the other server has answered: with the subprotocol
//! that it chose, or with 502 if it cannot be reached.
//!
//! ```text
//! client                  bridge                         other server
//!   GET / (chat, v2) ───►  upgrade() -> Upgrade::defer()
//!                          Shard::connect ────────────►  GET / (chat, v2)
//!                          open() <───────────────────   101 (chat)
//!   101 (chat) <────────   Shard::answer
//! ```
//!
//! Both connections of a pair are on one shard, so that a message is passed on without a lock and
//! without a wait. When the receiver of a message does not keep up, its sender is paused, and the
//! flow control of TCP stops it; at most one message waits in the bridge besides the outboxes. The
//! end of one connection closes the other with the same code.

use ringway::{
    CloseCode, CloseReason, ConnectError, Connection, ConnectionId, Endpoint, Handler, Message, MessageKind, PostError,
    Request, SendOutcome, Server, Shard, ShardHandle, StatusCode, TimerId, Upgrade,
};
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The maximum time from the connection to the other server until the client's is open.
const PAIRING_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of subprotocols that a client may offer.
const MAX_SUBPROTOCOLS: usize = 16;

struct Bridge {
    endpoint: Arc<Endpoint>,
    /// The shard that this handler runs on; set when it starts.
    shard: Option<ShardHandle<Self>>,
}

/// One connection of a pair.
struct Side {
    /// The other connection of the pair.
    other: ConnectionId,
    role: Role,
    /// A message for this connection that its outbox had no room for. Its sender is paused.
    waiting: Option<(MessageKind, Vec<u8>)>,
    /// The other connection has ended: this one is closed when nothing waits for it.
    ending: Option<(CloseCode, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// To a client of the bridge.
    Client,
    /// To the other server.
    Server,
    /// To the other server, before its client's connection is open.
    Unpaired,
}

impl Side {
    fn new(other: ConnectionId, role: Role) -> Self {
        Self { other, role, waiting: None, ending: None }
    }
}

impl Handler for Bridge {
    type State = Side;

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        self.shard = Some(shard.handle());
    }

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Side> {
        let offered: Vec<String> = request.subprotocols().take(MAX_SUBPROTOCOLS + 1).map(str::to_owned).collect();
        if offered.len() > MAX_SUBPROTOCOLS {
            return Upgrade::reject(StatusCode::BAD_REQUEST, "too many subprotocols: offer at most 16");
        }
        let endpoint = if offered.is_empty() {
            Arc::clone(&self.endpoint)
        } else {
            match Endpoint::clone(&self.endpoint).subprotocols(offered) {
                Ok(endpoint) => Arc::new(endpoint),
                Err(error) => return Upgrade::reject(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        };
        let client = request.id();
        let posted = self.shard.as_ref().map_or(Err(PostError::Ended), |shard| {
            shard.post(move |_, shard| shard.connect(&endpoint, Side::new(client, Role::Unpaired)))
        });
        match posted {
            Ok(()) => Upgrade::defer(),
            Err(_) => Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "the bridge is overloaded: try again"),
        }
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let (id, other, role) = (conn.id(), conn.state().other, conn.state().role);
        if role != Role::Client {
            // The server's first messages wait for the client.
            conn.pause();
            conn.set_timer(PAIRING_TIMEOUT);
            let subprotocol = conn.subprotocol().map(str::to_owned);
            let accept = Upgrade::accept(Side::new(id, Role::Client));
            let accept = subprotocol.iter().fold(accept, |accept, name| accept.subprotocol(name));
            return conn.shard().answer(other, accept);
        }
        match conn.shard().connection(other) {
            Some(mut server) => {
                server.state().role = Role::Server;
                server.resume();
            }
            None => close(conn, CloseCode::BAD_GATEWAY, "the other server has ended the connection"),
        }
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let other = conn.state().other;
        // Its end closes this connection too.
        let is_behind = conn.shard().connection(other).is_some_and(|mut other| pass_on(&mut other, message));
        if is_behind {
            conn.pause();
        }
    }

    /// All that waited for this connection has been sent.
    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        if let Some((kind, payload)) = conn.state().waiting.take() {
            let message = match kind {
                MessageKind::Text => Message::text_bytes(&payload),
                MessageKind::Binary => Message::binary(&payload),
            };
            if pass_on(conn, message) {
                return;
            }
        }
        if let Some((code, reason)) = conn.state().ending.take() {
            return close(conn, code, &reason);
        }
        let other = conn.state().other;
        if let Some(mut other) = conn.shard().connection(other)
            && other.state().role != Role::Unpaired
        {
            other.resume();
        }
    }

    /// The client of a connection to the other server has gone before it was answered.
    fn timer(&mut self, conn: &mut Connection<'_, Self>, _: TimerId) {
        if conn.state().role == Role::Unpaired {
            close(conn, CloseCode::GOING_AWAY, "the client has gone");
        }
    }

    fn closed(&mut self, shard: &mut Shard<'_, Self>, side: Side, reason: &CloseReason) {
        let Some(mut other) = shard.connection(side.other) else { return };
        let (code, text) = match reason.code {
            code if code.is_sendable() || code == CloseCode::NO_STATUS => (code, reason.text.clone()),
            _ if side.role == Role::Client => (CloseCode::GOING_AWAY, "the client is gone".to_owned()),
            _ => (CloseCode::BAD_GATEWAY, "the other server is gone".to_owned()),
        };
        if other.state().waiting.is_some() {
            other.state().ending = Some((code, text));
        } else {
            close(&mut other, code, &text);
        }
    }

    /// The other server cannot be reached, or refuses the connection.
    fn failed(&mut self, shard: &mut Shard<'_, Self>, side: Side, error: &ConnectError) {
        eprintln!("bridge: {error}");
        shard.answer(side.other, Upgrade::reject(StatusCode::BAD_GATEWAY, "the other server cannot be reached"));
    }
}

/// Sends a message to one connection. Returns whether it waits: the sender has to pause until the
/// connection has drained.
fn pass_on(conn: &mut Connection<'_, Bridge>, message: Message<'_>) -> bool {
    match conn.send(message) {
        SendOutcome::Queued(_) => true,
        SendOutcome::Full(message) => {
            conn.state().waiting = Some((message.kind(), message.payload().to_vec()));
            true
        }
        _ => false,
    }
}

fn close(conn: &mut Connection<'_, Bridge>, code: CloseCode, reason: &str) {
    if let Err(error) = conn.close(code, reason) {
        eprintln!("bridge: {error}");
        conn.terminate();
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bridge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(url), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("give the address to listen on, such as 127.0.0.1:9000, and the URL of the other server".into());
    };
    let endpoint = Arc::new(Endpoint::resolve(&url)?);
    let running = Server::bind(address)?.start(move |_| Bridge { endpoint: Arc::clone(&endpoint), shard: None })?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    running.wait()?;
    Ok(())
}
