//! The floor: raw TCP echo (RFC 862), server and client, on the drivers that WebSocket runs on.
//!
//! Its rate is the maximum that kernel and driver allow on this machine. A WebSocket echo of the
//! same shape, measured in the same rounds, shows the additional cost of the protocol.

use crate::observe::processes::Edges;
use crate::observe::usage::Clocks;
use crate::plan::Stop;
use hdrhistogram::Histogram;
use ringway::placement;
use ringway_io::echo::{EchoLimits, EchoOutbox, EchoStreams};
use ringway_io::epoll::{Epoll, EpollConfig};
use ringway_io::uring::{self, Uring, UringConfig};
use ringway_io::{BusyPoll, Cause, Chunk, Completion, Driver, Listener, Slot, Waker};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

/// The maximum number of connects in progress: fewer than the backlog of any listener.
const CONNECTING: usize = 128;

/// The interval at which a thread without completions checks the time and the stop flag.
const LOOK: Duration = Duration::from_millis(100);

/// Grows `table` to hold `slot`, and returns its entry.
fn entry<T: Default>(table: &mut Vec<T>, slot: Slot) -> &mut T {
    let index = slot.index() as usize;
    if table.len() <= index {
        table.resize_with(index + 1, T::default);
    }
    &mut table[index]
}

/// An echo server. It stays on the thread that has created its driver.
pub struct FloorServer<D> {
    driver: D,
}

impl<D: Driver> FloorServer<D> {
    /// Accepts on `listener`.
    pub fn new(mut driver: D, listener: Listener) -> Self {
        driver.listen(listener);
        Self { driver }
    }

    /// A waker that ends [`FloorServer::run`] once `stop` is set.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.driver.waker()
    }

    /// Echoes until `stop` is set.
    ///
    /// # Errors
    /// If the driver fails.
    pub fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        // Nothing has a deadline, so the time does not matter.
        let start = Instant::now();
        let mut streams = EchoStreams::new(EchoLimits::trusting(), start);
        let mut completions = Vec::new();
        let driver = &mut self.driver;
        while !stop.load(Ordering::Relaxed) {
            driver.wait(None, &mut completions)?;
            for completion in completions.drain(..) {
                match completion {
                    Completion::Accepted { slot, .. } => streams.open(slot, driver, start),
                    Completion::Received { slot, buffer } => streams.received(slot, buffer, start),
                    Completion::Sent { slot, output, written } => streams.sent(slot, output, written, start),
                    Completion::Ended { slot, cause } => streams.ended(slot, &cause, driver),
                    Completion::Connected { .. }
                    | Completion::Released { .. }
                    | Completion::Datagram(_)
                    | Completion::Woken => {}
                }
            }
            streams.flush(driver);
            if streams.has_ends() {
                drop(streams.take_ends());
            }
        }
        Ok(())
    }
}

/// The plan of a measurement.
#[derive(Clone, Debug)]
pub struct FloorPlan {
    /// The address of the echo server.
    pub address: SocketAddr,
    /// The number of connections over all threads.
    pub connections: usize,
    /// Messages in flight on each.
    pub in_flight: usize,
    /// Bytes of a message.
    pub size: usize,
    /// The time to run before measuring.
    pub warmup: Duration,
    /// The time to measure.
    pub duration: Duration,
    /// The client's threads: the core of each, or `None` for one that is not pinned.
    pub cores: Vec<Option<usize>>,
    /// Ends the run early. The part measured so far is reported.
    pub stop: Stop,
    /// Receives the beginning and end of measuring in advance.
    pub edges: Option<Sender<Edges>>,
}

/// The result of a measurement.
#[derive(Debug)]
pub struct FloorReport {
    /// Messages echoed within the measured time.
    pub messages: u64,
    /// The time from passing a message to the driver to processing the last byte of its echo, in
    /// nanoseconds.
    pub latency: Histogram<u64>,
    /// The busy share of each client thread in the measured time.
    pub busy: Vec<f64>,
}

impl FloorReport {
    fn new() -> io::Result<Self> {
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
        Ok(Self { messages: 0, latency, busy: Vec::new() })
    }
}

/// Runs the client, on io_uring, or on epoll where that is refused.
///
/// # Errors
/// If a connection or a driver fails.
pub fn run(plan: &FloorPlan) -> io::Result<FloorReport> {
    let busy_poll = BusyPoll::Off;
    match uring::probe() {
        Err(unavailable) if unavailable.is_refusal() => {
            run_on(plan, || Epoll::new(EpollConfig { busy_poll, ..EpollConfig::default() }).map_err(io::Error::other))
        }
        _ => run_on(plan, || Uring::new(UringConfig { busy_poll, ..UringConfig::default() }).map_err(io::Error::other)),
    }
}

fn run_on<D: Driver>(plan: &FloorPlan, open: impl Fn() -> io::Result<D> + Sync) -> io::Result<FloorReport> {
    let threads = plan.cores.len().clamp(1, plan.connections);
    let window: OnceLock<Edges> = OnceLock::new();
    let (connected, ready) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|at| {
                let core = plan.cores.get(at).copied().flatten();
                let share = plan.connections / threads + usize::from(at < plan.connections % threads);
                let (window, connected, ready, open) = (&window, &connected, &ready, &open);
                scope.spawn(move || {
                    let pinned = core.map_or(Ok(()), placement::pin).map_err(io::Error::other);
                    let client = pinned.and_then(|()| FloorClient::connect(open()?, plan, share));
                    connected.wait();
                    ready.wait();
                    match window.get() {
                        Some(window) => client?.run(*window, &plan.stop),
                        None => Err(io::Error::other("the window is set before the threads are released")),
                    }
                })
            })
            .collect();
        connected.wait();
        let begin = Instant::now() + plan.warmup;
        let edges = Edges { begin, end: begin + plan.duration };
        let _ = window.set(edges);
        if let Some(sender) = &plan.edges {
            // Sending fails if the receiver has been dropped.
            let _ = sender.send(edges);
        }
        ready.wait();
        let mut all = FloorReport::new()?;
        for worker in workers {
            let report = worker.join().map_err(|_| io::Error::other("a client thread panicked"))??;
            all.messages += report.messages;
            all.latency.add(report.latency).map_err(io::Error::other)?;
            all.busy.extend(report.busy);
        }
        Ok(all)
    })
}

/// The error of a connection that ended; none should.
fn ended(cause: &Cause) -> io::Error {
    io::Error::other(match cause {
        Cause::Finished => "the echo server has ended a connection".into(),
        Cause::Reset => "the echo server has reset a connection".into(),
        Cause::Unconnected(error) => format!("cannot connect to the echo server: {error}"),
        Cause::Failed(error) => format!("a connection to the echo server has failed: {error}"),
    })
}

/// A connection of the client.
#[derive(Default)]
struct Lane {
    outbox: EchoOutbox,
    /// Received bytes of an incomplete message.
    partial: usize,
    stamps: VecDeque<Instant>,
}

/// A thread of the client.
struct FloorClient<D> {
    driver: D,
    lanes: Vec<Lane>,
    slots: Vec<Slot>,
    size: usize,
    /// `batches[n - 1]` holds `n` messages. All have the same bytes, because creating them is not
    /// part of the measurement.
    batches: Vec<Arc<[u8]>>,
}

impl<D: Driver> FloorClient<D> {
    fn connect(mut driver: D, plan: &FloorPlan, connections: usize) -> io::Result<Self> {
        let mut completions = Vec::new();
        let mut slots = Vec::with_capacity(connections);
        let mut connected = 0;
        while connected < connections {
            while slots.len() < connections && slots.len() - connected < CONNECTING {
                let slot = driver.reserve().ok_or_else(|| io::Error::other("no slot is left"))?;
                driver.connect(slot, plan.address);
                slots.push(slot);
            }
            driver.wait(None, &mut completions)?;
            for completion in completions.drain(..) {
                match completion {
                    Completion::Connected { slot } => {
                        connected += 1;
                        driver.receive(slot);
                    }
                    Completion::Ended { cause, .. } => return Err(ended(&cause)),
                    _ => {}
                }
            }
        }
        let batches = (1..=plan.in_flight).map(|n| vec![b'e'; n * plan.size].into()).collect();
        Ok(Self { driver, lanes: Vec::new(), slots, size: plan.size, batches })
    }

    fn run(mut self, Edges { begin, end }: Edges, stop: &Stop) -> io::Result<FloorReport> {
        let in_flight = self.batches.len();
        let mut now = Instant::now();
        for slot in std::mem::take(&mut self.slots) {
            let lane = entry(&mut self.lanes, slot);
            lane.stamps.extend(std::iter::repeat_n(now, in_flight));
            lane.outbox.push(Chunk::from(Arc::clone(&self.batches[in_flight - 1])));
            lane.outbox.flush(&mut self.driver, slot);
        }
        let mut report = FloorReport::new()?;
        let mut completions = Vec::new();
        let mut dirty: Vec<Slot> = Vec::new();
        let mut begun = None;
        while now < end && !stop.is_set() {
            self.driver.wait(Some(LOOK), &mut completions)?;
            now = Instant::now();
            if now >= begin && begun.is_none() {
                begun = Some(Clocks::of_this_thread(Duration::ZERO));
            }
            for completion in completions.drain(..) {
                match completion {
                    Completion::Received { slot, buffer } => {
                        let lane = entry(&mut self.lanes, slot);
                        let bytes = lane.partial + buffer.len();
                        let whole = (bytes / self.size).min(in_flight);
                        lane.partial = bytes - whole * self.size;
                        if whole == 0 {
                            continue;
                        }
                        now = Instant::now();
                        for stamp in lane.stamps.drain(..whole) {
                            if (begin..end).contains(&now) {
                                report.latency.saturating_record(now.duration_since(stamp).as_nanos() as u64);
                                report.messages += 1;
                            }
                        }
                        lane.stamps.extend(std::iter::repeat_n(now, whole));
                        lane.outbox.push(Chunk::from(Arc::clone(&self.batches[whole - 1])));
                        dirty.push(slot);
                    }
                    Completion::Sent { slot, output, written } => {
                        entry(&mut self.lanes, slot).outbox.sent(output, written);
                        dirty.push(slot);
                    }
                    Completion::Ended { cause, .. } => return Err(ended(&cause)),
                    _ => {}
                }
            }
            for slot in dirty.drain(..) {
                entry(&mut self.lanes, slot).outbox.flush(&mut self.driver, slot);
            }
        }
        // A thread that samples the server on this core at the end of the window runs before the
        // connections close.
        std::thread::yield_now();
        report.busy.push(begun.map_or(0.0, |begun| Clocks::of_this_thread(Duration::ZERO).since(&begun).busy()));
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn plan(address: SocketAddr, duration: Duration) -> FloorPlan {
        FloorPlan {
            address,
            connections: 3,
            in_flight: 4,
            size: 1000,
            warmup: Duration::ZERO,
            duration,
            cores: vec![],
            stop: Stop::default(),
            edges: None,
        }
    }

    /// Runs `client` against an echo server.
    fn serve<R>(client: impl FnOnce(SocketAddr) -> R) -> R {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.address().tcp().expect("TCP");
        let stop = Arc::new(AtomicBool::new(false));
        let (waker, woken) = std::sync::mpsc::channel();
        let stopped = Arc::clone(&stop);
        let server = std::thread::spawn(move || {
            let driver = Uring::new(UringConfig::default()).expect("io_uring works here");
            let server = FloorServer::new(driver, listener);
            waker.send(server.waker()).expect("the test waits");
            server.run(&stopped)
        });
        let waker = woken.recv().expect("the server starts");
        let result = client(address);
        stop.store(true, Ordering::Relaxed);
        waker.wake();
        server.join().expect("no panic").expect("the ring works");
        result
    }

    #[test]
    fn messages_come_back_whole_and_are_counted() {
        serve(|address| {
            // A busy machine may echo nothing in a short window, so the window grows.
            let times = [50, 500, 5_000, 50_000].map(Duration::from_millis);
            let report = times.into_iter().map(|time| {
                let (sender, edges) = std::sync::mpsc::channel();
                let plan = FloorPlan { edges: Some(sender), ..plan(address, time) };
                let report = run(&plan).expect("the server echoes");
                let edges = edges.try_recv().expect("the window is announced");
                assert_eq!(edges.end - edges.begin, time);
                assert_eq!(report.latency.len(), report.messages);
                assert!(report.busy.len() == 1 && (0.0..=1.0).contains(&report.busy[0]), "{:?}", report.busy);
                report
            });
            assert!(report.into_iter().any(|report| report.messages > 0));
        });
    }

    #[test]
    fn a_run_that_is_stopped_ends() {
        serve(|address| {
            let (sender, edges) = std::sync::mpsc::channel();
            let plan = FloorPlan { edges: Some(sender), ..plan(address, Duration::from_secs(3600)) };
            std::thread::scope(|scope| {
                let running = scope.spawn(|| run(&plan));
                edges.recv().expect("the window is announced once all are connected");
                plan.stop.now();
                running.join().expect("no panic").expect("the server echoes");
            });
        });
    }

    #[test]
    fn a_lost_server_is_reported_in_one_sentence() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let hour = Duration::from_secs(3600);
        let server = std::thread::spawn(move || {
            for _ in 0..3 {
                drop(listener.accept().expect("a client"));
            }
        });
        let error = run(&plan(address, hour)).expect_err("it ended its connections").to_string();
        assert!(error.starts_with("the echo server has "), "{error}");
        server.join().expect("no panic");
        let error = run(&plan(address, hour)).expect_err("the listener is closed").to_string();
        assert!(error.starts_with("cannot connect to the echo server: "), "{error}");
    }
}
