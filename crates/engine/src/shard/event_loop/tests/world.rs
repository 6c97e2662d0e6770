//! A shard on the simulated kernel, a clock that the test advances, and the peers.

mod peer;
mod scripted;

pub(super) use peer::{Got, WebSocketPeer};
pub(super) use scripted::Scripted;

use crate::admission::gate::Gate;
use crate::metrics::{ConnectionState, PauseCause};
use crate::shard::event_loop::EventLoop;
use crate::tls::stream::tests::configs;
use crate::tls::table::ListenerTls;
use crate::topics::exchange::{Desk, Exchange};
use crate::{Config, Handler, Limits, Shard, ShardHandle};
use ringway_codec::Role;
use ringway_io::sim::{Faults, Network, Peer, Sim};
use ringway_io::{BufferConfig, Driver};
use rustls::version::TLS13;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Few and short, so that messages span buffers and buffers run out.
fn buffers() -> BufferConfig {
    let buffers = BufferConfig::new().size(1024).and_then(|buffers| buffers.count(16)?.ready(4));
    buffers.expect("the numbers are in range")
}

/// The maximum number of turns until a test must have made progress.
const MAX_TURNS: usize = 50_000;

/// The request of clients for a WebSocket.
pub(super) const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// All faults, except for those that end a connection: all output must arrive.
pub(super) const fn rough() -> Faults {
    Faults { reset: 0.0, aborted: 0.0, unreachable: 0.0, no_descriptor: 0.0, ..Faults::all() }
}

/// Runs a test without faults, and from many seeds with all faults that do not end connections.
pub(super) fn each_seed(test: impl Fn(u64, Faults)) {
    test(0, Faults::none());
    (1..=40).for_each(|seed| test(seed, rough()));
}

/// One shard, its network and its clock.
pub(super) struct World<H: Handler> {
    pub(super) shard: EventLoop<Sim, H>,
    pub(super) network: Network,
    pub(super) now: Instant,
    /// The time of the latest turn.
    turned: Instant,
    /// The time that passes between two readings of the clock within a turn.
    pub(super) reading_takes: Duration,
    /// The result of the latest turn: whether the loop continues.
    pub(super) running: bool,
}

impl<H: Handler> World<H> {
    /// A shard that listens, with the default configuration.
    pub(super) fn new(seed: u64, faults: Faults, handler: H) -> Self {
        Self::with(seed, faults, Config::default(), Limits::default(), handler)
    }

    pub(super) fn with(seed: u64, faults: Faults, config: Config, limits: Limits, handler: H) -> Self {
        let desk = Exchange::desks(1, limits.max_published).remove(0);
        Self::beside_others(seed, faults, config, limits, handler, desk)
    }

    /// One of several shards, which exchange published messages.
    pub(super) fn beside_others(
        seed: u64,
        faults: Faults,
        config: Config,
        limits: Limits,
        handler: H,
        desk: Desk,
    ) -> Self {
        let (mut sim, network) = Sim::new(seed, faults, buffers());
        sim.limit_connections(limits.max_connections);
        sim.start_listening();
        let now = Instant::now();
        let handle = ShardHandle::new(sim.waker());
        let gate = config.admission.is_active().then(|| Arc::new(Gate::new(&config.admission, now)));
        let mut shard = EventLoop::new(0, sim, Arc::new(config), limits, handle, handler, now);
        shard.join(desk);
        gate.into_iter().for_each(|gate| shard.use_gate(gate));
        shard.start();
        Self { shard, network, now, turned: now, reading_takes: Duration::ZERO, running: true }
    }

    /// The same, with TLS on its listener.
    pub(super) fn secure(seed: u64, faults: Faults, handler: H) -> Self {
        let mut world = Self::new(seed, faults, handler);
        world.use_tls(configs(&TLS13).0);
        world
    }

    pub(super) fn use_tls(&mut self, config: Arc<rustls::ServerConfig>) {
        self.shard.use_tls(vec![Some(ListenerTls { config, certificates: false })]);
    }

    pub(super) fn handler(&mut self) -> &mut H {
        &mut self.shard.handler
    }

    /// Posts work to the shard, as another thread does.
    pub(super) fn post(&self, work: impl FnOnce(&mut H, &mut Shard<'_, H>) + Send + 'static) {
        self.shard.control.handle.post(work).expect("the mailbox has room");
    }

    pub(super) fn turn(&mut self) {
        // The first reading of the clock is before the wait, the others are after it.
        let (before, now) = (Cell::new(Some(std::mem::replace(&mut self.turned, self.now))), Cell::new(self.now));
        let step = self.reading_takes;
        let clock = || before.take().unwrap_or_else(|| now.replace(now.get() + step));
        self.running = self.shard.turn(clock).expect("the simulation does not fail");
        self.assert_charged();
    }

    /// Checks that the charged memory is the sum over the sessions, apart from prepared frames.
    #[track_caller]
    fn assert_charged(&self) {
        let memory = &self.shard.core.memory;
        let held: usize = self.shard.sessions.iter().map(crate::session::Session::held).sum();
        let by_layers = self.shard.core.tls.as_ref().map_or(0, |tls| tls.held());
        let by_topics = self.shard.core.topics.as_ref().map_or(0, |topics| topics.held());
        assert_eq!(
            memory.held() - memory.shared(),
            held + by_layers + by_topics,
            "the count is wrong (seed {})",
            self.network.seed()
        );
        self.assert_metered();
    }

    /// Checks that the counts that metrics report are those of the sessions.
    #[track_caller]
    fn assert_metered(&self) {
        let sessions = || self.shard.sessions.iter().map(|session| &session.link);
        let seed = self.network.seed();
        let queued: usize = sessions().map(|link| link.buffered()).sum();
        assert_eq!(self.shard.core.memory.queued(), queued, "the queued bytes are wrong (seed {seed})");
        let states = [ConnectionState::Opening, ConnectionState::Open, ConnectionState::Closing];
        let connections = states.map(|state| sessions().filter(|link| link.phase().state() == state).count() as u64);
        let causes = [PauseCause::Handler, PauseCause::Backlog, PauseCause::Memory];
        let paused = causes.map(|cause| sessions().filter(|link| link.is_paused_by(cause)).count() as u64);
        let gauges = &self.shard.core.meters.gauges;
        assert_eq!((gauges.connections, gauges.paused), (connections, paused), "the counts are wrong (seed {seed})");
    }

    /// Runs turns until no event is pending.
    pub(super) fn run_until_idle(&mut self) {
        self.run_until(|world| world.is_idle());
    }

    /// Whether another turn would do nothing.
    pub(super) fn is_idle(&self) -> bool {
        !self.running || self.network.is_idle() && self.shard.next_work(self.now) != Some(Duration::ZERO)
    }

    /// Runs turns, at least one, until `done`.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..MAX_TURNS {
            self.turn();
            if done(self) {
                return;
            }
            assert!(self.running, "the shard has ended before the expected event (seed {})", self.network.seed());
        }
        panic!("the expected event did not occur in {MAX_TURNS} turns (seed {})", self.network.seed());
    }

    /// Lets time pass, and runs the turns that are due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let step = self.shard.next_work(self.now).unwrap_or(time).max(Duration::from_millis(1));
            self.now = end.min(self.now + step);
            self.run_until_idle();
        }
    }

    /// Lets time pass in short turns, for a shard that is never idle.
    pub(super) fn keep_turning(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(50);
            self.turn();
        }
    }

    /// Lets time pass without a turn, as if the process was stopped, and then runs the turns that
    /// are due.
    pub(super) fn stall(&mut self, time: Duration) {
        self.now += time;
        self.turned = self.now;
        self.run_until_idle();
    }

    /// Checks that no resources of connections are left.
    #[track_caller]
    pub(super) fn assert_clean(&self) {
        let left = (self.sessions(), self.network.open(), self.network.in_flight(), self.network.pool().guarded());
        assert_eq!(
            left,
            (0, 0, 0, 0),
            "sessions, slots, operations or buffers are left (seed {})",
            self.network.seed()
        );
        assert_eq!(self.shard.core.memory.held(), 0, "memory is still charged (seed {})", self.network.seed());
    }

    /// The connections, handshakes and addresses that are counted over all shards.
    pub(super) fn counts(&self) -> (u32, u32, usize) {
        self.shard.core.tickets.as_ref().expect("admission is active").gate.counts()
    }

    pub(super) fn sessions(&self) -> usize {
        self.shard.sessions.len()
    }

    /// The number of bytes that wait for the peer of the only connection.
    pub(super) fn buffered(&self) -> usize {
        let slot = self.shard.sessions.slots().next().expect("a connection");
        self.shard.sessions.get(slot).expect("its slot was just listed").link.buffered()
    }

    /// A client that has sent its request for a WebSocket, or its ClientHello if the shard has TLS.
    pub(super) fn client(&self) -> WebSocketPeer {
        self.client_on(self.network.connect())
    }

    /// The same, on this connection.
    pub(super) fn client_on(&self, peer: Peer) -> WebSocketPeer {
        let mut client = WebSocketPeer::new(peer, Role::Client);
        if self.shard.core.tls.is_some() {
            client = client.secure(&TLS13);
        }
        client.write(REQUEST.as_bytes());
        client
    }

    /// A client whose connection is open.
    pub(super) fn open_client(&mut self) -> WebSocketPeer {
        let mut client = self.client();
        // The handshake of TLS has three flights before the response.
        for _ in 0..if client.layer.is_some() { 3 } else { 1 } {
            self.run_until_idle();
            client.pull();
        }
        assert_eq!(client.status(), 101, "{client:?}");
        client
    }

    /// The server that the shard has connected to, after it has read the request.
    pub(super) fn server(&mut self) -> WebSocketPeer {
        self.run_until_idle();
        let peer = self.network.accept().unwrap_or_else(|| panic!("not connected (seed {})", self.network.seed()));
        let mut server = WebSocketPeer::new(peer, Role::Server);
        self.run_until_idle();
        server.pull();
        assert!(server.head.ends_with("\r\n\r\n"), "{server:?}");
        server
    }
}

impl<H: Handler> Drop for World<H> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation had seed {}", self.network.seed());
        }
    }
}
