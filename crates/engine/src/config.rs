//! What the operator sets ([`Config`]) and what a peer may use ([`Limits`]).

use ringway_codec::{DeflatePolicy, OriginPolicy, WindowBits};
use ringway_io::{BufferConfig, BusyPoll};
use std::time::Duration;

/// How many shards (threads with a ring of their own) there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shards {
    /// One for each core of [`Cores`]. Where the CPU quota of the cgroup is less than the cores that this process may run
    /// on, as many as it is worth, rounded down and at least one; cores that are named ([`Cores::List`]) have one each all
    /// the same.
    #[default]
    PerCore,
    /// This many, at least one. With more shards than cores, cores are shared in turn.
    Count(usize),
}

/// Which cores the shards are pinned to. [`placement`](crate::placement) has the whole rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// All that this process may run on (its affinity mask), one hardware thread of each physical core first. Nothing is
    /// pinned where the CPU quota of the cgroup is less than that.
    #[default]
    All,
    /// These, by the system's numbers, in this order. All have to be in the affinity mask, and there has to be one.
    List(Vec<usize>),
    /// None: the scheduler moves the shards about.
    Unpinned,
}

/// What happens when a handler panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// The connection that the handler was called for is closed with 1011, and the shard goes on.
    #[default]
    Close,
    /// The shard ends, and the others are stopped.
    Stop,
}

/// What the operator of a server or client sets. The defaults are fit for the open internet.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which cores the shards are pinned to. Default: all.
    pub cores: Cores,
    /// Receive buffers of each shard. Default: up to 256 of 128 KiB, of which those that were used cost memory.
    pub buffers: BufferConfig,
    /// How long a shard watches for events from user space before it sleeps. Default: adaptive.
    pub busy_poll: BusyPoll,
    /// Entries of each shard's submission queue, 8 to 32 768. Default 1024; each costs 64 bytes, and 64 for its
    /// completions.
    pub ring_entries: u32,
    /// How long a peer may take from connecting to the end of its opening handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// After how long a silence a connection is given up; a ping is sent at half of it. `None`: never, and a peer that
    /// vanished holds its connection for good. A peer that is not read because it does not read shows that it lives by
    /// taking what waits for it: [`Limits::max_buffered`] within this time. Default 120 s.
    pub idle_timeout: Option<Duration>,
    /// How long a peer may take to answer a close frame and to read what is still on its way to it. Default 5 s.
    pub close_timeout: Duration,
    /// The longest that a closing connection may take in all, although it makes progress. Default 60 s.
    pub close_limit: Duration,
    /// How long a peer may take nothing of what waits for it before its connection is given up. Default 60 s.
    pub write_timeout: Duration,
    /// What happens when the handler panics. Default: the connection it was called for is closed with 1011.
    pub on_panic: OnPanic,
    /// How long stopping waits for the closing handshakes. Default 10 s.
    pub stop_timeout: Duration,
    /// Which web pages may connect (RFC 6455 section 10.2). Default: all, and clients that are no browsers.
    pub origins: OriginPolicy,
    /// The subprotocols that are spoken. The client's first choice among them is taken; with none of them the connection
    /// goes on without one (RFC 6455 section 4.2.2). Compared name by name at each handshake. Default: none.
    pub subprotocols: Vec<String>,
    /// Compression of messages, in both roles: as a server it is agreed to where a client offers it, as a client it is
    /// offered. Default: none, for it costs far more time and memory than sending does.
    pub deflate: Option<Deflate>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cores: Cores::All,
            buffers: BufferConfig::default(),
            busy_poll: BusyPoll::default(),
            ring_entries: 1024,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Some(Duration::from_secs(120)),
            close_timeout: Duration::from_secs(5),
            close_limit: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            on_panic: OnPanic::Close,
            stop_timeout: Duration::from_secs(10),
            origins: OriginPolicy::Any,
            subprotocols: Vec::new(),
            deflate: None,
        }
    }
}

/// How messages are compressed: permessage-deflate (RFC 7692).
///
/// The choice that matters is context takeover. With it a message is compressed with the help of those before it, which
/// makes short ones that resemble each other much smaller, and both sides keep a window for each connection. Without it
/// all connections of a shard share one compressor and one inflater, and an idle connection keeps nothing.
///
/// docs/tuning.md has the memory and the speed of each, as measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Whether we keep the context of what we send, where the peer allows it: 243 KiB and four times the window for each
    /// connection, from the first compressed message on, until it has been silent for half of
    /// [`Config::idle_timeout`]; without such a timeout, until it ends.
    pub takeover: bool,
    /// Whether the peer may keep the context of what it sends: 46 KiB for each connection, from the first compressed
    /// message on, until it ends.
    pub peer_takeover: bool,
    /// The largest window that we compress with, as a power of two: 9 (512 B) to 15 (32 KiB); what is less or more counts
    /// as that. Default 15.
    pub window_bits: u8,
    /// The largest window that the peer is asked to compress with, 9 to 15. It spares the peer memory, not us. Default 15.
    pub peer_window_bits: u8,
    /// From 1, the fastest, to 9, which compresses best; what is less or more counts as that. Default 1.
    pub level: u8,
    /// Messages shorter than this go uncompressed, unless [`Message::compress`](crate::Message::compress) says otherwise.
    /// In bytes; default 128.
    pub threshold: usize,
}

impl Deflate {
    /// With context takeover both ways, where the peer allows it.
    #[must_use]
    pub const fn takeover() -> Self {
        Self { takeover: true, peer_takeover: true, window_bits: 15, peer_window_bits: 15, level: 1, threshold: 128 }
    }

    /// Without context takeover: one compressor for all connections of a shard.
    #[must_use]
    pub const fn shared() -> Self {
        Self { takeover: false, peer_takeover: false, ..Self::takeover() }
    }

    pub(crate) fn policy(&self) -> DeflatePolicy {
        let window = |bits: u8| WindowBits::new(bits.clamp(9, 15)).unwrap_or_default();
        DeflatePolicy {
            takeover: self.takeover,
            peer_takeover: self.peer_takeover,
            window_bits: window(self.window_bits),
            peer_window_bits: window(self.peer_window_bits),
        }
    }
}

/// What a peer may make us hold and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message in bytes; a larger one is answered with close code 1009. It is also what one connection can
    /// make the server hold while it sends a message in parts. Default 16 MiB.
    pub max_message: usize,
    /// The largest opening handshake in bytes (request line and headers); a larger one is answered with 414 or 431.
    /// A connection whose head comes in parts holds as much while it does. Default 16 KiB.
    pub max_head: usize,
    /// The most headers in it, at most 128; more are answered with 431. While a head is parsed each takes 32 bytes.
    /// Default 100.
    pub max_headers: usize,
    /// How many bytes may wait for a peer that reads slowly. Beyond it `send` hands messages back, and nothing more is
    /// read from the peer until it has caught up. One message more than that may wait. What the kernel had received by
    /// then is held too: at most what the socket's receive buffer holds. Default 1 MiB.
    pub max_buffered: usize,
    /// How many bytes the connections of one shard may hold together. Default: half of the machine's memory, divided by
    /// the number of shards.
    pub max_memory: Option<usize>,
    /// Within which time of its first byte a message must be complete. Default 120 s.
    pub message_timeout: Duration,
    /// How many connections one shard holds at once, at most 2³⁰; further ones wait in the kernel's backlog. Each costs
    /// about 120 bytes and the handler's state, and what the kernel keeps for a socket. Default 1 048 576.
    pub max_connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 16 << 20,
            max_head: 16 << 10,
            max_headers: 100,
            max_buffered: 1 << 20,
            max_memory: None,
            message_timeout: Duration::from_secs(120),
            max_connections: 1 << 20,
        }
    }
}

impl Limits {
    pub(crate) fn head(&self) -> ringway_codec::HeadLimits {
        ringway_codec::HeadLimits { max_bytes: self.max_head, max_headers: self.max_headers.min(128) }
    }

    pub(crate) fn codec(&self) -> ringway_codec::Limits {
        ringway_codec::Limits { max_message: self.max_message, ..ringway_codec::Limits::default() }
    }
}
