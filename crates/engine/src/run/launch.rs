//! Chooses the driver, and starts the threads of the shards.

use super::agreement::{Agreement, Seat};
use super::driver::{DriverKind, OpenDriver, SelectedDriver};
use super::error::StartError;
use super::memory;
use super::placement::{self, Assignment};
use super::readiness::Readiness;
use super::running::{Certificates, ConfigsInUse, Running, ShardResult};
use super::sockets::{self, ListenerGroup, ServerSockets};
use crate::admission::gate::Gate;
use crate::api::handler::Handler;
use crate::api::shard::{Shard, ShardHandle};
use crate::config::{Accept, Config, Limits, Shards};
use crate::echo::rates::ReplyRates;
use crate::echo::rules::EchoRules;
use crate::metrics::published::Published;
use crate::shard::balance::Balancer;
use crate::shard::event_loop::EventLoop;
use crate::shard::mailbox::PostError;
use crate::tls::table::ListenerTls;
use crate::tls::{KernelTls, TlsConfig, TlsReload};
use crate::topics::exchange::{Desk, Exchange};
use ringway_codec::Scheme;
use ringway_io::{Address, DatagramSocket, Driver, Listener};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The settings that shards are started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    pub(crate) shards: Shards,
    pub(crate) config: Config,
    pub(crate) limits: Limits,
}

impl Launch {
    /// Starts one thread for each shard. Each shard gets a sibling of every listener.
    pub(crate) fn start<H: Handler>(
        self,
        sockets: ServerSockets,
        tls: &[Option<TlsConfig>],
        make: Arc<dyn Fn(usize) -> H + Send + Sync>,
    ) -> Result<Running<H>, StartError> {
        let driver = SelectedDriver::select(self.config.driver)?;
        let (kind, may_be_replaced) = (driver.kind(), driver.may_be_replaced());
        let runner: Runner<H> = Arc::new(move |start| start.run(kind, may_be_replaced));
        self.start_with(sockets, tls, make, driver.to_string(), &runner)
    }

    /// The same; `runner` runs each shard on its thread, with the driver of this name.
    pub(crate) fn start_with<H: Handler>(
        self,
        sockets: ServerSockets,
        tls: &[Option<TlsConfig>],
        make: Arc<dyn Fn(usize) -> H + Send + Sync>,
        driver: String,
        runner: &Runner<H>,
    ) -> Result<Running<H>, StartError> {
        self.shards.check()?;
        self.config.check()?;
        self.limits.check()?;
        let assignment = Assignment::of_server(&self.config.cores, self.shards)?;
        if let Some(quota) = assignment.quota() {
            tracing::info!("shards are not pinned: the cgroup's CPU quota is {quota}");
        }
        let cores = assignment.cores().to_vec();
        let ServerSockets { mut listeners, echo, datagrams, echo_rates } = sockets;
        // Those of the echo service are the last ones.
        let is_echo: Vec<bool> = listeners.iter().map(|_| false).chain(echo.iter().map(|_| true)).collect();
        let addresses = addresses_of(&listeners);
        let echo_addresses = addresses_of(&echo);
        let datagram_addresses: Vec<SocketAddr> =
            datagrams.iter().flat_map(|group| group.first()).map(DatagramSocket::address).collect();
        let echo_rates =
            (!datagram_addresses.is_empty()).then(|| Arc::new(ReplyRates::new(echo_rates, Instant::now())));
        listeners.extend(echo);
        if self.config.admission.paces_accepting() {
            listeners.iter_mut().for_each(ListenerGroup::accept_one_at_a_time);
        }
        let shares = sockets::distribute(listeners, cores.len())?;
        let mut datagrams = sockets::distribute_datagrams(datagrams, cores.len())?.into_iter();
        let max_memory = self.limits.max_memory.unwrap_or_else(|| memory::default_budget(cores.len()));
        if max_memory < self.limits.max_message {
            tracing::warn!(
                "the memory of a shard is limited to {max_memory} bytes by default, which is less than the largest message \
                 ({}); lower Limits::max_message, or set Limits::max_memory",
                self.limits.max_message
            );
        }
        let limits = Limits { max_memory: Some(max_memory), ..self.limits };
        // Each shard has its share of the rate.
        let drain_rate = self.config.drain_rate.map(|rate| rate.div_ceil(cores.len() as u32));
        let readiness = Readiness::default();
        let gate =
            self.config.admission.is_active().then(|| Arc::new(Gate::new(&self.config.admission, Instant::now())));
        let config = Arc::new(Config { drain_rate, ..self.config });
        let desks = Exchange::desks(cores.len(), limits.max_published);
        let balancers = match self.config.accept {
            Accept::Balanced if cores.len() > 1 => Balancer::places(cores.len(), limits.max_connections),
            _ => Vec::new(),
        };
        let mut balancers = balancers.into_iter();
        let (ended, ends) = mpsc::channel();
        let certificates: Arc<Certificates> = Arc::default();
        let schemes = tls.iter().map(|tls| if tls.is_some() { Scheme::Wss } else { Scheme::Ws }).collect();
        let groups = by_config(tls);
        let tls_library = (!groups.is_empty()).then(|| format!("rustls with aws-lc-rs; {}", KernelTls::probe()));
        let in_use: ConfigsInUse = Arc::new(Mutex::new(groups.iter().map(|(config, _)| config.clone()).collect()));
        let tls: Vec<Option<ListenerTls>> = tls.iter().map(|tls| tls.as_ref().map(ListenerTls::of)).collect();
        let (threads, handles) = (Vec::new(), Vec::new());
        let ends = Mutex::new(ends);
        let mut running = Running {
            addresses,
            echo_addresses,
            datagram_addresses: datagram_addresses.clone(),
            schemes,
            assignment,
            driver,
            threads,
            handles,
            ends,
            certificates: Arc::downgrade(&certificates),
            tls_library,
            in_use: Arc::clone(&in_use),
            readiness: readiness.clone(),
            published: cores.iter().map(|_| Arc::new(Published::new())).collect(),
            exchange: Arc::clone(desks[0].exchange()),
            publishers: AtomicUsize::new(0),
        };
        let (agreement, seats) = Agreement::new(cores.len());
        let mut reports: Vec<mpsc::Receiver<Result<ShardHandle<H>, StartError>>> = Vec::new();
        let mut failure = None;
        for (index, (((core, listeners), desk), seat)) in
            cores.into_iter().zip(shares).zip(desks).zip(seats).enumerate()
        {
            let (report, reported) = mpsc::sync_channel(1);
            let (config, make, ended, tls) = (Arc::clone(&config), Arc::clone(&make), ended.clone(), tls.clone());
            let (certificates, gate) = (Arc::clone(&certificates), gate.clone());
            let (runner, is_echo) = (Arc::clone(runner), is_echo.clone());
            let (readiness, published) = (readiness.clone(), Arc::clone(&running.published[index]));
            let start = ShardStart {
                index,
                desk,
                balancer: balancers.next(),
                listeners,
                is_echo,
                datagrams: datagrams.next().unwrap_or_default(),
                datagram_addresses: datagram_addresses.clone(),
                echo_rates: echo_rates.clone(),
                tls,
                gate,
                config,
                limits,
                readiness,
                make,
                seat,
                report,
                ended,
                published,
            };
            let thread = thread::Builder::new().name(format!("ringway-{index}")).spawn(move || {
                // Reading them again ends with the last shard.
                let _certificates = certificates;
                if let Some(Err(error)) = core.map(placement::pin) {
                    let _ = start.report.send(Err(StartError::from(error)));
                    return Ok(Default::default());
                }
                start.set_timer_slack();
                runner(start)
            });
            match thread {
                Ok(thread) => running.threads.push(Some(thread)),
                Err(error) => {
                    // The seats of the others are dropped with this loop.
                    failure = Some(StartError::Thread(error));
                    break;
                }
            }
            reports.push(reported);
        }
        for (index, report) in reports.into_iter().enumerate() {
            match report.recv() {
                Ok(Ok(handle)) => running.handles.push(handle),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(_) => failure = failure.or(Some(StartError::Panicked(index))),
            }
        }
        if let Some(error) = failure {
            return running.abandon(error);
        }
        if agreement.is_refused() {
            running.driver = SelectedDriver::Epoll.to_string();
        }
        let reloads: io::Result<Vec<TlsReload>> = groups
            .into_iter()
            .enumerate()
            .filter(|(_, (config, _))| config.has_files())
            .map(|(group, (config, listeners))| {
                let in_use = Arc::clone(&in_use);
                let publish = publisher(config.clone(), listeners, running.handles.clone(), (group, in_use));
                TlsReload::start(config, publish)
            })
            .collect();
        match reloads {
            Ok(reloads) => {
                let _ = certificates.set(reloads); // It was empty.
                readiness.started();
                Ok(running)
            }
            Err(error) => running.abandon(StartError::Thread(error)),
        }
    }
}

fn addresses_of(listeners: &[ListenerGroup]) -> Vec<Address> {
    listeners.iter().map(|listener| listener.address().clone()).collect()
}

/// The numbers of the listeners that have the same configuration.
fn by_config(tls: &[Option<TlsConfig>]) -> Vec<(TlsConfig, Vec<usize>)> {
    let mut groups: Vec<(TlsConfig, Vec<usize>)> = Vec::new();
    for (listener, config) in tls.iter().enumerate() {
        let Some(config) = config else { continue };
        match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(&known.rustls(), &config.rustls())) {
            Some((_, listeners)) => listeners.push(listener),
            None => groups.push((config.clone(), vec![listener])),
        }
    }
    groups
}

/// Posts new configurations of a group of listeners to the shards. Returns whether all shards have
/// each one, and stores it then in its place among those in use. A shard whose mailbox is full keeps
/// the former one until the next call.
fn publisher<H: Handler>(
    config: TlsConfig,
    listeners: Vec<usize>,
    handles: Vec<ShardHandle<H>>,
    (group, in_use): (usize, ConfigsInUse),
) -> impl FnMut(&TlsConfig) -> bool + Send + 'static {
    let mut latest = config;
    let mut behind: Vec<usize> = Vec::new();
    move |config| {
        let is_new = !Arc::ptr_eq(&latest.rustls(), &config.rustls());
        if is_new {
            latest = config.clone();
            behind = (0..handles.len()).collect();
        }
        behind.retain(|index| {
            let (tls, listeners) = (ListenerTls::of(config), listeners.clone());
            let change = move |_: &mut H, shard: &mut Shard<'_, H>| {
                listeners.iter().for_each(|at| shard.set_tls(*at, tls.clone()));
            };
            match handles[*index].post(change) {
                // A shard that has ended has no use for it.
                Ok(()) | Err(PostError::Ended) => false,
                Err(error @ PostError::Full) => {
                    if is_new {
                        tracing::error!("shard {index} keeps the former certificates for now: {error}");
                    }
                    true
                }
            }
        });
        if behind.is_empty() {
            in_use.lock().unwrap_or_else(PoisonError::into_inner)[group] = config.clone();
        }
        behind.is_empty()
    }
}

/// A shard before its first turn, its handle, and what reports its end.
pub(super) type Prepared<D, H> = (EventLoop<D, H>, ShardHandle<H>, ShardEnd<H>);

/// Runs a shard on the calling thread to its end.
pub(crate) type Runner<H> = Arc<dyn Fn(ShardStart<H>) -> ShardResult + Send + Sync>;

/// What the thread of a shard starts with.
pub(crate) struct ShardStart<H: Handler> {
    index: usize,
    desk: Desk,
    balancer: Option<Balancer>,
    /// With the numbers of their addresses.
    listeners: Vec<(usize, Listener)>,
    /// Whether the listeners with these numbers are those of the echo service.
    is_echo: Vec<bool>,
    datagrams: Vec<DatagramSocket>,
    datagram_addresses: Vec<SocketAddr>,
    /// What all shards of the echo service answer together; `None` without datagrams.
    echo_rates: Option<Arc<ReplyRates>>,
    tls: Vec<Option<ListenerTls>>,
    gate: Option<Arc<Gate>>,
    config: Arc<Config>,
    limits: Limits,
    readiness: Readiness,
    make: Arc<dyn Fn(usize) -> H + Send + Sync>,
    seat: Seat,
    report: mpsc::SyncSender<Result<ShardHandle<H>, StartError>>,
    ended: mpsc::Sender<usize>,
    published: Arc<Published>,
}

impl<H: Handler> ShardStart<H> {
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Reports that the shard cannot start.
    pub(super) fn fail(&self, error: StartError) {
        // An error means that another shard could not start.
        let _ = self.report.send(Err(error));
    }

    /// Sets the timer slack of this thread, before a driver is opened, which reads it.
    fn set_timer_slack(&self) {
        if let Some(slack) = self.config.timer_slack
            && let Err(error) = set_timer_slack(slack)
        {
            tracing::warn!("the timer slack of shard {} stays as it is, because prctl failed: {error}", self.index);
        }
    }

    /// Opens a driver on the calling thread, and runs the shard on it to its end. With
    /// `may_be_replaced`, all shards use epoll when one of them is refused its driver.
    fn run(mut self, kind: DriverKind, may_be_replaced: bool) -> ShardResult {
        let mut opened = kind.open(&self.config, &self.limits);
        if may_be_replaced {
            let refusal = match &opened {
                Err(StartError::Refused(unavailable)) if unavailable.is_refusal() => Some(unavailable),
                _ => None,
            };
            if !self.seat.agree(refusal) {
                drop(opened);
                opened = DriverKind::Epoll.open(&self.config, &self.limits);
            }
        }
        match opened {
            Ok(OpenDriver::Uring(driver)) => self.run_on(*driver),
            Ok(OpenDriver::Epoll(driver)) => self.run_on(*driver),
            #[cfg(feature = "tokio-uring")]
            Ok(OpenDriver::TokioUring(driver)) => self.run_on(*driver),
            Err(error) => {
                self.fail(error);
                Ok(Default::default())
            }
        }
    }

    fn run_on<D: Driver>(self, driver: D) -> ShardResult {
        self.event_loop(driver).map_or_else(|| Ok(Default::default()), |(of, _, _end)| of.run())
    }

    /// The event loop of the shard on a driver, and what reports its end. `None`: another shard could
    /// not start.
    pub(super) fn event_loop<D: Driver>(self, mut driver: D) -> Option<Prepared<D, H>> {
        let Self {
            index,
            desk,
            balancer,
            listeners,
            is_echo,
            datagrams,
            datagram_addresses,
            echo_rates,
            tls,
            gate,
            config,
            limits,
            readiness,
            make,
            seat,
            report,
            ended,
            published,
        } = self;
        // This shard has its driver.
        drop(seat);
        let mut numbers = Vec::with_capacity(listeners.len());
        for (number, listener) in listeners {
            numbers.push(number);
            driver.listen(listener);
        }
        let rules = match open_datagrams(&mut driver, datagrams, &datagram_addresses, echo_rates) {
            Ok(rules) => rules,
            Err(error) => {
                // An error means that another shard could not start.
                let _ = report.send(Err(error));
                return None;
            }
        };
        let handle = ShardHandle::new(driver.waker());
        let end = ShardEnd { index, handle: handle.clone(), ended };
        report.send(Ok(handle.clone())).ok()?;
        let mut event_loop = EventLoop::new(index, driver, config, limits, handle.clone(), make(index), Instant::now());
        event_loop.join(desk);
        event_loop.number_listeners(numbers);
        event_loop.use_tls(tls);
        event_loop.use_echo(is_echo, rules);
        event_loop.use_readiness(readiness);
        event_loop.publish_to(published);
        if let Some(gate) = gate {
            event_loop.use_gate(gate);
        }
        if let Some(balancer) = balancer {
            event_loop.use_balancer(balancer);
        }
        Some((event_loop, handle, end))
    }
}

/// Opens the sockets of the echo service on UDP. Returns its rules; `None` without sockets.
fn open_datagrams(
    driver: &mut impl Driver,
    sockets: Vec<DatagramSocket>,
    addresses: &[SocketAddr],
    rates: Option<Arc<ReplyRates>>,
) -> Result<Option<EchoRules>, StartError> {
    let Some(rates) = rates.filter(|_| !sockets.is_empty()) else { return Ok(None) };
    sockets.into_iter().try_for_each(|socket| driver.open_datagrams(socket)).map_err(StartError::Datagrams)?;
    Ok(Some(EchoRules::new(addresses, rates, Instant::now())))
}

/// Sets the timer slack of the calling thread.
fn set_timer_slack(slack: Duration) -> io::Result<()> {
    let nanos = u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX);
    Ok(rustix::thread::set_current_timer_slack(NonZeroU64::new(nanos))?)
}

/// Reports that a shard has ended, by a return or a panic: dropped with the stack of the shard's
/// thread.
pub(super) struct ShardEnd<H: Handler> {
    index: usize,
    handle: ShardHandle<H>,
    ended: mpsc::Sender<usize>,
}

impl<H: Handler> Drop for ShardEnd<H> {
    fn drop(&mut self) {
        self.handle.close();
        // An error means that no thread waits for the shards.
        let _ = self.ended.send(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Connection, Cores, DriverChoice, Message, Request, Upgrade};
    use ringway_testkit::certificates::Authority;

    #[derive(Debug)]
    struct Idle;

    impl Handler for Idle {
        type State = ();

        fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
            Upgrade::accept(())
        }

        fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
    }

    fn certificate(root: &Authority) -> TlsConfig {
        let identity = root.issue(&["localhost"]);
        TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a chain and its key")
    }

    #[test]
    fn each_shard_has_the_timer_slack_of_its_configuration_and_other_threads_keep_theirs() {
        let ours = rustix::thread::current_timer_slack().expect("Linux");
        for (driver, slack) in [(DriverChoice::Uring, 1), (DriverChoice::Epoll, 7_000)] {
            let config = Config { cores: Cores::Unpinned, ..Config::default() }.driver(driver);
            let config = config.timer_slack(Some(Duration::from_nanos(slack))).expect("in range");
            let running = Client::new().config(config).shards(Shards::Count(2)).start(|_| Idle).expect("it starts");
            for handle in running.handles() {
                let (answer, answered) = mpsc::channel();
                let ask = move |_: &mut Idle, _: &mut Shard<'_, Idle>| {
                    answer.send(rustix::thread::current_timer_slack()).expect("the test waits");
                };
                handle.post(ask).expect("the mailbox is empty");
                assert_eq!(answered.recv().expect("the shard runs"), Ok(slack));
            }
            running.stop();
            running.wait().expect("they end without an error");
        }
        assert_eq!(rustix::thread::current_timer_slack(), Ok(ours));
    }

    #[test]
    fn a_shard_with_a_full_mailbox_gets_the_certificates_later() {
        let root = Authority::root("Test Root");
        let (first, second) = (certificate(&root), certificate(&root));
        let config = Config { cores: Cores::Unpinned, ..Config::default() };
        let running = Client::new().config(config).shards(Shards::Count(2)).start(|_| Idle).expect("it starts");
        let in_use: ConfigsInUse = Arc::new(Mutex::new(vec![first.clone()]));
        let is_in_use =
            |config: &TlsConfig| Arc::ptr_eq(&in_use.lock().expect("no panic")[0].rustls(), &config.rustls());
        let mut publish = publisher(first.clone(), vec![], running.handles().to_vec(), (0, Arc::clone(&in_use)));

        let (stuck, is_stuck) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let wait = move |_: &mut Idle, _: &mut Shard<'_, Idle>| {
            stuck.send(()).expect("the test waits");
            let _ = released.recv();
        };
        running.handles()[0].post(wait).expect("the mailbox is empty");
        is_stuck.recv().expect("the shard runs");
        while running.handles()[0].post(|_, _| {}).is_ok() {}
        assert!(!publish(&second) && !publish(&second), "shard 0 cannot take it");
        assert!(is_in_use(&first));

        drop(release);
        while !publish(&second) {
            thread::yield_now();
        }
        assert!(is_in_use(&second));
        running.stop();
        running.wait().expect("they end without an error");
        assert!(publish(&first), "shards that have ended do not count");
    }
}
