//! The client of a conversation: its endpoint, its options, and its one shard. This is the only
//! place that makes them.

use super::arguments::Connect;
use super::conversation::{Conversation, Habits};
use super::queue::{Commands, Events};
use crate::exit::{ExitOutcome, Failure, usage};
use crate::tls::LoadTlsError;
use ringway::{BusyPoll, Client, Config, ConnectError, Endpoint, Limits, Running, Shards, WireTap};
use ringway_loadtest::parse::addresses_of;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the server may take to answer a close frame.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The bytes of the body of a refusal that are received, to print their beginning.
const MAX_REFUSAL: usize = 4096;

/// Why there is no client.
pub(super) enum ClientFailure {
    /// The flags are wrong.
    Usage(String),
    Other(Failure),
}

impl ClientFailure {
    pub(super) fn report(self) -> Result<ExitOutcome, Failure> {
        match self {
            Self::Usage(error) => usage(&error),
            Self::Other(failure) => Err(failure),
        }
    }
}

impl<E: std::error::Error> From<E> for ClientFailure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// The server of the flags. Looks its name up.
pub(super) fn endpoint(arguments: &Connect) -> Result<Endpoint, ClientFailure> {
    let url = &arguments.url;
    let tls = arguments.tls.client(url).map_err(|error| match error {
        LoadTlsError::Usage(error) => ClientFailure::Usage(error),
        LoadTlsError::Tls(error) => ClientFailure::Other(error.into()),
    })?;
    let given = addresses_of(url, &arguments.resolve);
    if given.is_empty()
        && let Some((host, address)) = arguments.resolve.first()
    {
        let (port, ip) = (address.port(), address.ip());
        return Err(ClientFailure::Usage(format!(
            "--resolve {host}:{port}:{ip}: the URL has another host or port; give those of the URL"
        )));
    }
    let endpoint = if given.is_empty() { Endpoint::resolve(url) } else { Endpoint::with_addresses(url, given) };
    let endpoint = endpoint.map_err(|error| match error {
        ConnectError::Url(_) | ConnectError::Address(_) | ConnectError::TlsConfig(_) => {
            ClientFailure::Usage(error.to_string())
        }
        ConnectError::Name(..) => ClientFailure::Other(Failure(format!(
            "{error}; check the name, or give its address (--resolve HOST:PORT:ADDR)"
        ))),
        error => ClientFailure::Other(error.into()),
    })?;
    let headers = arguments.offer.headers().map_err(ClientFailure::Usage)?;
    let endpoint = endpoint.headers(headers).subprotocols(&arguments.offer.subprotocol)?;
    let mut endpoint = endpoint.read_refusals(MAX_REFUSAL)?;
    if let Some(origin) = &arguments.offer.origin {
        endpoint = endpoint.origin(origin)?;
    }
    Ok(match tls {
        Some(tls) => endpoint.tls(&tls)?,
        None => endpoint,
    })
}

/// Starts the shard, which connects at once.
pub(super) fn start(
    arguments: &Connect,
    habits: Habits,
    endpoint: Endpoint,
    commands: &Arc<Commands>,
    events: &Arc<Events>,
    tap: Option<WireTap>,
) -> Result<Running<Conversation>, ClientFailure> {
    let config = Config::default()
        .driver(arguments.driver.choice())
        .busy_poll(BusyPoll::Off)?
        .handshake_timeout(arguments.connect_timeout)?
        .idle_timeout(None)?
        .close_timeout(CLOSE_TIMEOUT)?
        .deflate(arguments.deflate.config())
        .tap(tap);
    let limits = Limits::default().max_message(arguments.max_message)?.max_connections(1)?;
    let (endpoint, commands, events) = (Arc::new(endpoint), Arc::clone(commands), Arc::clone(events));
    let habits = Mutex::new(habits);
    let client = Client::new().shards(Shards::Count(1)).config(config).limits(limits);
    Ok(client.start(move |_| {
        let habits = habits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Conversation::new(habits, Arc::clone(&endpoint), Arc::clone(&commands), Arc::clone(&events))
    })?)
}
