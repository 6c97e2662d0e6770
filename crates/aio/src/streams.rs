//! The handler of the engine that turns its calls into the state of streams.

use crate::connection::{Connection, Outcome};
use crate::error::{CloseReason, Error, copy};
use crate::{Message, Request};
use ringway::{ConnectError, ConnectionId, Handler, Response, Shard, StatusCode, Unopened, Upgrade};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// The capacity that the table of opening connections keeps when it is empty.
const MAX_KEPT: usize = 64;

/// What is done when the shard is not in use: it may run any code of the program, which may use the
/// shard.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) wakers: Vec<Waker>,
    /// Dropped then, with what their tasks own.
    pub(crate) released: Vec<Rc<Connection>>,
    /// Accepted connections of a server, which get a task each.
    pub(crate) served: Vec<Rc<Connection>>,
}

/// All streams of one shard.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// The accepted connections that are not open yet.
    opening: HashMap<ConnectionId, Rc<Connection>>,
    pub(crate) effects: Effects,
    /// Whether requests of the server's listeners are answered by the program; `None` without a
    /// server.
    server_asks: Option<bool>,
    /// Why all connections end, once the shard does.
    pub(crate) ending: Option<Error>,
}

impl Streams {
    /// The streams of a server. `asks`: the program answers requests.
    pub(crate) fn of_server(asks: bool) -> Self {
        Self { server_asks: Some(asks), ..Self::default() }
    }

    /// Expects the request of an accepted connection.
    pub(crate) fn expect(&mut self, id: ConnectionId, connection: &Rc<Connection>) {
        self.opening.insert(id, Rc::clone(connection));
    }

    /// Forgets an accepted connection that is not wanted.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.effects.released.extend(self.opening.remove(&id));
    }

    fn end(&mut self, connection: Rc<Connection>, outcome: Outcome) {
        let outcome = self.ending.clone().map_or(outcome, Outcome::Failed);
        self.effects.wakers.extend(connection.ended(outcome).into_iter().flatten());
        self.effects.released.push(connection);
    }
}

impl Handler for Streams {
    type State = Rc<Connection>;

    fn upgrade(&mut self, request: &ringway::Request<'_>) -> Upgrade<Rc<Connection>> {
        let id = request.id();
        let connection = match (self.opening.get(&id), self.server_asks) {
            (Some(connection), _) => Rc::clone(connection),
            (None, Some(asks)) => {
                let connection = Rc::new(Connection::new(asks));
                connection.identify(id);
                self.effects.served.push(Rc::clone(&connection));
                self.opening.insert(id, Rc::clone(&connection));
                connection
            }
            (None, None) => return Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "nobody accepts here"),
        };
        if connection.asks {
            self.effects.wakers.extend(connection.requested(Request::of(request)));
            return Upgrade::defer();
        }
        Upgrade::accept(connection)
    }

    fn request(&mut self, _: &ringway::Request<'_>) -> Response {
        Response::text(StatusCode::UPGRADE_REQUIRED, "this port expects WebSocket clients")
            .header(ringway::HeaderName::from_static("upgrade"), ringway::HeaderValue::from_static("websocket"))
            .close()
    }

    fn connecting(&mut self, connection: &mut Rc<Connection>, id: ConnectionId) -> bool {
        connection.identify(id);
        connection.is_held()
    }

    fn open(&mut self, conn: &mut ringway::Connection<'_, Self>) {
        let (id, subprotocol) = (conn.id(), conn.subprotocol().map(str::to_owned));
        let connection = Rc::clone(conn.state());
        self.opening.remove(&id);
        if self.opening.is_empty() {
            // A burst of connections leaves no memory behind.
            self.opening.shrink_to(MAX_KEPT);
        }
        self.effects.wakers.extend(connection.opened(id, subprotocol.as_deref()));
        if !connection.is_held() {
            conn.terminate();
        }
    }

    fn message(&mut self, conn: &mut ringway::Connection<'_, Self>, message: ringway::Message<'_>) {
        let connection = Rc::clone(conn.state());
        if !connection.has_receiver() {
            return;
        }
        let message = Message::received(&message);
        conn.shard().charge(message.weight());
        let (waker, pauses) = connection.received(message);
        self.effects.wakers.extend(waker);
        if pauses {
            conn.pause();
        }
    }

    fn postpones_violation(&mut self, conn: &mut ringway::Connection<'_, Self>) -> bool {
        conn.state().postpones_violation()
    }

    fn drained(&mut self, conn: &mut ringway::Connection<'_, Self>) {
        self.effects.wakers.extend(conn.state().drained());
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, connection: Rc<Connection>, reason: &ringway::CloseReason) {
        self.end(connection, Outcome::Closed(Arc::new(CloseReason::of(reason))));
    }

    fn failed(&mut self, _: &mut Shard<'_, Self>, connection: Rc<Connection>, error: &ConnectError) {
        self.end(connection, Outcome::Failed(copy(error).into()));
    }

    fn unopened(&mut self, _: &mut Shard<'_, Self>, id: ConnectionId, cause: &Unopened) {
        if let Some(connection) = self.opening.remove(&id) {
            self.end(connection, Outcome::Failed(cause.clone().into()));
        }
    }

    fn held(&self, connection: &Rc<Connection>) -> usize {
        connection.held()
    }
}
