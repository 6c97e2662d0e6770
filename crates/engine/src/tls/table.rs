//! The TLS layers of a shard's connections, beside the table of sessions: a connection without TLS
//! takes no memory for it.

use super::server::TlsConfig;
use super::stream::TlsStream;
use ringway_io::Slot;
use rustls::{Error, ServerConfig};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// The maximum time of a turn for handshakes. One handshake more can be processed.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_micros(500);

/// The maximum number of connections whose handshake waits for its turn. Beyond it, the shard stops
/// accepting until half of them are left.
pub(crate) const WAITING_MAX: usize = 4096;

/// The configuration of TLS for one listener.
#[derive(Clone)]
pub(crate) struct ListenerTls {
    pub(crate) config: Arc<ServerConfig>,
    /// Whether clients may send certificates.
    pub(crate) certificates: bool,
}

impl ListenerTls {
    pub(crate) fn of(tls: &TlsConfig) -> Self {
        Self { config: tls.rustls(), certificates: tls.asks_for_certificates() }
    }
}

/// The TLS layers of a shard.
#[derive(Default)]
pub(crate) struct TlsTable {
    /// By the number of the listener; `None` for one without TLS.
    listeners: Vec<Option<ListenerTls>>,
    /// By the index of the slot.
    streams: Vec<Option<Box<TlsStream>>>,
    /// Connections whose collected records of the handshake wait for their turn, in order.
    waiting: VecDeque<Slot>,
    /// Too many wait, so accepting is paused.
    is_paused: bool,
    /// Joins short chunks of output.
    pub(crate) scratch: Vec<u8>,
}

impl TlsTable {
    pub(crate) fn new(listeners: Vec<Option<ListenerTls>>) -> Self {
        Self { listeners, ..Self::default() }
    }

    /// Replaces the configuration of a listener. Open connections keep theirs.
    pub(crate) fn reconfigure(&mut self, listener: usize, tls: ListenerTls) {
        if let Some(current) = self.listeners.get_mut(listener) {
            *current = Some(tls);
        }
    }

    /// Adds a listener with TLS. Returns its number.
    pub(crate) fn add(&mut self, tls: ListenerTls) -> usize {
        self.listeners.push(Some(tls));
        self.listeners.len() - 1
    }

    /// Whether the connections of a listener have TLS.
    pub(crate) fn secures(&self, listener: usize) -> bool {
        matches!(self.listeners.get(listener), Some(Some(_)))
    }

    /// Makes the layer of an accepted connection, if its listener has TLS. Returns the number of bytes
    /// of memory that it holds. `max_head`: the maximum length of a request.
    pub(crate) fn accept(&mut self, slot: Slot, listener: usize, max_head: usize) -> Result<usize, Error> {
        let Some(Some(tls)) = self.listeners.get(listener) else { return Ok(0) };
        let stream = TlsStream::server(Arc::clone(&tls.config), tls.certificates, max_head)?;
        let held = stream.held();
        self.insert(slot, Box::new(stream));
        Ok(held)
    }

    /// Sets the layer of a connection.
    pub(crate) fn insert(&mut self, slot: Slot, stream: Box<TlsStream>) {
        let index = slot.index() as usize;
        if self.streams.len() <= index {
            self.streams.resize_with(index + 1, || None);
        }
        self.streams[index] = Some(stream);
    }

    /// The layer of a connection; `None` for one without TLS.
    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&TlsStream> {
        self.streams.get(slot.index() as usize)?.as_deref()
    }

    /// The same, to change it.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut TlsStream> {
        self.streams.get_mut(slot.index() as usize)?.as_deref_mut()
    }

    /// The layer of a connection, and the buffer that joins chunks.
    pub(crate) fn with_scratch(&mut self, slot: Slot) -> Option<(&mut TlsStream, &mut Vec<u8>)> {
        let stream = self.streams.get_mut(slot.index() as usize)?.as_deref_mut()?;
        Some((stream, &mut self.scratch))
    }

    /// Removes the layer of a closed connection. Returns the number of bytes of memory it held.
    pub(crate) fn remove(&mut self, slot: Slot) -> usize {
        let stream = self.streams.get_mut(slot.index() as usize).and_then(Option::take);
        stream.map_or(0, |stream| stream.held())
    }

    /// The number of bytes of memory that all layers hold.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.streams.iter().flatten().map(|stream| stream.held()).sum()
    }

    /// The same, without the state of rustls.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.streams.iter().flatten().map(|stream| stream.buffered()).sum()
    }

    /// Adds a connection to those whose handshake waits for its turn.
    pub(crate) fn wait(&mut self, slot: Slot) {
        self.waiting.push_back(slot);
    }

    /// The next connection whose handshake waits.
    pub(crate) fn next_waiting(&mut self) -> Option<Slot> {
        self.waiting.pop_front()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether handshakes wait, or accepting is paused because of them.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.waiting.is_empty() || self.is_paused
    }

    /// Whether accepting is to be resumed (`true`) or paused (`false`) now; `None`: neither.
    pub(crate) fn change_accepting(&mut self) -> Option<bool> {
        let pause = self.waiting.len() > if self.is_paused { WAITING_MAX / 2 } else { WAITING_MAX };
        (mem::replace(&mut self.is_paused, pause) != pause).then_some(!pause)
    }
}
