//! The threads of a run: starting them, passing work to them, receiving their events.

use crate::LoadError;
use crate::broadcast::Publishing;
use crate::message::{Content, Source};
use crate::pace::{Pacer, Rounds};
use crate::plan::{Behaviour, FRAME_HEADER, Load, MAX_BYTES_IN_FLIGHT, Plan, Population, Rotation, Target, Transport};
use crate::recording::Speed;
use crate::tally::ThreadEvent;
use crate::worker::{CrewOrders, Orders, Permits, Worker, nanos};
use ringway::placement::Assignment;
use ringway::{Client, Config, ConnectError, Endpoint, Limits, Running, Shard, Shards};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The maximum size of a message from the server, unless the messages of the plan are larger.
const MAX_MESSAGE: usize = 16 << 20;

/// The time within which a server must answer a close frame.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time after which stopping drops what is left.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The bytes that may wait on a connection, besides its messages in flight.
const OUTBOX: usize = 1 << 20;

/// Files that a process needs besides its connections: standard streams, and a ring and a waker for
/// each thread.
const SPARE_FILES: u64 = 64;

/// The size of the kernel's receive buffer of a slow connection in bytes; the kernel doubles it.
const SLOW_BUFFER: u32 = 16 << 10;

/// The threads of a run.
pub(crate) struct Fleet {
    running: Running<Worker>,
    events: Receiver<ThreadEvent>,
    epoch: Instant,
    threads: usize,
}

/// Whether the connections of a behaviour are opened while messages are sent, not before.
pub(crate) fn connects_later(behaviour: &Behaviour) -> bool {
    matches!(behaviour, Behaviour::Connect)
}

/// The open files that a load with this many connections needs: the limit of the process must not be
/// lower (`ulimit -n`).
#[must_use]
pub fn files_needed(connections: u64) -> u64 {
    connections.saturating_add(SPARE_FILES)
}

/// Checks that the limit of open files allows the connections of a plan.
pub(crate) fn check_files(plan: &Plan) -> Result<(), LoadError> {
    let connections = plan.connections();
    let needed = files_needed(connections.into());
    match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(allowed) if allowed < needed => Err(LoadError::OpenFiles { connections, allowed, needed }),
        _ => Ok(()),
    }
}

/// The endpoint of a target.
pub(crate) fn endpoint(plan: &Plan, target: &Target) -> Result<Endpoint, LoadError> {
    let is_plain = target.transport() != Transport::WebSocket;
    let mut endpoint = match target.addresses.as_slice() {
        [] if is_plain => Endpoint::resolve_plain(&target.url)?,
        addresses if is_plain => Endpoint::plain_with_addresses(&target.url, addresses.iter().copied())?,
        [] => Endpoint::resolve(&target.url)?,
        addresses => Endpoint::with_addresses(&target.url, addresses.iter().copied())?,
    };
    let offer = &plan.offer;
    if let Some(tls) = offer.tls.as_ref().filter(|_| target.is_secure()) {
        endpoint = endpoint.tls(tls).map_err(ConnectError::from)?;
    }
    let endpoint = endpoint.subprotocols(offer.subprotocols.iter().cloned())?.headers(offer.headers.clone());
    let endpoint = match &offer.origin {
        Some(origin) => endpoint.origin(origin.clone())?,
        None => endpoint,
    };
    let endpoint = match plan.connect.sources.as_slice() {
        [] => endpoint,
        sources => endpoint.sources(sources.iter().copied())?,
    };
    // All addresses of a name are used equally.
    Ok(endpoint.rotate_addresses(true))
}

impl Fleet {
    /// Starts the threads, which wait for work.
    pub(crate) fn start(
        plan: &Plan,
        assignment: &Assignment,
        endpoints: Vec<Arc<Endpoint>>,
        handshakes: u32,
        seed: u64,
    ) -> Result<Self, LoadError> {
        let threads = assignment.threads();
        let epoch = Instant::now();
        let (sender, events) = mpsc::channel();
        let config = Config::default()
            .cores(assignment.to_config())?
            .busy_poll(plan.busy_poll)?
            // Messages are due at times in nanoseconds.
            .timer_slack(Some(Duration::from_nanos(1)))?
            .driver(plan.driver)
            .handshake_timeout(plan.connect.timeout)?
            // Missing replies show a dead server; pings would disturb the measurement.
            .idle_timeout(None)?
            .close_timeout(CLOSE_TIMEOUT)?
            .stop_timeout(STOP_TIMEOUT)?
            .deflate(plan.offer.deflate);
        let limits = limits(plan, threads)?;
        let common = Common::new(plan, endpoints, handshakes, threads, seed)?;
        let make = move |index: usize| {
            let events = sender.clone();
            let Plan { verify, timeout, .. } = common.plan;
            Worker::new(Orders { index, threads, epoch, verify, timeout, crews: common.crews(index), events })
        };
        let client = Client::new().shards(Shards::Count(threads)).config(config).limits(limits);
        Ok(Self { running: client.start(make)?, events, epoch, threads })
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    pub(crate) fn epoch(&self) -> Instant {
        self.epoch
    }

    /// The driver of the threads, in words.
    pub(crate) fn driver(&self) -> String {
        self.running.driver()
    }

    /// The time since the epoch in nanoseconds.
    pub(crate) fn now(&self) -> u64 {
        nanos(self.epoch.elapsed())
    }

    pub(crate) fn at(&self, nanos: u64) -> Instant {
        self.epoch + Duration::from_nanos(nanos)
    }

    pub(crate) fn next_event(&self, timeout: Duration) -> Result<ThreadEvent, RecvTimeoutError> {
        self.events.recv_timeout(timeout)
    }

    /// Posts work to a thread. If its mailbox is full, waits: the thread empties it in each turn.
    pub(crate) fn post(
        &self,
        index: usize,
        work: impl FnOnce(&mut Worker, &mut Shard<'_, Worker>) + Send + Clone + 'static,
    ) {
        while self.running.handles()[index].post(work.clone()).is_err() {
            std::thread::yield_now();
        }
    }

    pub(crate) fn post_all(&self, work: impl FnOnce(&mut Worker, &mut Shard<'_, Worker>) + Send + Clone + 'static) {
        (0..self.threads).for_each(|index| self.post(index, work.clone()));
    }

    /// Ends the threads.
    pub(crate) fn stop(self) -> Result<(), LoadError> {
        self.running.stop();
        self.running.wait()?;
        Ok(())
    }
}

/// The bytes that may wait on a connection: all messages in flight of a closed loop; of others, two
/// messages and enough for efficient sends. What an open loop sends beyond that waits as the times at
/// which it was due.
fn outbox(population: &Population) -> usize {
    let largest = population.message.max_len() + FRAME_HEADER;
    let messages = match population.load {
        Load::Closed { in_flight } if population.behaviour.is_answered() => in_flight as usize,
        _ => 2,
    };
    // Compression can make a message a little longer.
    OUTBOX + 2 * messages * largest
}

/// The limits of a shard.
fn limits(plan: &Plan, threads: usize) -> Result<Limits, LoadError> {
    let connections = plan.populations.iter().map(|population| Plan::share(population.connections.into(), threads, 0));
    let largest = plan.populations.iter().map(|population| population.message.max_len()).max().unwrap_or(0);
    let buffered = plan.populations.iter().map(outbox).max().unwrap_or(0).min(MAX_BYTES_IN_FLIGHT);
    Ok(Limits::default()
        .max_message(MAX_MESSAGE.max(largest))?
        .max_connections(connections.sum::<u64>() as u32 + 64)?
        .max_buffered(buffered)?)
}

/// What the threads have in common.
struct Common {
    plan: Plan,
    endpoints: Arc<[Arc<Endpoint>]>,
    slow_endpoints: Arc<[Arc<Endpoint>]>,
    permits: Arc<Permits>,
    /// By population.
    publishing: Vec<Option<Arc<Publishing>>>,
    threads: usize,
    seed: u64,
}

impl Common {
    fn new(
        plan: &Plan,
        endpoints: Vec<Arc<Endpoint>>,
        handshakes: u32,
        threads: usize,
        seed: u64,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            slow_endpoints: slow_endpoints(plan, &endpoints)?,
            endpoints: endpoints.into(),
            permits: Arc::new(Permits::new(handshakes)),
            publishing: plan.populations.iter().map(|one| publishing(one, threads)).collect(),
            plan: plan.clone(),
            threads,
            seed,
        })
    }

    /// The connections of each population on a thread.
    fn crews(&self, index: usize) -> Vec<CrewOrders> {
        let mut next = 0;
        let crews = self.plan.populations.iter().zip(&self.publishing).map(|(population, publishing)| {
            let first = next;
            next += population.connections;
            CrewOrders { publishing: publishing.clone(), ..self.crew(population, index, first) }
        });
        crews.collect()
    }

    /// The connections of a population on a thread. `first`: the number of its first connection.
    fn crew(&self, population: &Population, index: usize, first: u32) -> CrewOrders {
        let Self { plan, threads, seed, .. } = self;
        let connections = Plan::share(population.connections.into(), *threads, index);
        let endpoints = match population.behaviour {
            Behaviour::Slow { .. } => &self.slow_endpoints,
            _ => &self.endpoints,
        };
        // The threads that have connections that send.
        let senders = match population.behaviour {
            Behaviour::Broadcast { publishers, .. } => publishers,
            _ => population.connections,
        };
        let senders = (*threads).min(senders as usize);
        let part = connections as f64 / f64::from(plan.connections());
        CrewOrders {
            behaviour: population.behaviour.clone(),
            source: Source::new(&population.message, *seed),
            transport: plan.transport(),
            endpoints: Arc::clone(endpoints),
            rotation: Rotation::new(plan.targets.iter().map(|target| target.weight)),
            permits: Arc::clone(&self.permits),
            connections,
            connect_rate: plan.connect.rate.map(|rate| rate * part),
            in_flight: population.load.in_flight(),
            pacer: match &population.load {
                Load::Open { schedule, arrivals } if index < senders => {
                    Some(Pacer::new(schedule.clone(), *arrivals, index, senders, *seed))
                }
                _ => None,
            },
            rounds: rounds(population),
            seed: *seed,
            first_number: first + index as u32,
            stride: *threads as u32,
            publishing: None,
        }
    }
}

/// The endpoints of slow connections. The kernel's receive buffer would take what the connection
/// does not read, so it is small: the buffers of the server fill.
fn slow_endpoints(plan: &Plan, endpoints: &[Arc<Endpoint>]) -> Result<Arc<[Arc<Endpoint>]>, LoadError> {
    if !plan.populations.iter().any(|population| matches!(population.behaviour, Behaviour::Slow { .. })) {
        return Ok(Arc::new([]));
    }
    let narrow = |endpoint: &Arc<Endpoint>| Ok(Arc::new(Endpoint::clone(endpoint).receive_buffer(SLOW_BUFFER)?));
    endpoints.iter().map(narrow).collect()
}

/// The times of a replay that has some.
fn rounds(population: &Population) -> Option<Rounds> {
    match (&population.behaviour, &population.message) {
        (Behaviour::Replay { speed: Speed::Times(speed) }, Content::Recording(script)) => {
            Some(Rounds::new(script.offsets(), script.period()?, *speed))
        }
        _ => None,
    }
}

/// What the threads of a broadcast share.
fn publishing(population: &Population, threads: usize) -> Option<Arc<Publishing>> {
    let is_broadcast = matches!(population.behaviour, Behaviour::Broadcast { .. });
    is_broadcast.then(|| Arc::new(Publishing::new(threads)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::Span;
    use crate::message::{Alphabet, Sizes};
    use crate::pace::{Arrivals, Schedule};
    use crate::plan::{RunLength, Verify};
    use crate::steps::Timetable;
    use proptest::prelude::*;

    /// Threads and connections above these are checked and not constructed.
    const THREADS: usize = 4;
    const CONNECTIONS: u32 = 2_000;

    fn duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::from_nanos(1)),
            (1..100_000u64).prop_map(Duration::from_millis),
            Just(Duration::from_secs(365 * 86_400)),
            any::<u64>().prop_map(Duration::from_secs),
            Just(Duration::MAX),
        ]
    }

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![0..5u32, 1..CONNECTIONS, any::<u32>(), Just(u32::MAX)]
    }

    fn rate() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), 1.0..1e6, any::<f64>()]
    }

    fn span() -> impl Strategy<Value = Span> {
        prop_oneof![
            duration().prop_map(Span::Fixed),
            (duration(), duration()).prop_map(|(one, other)| Span::Uniform(one, other)),
            duration().prop_map(Span::Exponential),
            (duration(), any::<f64>()).prop_map(|(median, sigma)| Span::Lognormal { median, sigma }),
        ]
    }

    // Boxed: a test's stack is too small for all strategies.
    fn behaviour() -> BoxedStrategy<Behaviour> {
        prop_oneof![
            Just(Behaviour::Echo),
            Just(Behaviour::Send),
            Just(Behaviour::Receive),
            Just(Behaviour::Connect),
            span().prop_map(|think| Behaviour::Request { think }),
            proptest::option::of(duration()).prop_map(|ping| Behaviour::Idle { ping }),
            (number(), proptest::option::of("[a-z]{1,3}")).prop_map(|(publishers, topic)| Behaviour::Broadcast {
                publishers,
                topic: topic.map(|name| name.parse().expect("a name")),
            }),
            (span(), span()).prop_map(|(lifetime, pause)| Behaviour::Churn { lifetime, pause }),
            any::<u64>().prop_map(|bytes_per_second| Behaviour::Slow { bytes_per_second }),
        ]
        .boxed()
    }

    fn load() -> BoxedStrategy<Load> {
        let stages = proptest::collection::vec((duration(), rate()), 0..3);
        let open = (rate(), stages, any::<bool>()).prop_map(|(initial, stages, is_uniform)| {
            let arrivals = if is_uniform { Arrivals::Uniform } else { Arrivals::Poisson };
            // A plan cannot have an invalid schedule.
            match Schedule::new(initial, &stages) {
                Ok(schedule) => Load::Open { schedule, arrivals },
                Err(_) => Load::Open { schedule: Schedule::constant(1.0), arrivals },
            }
        });
        prop_oneof![number().prop_map(|in_flight| Load::Closed { in_flight }), open].boxed()
    }

    fn content() -> BoxedStrategy<Content> {
        let sizes = || {
            (0..4096usize, 0..4096usize).prop_filter_map("a range", |(min, more)| Sizes::range(min..=min + more).ok())
        };
        prop_oneof![
            sizes().prop_map(|sizes| Content::Random { sizes, alphabet: Alphabet::Mixed }),
            sizes().prop_map(|sizes| Content::Random { sizes, alphabet: Alphabet::Binary }),
            sizes().prop_map(Content::Json),
            "[a-z{}:]{0,12}".prop_filter_map("a template", |text| Content::template(&text).ok()),
        ]
        .boxed()
    }

    fn population() -> impl Strategy<Value = Population> {
        ("[a-z]{0,3}", number(), behaviour(), load(), content()).prop_map(
            |(name, connections, behaviour, load, message)| Population { name, connections, behaviour, load, message },
        )
    }

    prop_compose! {
        fn plan()(
            targets in proptest::collection::vec(any::<u32>(), 0..4),
            populations in proptest::collection::vec(population(), 0..3),
            length in prop_oneof![duration().prop_map(RunLength::Time), any::<u64>().prop_map(RunLength::Messages)],
            warmup in proptest::option::of(duration()),
            timeout in duration(),
            connect_timeout in duration(),
            connect_rate in proptest::option::of(rate()),
            concurrency in proptest::option::of(number()),
            threads in proptest::option::of(0..10usize),
            max_errors in prop_oneof![Just(0.0), any::<f64>()],
        ) -> Plan {
            let targets = targets.into_iter().map(|weight| Target { weight, ..Target::new("ws://127.0.0.1:9/") });
            let mut plan = Plan {
                targets: targets.collect(),
                populations,
                length,
                warmup,
                timeout,
                verify: Verify::All,
                threads,
                max_errors,
                ..Plan::new("")
            };
            plan.connect.rate = connect_rate;
            plan.connect.concurrency = concurrency;
            plan.connect.timeout = connect_timeout;
            plan
        }
    }

    /// A plan that is valid but for one field that is arbitrary: most arbitrary plans are invalid.
    fn almost_valid() -> impl Strategy<Value = Plan> {
        (plan(), 0..9usize).prop_map(|(from, field)| {
            let mut plan = Plan::new("ws://127.0.0.1:9/");
            match field {
                0 if !from.targets.is_empty() => plan.targets = from.targets,
                1 => plan.length = from.length,
                2 => plan.warmup = from.warmup,
                3 => plan.timeout = from.timeout,
                4 => plan.connect = from.connect,
                5 => plan.threads = from.threads,
                6 => plan.max_errors = from.max_errors,
                _ if !from.populations.is_empty() => plan.populations = from.populations,
                _ => {}
            }
            plan
        })
    }

    /// Constructs what a run constructs before it connects.
    fn construct(plan: &Plan) {
        let threads = plan.threads.unwrap_or(2).min(plan.connections() as usize);
        let endpoints: Vec<_> =
            plan.targets.iter().map(|target| Arc::new(endpoint(plan, target).expect("a valid URL"))).collect();
        Config::default().handshake_timeout(plan.connect.timeout).expect("the check has the range of the engine");
        limits(plan, threads).expect("the check has the range of the engine");
        let time = match plan.length {
            RunLength::Time(time) => Some(time),
            RunLength::Messages(_) => None,
        };
        let table = Timetable::new(1, plan.warmup(), time);
        assert!(Instant::now().checked_add(Duration::from_nanos(table.measure)).is_some());
        if threads > THREADS || plan.connections() > CONNECTIONS {
            return;
        }
        let common = Common::new(plan, endpoints, plan.connect.concurrency.unwrap_or(1), threads, 1);
        let common = common.expect("the buffer of slow connections is valid");
        for index in 0..threads {
            let (events, _) = mpsc::channel();
            Worker::new(Orders {
                index,
                threads,
                epoch: Instant::now(),
                verify: plan.verify,
                timeout: plan.timeout,
                crews: common.crews(index),
                events,
            });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn no_plan_that_passes_its_check_panics_in_construction(plan in prop_oneof![plan().boxed(), almost_valid().boxed()]) {
            if plan.check().is_ok() {
                construct(&plan);
            }
        }
    }
}
