//! Connections that come and go, with faults, slow readers, panics of the handler and published
//! messages, all at once: memory and descriptors of the server end where they began, and readers
//! that stay lose nothing. For 10 s after a warm-up, or as many as `RINGWAY_SOAK` says.

use ringway_tests::{
    End, Frame, RawRequest, Received, ServerProcess, WATCHDOG, WirePeer, bad_input, open_files, resident_kib,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The length of the test without `RINGWAY_SOAK`, in seconds.
const SECONDS: u64 = 10;

/// The threads whose peers come and go.
const THREADS: usize = 3;

/// The slow readers that one thread keeps.
const SLOW: usize = 10;

/// The subscribers that stay: each receives every message.
const STAYING: usize = 5;

/// The connections of the warm-up, in which each pool and table reaches its final size.
const WARM_UP: u64 = 2000;

/// By how much the server's resident memory may grow after the warm-up: the number of slow readers at
/// a time differs, and each holds 256 KiB of output.
const GROWTH_KIB: usize = 2048;

/// The xorshift generator, with the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn request(topic: &str) -> Vec<u8> {
    RawRequest::websocket().line(format!("GET /{topic} HTTP/1.1")).bytes()
}

/// Opens a WebSocket that subscribes to a topic.
fn open(mut peer: WirePeer, topic: &str) -> WirePeer {
    peer.write(request(topic));
    peer.expect_upgrade();
    peer
}

/// The next frame that was not published.
fn reply(peer: &mut WirePeer) -> Received {
    loop {
        let frame = peer.frame();
        if frame.first != 0x82 && !frame.is_ping() {
            return frame;
        }
    }
}

fn echo(peer: &mut WirePeer) {
    peer.send(&Frame::text("hello"));
    assert_eq!(reply(peer), Received::text("hello"));
}

/// The connections of one thread.
struct Churn<'a> {
    server: SocketAddr,
    source: Ipv4Addr,
    numbers: Numbers,
    inputs: &'a [bad_input::BadInput],
    slow: Vec<WirePeer>,
}

impl Churn<'_> {
    fn connect(&self) -> WirePeer {
        let peer = WirePeer::connect_from(self.server, self.source);
        // There are more connections than ports.
        peer.reset_on_drop();
        peer
    }

    fn topic(&mut self) -> &'static str {
        ["close", "newest", "latest", "none"][self.numbers.below(4)]
    }

    /// One connection.
    fn one(&mut self) {
        let topic = self.topic();
        match self.numbers.below(10) {
            // A reset in each state.
            0 => drop(self.connect()),
            1 => {
                let request = request(topic);
                let end = 1 + self.numbers.below(request.len() - 1);
                self.connect().write(&request[..end]);
            }
            2 => {
                let frame = Frame::binary([0; 9000]).bytes();
                let end = 1 + self.numbers.below(frame.len() - 1);
                open(self.connect(), topic).write(&frame[..end]);
            }
            3 => {
                let mut peer = open(self.connect(), topic);
                (0..10).for_each(|_| peer.send(&Frame::text([b'x'; 5000])));
            }
            // A FIN in the middle.
            4 => {
                let mut peer = open(self.connect(), topic);
                peer.write(&Frame::text([b'a'; 200]).bytes()[..100]);
                peer.finish();
                while peer.skip(1).is_ok() {}
            }
            // A reader that stops to read, in the place of an earlier one.
            5 => {
                let mut peer = open(WirePeer::connect_tiny(self.server, self.source), topic);
                peer.reset_on_drop();
                peer.send(&Frame::text("flood"));
                self.slow.push(peer);
                if self.slow.len() > SLOW {
                    let at = self.numbers.below(self.slow.len());
                    self.slow.swap_remove(at);
                }
            }
            // A panic of the handler.
            6 => {
                let mut peer = open(self.connect(), topic);
                peer.send(&Frame::text("panic"));
                assert_eq!(reply(&mut peer).close_code(), Some(1011));
            }
            7 => {
                let at = self.numbers.below(self.inputs.len());
                let mut peer = WirePeer::connect_from(self.server, self.source);
                peer.reset_on_drop();
                self.inputs[at].perform(&mut peer);
            }
            // Nothing wrong with the others.
            _ => {
                let mut peer = open(self.connect(), topic);
                (0..3).for_each(|_| echo(&mut peer));
                peer.send(&Frame::close(1000, ""));
                assert_eq!(reply(&mut peer).close_code(), Some(1000));
                assert_eq!(peer.end(), End::Finished);
            }
        }
    }
}

/// Reads the messages of the topic that allows no gap, until `stop`; returns how many.
fn stay(server: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut peer = open(WirePeer::connect(server), "close");
    let (mut received, mut last) = (0, None::<u64>);
    while !stop.load(Ordering::Relaxed) {
        let frame = peer.frame();
        if frame.is_ping() {
            peer.send(&Frame::pong(frame.payload));
            continue;
        }
        let number = u64::from_be_bytes(frame.payload[..8].try_into().expect("a published message"));
        assert!(last.is_none_or(|last| number == last + 1), "message {number} follows {last:?}");
        (received, last) = (received + 1, Some(number));
    }
    received
}

/// Waits until the server has as many descriptors as at the beginning.
fn wait_for_files(pid: u32, files: usize) {
    let deadline = Instant::now() + WATCHDOG;
    while open_files(pid) != files {
        assert!(Instant::now() < deadline, "{} descriptors are open, {files} were", open_files(pid));
        thread::yield_now();
    }
}

#[test]
fn churn_faults_and_publishes_leave_memory_and_descriptors_as_they_were() {
    let seconds = std::env::var("RINGWAY_SOAK").map_or(SECONDS, |text| {
        text.parse().unwrap_or_else(|_| panic!("RINGWAY_SOAK is {text}: give a number of seconds, such as 600"))
    });
    for driver in ["uring", "epoll"] {
        soak(driver, Duration::from_secs(seconds) / 2);
    }
}

fn soak(driver: &str, time: Duration) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_churn-server"));
    command.arg(driver);
    let serving = ServerProcess::start(command);
    let (server, pid) = (serving.address(), serving.pid());
    let files = open_files(pid);
    let (stop, connections) = (AtomicBool::new(false), AtomicU64::new(0));
    let inputs = bad_input::all();
    let began = Instant::now();
    let (received, warm, end) = thread::scope(|scope| {
        let churning: Vec<_> = (0..THREADS)
            .map(|thread| {
                let source = Ipv4Addr::new(127, 0, 1, 1 + thread as u8);
                let numbers = Numbers(0x9e37_79b9_7f4a_7c15 + thread as u64);
                let mut churn = Churn { server, source, numbers, inputs: &inputs, slow: Vec::new() };
                let (stop, connections) = (&stop, &connections);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        churn.one();
                        connections.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let staying: Vec<_> = (0..STAYING).map(|_| scope.spawn(|| stay(server, &stop))).collect();
        // The maxima of the warm-up and of the last half of the time.
        let (mut warm, mut end, mut warmed_up) = (0, 0, None::<Instant>);
        while churning.iter().all(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(20)); // the rate of the samples
            let resident = resident_kib(pid, "VmRSS");
            match warmed_up.map(|since| since.elapsed()) {
                None if connections.load(Ordering::Relaxed) >= WARM_UP => warmed_up = Some(Instant::now()),
                None => warm = warm.max(resident),
                Some(after) if after >= time => break,
                Some(after) if after > time / 2 => end = end.max(resident),
                Some(_) => {}
            }
        }
        stop.store(true, Ordering::Relaxed);
        churning.into_iter().for_each(|thread| thread.join().expect("a peer got a wrong answer"));
        let received = staying.into_iter().map(|thread| thread.join().expect("a subscriber lost a message"));
        (received.collect::<Vec<u64>>(), warm, end)
    });
    // All peers are gone.
    wait_for_files(pid, files);
    let left = resident_kib(pid, "VmRSS");
    let mut late = WirePeer::open(server);
    late.expect_echo("alive and well");
    drop(late);
    println!(
        "{driver}: {} connections in {:.0?}; messages that each staying subscriber received: {received:?}; resident: \
         at most {warm} KiB in the warm-up, {end} KiB in the last half, {left} KiB when all were gone; \
         {files} descriptors before and after",
        connections.load(Ordering::Relaxed),
        began.elapsed(),
    );
    assert!(end <= warm + GROWTH_KIB && left <= warm + GROWTH_KIB, "memory has grown from {warm} to {end} KiB");
    assert!(received.iter().all(|count| *count > 0), "{received:?}");
    serving.signal(rustix::process::Signal::TERM);
    let (status, log) = serving.wait();
    println!("{}", log.lines().last().unwrap_or_default());
    assert!(status.success(), "{log}");
}
