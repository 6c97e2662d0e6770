//! The builder for shards that only open connections.

use super::error::StartError;
use super::launch::Launch;
use super::running::Running;
use super::sockets::ServerSockets;
use crate::api::handler::Handler;
use crate::config::{Config, Limits, Shards};
use std::sync::Arc;

/// Runs handlers that only open connections: a load generator, a crawler, a bridge.
///
/// ```
/// use ringway::{Client, CloseCode, CloseReason, ConnectError, Connection, Endpoint, Handler, Message, Server, Shard, Shards, Request, Upgrade};
/// use std::sync::Arc;
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &ringway::Request<'_>) -> ringway::Upgrade<()> { ringway::Upgrade::accept(()) }
/// #     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) { conn.reply(message) }
/// # }
///
/// /// Sends a greeting, closes after the answer, and stops its shard.
/// struct Greeting {
///     endpoint: Arc<Endpoint>,
/// }
///
/// impl Handler for Greeting {
///     type State = ();
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
///         Upgrade::accept(())
///     }
///
///     fn start(&mut self, shard: &mut Shard<'_, Self>) {
///         shard.connect(&self.endpoint, ());
///     }
///
///     fn open(&mut self, conn: &mut Connection<'_, Self>) {
///         let _ = conn.send(Message::text("hello"));
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         assert_eq!(message.as_text(), Some("hello"));
///         conn.close(CloseCode::NORMAL, "").expect("1000 may be sent");
///     }
///
///     fn closed(&mut self, shard: &mut Shard<'_, Self>, (): (), reason: &CloseReason) {
///         assert!(reason.is_clean());
///         shard.stop();
///     }
///
///     fn failed(&mut self, shard: &mut Shard<'_, Self>, (): (), error: &ConnectError) {
///         eprintln!("{error}");
///         shard.stop();
///     }
/// }
///
/// let server = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).start(|_| Echo)?;
/// let endpoint = Arc::new(Endpoint::resolve(&format!("ws://{}/", server.addresses()[0]))?);
/// let client = Client::new().shards(Shards::Count(1));
/// client.start(move |_| Greeting { endpoint: Arc::clone(&endpoint) })?.wait()?;
/// server.stop();
/// server.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Client {
    launch: Launch,
}

impl Client {
    /// Creates a client with the default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of shards. Default: one for each core. Starting checks the number.
    #[must_use]
    pub fn shards(mut self, shards: Shards) -> Self {
        self.launch.shards = shards;
        self
    }

    /// Sets the operator's options.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.launch.config = config;
        self
    }

    /// Sets the bounds on the resources that a peer can use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.launch.limits = limits;
        self
    }

    /// Starts the shards. `make` is called on each shard's own thread with the shard's number. The
    /// shards run until [`Shard::stop`](crate::Shard::stop) or [`Running::stop`].
    ///
    /// # Errors
    /// A [`StartError`] if an option is out of range, io_uring is unavailable, a core is not
    /// allowed, or a thread cannot be started. No shard runs then.
    pub fn start<H, F>(self, make: F) -> Result<Running<H>, StartError>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        self.launch.start(ServerSockets::default(), &[], Arc::new(make))
    }
}
